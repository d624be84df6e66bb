"""Normalization of the characters in pasted numbers, the same for every field. Pure.

Phones, chats, web pages and spreadsheets add invisible marks, write digits in other scripts, and
use many kinds of spaces, dashes and dots. Unicode defines each of them, not a list of ours.
"""

import re
import unicodedata
from typing import Final

# Default_Ignorable_Code_Point (Unicode 15.1) that is not of the category Cf, and keycaps.
_IGNORABLE: Final = (
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2065, 0x2065),
    (0x20E3, 0x20E3),  # the mark that makes a digit a keycap
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0xE0000, 0xE0FFF),  # tags, and more variation selectors
)
_BLANK: Final = frozenset("\u2800")  # a Braille cell without dots
_DASHES: Final = frozenset("\u2043\u2212\u30fc\uff70")
_DOTS: Final = frozenset("\u00b7\u06d4\u2022\u2024\u22c5\u3002\uff61")
_SAME: Final = {"\u066b": ".", "\u066c": ",", "\u060c": ",", "\u2795": "+"}
_BETWEEN: Final = re.compile(r"[\s\-./()\[\]~]+")
_MOST_KEPT: Final = 4_096


class _Characters(dict[int, str]):
    """The meaning of each character, computed on its first use."""

    def __missing__(self, code: int) -> str:
        meaning = _meaning(chr(code))
        if len(self) < _MOST_KEPT:  # limits the memory, even for a text with all of Unicode
            self[code] = meaning
        return meaning


def _meaning(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if character.isspace() or category[0] == "Z" or character in _BLANK:
        return " "
    code = ord(character)
    if category == "Cf" or any(first <= code <= last for first, last in _IGNORABLE):
        return ""
    if category == "Pd" or character in _DASHES:
        return "-"
    if character in _DOTS:
        return "."
    if character in _SAME:
        return _SAME[character]
    # Full-width, raised and other forms of an ASCII character.
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 and plain.isascii() else character


_CHARACTERS: Final = _Characters()


def plain(text: str) -> str:
    """Return the text as typed: digits, blanks and signs in ASCII, without invisible marks."""
    if text.isascii():
        return text
    return text.translate(_CHARACTERS)


def bare(text: str) -> str:
    """Return the text without the characters that people put between digits."""
    return _BETWEEN.sub("", plain(text))


def digits(text: str) -> str:
    """Return the digits of a text, in ASCII."""
    return "".join(each for each in plain(text) if "0" <= each <= "9")
