"""Codes: uniform digits, storage that reveals nothing without the key, and typed input."""

import re
import uuid
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp.verification import codes, texts
from otp.verification.codes import KeyLost, Secret


def test_digits_are_uniform_in_every_position() -> None:
    """Chi-square test over 4,000 codes: 9 degrees of freedom exceed 40 once in 100,000 runs."""
    found = [codes.create(uuid.uuid4(), 6)[0] for _ in range(4000)]
    for place in range(6):
        counts = Counter(code[place] for code in found)
        expected = len(found) / 10
        assert set(counts) <= set("0123456789")
        assert sum((counts[digit] - expected) ** 2 / expected for digit in "0123456789") < 40


@pytest.mark.parametrize("length", range(4, 9))
def test_a_code_is_derived_again_and_recognized(length: int) -> None:
    id = uuid.uuid4()
    code, secret = codes.create(id, length)
    assert len(code) == length
    assert codes.code_of(id, length, secret) == code
    assert codes.matches(id, secret, code)
    assert not codes.matches(id, secret, f"{(int(code) + 1) % 10**length:0{length}d}")
    assert not codes.matches(uuid.uuid4(), secret, code)


def test_two_codes_of_one_verification_differ() -> None:
    """The seed is random: the id, which is public, does not determine the code."""
    id = uuid.uuid4()
    created = [codes.create(id, 8) for _ in range(20)]
    assert len({code for code, _ in created}) == 20
    assert len({secret.seed for _, secret in created}) == 20


def test_without_the_servers_key_a_code_is_neither_created_nor_checked(settings: Any) -> None:
    id = uuid.uuid4()
    code, secret = codes.create(id, 8)
    settings.FIELD_ENCRYPTION_KEYS = ["B" * 43 + "="]
    with pytest.raises(KeyLost):
        codes.code_of(id, 8, secret)
    with pytest.raises(KeyLost):
        codes.matches(id, secret, code)
    # Not even if another key's id is stored with the seed.
    other = codes.create(id, 8)[1]
    forged = Secret(secret.seed, other.key_id, secret.digest)
    assert codes.code_of(id, 8, forged) != code
    assert not codes.matches(id, forged, code)


def test_the_first_key_creates_codes_and_every_key_checks_them(settings: Any) -> None:
    id = uuid.uuid4()
    code, old = codes.create(id, 8)
    settings.FIELD_ENCRYPTION_KEYS = ["B" * 43 + "=", *settings.FIELD_ENCRYPTION_KEYS]
    assert codes.matches(id, old, code)
    assert codes.create(id, 8)[1].key_id != old.key_id


def test_a_keys_id_reveals_nothing_of_it(settings: Any) -> None:
    secret = codes.create(uuid.uuid4(), 6)[1]
    assert len(secret.key_id) == 8
    assert secret.key_id not in settings.FIELD_ENCRYPTION_KEYS[0]


@given(st.text(max_size=12))
def test_typed_input_is_normalized_or_refused(text: str) -> None:
    try:
        code = codes.normalize(text)
    except ValueError:
        return
    assert 4 <= len(code) <= 8
    assert code.isascii()
    assert code.isdigit()


@given(st.text(st.sampled_from("0123456789"), min_size=4, max_size=8))
def test_digits_are_read_in_any_script_that_our_users_type(code: str) -> None:
    for digits in ("٠١٢٣٤٥٦٧٨٩", "۰۱۲۳۴۵۶۷۸۹", "０１２３４５６７８９", "०१२३४५६७८९"):
        assert codes.normalize(code.translate(str.maketrans("0123456789", digits))) == code


PASTED = [
    "123456",
    "123456\n",
    "123456\r\n",
    "\t123456\t",
    " 123 456 ",
    "123-456",
    "123\u2013456",
    "123\u2011456",
    "123456.",
    "123456\u06d4",
    "123.456",
    "123\u200b456\u200b",
    "\u2068123456\u2069",
    "\u2066123\u2069 \u2066456\u2069",
    "\u202b123456\u202c",
    "\ufeff123456",
    "123\u00a0456",
    "123\u202f456",
    "１２３４５６",
    "١٢٣٤٥٦",
    "1️⃣2️⃣3️⃣4️⃣5️⃣6️⃣",
    "(123456)",
]


@pytest.mark.parametrize("text", PASTED)
def test_a_code_as_people_paste_it(text: str) -> None:
    assert codes.normalize(text) == "123456"
    # A client that checks by the API's schema sends it, too; of the keycap emoji it need not know.
    assert bool(re.search(codes.INPUT_PATTERN, text)) is ("\ufe0f" not in text)


@pytest.mark.parametrize(
    "text",
    ["", ".", "123", "123456789", "12345a", "1,2345", "123456\0", "+123456", "1" * 65, "½½½½"],
)
def test_what_cannot_be_a_code(text: str) -> None:
    with pytest.raises(ValueError, match="digits"):
        codes.normalize(text)


@given(st.text(max_size=40), st.text(st.sampled_from("0123456789"), min_size=4, max_size=8))
def test_a_masked_text_is_as_long_and_has_no_code(around: str, code: str) -> None:
    text = f"{around}{{code}}\n@example.com #{{code}}"
    shown = texts.masked(text, len(code))
    assert len(shown) == len(texts.rendered(text, code))
    assert shown.endswith(texts.HIDDEN * len(code))
