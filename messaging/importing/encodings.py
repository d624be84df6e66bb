"""Which encoding a file of text is in, judged by its bytes. Pure.

A byte order mark says it; else bytes that are UTF-8 throughout are UTF-8, since nothing else looks
like it by chance; else zero bytes at every other place are UTF-16. What is left has one byte for a
character: Arabic (Windows-1256, ISO 8859-6) or Western (Windows-1252), told apart by which of them
makes words of the bytes above ASCII.
"""

import codecs
import re
from collections.abc import Iterable
from typing import Final

from messaging.importing.reasons import FileReason

UTF_8, UTF_16_LE, UTF_16_BE = "utf-8", "utf-16-le", "utf-16-be"
WINDOWS_1256, WINDOWS_1252, ISO_8859_6 = "windows-1256", "windows-1252", "iso-8859-6"

NAMES: Final = {
    UTF_8: "UTF-8",
    UTF_16_LE: "UTF-16 LE",
    UTF_16_BE: "UTF-16 BE",
    WINDOWS_1256: "Windows-1256 (Arabic)",
    ISO_8859_6: "ISO 8859-6 (Arabic)",
    WINDOWS_1252: "Windows-1252 (Western)",
}
"""The encodings that files are read in, with their names for people."""

_MARKS: Final = (
    (codecs.BOM_UTF8, UTF_8),
    (codecs.BOM_UTF16_LE, UTF_16_LE),
    (codecs.BOM_UTF16_BE, UTF_16_BE),
)
_SAMPLE: Final = 64 * 1024
# No pattern that looks for a byte within a word: on a long word without it, that is quadratic.
_WORDS: Final = re.compile(rb"[A-Za-z\x80-\xff]+")
_LETTERS: Final = bytes(each for each in range(256) if _WORDS.fullmatch(bytes([each])))

# What else is sent by mistake, by the bytes that it begins with.
_FOREIGN: Final = (
    (b"PK\x03\x04", FileReason.WORKBOOK),
    (b"\xd0\xcf\x11\xe0", FileReason.WORKBOOK),
    (b"%PDF", FileReason.PDF),
    (b"\x89PNG", FileReason.IMAGE),
    (b"\xff\xd8\xff", FileReason.IMAGE),
    (b"GIF8", FileReason.IMAGE),
    (b"\x1f\x8b", FileReason.ARCHIVE),
    (b"Rar!", FileReason.ARCHIVE),
    (b"7z\xbc\xaf", FileReason.ARCHIVE),
    (b"\x7fELF", FileReason.PROGRAM),
    (b"MZ\x90\x00", FileReason.PROGRAM),
)


def foreign_kind(head: bytes) -> FileReason | None:
    """Return why a file that begins so is not text; None: it is text, as far as can be seen."""
    for mark, kind in _FOREIGN:
        if head.startswith(mark):
            return kind
    if _by_mark(head) or _utf16_by_zeros(head):
        return None
    controls = sum(byte < 32 and byte not in b"\t\n\v\f\r" for byte in head[:4096])
    return FileReason.BINARY if controls * 50 > len(head[:4096]) else None


def mark_length(encoding: str, head: bytes) -> int:
    """Return how many bytes of a byte order mark of that encoding the file begins with."""
    found = [mark for mark, name in _MARKS if name == encoding and head.startswith(mark)]
    return len(found[0]) if found else 0


def detect(pieces: Iterable[bytes]) -> str:
    """The encoding of a whole file, given in pieces of any size."""
    decoder = codecs.getincrementaldecoder(UTF_8)()
    head, begun, sample = b"", b"", bytearray()
    valid = True
    for piece in pieces:
        if len(head) < _SAMPLE:
            head += piece[: _SAMPLE - len(head)]
        if not sample and (marked := _by_mark(head)) is not None:
            return marked
        if valid:
            valid = _goes_on(decoder, piece)
        if len(sample) < _SAMPLE:
            begun += piece
            end = len(begun.rstrip(_LETTERS))
            words = _WORDS.findall(begun[:end])
            sample += b"".join(word + b"\n" for word in words if not word.isascii())
            begun = begun[end:][-_SAMPLE:]
    sixteen = _utf16_by_zeros(head)
    if sixteen is not None:
        return sixteen
    if valid and _goes_on(decoder, b"", final=True):
        return UTF_8
    return _one_byte(bytes(sample[:_SAMPLE]) + b"\n" + begun)


def _by_mark(head: bytes) -> str | None:
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def _goes_on(decoder: codecs.IncrementalDecoder, piece: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError:
        return False
    return True


def _utf16_by_zeros(head: bytes) -> str | None:
    """UTF-16 by its zero bytes: numbers and commas have one each, and text of one byte has none."""
    half = len(head) // 2
    if not half:
        return None
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if odd * 10 > half and even * 10 < odd:
        return UTF_16_LE
    if even * 10 > half and odd * 10 < even:
        return UTF_16_BE
    return None


# How usual a letter is, roughly: those that make nine tenths of a text, and the rest.
_USUAL: Final = {
    WINDOWS_1256: "اليمنوترهبةدسعكأقفحىجإئصشطغخذءآثضزؤظ",
    WINDOWS_1252: "éèàçêâîôûùëïüöäßáíóúñãõåæøÉÀÇÖÜÄÑÁÍÓÚ",
}
_ARABIC: Final = re.compile("[\u0621-\u0652]")
_LATIN: Final = re.compile("[A-Za-zÀ-ÖØ-öø-ÿœŒšŠžŽƒ]")


def _one_byte(sample: bytes) -> str:
    """The likeliest of the encodings with one byte for a character; of equals the Western one,
    which then reads what was looked at alike."""
    words = sample.split(b"\n")
    return max((WINDOWS_1252, WINDOWS_1256, ISO_8859_6), key=lambda each: _likelihood(each, words))


def _likelihood(encoding: str, words: list[bytes]) -> float:
    usual = _USUAL[WINDOWS_1252 if encoding == WINDOWS_1252 else WINDOWS_1256]
    return sum(_of_word(word.decode(encoding, "replace"), usual) for word in words)


def _of_word(word: str, usual: str) -> float:
    """Score how much a word looks like one: usual letters, one script, no capitals midway."""
    score = 0.0
    before = ""
    for letter in word:
        if not letter.isascii():
            if letter == "\ufffd":
                score -= 4
            elif letter in usual:
                score += 1 - usual.index(letter) / len(usual) / 2
            elif letter.isalpha():
                score -= 0.5
        if before and not (letter.isascii() and before.isascii()):
            mixed = _script(letter) * _script(before) < 0
            shouting = before.islower() and letter.isupper()
            foreign_run = _script(letter) > 0 and not letter.isascii() and not before.isascii()
            score -= 2 * mixed + 2 * shouting + 0.5 * foreign_run
        before = letter
    return score


def _script(letter: str) -> int:
    if _LATIN.match(letter):
        return 1
    return -1 if _ARABIC.match(letter) else 0
