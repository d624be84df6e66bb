"""The phone numbers that somebody typed or pasted into one field. Pure."""

import re

from messaging.numbers import e164

_BETWEEN = re.compile(r"[\n\r\t,;،؛|]+")


def written_numbers(written: str, at_most: int | None = None) -> list[str]:
    """Return the numbers of a text as written: one per line, or separated by commas and the like.

    Blanks belong to a number, unless it is not one with them and each of its pieces is. Reading
    stops after one more than `at_most`, so that the caller sees that there are more.
    """
    found: list[str] = []
    for entry in map(str.strip, _BETWEEN.split(written)):
        if not entry:
            continue
        if at_most is not None and len(found) > at_most:
            break
        pieces = entry.split()
        if len(pieces) > 1 and not _is_number(entry) and all(map(_is_number, pieces)):
            found += pieces
        else:
            found.append(entry)
    return found


def _is_number(written: str) -> bool:
    try:
        e164.parse(written)
    except e164.InvalidNumber:
        return False
    return True
