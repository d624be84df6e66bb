"""SMS encoding: GSM 7-bit or UCS-2, segmentation into parts, concatenation headers. Pure.

Units of length: a *septet* is one 7-bit code of the GSM alphabet (3GPP 23.038 §6.2.1), a *unit*
is one 16-bit code of UTF-16. User data always means the octets of a part without its user data
header (UDH, 3GPP 23.040 §9.2.3.24).

GSM text has two representations below. Outside this module it is septets, one in each octet, an
extension character being two of them (0x1B and its code). Inside it is first *octets*, one for each
character, an extension character being its code with the high bit set: C code produces that form,
and `bytes.isascii` says at once whether a text has extension characters.
"""

import codecs
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

Encoding = Literal["gsm7", "ucs2"]
ReferenceWidth = Literal[8, 16]

SINGLE_SEPTETS: Final = 160
SINGLE_UNITS: Final = 70
# (septets, units) of each of several parts: 140 octets minus a UDH of 6 or of 7 octets.
_PART_LIMITS: Final[dict[int, tuple[int, int]]] = {8: (153, 67), 16: (152, 66)}

_ESCAPE: Final = 0x1B
_CARRIAGE_RETURN: Final = 0x0D

# 3GPP 23.038 §6.2.1: a character's position is its code. 0x1B is the escape, not a character.
_BASIC: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
# 3GPP 23.038 §6.2.1.1: the codes after the escape.
_EXTENSION: Final = {
    "\f": 0x0A, "^": 0x14, "{": 0x28, "}": 0x29, "\\": 0x2F,
    "[": 0x3C, "~": 0x3D, "]": 0x3E, "|": 0x40, "€": 0x65,
}  # fmt: skip

_OCTET_OF: Final = {
    **{character: code for code, character in enumerate(_BASIC) if code != _ESCAPE},
    **{character: 0x80 | code for character, code in _EXTENSION.items()},
}
_OUTSIDE: Final = re.compile("[^" + re.escape("".join(_OCTET_OF)) + "]")

_NO_OCTET: Final = 0xFF
_FROM_ASCII: Final = bytes(_OCTET_OF.get(chr(code), _NO_OCTET) for code in range(256))


def _encoding_map() -> tuple[Any, bytes]:  # the map has no public type
    """Return a map for `codecs.charmap_encode`, and the translation that completes its output.

    CPython builds its fast kind of map only when octet 0 is NUL, so '@' (code 0) is encoded as
    0x80, which no extension character has, and translated afterwards.
    """
    characters = ["\ufffe"] * 256  # U+FFFE: no character has this octet
    for character, octet in _OCTET_OF.items():
        characters[octet] = character
    characters[0], characters[0x80] = "\0", "@"
    finish = bytearray(range(256))
    finish[0x80] = 0
    return codecs.charmap_build("".join(characters)), bytes(finish)


_ENCODING_MAP, _FINISH = _encoding_map()
_PAIRS: Final = tuple(
    (bytes((0x80 | code,)), bytes((_ESCAPE, code))) for code in _EXTENSION.values()
)

# A code that the extension table lacks is read as the basic character, and an escape without a code
# as a space (3GPP 23.038 §6.2.1 note 1, §6.2.1.1).
_READABLE: Final = _BASIC.replace("\x1b", " ")
_EXTENSION_BY_CODE: Final = {code: character for character, code in _EXTENSION.items()}
_DECODING: Final = _READABLE + "".join(
    _EXTENSION_BY_CODE.get(code, _READABLE[code]) for code in range(128)
)
_ESCAPED: Final = re.compile(b"\x1b([\x00-\x7f])")

_ZWJ: Final = 0x200D
_LOOK_BACK: Final = 24
"""Units that a part may end early to keep a character whole; the longest flags have 14."""

_BITS: Final = tuple(format(code, "07b") for code in range(128))


class UnpairedSurrogate(ValueError):
    """Half of a character of UTF-16: its code in hexadecimal, and where it stands in the text."""

    def __init__(self, code_point: str, position: int) -> None:
        super().__init__(f"unpaired surrogate (U+{code_point}) at position {position}")
        self.code_point, self.position = code_point, position


class Measure(NamedTuple):
    """The size of a text: `units` are septets (gsm7) or 16-bit units (ucs2)."""

    encoding: Encoding
    units: int
    parts: int


@dataclass(frozen=True, slots=True)
class Segments:
    """An encoded text: the user data of each part, without UDH.

    gsm7: septets, one in each octet. ucs2: UTF-16BE. `units` counts both over all parts.
    """

    encoding: Encoding
    parts: tuple[bytes, ...]
    units: int


