"""Rate limits by limit class: a token bucket per organization, shared by all processes in Redis.

The generic cell rate algorithm (GCRA, ITU-T I.371): a bucket of `limit` tokens that refills evenly
over a minute. There is no boundary between two windows at which twice the limit passes, and the
exact waiting time is known. A Lua script takes the tokens in one round trip, so two processes
cannot both take the last one.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any
from uuid import UUID

import redis
from django.conf import settings

from accounts.api.reasons import CallReason
from imissive.core import clock
from imissive.core.breaker import Breaker
from imissive.core.errors import ApiError
from imissive.core.servers import RedisServer

PERIOD_SECONDS = 60
SOCKET_SECONDS = 0.25
"""Timeout of a request to Redis; after that the request is decided without the limit."""


class LimitClass(StrEnum):
    """Limits that are counted separately: messages sent singly (one-time passwords included),
    messages sent in bulk, and all other API requests."""

    SEND = "send"
    BULK = "bulk"
    CALLS = "calls"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limit per minute of each limit class; None means the installation's default."""

    send: int | None = None
    bulk: int | None = None
    calls: int | None = None

    def of(self, limit_class: LimitClass) -> int:
        """Return the limit per minute that applies to the limit class."""
        own: int | None = getattr(self, limit_class.value)
        return settings.RATE_LIMITS[limit_class.value] if own is None else own


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """State of a limit class: `remaining` of `limit` now, and full again in `reset_seconds`.

    `wait_seconds` is 0 where the tokens were taken, otherwise the time until the same request
    would be allowed. `known` is False where Redis did not respond.
    """

    limit_class: LimitClass
    limit: int
    remaining: int
    reset_seconds: float
    wait_seconds: float = 0.0
    known: bool = True

    def headers(self) -> dict[str, str]:
        """Return the `X-RateLimit-*` response headers and those of the IETF draft.

        The draft is draft-ietf-httpapi-ratelimit-headers-10.
        """
        reset = math.ceil(self.reset_seconds)
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(math.ceil(clock.seconds() + self.reset_seconds)),
            "RateLimit-Policy": f'"{self.limit_class}";q={self.limit};w={PERIOD_SECONDS}',
            "RateLimit": f'"{self.limit_class}";r={self.remaining};t={reset}',
        }


FORGIVEN_TOKENS, FORGIVEN_MICROSECONDS = 0.1, 1000.0
"""Tolerance in tokens and in microseconds: stored times are whole microseconds, so fractions of
tokens get lost."""

# KEYS: the bucket. ARGV: microseconds per token, microseconds per full bucket, the number of tokens
# to take, and the tolerance in microseconds. The stored value is the time at which the bucket is
# full again. Returns the microseconds until then, and the microseconds to wait (0: taken).
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local each, full, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local forgiven = tonumber(ARGV[4])
local function keep(at)
  redis.call('SET', KEYS[1], string.format('%.0f', at), 'PX', math.ceil((at - now) / 1000))
end
local filled = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
if filled > now + 2 * full then
  -- The clock was put back.
  filled = now + full
  keep(filled)
end
local after = filled + cost * each
local wait = after - now - full
if wait > forgiven then
  return {math.ceil(filled - now), math.ceil(wait)}
end
if cost > 0 then
  keep(after)
end
return {math.ceil(after - now), 0}
"""


def new_breaker() -> Breaker:
    """Return the breaker of a process whose Redis has not failed yet."""
    return Breaker(
        "rate_limits",
        lambda: _client(settings.REDIS_URL).ping(),
        lost="limits do not hold",
        restored="limits hold again",
    )


_breaker = new_breaker()


@cache
def _client(url: str) -> redis.Redis:
    # The client does not retry: Redis may have taken the tokens already. The pool replaces a
    # connection that a restart closed.
    return RedisServer.of(url).client(SOCKET_SECONDS)


@cache
def _script(url: str) -> Any:
    return _client(url).register_script(_TAKE)


@dataclass(frozen=True, slots=True)
class Tokens:
    """State of a bucket; the fields have the same meaning as those of LimitStatus."""

    remaining: int
    reset_seconds: float
    wait_seconds: float = 0.0
    known: bool = True


def take_tokens(bucket: str, limit: int, seconds: float, cost: int = 1) -> Tokens:
    """Take `cost` tokens, all or none, of a bucket of `limit` tokens per `seconds`.

    A cost of 0 only reads the state. Where Redis does not respond, `known` is False and the tokens
    count as taken.
    """
    full = seconds * 1_000_000
    each = full / limit
    forgiven = min(each * FORGIVEN_TOKENS, FORGIVEN_MICROSECONDS)
    if _breaker.lets_pass():
        try:
            used, wait = _script(settings.REDIS_URL)(
                [f"imissive:rate:{bucket}"], [each, full, cost, forgiven]
            )
        except (redis.RedisError, OSError) as error:
            _breaker.failed(error)
        else:
            remaining = max(0, int((full - used + forgiven) / each))
            return Tokens(remaining, used / 1_000_000, wait / 1_000_000)
    return Tokens(limit, 0.0, known=False)


def take(
    organization_id: UUID,
    limit_class: LimitClass,
    limit: int,
    cost: int = 1,
    *,
    test: bool = False,
) -> LimitStatus:
    """Take `cost` tokens of the organization's limit per minute in that limit class.

    Each mode has its own bucket, so that test calls do not use up the limit of live ones.
    """
    bucket = f"{organization_id.hex}:{limit_class}{':test' if test else ''}"
    found = take_tokens(bucket, limit, PERIOD_SECONDS, cost)
    return LimitStatus(
        limit_class, limit, found.remaining, found.reset_seconds, found.wait_seconds, found.known
    )


def refusal(found: LimitStatus, cost: int = 1) -> ApiError:
    """Return the error for a request that the limit refuses; `cost` is the request's whole cost.

    RATE_LIMITED with the exact Retry-After of the same request, in seconds (RFC 9110, 10.2.3); or
    PAYLOAD_TOO_LARGE where the request costs more than the limit, since waiting would never help.
    """
    if cost > found.limit:
        return ApiError(CallReason.MORE_THAN_A_MINUTE, "messages", cost=cost, limit=found.limit)
    of_calls = found.limit_class is LimitClass.CALLS
    reason = CallReason.TOO_MANY_CALLS if of_calls else CallReason.TOO_MANY_MESSAGES
    headers = {"Retry-After": str(max(1, math.ceil(found.wait_seconds)))}
    return ApiError(reason, headers=headers, limit=found.limit)
