"""Limits of codes to one phone number: cooldown, and codes per ten minutes and per day. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from imissive.core.errors import ApiError
from otp.limits.reasons import LimitReason
from otp.limits.rules import Rules

TEN_MINUTES, DAY = timedelta(minutes=10), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class History:
    """Times of the codes sent to a number within a day, newest first: the organization's, and all.

    `unverified`: time of the organization's latest code if that was not verified. There is no
    cooldown after a successful verification.
    """

    own: Sequence[datetime]
    all: Sequence[datetime]
    unverified: datetime | None


def check(history: History, rules: Rules, number_limit: int, now: datetime) -> None:
    """Refuse a code that exceeds a limit or comes within the cooldown.

    `number_limit`: codes per day to one number, of all organizations together. Raises ApiError
    TOO_MANY_ATTEMPTS or OTP_COOLDOWN, with the exact Retry-After in seconds (RFC 9110, 10.2.3).
    """
    waits = [
        _wait(history.own, rules.ten_minutes, TEN_MINUTES, now),
        _wait(history.own, rules.day, DAY, now),
        _wait(history.all, number_limit, DAY, now),
    ]
    cooldown = timedelta()
    if history.unverified is not None:
        cooldown = history.unverified + rules.cooldown - now
    wait = max(waits)
    if wait > timedelta():
        raise ApiError(
            LimitReason.TOO_MANY_CODES, "phone", headers=_retry_after(max(wait, cooldown))
        )
    if cooldown > timedelta():
        seconds = math.ceil(rules.cooldown.total_seconds())
        headers = _retry_after(cooldown)
        raise ApiError(LimitReason.COOLDOWN, "phone", headers=headers, seconds=seconds)


def _wait(times: Sequence[datetime], limit: int, period: timedelta, now: datetime) -> timedelta:
    """Return the time until fewer than `limit` of the times are within the last `period`."""
    if len(times) < limit:
        return timedelta()
    return max(timedelta(), times[limit - 1] + period - now)


def _retry_after(wait: timedelta) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(wait.total_seconds())))}
