"""When what failed is tried again: by our schedule, and never sooner than the receiver asks."""

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
"""The wait after the first failed attempt, after the second, and so on; then it is given up."""
JITTER = 0.1
"""Up to this share is added to each wait, so that what failed together does not return together."""
LONGEST_ASKED = 24 * 3600.0
"""Seconds that a receiver may ask for; more counts as this."""
OVERLOADED = frozenset({429, 503})
"""With these a Retry-After is about the receiver, not about one post: all its posts wait."""


def retry_seconds(attempts: int, asked: float | None = None) -> float | None:
    """The wait after that many failed attempts (1 and up), at least the `asked` seconds.

    None: no attempt is left.
    """
    if attempts > len(RETRY_SECONDS):
        return None
    scheduled = RETRY_SECONDS[attempts - 1] * (1 + random.uniform(0, JITTER))  # noqa: S311
    return max(scheduled, asked or 0.0)


def asked_seconds(retry_after: str, now: datetime) -> float | None:
    """The seconds that a Retry-After header asks for, 0 to LONGEST_ASKED (RFC 9110, 10.2.3).

    None where it is missing or neither seconds nor an HTTP date.
    """
    text = retry_after.strip()
    if re.fullmatch(r"[0-9]+", text):
        # Python refuses to read thousands of digits; ten are three hundred years.
        return LONGEST_ASKED if len(text.lstrip("0")) > 10 else min(float(text), LONGEST_ASKED)
    try:
        at = parsedate_to_datetime(text)
        wait = (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(wait, 0.0), LONGEST_ASKED)
