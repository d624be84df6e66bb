"""Phone numbers that were typed or pasted into one field. Pure."""

import re

from messaging.numbers import e164
from messaging.numbers.characters import digits

_DIALED = re.compile(r"^00?(?=[1-9])")
_BETWEEN = re.compile(r"[\n\r\t,;،؛|]+")


def written_numbers(written: str, home: str, at_most: int | None = None) -> list[str]:
    """Return the numbers of a text as written: one per line, or separated by commas and the like.

    Blanks belong to a number, unless each piece between them is a number but the whole is not.
    `home` is the country of numbers without a code. Reading stops after one more than `at_most`, so
    that the caller can tell that there are more.
    """
    numbers: list[str] = []
    for entry in map(str.strip, _BETWEEN.split(written)):
        if not entry:
            continue
        if at_most is not None and len(numbers) > at_most:
            break
        pieces = entry.split()
        if (
            len(pieces) > 1
            and not _is_number(entry, home)
            and all(_is_number(piece, home) for piece in pieces)
        ):
            numbers += pieces
        else:
            numbers.append(entry)
    return numbers


def search_terms(text: str, home: str) -> tuple[str, str]:
    """Return a search's full number in E.164, or else its digits; the other one is empty.

    The digits are those of E.164, without a dialed `0` or `00` before them. Both are empty for a
    text without digits.
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
