"""Schedules: the contract's rules for when messages may be sent, wherever they come from."""

from datetime import UTC, datetime, timedelta

from imissive.core import clock
from imissive.core.errors import ApiError
from messaging.sending.reasons import SendingReason

CLOCK_SKEW = timedelta(minutes=1)
FARTHEST_SCHEDULE = timedelta(days=90)


def parse_schedule(text: str | None) -> datetime | None:
    """The time to send at, or None for at once, which a time of a moment ago means too.

    Raises ApiError INVALID_SCHEDULE for what is no time, has no offset, is past or too far ahead.
    """
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ApiError(SendingReason.NOT_A_TIME, "scheduled_at")
    return check_schedule(at)


def check_schedule(at: datetime) -> datetime | None:
    """The same for a time that is read already (aware)."""
    now = clock.now()
    if at < now - CLOCK_SKEW:
        raise ApiError(SendingReason.TIME_PASSED, "scheduled_at")
    if at > now + FARTHEST_SCHEDULE:
        days = FARTHEST_SCHEDULE.days
        raise ApiError(SendingReason.TIME_TOO_FAR, "scheduled_at", days=days)
    return at.astimezone(UTC) if at > now else None
