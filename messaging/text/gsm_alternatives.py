"""GSM alternatives: replacements for characters that force UCS-2, and Arabic without marks. Pure.

`“` and `"` look alike on a handset, but the first one reduces every part from 160 characters to 70.
Tashkeel and tatweel change no Arabic word, and each takes the space of a letter.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from messaging.text import encoding as sms
from messaging.text import variables
from messaging.text.encoding import Measure

_ALTERNATIVES: Final = {
    **dict.fromkeys("‘’‚‛′`´ʼʻ＇", "'"),
    **dict.fromkeys("“”„‟″«»＂", '"'),
    **dict.fromkeys("‐‑‒–—―−﹘﹣－", "-"),
    **dict.fromkeys("•‣·∙●", "*"),
    **dict.fromkeys("\t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
                    "\u200a\u202f\u205f\u3000", " "),
    **dict.fromkeys("\u2028\u2029\x0b\x85", "\n"),
    # Invisible characters: soft hyphen, zero-width and direction marks, variation selectors.
    **dict.fromkeys("\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066"
                    "\u2067\u2068\u2069\ufeff\ufe0e\ufe0f", ""),
    "…": "...", "‹": "<", "›": ">", "⁄": "/", "∕": "/", "×": "x", "÷": "/", "™": "(TM)",
    "©": "(C)", "®": "(R)", "→": "->", "←": "<-", "≤": "<=", "≥": ">=", "≠": "<>", "≈": "~",
    "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ı": "i",
    "œ": "oe", "Œ": "OE", "¢": "c", "،": ",", "؛": ";", "؟": "?", "٪": "%", "﷼": "SAR",
    "\u20c1": "SAR",
}  # fmt: skip
# Tashkeel, superscript alef, and the Quranic signs.
_MARKS: Final = re.compile("[\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8"
                           "\u06ea-\u06ed]")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Forcing:
    """A character that forces UCS-2, and its GSM alternative, None if it has none."""

    character: str
    replacement: str | None

    @property
    def code(self) -> str:
        """The code point, such as U+201C."""
        return f"U+{ord(self.character):04X}"

    @property
    def name(self) -> str:
        """The character's name in Unicode, for invisible ones."""
        return unicodedata.name(self.character, "").capitalize()

    @property
    def shown(self) -> str:
        """The character, or its code point where it is invisible."""
        visible = (
            self.character.isprintable()
            and not self.character.isspace()
            and unicodedata.category(self.character) != "Mn"
        )
        return self.character if visible else self.code

    @property
    def replacement_shown(self) -> str:
        """The alternative, with symbols for nothing, a blank and a line break."""
        return {"": "∅", " ": "␣", "\n": "↵"}.get(self.replacement or "", self.replacement or "")

    @property
    def is_letter(self) -> bool:
        """True for a letter or a mark of letters, which a word needs."""
        return unicodedata.category(self.character)[0] in "LM"


def forcing(text: str) -> list[Forcing]:
    """Return the distinct characters that force UCS-2, in order; composed letters count as one."""
    composed = unicodedata.normalize("NFC", text)
    return [Forcing(each, _plain(each)) for each in sms.forcing_ucs2(composed)]


def plain(text: str) -> str:
    """Return the text with the GSM alternatives of all characters that have one."""
    composed = unicodedata.normalize("NFC", text)
    return "".join([each if sms.is_gsm(each) else _plain_or_same(each) for each in composed])


def has_words_beyond(found: list[Forcing]) -> bool:
    """Return whether some are letters without an alternative.

    The text then stays UCS-2, and replacing the other characters makes it no cheaper.
    """
    return any(each.replacement is None and each.is_letter for each in found)


def has_marks(text: str) -> bool:
    """Return whether `without_marks` would remove anything."""
    return without_marks(text) != text


def without_marks(text: str) -> str:
    """Return the text without tashkeel and tatweel. Hamza and madda stay on their letters."""
    if not _MARKS.search(text):
        return text
    return _MARKS.sub("", unicodedata.normalize("NFC", text))


@dataclass(frozen=True, slots=True)
class Advice:
    """Advice on a text while it is written.

    `filled`: the text with the values of its variables. `room`: units until it needs another part.
    `plain` and `bare`: its size with GSM alternatives and without Arabic marks, where these help.
    """

    filled: str
    measure: Measure
    room: int
    forcing: tuple[Forcing, ...]
    plain: Measure | None
    bare: Measure | None

    @property
    def needs_unicode(self) -> bool:
        """True where it has letters outside GSM 03.38 that have no alternative."""
        return has_words_beyond(list(self.forcing))


def advice(text: str, values: Mapping[str, str]) -> Advice | None:
    """Return advice on a text, with `values` in place of its variables.

    None for a text that cannot be sent: an empty one, or one with an unpaired surrogate.
    """
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
    """Return the GSM alternative of a character, which may be several or none; None without one."""
    replacement = _ALTERNATIVES.get(character)
    if replacement is not None:
        return replacement
    parts = unicodedata.normalize("NFKD", character)
    letters = "".join(
        _ALTERNATIVES.get(each, each)
        for each in parts
        if not unicodedata.category(each).startswith("M")
    )
    if letters and letters != character and sms.is_gsm(letters):
        return letters
    digit = unicodedata.decimal(character, None)
    return None if digit is None else str(digit)
