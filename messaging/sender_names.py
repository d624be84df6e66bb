"""What may stand as a message's sender. Pure: nothing is known of who may use it."""

import re
from typing import Final

from messaging import text

MAX_ALPHANUMERIC: Final = 11

_INTERNATIONAL: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_SHORT_CODE: Final = re.compile(r"[0-9]{3,8}")
_BETWEEN_DIGITS: Final = re.compile(r"[ ().-]")
# GSM's line ends, and its extension table, whose characters take two septets of a sender's eleven.
_UNUSABLE: Final = frozenset("\n\r\f^{}\\[~]|€")
ASCII, LATIN_1, GSM = "ascii", "latin1", "gsm"
_CODECS: Final = {ASCII: "ascii", LATIN_1: "latin-1"}


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


def written(name: str, coding: str) -> str | None:
    """Return a sender ID as a carrier with that coding of senders wants it; None where it cannot
    be written so. Each character of the result stands for an octet of source_addr."""
    if coding == GSM:
        if not text.is_gsm(name):
            return None
        octets = text.written_in_gsm(name)
    else:
        try:
            octets = name.encode(_CODECS[coding])
        except UnicodeEncodeError:
            return None
    # A NUL ends source_addr (SMPP 3.4, 3.1), and GSM's `@` is one.
    return None if b"\0" in octets else octets.decode("latin-1")


def _check_alphanumeric(name: str) -> None:
    if len(name) > MAX_ALPHANUMERIC:
        raise InvalidSenderName(f"A sender ID has at most {MAX_ALPHANUMERIC} characters.")
    strange = next((c for c in name if c in _UNUSABLE or not text.is_gsm(c)), None)
    if strange is not None:
        raise InvalidSenderName(
            f"The character {strange!r} cannot be in a sender ID: handsets show only Latin"
            " letters, digits, spaces and common punctuation there."
        )
    if not any(character.isalpha() for character in name):
        raise InvalidSenderName("A sender ID needs at least one letter, unless it is a number.")
