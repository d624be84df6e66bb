"""Rate limits of an organization, by lane, shared by all processes through Redis.

The generic cell rate algorithm (ITU-T I.371): a bucket of `limit` that fills evenly over a minute.
So there is no edge between two windows at which twice the limit passes, and how long to wait is
known exactly. One round trip: a script, so that two processes cannot both take the last token.
"""

import contextlib
import math
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any
from uuid import UUID

import redis
import structlog
from django.conf import settings

from imissive.errors import ApiError
from imissive.servers import RedisServer

log = structlog.get_logger(__name__)

PERIOD_SECONDS = 60
SOCKET_SECONDS = 0.25
"""How long a request waits for Redis; then it is decided without."""
REST_SECONDS = 1.0
"""How often a Redis that failed is asked whether it is back; no request asks it meanwhile."""
ALERT_SECONDS = 30.0


class Lane(StrEnum):
    """What is counted apart: messages sent singly (one-time passwords too), messages sent in bulk,
    and all other calls."""

    SEND = "send"
    BULK = "bulk"
    CALLS = "calls"


@dataclass(frozen=True, slots=True)
class Limits:
    """What an organization may do a minute in each lane. None: the installation's default."""

    send: int | None = None
    bulk: int | None = None
    calls: int | None = None

    def of(self, lane: Lane) -> int:
        own: int | None = getattr(self, lane.value)
        return settings.RATE_LIMITS[lane.value] if own is None else own


@dataclass(frozen=True, slots=True)
class Usage:
    """Where a lane stands: `remaining` now, all `limit` again in `reset_seconds`.

    `wait_seconds`: 0 where it was allowed, else how long until the same is. `known` is False where
    Redis did not answer.
    """

    lane: Lane
    limit: int
    remaining: int
    reset_seconds: float
    wait_seconds: float = 0.0
    known: bool = True

    def headers(self) -> dict[str, str]:
        """The documented headers and those of draft-ietf-httpapi-ratelimit-headers-10."""
        reset = math.ceil(self.reset_seconds)
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(math.ceil(time.time() + self.reset_seconds)),
            "RateLimit-Policy": f'"{self.lane}";q={self.limit};w={PERIOD_SECONDS}',
            "RateLimit": f'"{self.lane}";r={self.remaining};t={reset}',
        }


FORGIVEN_TOKENS, FORGIVEN_MICROSECONDS = 0.1, 1000.0
"""What may be missing at most: whole microseconds are stored, so fractions of tokens get lost."""

# KEYS: the bucket. ARGV: microseconds for one token, for a full bucket, the tokens wanted, and the
# microseconds that are forgiven. The value is the time at which the bucket is full again. Returns
# how far off that is, and how long to wait (0: taken).
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


class _Breaker:
    """Remembers that Redis failed, and says so in the log now and then.

    From then on nobody asks it but a thread of its own, until it answers again: a Redis that hangs
    costs each request that it surprised its patience, and no other one.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._failing = False
        self._alert_at = 0.0

    def lets_pass(self) -> bool:
        """Return whether a caller may ask Redis."""
        return not self._failing

    def failed(self, error: Exception) -> None:
        """Redis did not answer."""
        with self._guard:
            now = time.monotonic()
            if not self._failing:
                self._failing = True
                threading.Thread(target=self._watch, name="limits", daemon=True).start()
            alert = now >= self._alert_at
            if alert:
                self._alert_at = now + ALERT_SECONDS
        if alert:
            log.error("rate_limits_unavailable", error=str(error), effect="limits do not hold")

    def _watch(self) -> None:
        """Ask now and then until Redis answers."""
        answers = False
        while not answers:
            time.sleep(REST_SECONDS)
            with contextlib.suppress(redis.RedisError, OSError):
                answers = bool(_client(settings.REDIS_URL).ping())
        self._failing = False
        log.warning("rate_limits_available", effect="limits hold again")


_breaker = _Breaker()


@cache
def _client(url: str) -> redis.Redis:
    # Redis may have taken the tokens already, so it is asked once only. A connection that a restart
    # cut is made anew by the pool.
    return RedisServer.of(url).client(SOCKET_SECONDS)


@cache
def _script(url: str) -> Any:
    return _client(url).register_script(_TAKE)


@dataclass(frozen=True, slots=True)
class Tokens:
    """How a bucket stands; the fields mean what Usage's do."""

    remaining: int
    reset_seconds: float
    wait_seconds: float = 0.0
    known: bool = True


def take_tokens(bucket: str, limit: int, seconds: float, cost: int = 1) -> Tokens:
    """Take `cost` tokens of `limit` in that many seconds, all or none; a cost of 0 only looks.

    Where Redis does not answer, `known` is False and the tokens count as taken.
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


def take(organization_id: UUID, lane: Lane, limit: int, cost: int = 1) -> Usage:
    """`take_tokens` of what an organization may do a minute in that lane."""
    found = take_tokens(f"{organization_id.hex}:{lane}", limit, PERIOD_SECONDS, cost)
    return Usage(lane, limit, found.remaining, found.reset_seconds, found.wait_seconds, found.known)


def refusal(usage: Usage, cost: int = 1) -> ApiError:
    """Why a call of that cost is refused, all of which it needs when it comes again.

    RATE_LIMITED with a Retry-After that is true for the same call; or PAYLOAD_TOO_LARGE where the
    call can never pass, since who is told to wait would do so for ever.
    """
    if cost > usage.limit:
        told = f"This call counts {cost:,}, more than the account's {usage.limit:,} a minute."
        return ApiError("PAYLOAD_TOO_LARGE", f"{told} Split it.", field="messages")
    told = f"This account may send {usage.limit:,} messages a minute this way."
    if usage.lane is Lane.CALLS:
        told = f"This account may make {usage.limit:,} calls a minute."
    headers = {"Retry-After": str(max(1, math.ceil(usage.wait_seconds)))}
    return ApiError("RATE_LIMITED", told, headers=headers)
