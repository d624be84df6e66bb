"""GSM alternatives for characters that force UCS-2, and Arabic without marks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.text import encoding, gsm_alternatives


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("“Hello” – it’s here…", '"Hello" - it\'s here...'),
        ("a\u00a0b\u202fc\td", "a b c d"),
        ("zero\u200bwidth\ufeff soft\u00adhyphen", "zerowidth softhyphen"),
        ("façade, São João, Łódź", "facade, Sao Joao, Lodz"),
        ("cafe\u0301 e\u0302", "café e"),
        ("١٢٣ ۴۵", "123 45"),
        ("№ 5 ½ ™", "No 5 1/2 (TM)"),
        ("ＡＢＣ", "ABC"),
        ("{€} ^ ~ [x] @ £ ñ é Δ", "{€} ^ ~ [x] @ £ ñ é Δ"),
        ("Hi 😀", "Hi 😀"),
        ("مرحبا", "مرحبا"),
        ("", ""),
    ],
)
def test_plain(text: str, plain: str) -> None:
    assert gsm_alternatives.plain(text) == plain


def test_forcing() -> None:
    found = gsm_alternatives.forcing("“a” 😀 م")
    shown = [(each.character, each.replacement, each.is_letter) for each in found]
    assert shown == [("“", '"', False), ("”", '"', False), ("😀", None, False), ("م", None, True)]
    assert (found[2].code, found[0].name) == ("U+1F600", "Left double quotation mark")


@pytest.mark.parametrize(
    ("text", "beyond"), [("“a”", False), ("“a” 😀", False), ("“م”", True), ("日本", True)]
)
def test_replacing_is_worth_it_only_without_other_letters(text: str, beyond: bool) -> None:
    assert gsm_alternatives.has_words_beyond(gsm_alternatives.forcing(text)) is beyond


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("مَرْحَبًا بِكُمْ", "مرحبا بكم"),
        ("العـــربية", "العربية"),
        ("هٰذا", "هذا"),
        ("أؤئإآء", "أؤئإآء"),
        ("ا\u0653لآن", "آلآن"),
        ("no Arabic, é", "no Arabic, é"),
    ],
)
def test_marks_are_removed(text: str, bare: str) -> None:
    assert gsm_alternatives.without_marks(text) == bare
    assert gsm_alternatives.has_marks(text) is (text != bare)


@given(st.text(max_size=40))
def test_plain_text_needs_no_advice(text: str) -> None:
    plain = gsm_alternatives.plain(text)
    left = gsm_alternatives.forcing(plain)
    assert all(each.replacement is None for each in left)
    assert gsm_alternatives.plain(plain) == plain
    assert encoding.is_gsm(plain) is (not left)
    assert gsm_alternatives.without_marks(
        gsm_alternatives.without_marks(text)
    ) == gsm_alternatives.without_marks(text)
