"""What may stand as a message's sender. Pure: nothing is known of who may use it."""

import re
from typing import Final

from messaging.text import encoding

MAX_ALPHANUMERIC: Final = 11

_INTERNATIONAL: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_SHORT_CODE: Final = re.compile(r"[0-9]{3,8}")
_BETWEEN_DIGITS: Final = re.compile(r"[ ().-]")
# GSM's line ends, and its extension table, whose characters take two septets of a sender's eleven.
_UNUSABLE: Final = frozenset("\n\r\f^{}\\[~]|€")


class InvalidSenderName(ValueError):
    """Says what is wrong, in a sentence."""


def normalize(name: str) -> tuple[str, bool]:
    """The sender ID as it is stored and sent, and whether it is a number.

    Alphanumeric: 1 to 11 characters of the GSM basic alphabet, at least one of them a letter.
    Numeric: an international number with its plus (7 to 15 digits), or a short code (3 to 8).
    Raises InvalidSenderName.
    """
    name = name.strip(" ")
    if not name:
        raise InvalidSenderName("A sender ID needs at least one character.")
    if name.startswith("+"):
        number = _BETWEEN_DIGITS.sub("", name)
        if not _INTERNATIONAL.fullmatch(number):
            raise InvalidSenderName(
                "A numeric sender ID is a plus and 7 to 15 digits, such as +966500000000."
            )
        return number, True
    if name.isascii() and name.isdigit():
        if not _SHORT_CODE.fullmatch(name):
            raise InvalidSenderName(
                "A short code has 3 to 8 digits; begin an international number with a plus."
            )
        return name, True
    _check_alphanumeric(name)
    return name, False


def _check_alphanumeric(name: str) -> None:
    if len(name) > MAX_ALPHANUMERIC:
        raise InvalidSenderName(f"A sender ID has at most {MAX_ALPHANUMERIC} characters.")
    strange = next((c for c in name if c in _UNUSABLE or not encoding.is_gsm(c)), None)
    if strange is not None:
        raise InvalidSenderName(
            f"The character {strange!r} cannot be in a sender ID: handsets show only Latin"
            " letters, digits, spaces and common punctuation there."
        )
    if not any(character.isalpha() for character in name):
        raise InvalidSenderName("A sender ID needs at least one letter, unless it is a number.")
