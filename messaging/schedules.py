"""When messages may be sent: the contract's rules for a schedule, wherever it comes from."""

from datetime import UTC, datetime, timedelta

from imissive import clock
from imissive.errors import ApiError

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
        told = "Write the time as ISO 8601 with its offset, such as 2027-01-15T10:00:00Z."
        raise ApiError("INVALID_SCHEDULE", told, field="scheduled_at")
    return check_schedule(at)


def check_schedule(at: datetime) -> datetime | None:
    """The same for a time that is read already (aware)."""
    now = clock.now()
    if at < now - CLOCK_SKEW:
        raise ApiError("INVALID_SCHEDULE", "The time has passed.", field="scheduled_at")
    if at > now + FARTHEST_SCHEDULE:
        told = f"The time is more than {FARTHEST_SCHEDULE.days} days ahead."
        raise ApiError("INVALID_SCHEDULE", told, field="scheduled_at")
    return at.astimezone(UTC) if at > now else None
