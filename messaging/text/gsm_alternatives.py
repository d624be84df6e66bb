"""What makes a text cheaper: plain characters for those that force UCS-2, no Arabic marks. Pure.

`“` and `"` look alike on a handset, but the first one makes every part hold 70 characters instead
of 160. Tashkeel and tatweel change no Arabic word, and each takes the place of a letter.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from messaging.text import encoding as sms
from messaging.text import variables
from messaging.text.encoding import Measure

_SAME: Final = {
    **dict.fromkeys("‘’‚‛′`´ʼʻ＇", "'"),
    **dict.fromkeys("“”„‟″«»＂", '"'),
    **dict.fromkeys("‐‑‒–—―−﹘﹣－", "-"),
    **dict.fromkeys("•‣·∙●", "*"),
    **dict.fromkeys("\t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
                    "\u200a\u202f\u205f\u3000", " "),
    **dict.fromkeys("\u2028\u2029\x0b\x85", "\n"),
    # Nothing is seen of these: soft hyphen, zero-width and direction marks, variation selectors.
    **dict.fromkeys("\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066"
                    "\u2067\u2068\u2069\ufeff\ufe0e\ufe0f", ""),
    "…": "...", "‹": "<", "›": ">", "⁄": "/", "∕": "/", "×": "x", "÷": "/", "™": "(TM)",
    "©": "(C)", "®": "(R)", "→": "->", "←": "<-", "≤": "<=", "≥": ">=", "≠": "<>", "≈": "~",
    "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ı": "i",
    "œ": "oe", "Œ": "OE", "¢": "c", "،": ",", "؛": ";", "؟": "?", "٪": "%", "﷼": "SAR",
    "\u20c1": "SAR",
}  # fmt: skip
# Tashkeel, superscript alef, and the signs of the Quran.
_MARKS: Final = re.compile("[\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8"
                           "\u06ea-\u06ed]")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Forcing:
    """A character that keeps a text out of GSM 03.38, and the plain one for it: None has none."""

    character: str
    replacement: str | None

    @property
    def code(self) -> str:
        return f"U+{ord(self.character):04X}"

    @property
    def name(self) -> str:
        """What Unicode calls it, for what cannot be seen."""
        return unicodedata.name(self.character, "").capitalize()

    @property
    def shown(self) -> str:
        """The character, or its code where nothing could be seen."""
        seen = self.character.isprintable() and not self.character.isspace()
        return (
            self.character if seen and unicodedata.category(self.character) != "Mn" else self.code
        )

    @property
    def replacement_shown(self) -> str:
        return {"": "∅", " ": "␣", "\n": "↵"}.get(self.replacement or "", self.replacement or "")

    @property
    def is_letter(self) -> bool:
        """Whether it is a letter or a sign on letters: words cannot do without."""
        return unicodedata.category(self.character)[0] in "LM"


def forcing(text: str) -> list[Forcing]:
    """The distinct characters that force UCS-2, in order, those of composed letters as one."""
    composed = unicodedata.normalize("NFC", text)
    return [Forcing(each, _plain(each)) for each in sms.forcing_ucs2(composed)]


def plain(text: str) -> str:
    """The text with a plain character for each that has one."""
    composed = unicodedata.normalize("NFC", text)
    return "".join([each if sms.is_gsm(each) else _plain_or_same(each) for each in composed])


def has_words_beyond(found: list[Forcing]) -> bool:
    """Whether letters are among them that have no plain ones: then replacing the others makes the
    text no shorter."""
    return any(each.replacement is None and each.is_letter for each in found)


def has_marks(text: str) -> bool:
    """Whether `without_marks` would take something away."""
    return without_marks(text) != text


def without_marks(text: str) -> str:
    """The text without tashkeel and tatweel. Hamza and madda stay on their letters."""
    if not _MARKS.search(text):
        return text
    return _MARKS.sub("", unicodedata.normalize("NFC", text))


@dataclass(frozen=True, slots=True)
class Advice:
    """What is to be said of a text while it is written.

    `filled`: with the values of its variables. `room`: units until it needs another part. `plain`
    and `bare`: what it would cost with plain characters, and without marks, where that changes it.
    """

    filled: str
    measure: Measure
    room: int
    forcing: tuple[Forcing, ...]
    plain: Measure | None
    bare: Measure | None

    @property
    def needs_unicode(self) -> bool:
        """Whether it is written in letters that GSM 03.38 has not."""
        return has_words_beyond(list(self.forcing))


def advice(text: str, values: Mapping[str, str]) -> Advice | None:
    """None for a text that cannot be sent: an empty one, or one with half a character."""
    filled = variables.fill(text, values)
    try:
        measure = sms.measure(filled)
    except ValueError:
        return None
    found = forcing(text)
    helps = any(each.replacement is not None for each in found) and not has_words_beyond(found)
    return Advice(
        filled,
        measure,
        sms.room(measure),
        tuple(found),
        _measure(plain(text), values) if helps else None,
        _measure(without_marks(text), values) if has_marks(text) else None,
    )


def _measure(text: str, values: Mapping[str, str]) -> Measure | None:
    filled = variables.fill(text, values)
    return sms.measure(filled) if filled else None


def _plain_or_same(character: str) -> str:
    found = _plain(character)
    return character if found is None else found


def _plain(character: str) -> str | None:
    """The plain character or characters for one; None where there are none."""
    known = _SAME.get(character)
    if known is not None:
        return known
    parts = unicodedata.normalize("NFKD", character)
    letters = "".join(
        _SAME.get(each, each) for each in parts if not unicodedata.category(each).startswith("M")
    )
    if letters and letters != character and sms.is_gsm(letters):
        return letters
    digit = unicodedata.decimal(character, None)
    return None if digit is None else str(digit)