@dataclass(frozen=True, slots=True)
class Concat:
    """The concatenation element of a UDH; `octets` is the whole header's length."""

    reference: int
    total: int
    index: int
    width: ReferenceWidth
    octets: int


def measure(text: str, width: ReferenceWidth = 8) -> Measure:
    """Return the encoding, length and number of parts of a text: those of `split`, but faster.

    `width` is that of the reference in the UDH, in bits. Raises ValueError when the text is empty
    or has an unpaired surrogate. Limits: 3GPP 23.040 §9.2.3.24.1 and 23.038.
    """
    septets = _septets(text)
    if septets is not None:
        units = len(septets)
        if units <= SINGLE_SEPTETS:
            return Measure("gsm7", units, 1)
        size = _PART_LIMITS[width][0]
        if _ESCAPE in septets:
            return Measure("gsm7", units, len(_cut_septets(septets, size)))
        return Measure("gsm7", units, -(-units // size))
    data = _utf16(text)
    units = len(data) // 2
    if units <= SINGLE_UNITS:
        return Measure("ucs2", units, 1)
    size = _PART_LIMITS[width][1]
    if units != len(text):  # has surrogate pairs, so a part may have to end early
        return Measure("ucs2", units, len(_ends(data, 0, size)))
    return Measure("ucs2", units, -(-units // size))


def room(measure: Measure) -> int:
    """Return how many more units fit before another part is needed.

    It is an estimate: it ignores that pairs are never split across parts.
    """
    gsm = measure.encoding == "gsm7"
    if measure.parts == 1:
        return (SINGLE_SEPTETS if gsm else SINGLE_UNITS) - measure.units
    return measure.parts * _PART_LIMITS[8][0 if gsm else 1] - measure.units


def split(text: str, width: ReferenceWidth = 8) -> Segments:
    """Encode a text and split it into parts, never inside an escape or surrogate pair.

    Nor inside a character as people see it (a base with its marks, an emoji sequence), as long as
    that adds no part, which would cost money.

    A single part has up to 160 septets or 70 units; each of several 153 or 67, or 152 or 66 when
    the reference in the UDH has 16 bits (3GPP 23.040 §9.2.3.24.1 and .8). Raises ValueError when
    the text is empty or has an unpaired surrogate. The number of parts is not limited here.
    """
    septets = _septets(text)
    if septets is not None:
        if len(septets) <= SINGLE_SEPTETS:
            return Segments("gsm7", (septets,), len(septets))
        parts = _cut_septets(septets, _PART_LIMITS[width][0])
        return Segments("gsm7", tuple(parts), len(septets))
    data = _utf16(text)
    if len(data) <= 2 * SINGLE_UNITS:
        return Segments("ucs2", (data,), len(data) // 2)
    return Segments("ucs2", tuple(_cut_utf16(data, _PART_LIMITS[width][1])), len(data) // 2)


def join(encoding: Encoding, parts: Iterable[bytes]) -> str:
    """Return the text of parts (user data without UDH, in order): the inverse of `split`.

    Pairs that another sender split across parts are joined. Raises ValueError for an octet that is
    not a septet, or for user data that is not UTF-16.
    """
    data = b"".join(parts)
    if encoding == "ucs2":
        return data.decode("utf-16-be")
    if not data.isascii():
        raise ValueError("gsm7 user data has an octet above 0x7F")
    if _ESCAPE in data:
        data = _ESCAPED.sub(_fold, data)
    # typeshed does not know that a decoding table may be a string.
    return codecs.charmap_decode(data, "strict", _DECODING)[0]  # type: ignore[arg-type]


def is_gsm(text: str) -> bool:
    """Return whether every character is in the GSM default alphabet or its extension table."""
    return _octets(text) is not None


def forcing_ucs2(text: str) -> list[str]:
    """Return the distinct characters (code points) that force UCS-2, in order."""
    return list(dict.fromkeys(_OUTSIDE.findall(text)))


def written_in_gsm(text: str) -> bytes:
    """Return the text in septets, one in each octet, with `?` for characters that GSM lacks."""
    return (_septets(_OUTSIDE.sub("?", text)) or b"") if text else b""


def gsm_to_latin1(part: bytes) -> bytes | None:
    """Return a gsm7 part as ISO 8859-1, for carriers that take GSM text as data_coding 3.

    `part` is septets as `split` returns them (SMPP 3.4 §5.2.19 for the data_coding). None when a
    character (Greek capitals, the euro sign) is not in Latin-1. The parts stay as they were split:
    the carrier converts them back into septets, so the septet limits apply.
    """
    try:
        return join("gsm7", (part,)).encode("latin-1")
    except UnicodeEncodeError:
        return None


def concat_udh(reference: int, total: int, index: int, width: ReferenceWidth = 8) -> bytes:
    """Return the UDH of part `index` (from 1) of `total`: 6 octets, 7 with a 16-bit reference.

    3GPP 23.040 §9.2.3.24.1 (8-bit) and §9.2.3.24.8 (16-bit). Raises ValueError out of range.
    """
    if not 0 <= reference < 1 << width:
        raise ValueError(f"reference {reference} does not fit {width} bits")
    if not 1 <= index <= total <= 255:
        raise ValueError(f"part {index} of {total} is not in 1 to 255")
    if width == 8:
        return bytes((5, 0x00, 3, reference, total, index))
    return bytes((6, 0x08, 4, reference >> 8, reference & 0xFF, total, index))


def parse_concat_udh(user_data: bytes) -> Concat | None:
    """Return the concatenation element of the UDH at the start of user data, or None.

    The UDH may have other elements, such as ports. Of several concatenation elements the last
    counts, and one with impossible numbers is ignored (3GPP 23.040 §9.2.3.24, §9.2.3.24.1).
    """
    if not user_data or user_data[0] >= len(user_data):
        return None
    end = user_data[0] + 1
    found: Concat | None = None
    position = 1
    while position + 2 <= end:
        identifier, length = user_data[position], user_data[position + 1]
        value = user_data[position + 2 : position + 2 + length]
        position += 2 + length
        if position > end:
            return None
        width: ReferenceWidth
        if identifier == 0x00 and length == 3:
            width = 8
        elif identifier == 0x08 and length == 4:
            width = 16
        else:
            continue
        total, index = value[-2:]
        if 1 <= index <= total:
            found = Concat(int.from_bytes(value[:-2], "big"), total, index, width, end)
    return found


def udh_fill_bits(udh: bytes) -> int:
    """Return the fill bits after a UDH: packed text starts on a septet (3GPP 23.040 §9.2.3.24)."""
    return -8 * len(udh) % 7


def pack_septets(septets: bytes, fill_bits: int = 0, *, pad_cr: bool = False) -> bytes:
    """Pack eight septets into seven octets (3GPP 23.038 §6.1.2.1), after `fill_bits` zero bits.

    Unused bits at the end are zero. When exactly seven are unused, a receiver that only knows the
    number of octets reads one more '@'; `pad_cr` puts a carriage return there instead, which
    handsets do not show (§6.1.2.3.1). Raises ValueError where a septet is above 0x7F.
    """
    if not septets.isascii():
        raise ValueError("a septet is above 0x7F")
    _check_fill(fill_bits)
    if pad_cr and (fill_bits + 7 * len(septets)) % 8 == 1:
        septets += bytes((_CARRIAGE_RETURN,))
    if not septets:
        return b"\0" if fill_bits else b""
    # The first septet has the lowest bits; `int` reads the highest first.
    number = int("".join([_BITS[septet] for septet in reversed(septets)]), 2) << fill_bits
    return number.to_bytes((fill_bits + 7 * len(septets) + 7) // 8, "little")


def unpack_septets(octets: bytes, fill_bits: int = 0, count: int | None = None) -> bytes:
    """Unpack septets from octets after `fill_bits` bits: the inverse of `pack_septets`.

    `count` is the exact number of septets. Without it every whole septet is returned, except a last
    '@' or carriage return in the last seven bits: in seven cases of eight such a septet is padding
    (3GPP 23.038 §6.1.2.3.1). Raises ValueError when there are fewer than `count`.
    """
    _check_fill(fill_bits)
    available = max(0, 8 * len(octets) - fill_bits) // 7
    if count is not None and count > available:
        raise ValueError(f"{len(octets)} octets hold {available} septets, not {count}")
    length = available if count is None else count
    if length == 0:
        return b""
    number = (int.from_bytes(octets, "little") >> fill_bits) & ((1 << 7 * length) - 1)
    bits = format(number, f"0{7 * length}b")
    septets = bytes([int(bits[i : i + 7], 2) for i in range(7 * (length - 1), -1, -7)])
    ends_with_octet = fill_bits + 7 * length == 8 * len(octets)
    if count is None and ends_with_octet and septets[-1] in (0, _CARRIAGE_RETURN):
        return septets[:-1]
    return septets


def _octets(text: str) -> bytes | None:
    """Return one octet for each character (see the module's docstring), None if it is not GSM."""
    if text.isascii():
        octets = text.encode("ascii").translate(_FROM_ASCII)
        return None if _NO_OCTET in octets else octets
    if _OUTSIDE.search(text):
        return None
    return codecs.charmap_encode(text, "strict", _ENCODING_MAP)[0].translate(_FINISH)


def _septets(text: str) -> bytes | None:
    """Return the text in septets, None if it is not GSM. Raises ValueError if it is empty."""
    if not text:
        raise ValueError("empty")
    octets = _octets(text)
    if octets is None or octets.isascii():
        return octets
    for octet, pair in _PAIRS:
        octets = octets.replace(octet, pair)
    return octets


def _utf16(text: str) -> bytes:
    try:
        return text.encode("utf-16-be")
    except UnicodeEncodeError as error:
        raise UnpairedSurrogate(f"{ord(text[error.start]):04X}", error.start) from None


def _cut_septets(septets: bytes, size: int) -> list[bytes]:
    parts = []
    start, length = 0, len(septets)
    while start < length:
        end = start + size
        # No extension code is 0x1B, so an escape at the end is always the first half of a pair.
        if end < length and septets[end - 1] == _ESCAPE:
            end -= 1
        parts.append(septets[start:end])
        start = end
    return parts


def _cut_utf16(data: bytes, size: int) -> list[bytes]:
    ends = _ends(data, 0, size)
    if any(end < len(data) and _joins(data, end) for end in ends):
        ends = _whole_ends(data, size, len(ends))
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _ends(data: bytes, start: int, size: int) -> list[int]:
    """Return where parts of at most `size` units end, each as long as it can be."""
    ends: list[int] = []
    while start < len(data):
        start = min(start + 2 * size, len(data))
        if start < len(data) and 0xDC <= data[start] <= 0xDF:  # the next unit is a low surrogate
            start -= 2
        ends.append(start)
    return ends


def _whole_ends(data: bytes, size: int, count: int) -> list[int]:
    """Return where `count` parts end, between characters as people see them where they can."""
    ends: list[int] = []
    start = 0
    while start < len(data):
        end = _ends(data[: start + 2 * size + 2], start, size)[0]
        whole = _whole_end(data, start, end)
        # What is left has to fit into as many parts as without moving the end.
        if len(_ends(data, whole, size)) <= count - len(ends) - 1:
            end = whole
        ends.append(end)
        start = end
    return ends


def _whole_end(data: bytes, start: int, end: int) -> int:
    """Return the last place before `end` that is between two characters, or `end` without one."""
    place = end
    while place < len(data) and place > max(start + 2, end - 2 * _LOOK_BACK):
        if not _joins(data, place):
            return place
        place -= 4 if 0xDC <= data[place - 2] <= 0xDF else 2
    return end


def _joins(data: bytes, place: int) -> bool:
    """Return whether the code points around `place` are seen as one character (UAX #29, GB9-13).

    It covers the cases of text messages: marks, emoji with modifiers and joiners, tags and flags.
    """
    before, after = _code_before(data, place), _code_at(data, place)
    if (
        after == _ZWJ
        or before == _ZWJ
        or 0x1F3FB <= after <= 0x1F3FF
        or 0xE0020 <= after <= 0xE007F
    ):
        return True
    if _is_flag_letter(after):
        letters = 0
        while place and _is_flag_letter(_code_before(data, place)):
            letters, place = letters + 1, place - 4
        return letters % 2 == 1
    return unicodedata.category(chr(after))[0] == "M"


def _is_flag_letter(code: int) -> bool:
    return 0x1F1E6 <= code <= 0x1F1FF


def _code_at(data: bytes, place: int) -> int:
    wide = 0xD8 <= data[place] <= 0xDB
    return ord(data[place : place + (4 if wide else 2)].decode("utf-16-be"))


def _code_before(data: bytes, place: int) -> int:
    wide = 0xDC <= data[place - 2] <= 0xDF
    return ord(data[place - (4 if wide else 2) : place].decode("utf-16-be"))


def _fold(match: re.Match[bytes]) -> bytes:
    return bytes((0x80 | match[1][0],))


def _check_fill(fill_bits: int) -> None:
    if not 0 <= fill_bits <= 6:
        raise ValueError(f"{fill_bits} fill bits are not in 0 to 6")
