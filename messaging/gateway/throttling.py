"""Throttling of submits, by the account's throughput and its organization's limit."""

from collections.abc import Callable, Sequence
from typing import Final

from accounts.api import rate_limits
from accounts.api.rate_limits import (
    LimitClass,
    Limits,
    LimitStatus,
    Tokens,
)
from messaging.gateway.store import Submit
from messaging.models.smpp_accounts import SmppAccount

THROTTLED: Final = "RATE_LIMITED"


def admit(account: SmppAccount, submits: Sequence[Submit]) -> list[Submit]:
    """Return the submits within the limits, in order; the others are marked as throttled.

    Each part counts as one. The organization's limit is that of its bulk calls to the API.
    """
    count = _admitted(account, len(submits))
    for submit in submits[count:]:
        submit.code = THROTTLED
    return list(submits[:count])


def admit_one(account: SmppAccount) -> bool:
    """Return whether a request that counts as one submit is within the limits."""
    return _admitted(account, 1) == 1


def _admitted(account: SmppAccount, count: int) -> int:
    own = account.organization
    limit = Limits(own.send_per_minute, own.bulk_per_minute, own.calls_per_minute).of(
        LimitClass.BULK
    )
    if account.throughput:
        bucket, most = f"smpp:{account.id.hex}", account.throughput
        count = _take(count, lambda cost: rate_limits.take_tokens(bucket, most, 1.0, cost))
    return _take(count, lambda cost: rate_limits.take(own.id, LimitClass.BULK, limit, cost))


def _take(wanted: int, take: Callable[[int], LimitStatus | Tokens]) -> int:
    """Take up to `wanted` tokens, as many as are available; return their number."""
    while wanted > 0:
        usage = take(wanted)
        if not usage.wait_seconds:
            return wanted
        wanted = min(usage.remaining, wanted - 1)
    return 0
