"""Encoding and segmentation: tables at every boundary, and properties of any text."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from messaging.text import encoding as sms

ARABIC = "مرحبا بك، رمز التحقق الخاص بك هو ١٢٣٤"
GSM_CHARACTERS = "".join(sms._OCTET_OF)
GSM = st.text(alphabet=GSM_CHARACTERS, min_size=1, max_size=700)
ANY = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)
HEAVY = st.text(alphabet="aA€{]\\مé😀🇸\n\x00\x1b", min_size=1, max_size=700)  # many pairs
TEXTS = st.one_of(GSM, ANY, HEAVY)
WIDTHS = st.sampled_from([8, 16])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", ("gsm7", 1, 1)),
        ("a" * 160, ("gsm7", 160, 1)),
        ("a" * 161, ("gsm7", 161, 2)),
        ("a" * 306, ("gsm7", 306, 2)),
        ("a" * 307, ("gsm7", 307, 3)),
        ("a" * 1530, ("gsm7", 1530, 10)),
        ("a" * 1531, ("gsm7", 1531, 11)),
        ("@£é\n\rΔ_Ω", ("gsm7", 8, 1)),
        ("^{}\\[~]|€\f", ("gsm7", 20, 1)),
        ("a" * 158 + "€", ("gsm7", 160, 1)),
        ("a" * 159 + "€", ("gsm7", 161, 2)),
        ("€" * 80, ("gsm7", 160, 1)),
        ("€" * 81, ("gsm7", 162, 2)),
        ("€" * 152, ("gsm7", 304, 2)),
        # Each part of pairs only holds 76 of them, so the 153rd pair no longer fits two parts.
        ("{" * 153, ("gsm7", 306, 3)),
        ("a" * 152 + "{" + "a" * 152, ("gsm7", 306, 3)),
        ("a" * 151 + "{" + "a" * 153, ("gsm7", 306, 2)),
        ("`", ("ucs2", 1, 1)),
        ("ç", ("ucs2", 1, 1)),  # only the capital is in the alphabet
        ("Ç", ("gsm7", 1, 1)),
        ("\x1b", ("ucs2", 1, 1)),  # the escape is not a character
        ("a\x00b", ("ucs2", 3, 1)),
        ("م" * 70, ("ucs2", 70, 1)),
        ("م" * 71, ("ucs2", 71, 2)),
        ("م" * 134, ("ucs2", 134, 2)),
        ("م" * 135, ("ucs2", 135, 3)),
        ("م" * 670, ("ucs2", 670, 10)),
        ("م" * 671, ("ucs2", 671, 11)),
        (ARABIC, ("ucs2", len(ARABIC), 1)),
        ("السلام عليكم " * 6, ("ucs2", 78, 2)),
        ("a" * 69 + "م", ("ucs2", 70, 1)),
        ("a" * 160 + "م", ("ucs2", 161, 3)),
        ("😀" * 35, ("ucs2", 70, 1)),
        ("😀" * 36, ("ucs2", 72, 2)),
        ("م" * 68 + "😀", ("ucs2", 70, 1)),
        ("م" * 69 + "😀", ("ucs2", 71, 2)),
        ("م" * 70 + "😀", ("ucs2", 72, 2)),
        ("م" * 66 + "😀" + "م" * 66, ("ucs2", 134, 3)),  # one unit of part 1 stays empty
        ("م" * 65 + "😀" + "م" * 67, ("ucs2", 134, 2)),
        ("م" * 67 + "😀" + "م" * 65, ("ucs2", 134, 2)),
    ],
)
def test_measure(text, expected):
    assert sms.measure(text) == expected


@pytest.mark.parametrize(
    ("text", "width", "sizes"),
    [
        ("a" * 160, 8, [160]),
        ("a" * 161, 8, [153, 8]),
        ("a" * 161, 16, [152, 9]),
        ("a" * 305, 16, [152, 152, 1]),
        ("a" * 152 + "€" + "a" * 20, 8, [152, 22]),
        ("a" * 151 + "€" + "a" * 20, 8, [153, 20]),
        ("a" * 151 + "€" + "a" * 20, 16, [151, 22]),
        ("م" * 71, 8, [134, 8]),
        ("م" * 71, 16, [132, 10]),
        ("م" * 66 + "😀" + "م" * 9, 8, [132, 22]),
        ("م" * 65 + "😀" + "م" * 9, 8, [134, 18]),
        ("م" * 65 + "😀" + "م" * 9, 16, [130, 22]),
    ],
)
def test_split_sizes_in_octets(text, width, sizes):
    assert [len(part) for part in sms.split(text, width).parts] == sizes


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("@", b"\x00"),
        ("$_", b"\x02\x11"),
        ("€", b"\x1b\x65"),
        ("a[b]", b"a\x1b\x3cb\x1b\x3e"),
        ("Ω à", b"\x15\x20\x7f"),
        ("سلام", bytes.fromhex("0633064406270645")),
        ("😀", bytes.fromhex("d83dde00")),
    ],
)
def test_octets_of_short_texts(text, octets):
    assert sms.split(text).parts == (octets,)


def test_every_code_of_the_alphabet_is_used_once():
    assert len(sms._BASIC) == 128
    assert len(GSM_CHARACTERS) == 127 + 10
    assert all(sms.is_gsm(character) for character in GSM_CHARACTERS)


@pytest.mark.parametrize("function", [sms.measure, sms.split])
def test_refused_texts(function):
    with pytest.raises(ValueError, match=r"^empty$"):
        function("")
    with pytest.raises(ValueError, match=r"unpaired surrogate \(U\+D83D\) at position 2"):
        function("ab\ud83d")
    with pytest.raises(ValueError, match=r"U\+DE00"):
        function("\ude00" + "a" * 200)


@pytest.mark.parametrize(
    ("text", "forcing"),
    [
        ("", []),
        ("plain €", []),
        ("`quoted`", ["`"]),
        ("naïve ça – naïve 😀", ["ï", "ç", "–", "😀"]),
        ("\x00\ud800", ["\x00", "\ud800"]),
    ],
)
def test_forcing_ucs2(text, forcing):
    assert sms.forcing_ucs2(text) == forcing
    assert sms.is_gsm(text) == (not forcing)


@given(TEXTS, WIDTHS)
@example("a" * 152 + "€" * 200, 8)
def test_parts_decode_back_to_the_text(text, width):
    segments = sms.split(text, width)
    assert sms.join(segments.encoding, segments.parts) == text
    # No pair is split: each part is readable on its own.
    assert "".join(sms.join(segments.encoding, [part]) for part in segments.parts) == text


@given(TEXTS, WIDTHS)
def test_parts_keep_their_limits(text, width):
    encoding, parts = sms.split(text, width).encoding, sms.split(text, width).parts
    single, several = {
        ("gsm7", 8): (160, 153),
        ("gsm7", 16): (160, 152),
        ("ucs2", 8): (140, 134),
        ("ucs2", 16): (140, 132),
    }[encoding, width]
    assert all(parts)
    assert max(map(len, parts)) <= (single if len(parts) == 1 else several)
    # And none is wasted: keeping what people see as one character whole adds no part.
    if len(parts) > 1:
        assert sum(map(len, parts)) > single
        assert len(parts) == fewest_parts(text, encoding, several)


def fewest_parts(text: str, encoding: str, several: int) -> int:
    """Return how many parts are needed where only pairs (escapes, surrogates) are kept whole."""
    count, room = 1, several
    for character in text:
        size = (
            len(sms.split(character).parts[0])
            if encoding == "gsm7"
            else len(character.encode("utf-16-be"))
        )
        if size > room:
            count, room = count + 1, several
        room -= size
    return count


@pytest.mark.parametrize(
    ("character", "name"),
    [
        ("بَّ", "a letter with two marks"),
        ("é", "a base with a combining accent"),
        ("👨‍👩‍👧‍👦", "a family joined by ZWJ"),
        ("👍🏽", "a hand with a skin tone"),
        ("❤️", "a heart with a variation selector"),
        ("🇸🇦", "a flag of two letters"),
        ("🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", "a flag of tags"),
        ("1️⃣", "a keycap"),
        ("😀", "a plain pair"),
    ],
)
def test_a_part_ends_between_grapheme_clusters(character: str, name: str) -> None:
    units = len(character.encode("utf-16-be")) // 2
    for before in range(67 - units + 1, 67):
        text = "ب" * before + character + "ت" * 20
        parts = sms.split(text).parts
        assert sms.join("ucs2", parts) == text
        assert parts[0].decode("utf-16-be") == "ب" * before, name
        assert sms.measure(text).parts == len(parts) == 2


def test_flags_are_not_split() -> None:
    text = "ب" * 64 + "🇸🇦🇪🇬🇸🇦" + "ت"
    assert sms.split(text).parts[0].decode("utf-16-be") == "ب" * 64
    text = "ب" * 63 + "🇸🇦🇪🇬🇸🇦" + "ت"
    assert sms.split(text).parts[0].decode("utf-16-be") == "ب" * 63 + "🇸🇦"


def test_no_part_is_added_to_keep_a_character_together() -> None:
    text = "ب" * 65 + "👍🏽" + "ت" * 65  # 134 units: two full parts
    assert [len(part) // 2 for part in sms.split(text).parts] == [67, 67]
    assert sms.measure(text).parts == 2
    # A long run of marks is cut at the size limit.
    text = "ب" + "\u064b" * 200
    assert sms.measure(text).parts == len(sms.split(text).parts) == 3


@given(TEXTS, WIDTHS)
def test_measure_agrees_with_split(text, width):
    segments = sms.split(text, width)
    assert sms.measure(text, width) == (segments.encoding, segments.units, len(segments.parts))
    step = 1 if segments.encoding == "gsm7" else 2
    assert segments.units == sum(map(len, segments.parts)) // step
    assert sms.is_gsm(text) == (segments.encoding == "gsm7") == (not sms.forcing_ucs2(text))


@given(st.lists(st.binary(max_size=200).map(lambda b: bytes(x & 0x7F for x in b)), max_size=3))
def test_any_septets_decode(parts):
    text = sms.join("gsm7", parts)
    assert len(text) <= sum(map(len, parts))


def test_join_reads_other_senders_parts():
    assert sms.join("gsm7", [b"price \x1b", b"\x65"]) == "price €"  # split inside a pair
    assert sms.join("ucs2", [b"\xd8\x3d", b"\xde\x00"]) == "😀"
    assert sms.join("gsm7", [b"\x1bA\x1b"]) == "A "  # no such extension; a lone escape
    assert sms.join("gsm7", [b"\x1b\x1b\x65"]) == " e"
    with pytest.raises(ValueError, match="above 0x7F"):
        sms.join("gsm7", [b"\xe9"])
    with pytest.raises(ValueError, match="utf-16"):
        sms.join("ucs2", [b"\xd8\x3d"])


@pytest.mark.parametrize(
    ("arguments", "udh"),
    [
        ((0x2A, 3, 2), "0500032a0302"),
        ((255, 255, 255), "050003ffffff"),
        ((0x1234, 10, 1, 16), "06080412340a01"),
    ],
)
def test_concat_udh(arguments, udh):
    assert sms.concat_udh(*arguments) == bytes.fromhex(udh)
    found = sms.parse_concat_udh(bytes.fromhex(udh) + b"text")
    assert found is not None
    assert (found.reference, found.total, found.index) == arguments[:3]
    assert found.width == (arguments[3] if len(arguments) == 4 else 8)
    assert found.octets == len(udh) // 2


@pytest.mark.parametrize(
    "arguments", [(256, 2, 1), (-1, 2, 1), (65536, 2, 1, 16), (1, 2, 3), (1, 2, 0), (1, 256, 1)]
)
def test_concat_udh_out_of_range(arguments):
    with pytest.raises(ValueError, match=r"does not fit|is not in 1 to 255"):
        sms.concat_udh(*arguments)


@pytest.mark.parametrize(
    ("user_data", "expected"),
    [
        ("", None),
        ("00", None),
        ("05", None),
        ("0500030102", None),  # shorter than its length
        ("050003010200", None),  # part 0
        ("050003010203", None),  # part 3 of 2
        ("05000401020201", None),  # the element is longer than the header
        ("0605040b8423f0", None),  # ports only
        ("0b05040b8423f0000301020141", (1, 2, 1, 8, 12)),
        ("0a0003010201" + "0003090302", (9, 3, 2, 8, 11)),  # the last counts
        ("0800030102010804", None),
    ],
)
def test_parse_concat_udh(user_data, expected):
    parsed = sms.parse_concat_udh(bytes.fromhex(user_data))
    assert parsed == (sms.Concat(*expected) if expected else None)


@given(st.binary(max_size=40))
def test_parse_concat_udh_never_raises(user_data):
    sms.parse_concat_udh(user_data)


SEPTETS = st.binary(max_size=170).map(lambda b: bytes(x & 0x7F for x in b))


@given(SEPTETS, st.integers(0, 6))
def test_packing_and_back(septets, fill_bits):
    packed = sms.pack_septets(septets, fill_bits)
    assert len(packed) == -(-(fill_bits + 7 * len(septets)) // 8)
    assert sms.unpack_septets(packed, fill_bits, len(septets)) == septets
    # Without the count, only padding, or septets that look like it, may differ.
    assert sms.unpack_septets(packed, fill_bits).rstrip(b"\x00\r") == septets.rstrip(b"\x00\r")
    padded = sms.pack_septets(septets, fill_bits, pad_cr=True)
    assert len(padded) == len(packed)
    assert sms.unpack_septets(padded, fill_bits, len(septets)) == septets


@given(st.text(alphabet=GSM_CHARACTERS.replace("@", "").replace("\r", "")), st.integers(0, 6))
def test_packed_text_needs_no_count(text, fill_bits):
    septets = sms.split(text).parts[0] if text else b""
    for pad_cr in (False, True):
        packed = sms.pack_septets(septets, fill_bits, pad_cr=pad_cr)
        assert sms.unpack_septets(packed, fill_bits) == septets


@pytest.mark.parametrize(
    ("septets", "fill_bits", "packed"),
    [
        (b"hellohello", 0, "e8329bfd4697d9ec37"),
        (b"", 0, ""),
        (b"", 1, "00"),
        (b"A", 1, "82"),
        (b"1234567", 0, "31d98c56b3dd00"),  # seven unused bits: reads as a final @
        (b"12345678", 0, "31d98c56b3dd70"),
    ],
)
def test_packed_octets(septets, fill_bits, packed):
    assert sms.pack_septets(septets, fill_bits).hex() == packed


def test_packing_details():
    assert sms.pack_septets(b"1234567", pad_cr=True).hex() == "31d98c56b3dd1a"
    assert sms.udh_fill_bits(sms.concat_udh(1, 2, 1)) == 1
    assert sms.udh_fill_bits(sms.concat_udh(1, 2, 1, 16)) == 0
    # A full part fills 140 octets exactly.
    for udh, size in ((sms.concat_udh(1, 2, 1), 153), (sms.concat_udh(1, 2, 1, 16), 152)):
        assert len(udh + sms.pack_septets(b"a" * size, sms.udh_fill_bits(udh))) == 140
    with pytest.raises(ValueError, match="above 0x7F"):
        sms.pack_septets(b"\x80")
    with pytest.raises(ValueError, match="fill bits"):
        sms.pack_septets(b"a", 7)
    with pytest.raises(ValueError, match="hold 2 septets, not 3"):
        sms.unpack_septets(b"ab", 0, 3)


@pytest.mark.parametrize(
    ("text", "octets"),
    [("plain @_$", b"plain @_$"), ("é[}", b"\xe9[}"), ("Ω", None), ("5€", None)],
)
def test_gsm_to_latin1(text, octets):
    assert sms.gsm_to_latin1(sms.split(text).parts[0]) == octets


@pytest.mark.parametrize(
    ("text", "septets"),
    [
        ("", b""),
        ("a@_$", b"a\x00\x11\x02"),
        ("€]", b"\x1be\x1b>"),
        ("é`مÿ", b"\x05???"),
        ("\ud800\x00", b"??"),
    ],
)
def test_written_in_gsm(text, septets):
    assert sms.written_in_gsm(text) == septets
