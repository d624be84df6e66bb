"""Detection of a text file's encoding by its bytes. Pure.

A byte order mark decides; else bytes that are all valid UTF-8 are UTF-8, which never happens by
chance; else zero bytes in every other position mean UTF-16. The rest has one byte per character,
Arabic (Windows-1256, ISO 8859-6) or Western (Windows-1252): the encoding in which the bytes above
ASCII form words.
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
"""The supported encodings, with their names for display."""

_MARKS: Final = (
    (codecs.BOM_UTF8, UTF_8),
    (codecs.BOM_UTF16_LE, UTF_16_LE),
    (codecs.BOM_UTF16_BE, UTF_16_BE),
)
_SAMPLE: Final = 64 * 1024
# Not a pattern that searches a byte within a word: it would be quadratic on long words without it.
_WORDS: Final = re.compile(rb"[A-Za-z\x80-\xff]+")
_LETTERS: Final = bytes(each for each in range(256) if _WORDS.fullmatch(bytes([each])))

# Other files that are uploaded by mistake, by their first bytes.
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
    """Return the reason why a file with this start is not text; None if it seems to be text."""
    for mark, kind in _FOREIGN:
        if head.startswith(mark):
            return kind
    if _by_mark(head) or _utf16_by_zeros(head):
        return None
    controls = sum(byte < 32 and byte not in b"\t\n\v\f\r" for byte in head[:4096])
    return FileReason.BINARY if controls * 50 > len(head[:4096]) else None


def mark_length(encoding: str, head: bytes) -> int:
    """Return the length of the file's byte order mark of that encoding, or 0."""
    found = [mark for mark, name in _MARKS if name == encoding and head.startswith(mark)]
    return len(found[0]) if found else 0


def detect(pieces: Iterable[bytes]) -> str:
    """Return the encoding of a complete file, given in pieces of any size."""
    decoder = codecs.getincrementaldecoder(UTF_8)()
    head, partial, sample = b"", b"", bytearray()
    valid = True
    for piece in pieces:
        if len(head) < _SAMPLE:
            head += piece[: _SAMPLE - len(head)]
        if not sample and (marked := _by_mark(head)) is not None:
            return marked
        if valid:
            valid = _is_valid(decoder, piece)
        if len(sample) < _SAMPLE:
            partial += piece
            end = len(partial.rstrip(_LETTERS))
            words = _WORDS.findall(partial[:end])
            sample += b"".join(word + b"\n" for word in words if not word.isascii())
            partial = partial[end:][-_SAMPLE:]
    sixteen = _utf16_by_zeros(head)
    if sixteen is not None:
        return sixteen
    if valid and _is_valid(decoder, b"", final=True):
        return UTF_8
    return _one_byte(bytes(sample[:_SAMPLE]) + b"\n" + partial)


def _by_mark(head: bytes) -> str | None:
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def _is_valid(decoder: codecs.IncrementalDecoder, piece: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError:
        return False
    return True


def _utf16_by_zeros(head: bytes) -> str | None:
    """Return the kind of UTF-16 by its zero bytes, which single-byte text lacks, or None."""
    half = len(head) // 2
    if not half:
        return None
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if odd * 10 > half and even * 10 < odd:
        return UTF_16_LE
    if even * 10 > half and odd * 10 < even:
        return UTF_16_BE
    return None


# The rough frequency of letters: those that make up nine tenths of a text, and the rest.
_FREQUENT: Final = {
    WINDOWS_1256: "اليمنوترهبةدسعكأقفحىجإئصشطغخذءآثضزؤظ",
    WINDOWS_1252: "éèàçêâîôûùëïüöäßáíóúñãõåæøÉÀÇÖÜÄÑÁÍÓÚ",
}
_ARABIC: Final = re.compile("[\u0621-\u0652]")
_LATIN: Final = re.compile("[A-Za-zÀ-ÖØ-öø-ÿœŒšŠžŽƒ]")


def _one_byte(sample: bytes) -> str:
    """Return the likeliest single-byte encoding; of equal ones, the Western one."""
    words = sample.split(b"\n")
    return max((WINDOWS_1252, WINDOWS_1256, ISO_8859_6), key=lambda each: _likelihood(each, words))


def _likelihood(encoding: str, words: list[bytes]) -> float:
    frequent = _FREQUENT[WINDOWS_1252 if encoding == WINDOWS_1252 else WINDOWS_1256]
    return sum(_of_word(word.decode(encoding, "replace"), frequent) for word in words)


def _of_word(word: str, frequent: str) -> float:
    """Return a score of a word: frequent letters, one script, no capitals in the middle."""
    score = 0.0
    before = ""
    for letter in word:
        if not letter.isascii():
            if letter == "\ufffd":
                score -= 4
            elif letter in frequent:
                score += 1 - frequent.index(letter) / len(frequent) / 2
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
