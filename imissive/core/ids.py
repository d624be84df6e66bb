"""Public ids: a prefix, `_`, and a UUIDv7 in 26 characters of Crockford's base 32.

The database stores the UUID (16 bytes, time-ordered, 73 random bits: RFC 9562, 5.7), so that new
rows go to the end of each index, and ids of other rows cannot be guessed.
"""

import os
import threading
import uuid
from datetime import UTC, datetime, timedelta

from imissive.core import clock

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
# Two characters have ten bits: half as many steps as one character at a time.
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}

MESSAGE, BATCH, ENDPOINT, DELIVERY, EVENT, SENDER, KEY, ORGANIZATION, OTP = (
    "msg", "bat", "whk", "dlv", "evt", "snd", "key", "org", "otp",
)  # fmt: skip
TEMPLATE, CONTACT, CONTACT_LIST, SUPPRESSION = "tpl", "con", "lst", "sup"
CAMPAIGN = "cam"
EXPORT = "exp"


_guard = threading.Lock()
_last = (0, 0)
"""The newest id of this process: its millisecond, and the 74 bits after it."""


def new_uuid() -> uuid.UUID:
    """Return a new UUIDv7, greater than all that this process created in the same millisecond.

    Rows that are created one after the other are therefore listed in that order (RFC 9562, 6.2,
    method 2). The first id of a millisecond leaves its highest bit for the others; the step between
    two ids has 58 random bits.
    """
    global _last
    random = int.from_bytes(os.urandom(10), "big") >> 7
    with _guard:
        # Read inside the lock: a thread that read it earlier could create an id that is smaller
        # than another thread's.
        milliseconds = clock.time_ns() // 1_000_000
        if _last[0] == milliseconds and (after := _last[1] + 1 + (random >> 15)) < 1 << 74:
            random = after
        _last = (milliseconds, random)
    value = (
        (milliseconds & 0xFFFF_FFFF_FFFF) << 80
        | 0x7 << 76
        | (random >> 62) << 64
        | 0b10 << 62
        | random & 0x3FFF_FFFF_FFFF_FFFF
    )
    return uuid.UUID(int=value)


def first_id_at(moment: datetime) -> uuid.UUID:
    """Return the smallest id of a row created at that moment or later (UUIDv7, RFC 9562, 5.7).

    The moment is aware; one before 1970 counts as 1970.
    """
    milliseconds = max(0, (moment - _EPOCH) // timedelta(milliseconds=1))
    return uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | 0b10 << 62)


def time_of(value: uuid.UUID) -> datetime:
    """Return the time at which a UUIDv7 was created, in UTC to the millisecond."""
    return _EPOCH + timedelta(milliseconds=value.int >> 80)


def public_id(prefix: str, value: uuid.UUID) -> str:
    """Return the id as customers see it, such as `msg_06f4…`: prefix, `_` and 26 characters."""
    number = value.int
    pairs = _PAIRS
    return (
        f"{prefix}_{pairs[number >> 120]}{pairs[number >> 110 & 1023]}"
        f"{pairs[number >> 100 & 1023]}{pairs[number >> 90 & 1023]}{pairs[number >> 80 & 1023]}"
        f"{pairs[number >> 70 & 1023]}{pairs[number >> 60 & 1023]}{pairs[number >> 50 & 1023]}"
        f"{pairs[number >> 40 & 1023]}{pairs[number >> 30 & 1023]}{pairs[number >> 20 & 1023]}"
        f"{pairs[number >> 10 & 1023]}{pairs[number & 1023]}"
    )


_LAST_MILLISECOND = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


def parse_id(prefix: str, text: str) -> uuid.UUID | None:
    """Return the UUID of a public id, or None if the text is not an id with that prefix."""
    head, _, tail = text.partition("_")
    if head != prefix or len(tail) != 26:
        return None
    number = 0
    for character in tail:
        value = _VALUES.get(character)
        if value is None:
            return None
        number = number << 5 | value
    # Python has no time after the year 9999, and no row was created then.
    return uuid.UUID(int=number) if number >> 80 <= _LAST_MILLISECOND else None


def pattern(prefix: str) -> str:
    """Return the regular expression of the public ids with that prefix, for JSON schemas.

    It has the ids of all times before the year 9774, and none that `parse_id` refuses.
    """
    return f"^{prefix}_[0-6][{_ALPHABET}]{{25}}$"
