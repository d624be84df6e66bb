"""Retry schedule of failed deliveries, with jitter, and the Retry-After header of receivers."""

import random
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRY_SECONDS = (
    5,
    5 * 60,
    30 * 60,
    2 * 3600,
    5 * 3600,
    10 * 3600,
    14 * 3600,
    20 * 3600,
    24 * 3600,
)
"""Seconds to wait after each failed attempt; after the last attempt the delivery fails."""
JITTER = 0.1
"""Up to this share is added to each wait, so that deliveries that failed together spread out."""
MAX_RETRY_AFTER = 24 * 3600.0
"""Maximum Retry-After in seconds; a longer one counts as this."""
OVERLOADED = frozenset({429, 503})
"""Statuses whose Retry-After concerns the receiver as a whole, so all its deliveries wait."""


def retry_seconds(attempts: int, retry_after: float | None = None) -> float | None:
    """Return the seconds until the next attempt after that many failed ones (1 and up).

    At least `retry_after`, the seconds of a Retry-After header. None: no attempt is left.
    """
    if attempts > len(RETRY_SECONDS):
        return None
    scheduled = RETRY_SECONDS[attempts - 1] * (1 + random.uniform(0, JITTER))  # noqa: S311
    return max(scheduled, retry_after or 0.0)


def retry_after_seconds(header: str, now: datetime) -> float | None:
    """Return the seconds of a Retry-After header, 0 to MAX_RETRY_AFTER (RFC 9110, 10.2.3).

    None where the header is empty, or neither a number of seconds nor an HTTP date.
    """
    text = header.strip()
    if re.fullmatch(r"[0-9]+", text):
        # Python refuses to parse thousands of digits; ten digits are already three hundred years.
        return MAX_RETRY_AFTER if len(text.lstrip("0")) > 10 else min(float(text), MAX_RETRY_AFTER)
    try:
        at = parsedate_to_datetime(text)
        wait = (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(wait, 0.0), MAX_RETRY_AFTER)
