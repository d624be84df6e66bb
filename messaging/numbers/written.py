"""The phone numbers that somebody typed or pasted into one field. Pure."""

import re

from messaging.numbers import e164
from messaging.numbers.characters import digits

_DIALED = re.compile(r"^00?(?=[1-9])")
_BETWEEN = re.compile(r"[\n\r\t,;،؛|]+")


def written_numbers(written: str, home: str, at_most: int | None = None) -> list[str]:
    """Return the numbers of a text as written: one per line, or separated by commas and the like.

    Blanks belong to a number, unless it is not one with them and each of its pieces is. `home` is
    the country of numbers without a code. Reading stops after one more than `at_most`, so that the
    caller sees that there are more.
    """
    found: list[str] = []
    for entry in map(str.strip, _BETWEEN.split(written)):
        if not entry:
            continue
        if at_most is not None and len(found) > at_most:
            break
        pieces = entry.split()
        if (
            len(pieces) > 1
            and not _is_number(entry, home)
            and all(_is_number(piece, home) for piece in pieces)
        ):
            found += pieces
        else:
            found.append(entry)
    return found


def sought(text: str, home: str) -> tuple[str, str]:
    """Return what a search is for: a whole number in E.164, in any spelling, or digits of one.

    The digits are as they stand in E.164, so without the `0` or `00` that is dialed before them.
    Both are empty where there is no digit.
    """
    for parse in (e164.parse, e164.parse_with_code):
        try:
            return parse(text, home).e164, ""
        except e164.InvalidNumber:
            continue
    return "", _DIALED.sub("", digits(text))


def _is_number(written: str, home: str) -> bool:
    try:
        e164.parse(written, home)
    except e164.InvalidNumber:
        return False
    return True
