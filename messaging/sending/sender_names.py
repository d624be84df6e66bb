"""Names that may stand as a message's sender. Pure: whether one may use it is decided elsewhere."""

import re
from typing import Final

from imissive.core.problems import Problem
from messaging.sending.reasons import SenderNameReason
from messaging.text import encoding

MAX_ALPHANUMERIC: Final = 11

_INTERNATIONAL: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_SHORT_CODE: Final = re.compile(r"[0-9]{3,8}")
_BETWEEN_DIGITS: Final = re.compile(r"[ ().-]")
# GSM's line ends, and its extension table, whose characters take two septets of a sender's eleven.
_UNUSABLE: Final = frozenset("\n\r\f^{}\\[~]|€")


class InvalidSenderName(ValueError):
    """A name that nobody can send by."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem.reason))
        self.problem = problem


def normalize(name: str) -> tuple[str, bool]:
    """The sender ID as it is stored and sent, and whether it is a number.

    Alphanumeric: 1 to 11 characters of the GSM basic alphabet, at least one of them a letter.
    Numeric: an international number with its plus (7 to 15 digits), or a short code (3 to 8).
    Raises InvalidSenderName.
    """
    name = name.strip(" ")
    if not name:
        raise InvalidSenderName(SenderNameReason.EMPTY.problem())
    if name.startswith("+"):
        number = _BETWEEN_DIGITS.sub("", name)
        if not _INTERNATIONAL.fullmatch(number):
            raise InvalidSenderName(SenderNameReason.BAD_NUMBER.problem())
        return number, True
    if name.isascii() and name.isdigit():
        if not _SHORT_CODE.fullmatch(name):
            raise InvalidSenderName(SenderNameReason.BAD_SHORT_CODE.problem())
        return name, True
    _check_alphanumeric(name)
    return name, False


def _check_alphanumeric(name: str) -> None:
    if len(name) > MAX_ALPHANUMERIC:
        raise InvalidSenderName(SenderNameReason.TOO_LONG.problem(most=MAX_ALPHANUMERIC))
    strange = next((c for c in name if c in _UNUSABLE or not encoding.is_gsm(c)), None)
    if strange is not None:
        shown = strange if strange.isprintable() else f"U+{ord(strange):04X}"
        raise InvalidSenderName(SenderNameReason.BAD_CHARACTER.problem(character=shown))
    if not any(character.isalpha() for character in name):
        raise InvalidSenderName(SenderNameReason.NO_LETTER.problem())
