"""Whether one more code may go to a number, by those that went there before. Pure."""

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
    """When codes went to a number within a day, newest first: the organization's own, and all.

    `unproved`: when the organization's last one went, unless its code was given back rightly: who
    proves to have the phone may have the next code at once.
    """

    own: Sequence[datetime]
    all: Sequence[datetime]
    unproved: datetime | None


def check(history: History, rules: Rules, number_limit: int, now: datetime) -> None:
    """Refuse a code that would be one too many, or too soon.

    `number_limit`: codes a day to one number, of all organizations together. Raises ApiError:
    TOO_MANY_ATTEMPTS, OTP_COOLDOWN. Both say in Retry-After when the same call passes.
    """
    waits = [
        _wait(history.own, rules.ten_minutes, TEN_MINUTES, now),
        _wait(history.own, rules.day, DAY, now),
        _wait(history.all, number_limit, DAY, now),
    ]
    cooldown = timedelta()
    if history.unproved is not None:
        cooldown = history.unproved + rules.cooldown - now
    wait = max(waits)
    if wait > timedelta():
        raise ApiError(
            LimitReason.TOO_MANY_CODES, "phone", headers=_retry_after(max(wait, cooldown))
        )
    if cooldown > timedelta():
        seconds = math.ceil(rules.cooldown.total_seconds())
        headers = _retry_after(cooldown)
        raise ApiError(LimitReason.COOLDOWN, "phone", headers=headers, seconds=seconds)


def _wait(times: Sequence[datetime], limit: int, span: timedelta, now: datetime) -> timedelta:
    """How long until fewer than `limit` of the times are within the span before now."""
    if len(times) < limit:
        return timedelta()
    return max(timedelta(), times[limit - 1] + span - now)


def _retry_after(wait: timedelta) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(wait.total_seconds())))}
