"""How people and programs spell a phone number: out of its signs, the digits. Pure.

What a spreadsheet made of a number is undone where that is exact, and refused where digits are
lost: a guess would reach somebody else.
"""

import re
from dataclasses import dataclass
from typing import Final

from messaging.numbers.characters import bare, plain
from messaging.numbers.reasons import InvalidNumber, NumberReason

_LONGEST: Final = 64
"""No number is longer, whatever stands between its digits."""
_QUOTED: Final = re.compile(r"=?\s*\"(.*)\"|=?\s*'(.*?)'?")
_SCHEME: Final = re.compile(r"(?:tel|sms|smsto|callto|whatsapp)\s*:\s*(?://)?", re.IGNORECASE)
# 9.66501234502E11, 9,66501E+11 and the like.
_SCIENTIFIC: Final = re.compile(r"(\+?)\s*([0-9]+)(?:[.,]([0-9]*))?\s*[eE]\s*\+?\s*([0-9]{1,3})")
# One dot or comma and nothing but zeros, or fewer digits than any group of a number has.
_FRACTION: Final = re.compile(r"(\+?\s*[0-9]{7,})[.,](0+|[0-9]{1,2})")
_THOUSANDS: Final = re.compile(r"\+?[0-9]{1,3}(?:,[0-9]{3})+(?:\.0+)?")
_TRUNK: Final = re.compile(r"\(\s*0\s*\)")
_DIGITS: Final = re.compile(r"(\+|00)?([0-9]+)(\+)?")


@dataclass(frozen=True, slots=True)
class Spelling:
    """The digits of a number, and whether they begin with a country's calling code: then there was
    a `+` or `00` before them."""

    digits: str
    international: bool


def read(raw: str) -> Spelling:
    """Return the digits that were meant. Raises InvalidNumber."""
    if len(raw) > _LONGEST:
        raise InvalidNumber(NumberReason.TOO_LONG)
    text = plain(raw).strip()
    quoted = _QUOTED.fullmatch(text)
    if quoted is not None:
        text = (quoted[1] or quoted[2] or "").strip()
    text = _SCHEME.sub("", text, count=1) if _SCHEME.match(text) else text
    found = _DIGITS.fullmatch(bare(_without_trunk(_undone(text))))
    if found is None or (found[3] and found[1] == "+"):
        raise InvalidNumber(NumberReason.NOT_A_NUMBER)
    sign, digits, after = found.groups()
    if sign == "+":
        digits = digits.removeprefix("00")
    # In a line from right to left the plus is typed, or stored, after the number.
    return Spelling(digits, international=bool(sign or after))


def _undone(text: str) -> str:
    """Return the text as it was before a spreadsheet took the number for a quantity."""
    found = _SCIENTIFIC.fullmatch(text)
    if found is not None:
        return found[1] + _exact(found[2], found[3] or "", int(found[4]))
    found = _FRACTION.fullmatch(text)
    if found is not None:
        if found[2].strip("0"):
            raise InvalidNumber(NumberReason.DAMAGED)
        return found[1]
    if _THOUSANDS.fullmatch(text):
        return text.partition(".")[0].replace(",", "")
    return text


def _exact(whole: str, fraction: str, exponent: int) -> str:
    """Return the digits of a number in scientific notation.

    Raises InvalidNumber where not all of them are written: a program may have left out zeros, but a
    spreadsheet rounds.
    """
    rest = fraction[exponent:]
    if len(fraction) < exponent or rest.strip("0"):
        raise InvalidNumber(NumberReason.DAMAGED)
    return (whole + fraction[:exponent]).lstrip("0")


def _without_trunk(text: str) -> str:
    """Return the text without a `(0)` after a calling code, which is dialed at home only."""
    found = _TRUNK.search(text)
    if found is None:
        return text
    before = text[: found.start()]
    zero = "" if re.search(r"[0-9]", before) else "0"
    return before + zero + text[found.end() :]
