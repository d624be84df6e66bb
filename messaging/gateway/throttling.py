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
    """Those that may pass, the first ones first; the others are marked as throttled.

    Parts count as what they are, one each. The organization's limit is the one that its bulk calls
    of the API count against.
    """
    count = _admitted(account, len(submits))
    for submit in submits[count:]:
        submit.code = THROTTLED
    return list(submits[:count])


def admit_one(account: SmppAccount) -> bool:
    """Return whether something that costs as much as a submit may pass."""
    return _admitted(account, 1) == 1


def _admitted(account: SmppAccount, count: int) -> int:
    own = account.organization
    limit = Limits(own.send_per_minute, own.bulk_per_minute, own.calls_per_minute).of(
        LimitClass.BULK
    )
    if account.throughput:
        bucket, most = f"smpp:{account.id.hex}", account.throughput
        count = _most(count, lambda cost: rate_limits.take_tokens(bucket, most, 1.0, cost))
    return _most(count, lambda cost: rate_limits.take(own.id, LimitClass.BULK, limit, cost))


def _most(wanted: int, take: Callable[[int], LimitStatus | Tokens]) -> int:
    """As many tokens as there are, `wanted` at most."""
    while wanted > 0:
        usage = take(wanted)
        if not usage.wait_seconds:
            return wanted
        wanted = min(usage.remaining, wanted - 1)
    return 0
