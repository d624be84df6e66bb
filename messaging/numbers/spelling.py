"""Extraction of a phone number's digits from the many spellings of people and programs. Pure.

Changes by a spreadsheet are reverted if that is exact, and refused if digits are lost: a guess
could reach the wrong person.
"""

import re
from dataclasses import dataclass
from typing import Final

from messaging.numbers.characters import bare, plain
from messaging.numbers.reasons import InvalidNumber, NumberReason

_LONGEST: Final = 64
"""The maximum length of a number, including all characters between its digits."""
_QUOTED: Final = re.compile(r"=?\s*\"(.*)\"|=?\s*'(.*?)'?")
_SCHEME: Final = re.compile(r"(?:tel|sms|smsto|callto|whatsapp)\s*:\s*(?://)?", re.IGNORECASE)
# 9.66501234502E11, 9,66501E+11 and the like.
_SCIENTIFIC: Final = re.compile(r"(\+?)\s*([0-9]+)(?:[.,]([0-9]*))?\s*[eE]\s*\+?\s*([0-9]{1,3})")
# One dot or comma, followed by only zeros, or by fewer digits than any group of a number.
_FRACTION: Final = re.compile(r"(\+?\s*[0-9]{7,})[.,](0+|[0-9]{1,2})")
_THOUSANDS: Final = re.compile(r"\+?[0-9]{1,3}(?:,[0-9]{3})+(?:\.0+)?")
# 1234567.0 with separators before: neither the separator of a group nor a spreadsheet's own.
_UNCLEAR_ZEROS: Final = re.compile(r"[^.,]*[0-9][^.,]*[.,]0{1,2}")
_EXIT_CODE: Final = re.compile(r"[^0-9]*00")
_TRUNK: Final = re.compile(r"\(\s*0\s*\)")
_DIGITS: Final = re.compile(r"(\+|00)?([0-9]+)(\+)?")


@dataclass(frozen=True, slots=True)
class Spelling:
    """The digits of a number, and whether they start with a calling code, after `+` or `00`."""

    digits: str
    international: bool


def read(raw: str) -> Spelling:
    """Return the intended digits. Raise InvalidNumber."""
    if len(raw) > _LONGEST:
        raise InvalidNumber(NumberReason.TOO_LONG)
    text = plain(raw).strip()
    quoted = _QUOTED.fullmatch(text)
    if quoted is not None:
        text = (quoted[1] or quoted[2] or "").strip()
    text = _SCHEME.sub("", text, count=1) if _SCHEME.match(text) else text
    text = _without_trunk(_reverted(text))
    match = _DIGITS.fullmatch(bare(text))
    if match is None or (match[3] and match[1] == "+"):
        raise InvalidNumber(NumberReason.NOT_A_NUMBER)
    if match[1] == "00" and not _EXIT_CODE.match(text):
        # "0 0966…": two zeros that only come together here do not mean another country.
        raise InvalidNumber(NumberReason.NOT_A_NUMBER)
    sign, digits, after = match.groups()
    if sign == "+":
        digits = digits.removeprefix("00")
    # In right-to-left text, the plus may be typed or stored after the number.
    return Spelling(digits, international=bool(sign or after))


def _reverted(text: str) -> str:
    """Return the text as it was before a spreadsheet treated the number as a quantity."""
    match = _SCIENTIFIC.fullmatch(text)
    if match is not None:
        return match[1] + _exact(match[2], match[3] or "", int(match[4]))
    match = _FRACTION.fullmatch(text)
    if match is not None:
        if match[2].strip("0"):
            raise InvalidNumber(NumberReason.DAMAGED)
        return match[1]
    if _THOUSANDS.fullmatch(text):
        return text.partition(".")[0].replace(",", "")
    if _UNCLEAR_ZEROS.fullmatch(text):
        raise InvalidNumber(NumberReason.DAMAGED)
    return text


def _exact(whole: str, fraction: str, exponent: int) -> str:
    """Return the digits of a number in scientific notation.

    Raises InvalidNumber if some are missing: a program may have omitted zeros, but a spreadsheet
    rounds.
    """
    rest = fraction[exponent:]
    if len(fraction) < exponent or rest.strip("0"):
        raise InvalidNumber(NumberReason.DAMAGED)
    return (whole + fraction[:exponent]).lstrip("0")


def _without_trunk(text: str) -> str:
    """Return the text without a `(0)` after a calling code, which is only dialed nationally."""
    match = _TRUNK.search(text)
    if match is None:
        return text
    before, after = text[: match.start()], text[match.end() :]
    written = re.search(r"[0-9]", before) or re.match(r"[^0-9]*0", after)
    return before + ("" if written else "0") + after
