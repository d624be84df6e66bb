"""Parsing of numbers: accepted, refused, and the agreement with phonenumbers."""

import contextlib
import random

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.numbers import e164 as numbers
from messaging.numbers.e164 import InvalidNumber, Number
from messaging.numbers.reasons import NumberReason

SAUDI = Number("+966501234567", "SA", 966)
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
TYPES = sorted(phonenumbers.PhoneNumberType.values())


def examples(region: str) -> list[str]:
    """phonenumbers' example number of every type that the region has."""
    found = [phonenumbers.example_number_for_type(region, kind) for kind in TYPES]
    return [phonenumbers.format_number(n, phonenumbers.PhoneNumberFormat.E164) for n in found if n]


EXAMPLES = sorted({number for region in REGIONS for number in examples(region)})


def truth(e164: str) -> Number | None:
    """Return the result of phonenumbers alone."""
    try:
        parsed = phonenumbers.parse(e164)
    except phonenumbers.NumberParseException:
        return None
    country = phonenumbers.region_code_for_number(parsed)
    usable = phonenumbers.number_type(parsed) in (
        phonenumbers.PhoneNumberType.MOBILE,
        phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE,
    )
    if not usable or country in (None, "001"):
        return None
    written = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    return Number(written, country, parsed.country_code or 0)


def ours(e164: str) -> Number | None:
    try:
        return numbers.parse(e164)
    except InvalidNumber:
        return None


@pytest.mark.parametrize(
    "raw",
    [
        "+966501234567",
        "00966501234567",
        "+966 50 123 4567",
        " +966-50-123-4567\n",
        "+966 (50) 123.4567",
        "(+966) 501234567",
        "00 966 50 123 4567",
        "+٩٦٦٥٠١٢٣٤٥٦٧",
        "٠٠٩٦٦ ٥٠ ١٢٣ ٤٥٦٧",
        "+۹۶۶۵۰۱۲۳۴۵۶۷",
        "\u200e+966 50 123 4567\u200f",
        "\u202a+966501234567\u202c",
        "\u2066+966\u00a050\u202f123\u20114567\u2069",
        "＋966501234567",
        "+9660501234567",  # the national prefix is no part of the number
        "+966 (0) 50 123 4567",
        "966501234567+",
        "+९६६५०१२३४५६७",
    ],
)
def test_one_number_in_many_spellings(raw):
    assert numbers.parse(raw) == SAUDI


@pytest.mark.parametrize("last", range(1, 9))
def test_magic_numbers_are_valid(last):
    e164 = f"+96650000000{last}"
    assert numbers.parse(e164) == Number(e164, "SA", 966)


@pytest.mark.parametrize(
    ("raw", "country", "calling_code"),
    [
        ("+971501234567", "AE", 971),
        ("+201001234567", "EG", 20),
        ("+12015550123", "US", 1),  # fixed or mobile, which is unknown
        ("+15062345678", "CA", 1),
        ("+447400123456", "GB", 44),
        ("+447781123456", "GG", 44),
        ("+79123456789", "RU", 7),
        ("+77710009998", "KZ", 7),
        ("+393123456789", "IT", 39),
        ("+2250123456789", "CI", 225),  # the leading zero stays
        ("+5491123456789", "AR", 54),
        ("+38343201234", "XK", 383),
    ],
)
def test_countries(raw, country, calling_code):
    assert numbers.parse(raw) == Number(raw, country, calling_code)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", NumberReason.NOT_A_NUMBER),
        ("+", NumberReason.NOT_A_NUMBER),
        ("hello", NumberReason.NOT_A_NUMBER),
        ("+96650123456x", NumberReason.NOT_A_NUMBER),
        ("++966501234567", NumberReason.NOT_A_NUMBER),
        ("+966501234567;ext=5", NumberReason.NOT_A_NUMBER),
        ("+966501234567\x00", NumberReason.NOT_A_NUMBER),
        ("0501234567", NumberReason.NO_COUNTRY_CODE),
        ("966501234567", NumberReason.NO_COUNTRY_CODE),
        ("٠٥٠١٢٣٤٥٦٧", NumberReason.NO_COUNTRY_CODE),
        ("1", NumberReason.NO_COUNTRY_CODE),
        ("+1", NumberReason.TOO_SHORT),
        ("+966", NumberReason.TOO_SHORT),
        ("+96650123456", NumberReason.TOO_SHORT),
        ("+966911", NumberReason.TOO_SHORT),  # a short code
        ("+9665012345678", NumberReason.TOO_LONG),
        ("+966" + "5" * 30, NumberReason.TOO_LONG),
        ("+966 " + " " * 100, NumberReason.TOO_LONG),
        ("+999123456789", NumberReason.UNKNOWN_COUNTRY),
        ("+0966501234567", NumberReason.UNKNOWN_COUNTRY),
        ("+2100000000", NumberReason.UNKNOWN_COUNTRY),
        ("+966112345678", NumberReason.FIXED_LINE),
        ("+442079460958", NumberReason.FIXED_LINE),
        ("+9668001234567", NumberReason.TOLL_FREE),
        ("+18002345678", NumberReason.TOLL_FREE),
        ("+966920012345", NumberReason.SHARED_COST),
        ("+449098790123", NumberReason.PREMIUM_RATE),
        ("+445612345678", NumberReason.VOIP),
        ("+447012345678", NumberReason.PERSONAL),
        ("+447640123456", NumberReason.PAGER),
        ("+445512345678", NumberReason.COMPANY_ACCESS),
        ("+8821612345678", NumberReason.NOT_GEOGRAPHIC),
        ("+80012345678", NumberReason.NOT_GEOGRAPHIC),
        ("+966579912345", NumberReason.NOT_IN_PLAN),
    ],
)
def test_refused(raw, reason):
    with pytest.raises(InvalidNumber) as caught:
        numbers.parse(raw)
    assert caught.value.reason is reason
    assert caught.value.problem("to") == reason.problem("to")
    assert "579912345" not in str(caught.value)  # exceptions go to logs


@pytest.mark.parametrize("region", REGIONS)
def test_every_country_agrees_with_phonenumbers(region):
    mobile = [number for number in examples(region) if truth(number)]
    for number in examples(region):
        assert ours(number) == truth(number)
    assert mobile or region == "TA"  # Tristan da Cunha has no mobile network
    assert max(map(len, mobile), default=0) <= 16


def test_fast_path_covers_nearly_every_calling_code():
    slow = set()
    for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items():
        example = phonenumbers.example_number_for_type(
            regions[0], phonenumbers.PhoneNumberType.MOBILE
        )
        if regions == ("001",) or example is None:
            continue
        number = f"+{code}{phonenumbers.national_significant_number(example)}"
        if numbers._parse_quickly(number) is None:
            slow.add(regions[0])
    assert slow == {"AR"}  # its national prefix may be nothing at all


@st.composite
def near_numbers(draw):
    """Existing numbers with a few digits changed, added or removed."""
    digits = list(draw(st.sampled_from(EXAMPLES))[1:])
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(digits) - 1))
        digit = draw(st.sampled_from("0123456789"))
        match draw(st.sampled_from("cccid")):
            case "c":
                digits[place] = digit
            case "i":
                digits.insert(place, digit)
            case "d" if len(digits) > 3:
                del digits[place]
    return "+" + "".join(digits)


@given(near_numbers())
def test_agrees_with_phonenumbers_near_real_numbers(e164):
    assert ours(e164) == truth(e164)


def test_agrees_with_phonenumbers_on_many_numbers():
    chance = random.Random(966)  # the same numbers on every run
    for example in EXAMPLES:
        for _ in range(15):
            cut = chance.randrange(3, len(example))
            rest = "".join(chance.choice("0123456789") for _ in range(len(example) - cut))
            number = example[:cut] + rest
            assert ours(number) == truth(number), number


@given(st.text(max_size=80))
def test_any_text_is_a_number_or_refused(raw):
    number = ours(raw)
    if number is not None:
        assert numbers.parse(number.e164) == number


@pytest.mark.parametrize(
    ("e164", "masked"),
    [
        ("+966501234567", "+96650••••567"),
        ("+12015550123", "+120•••••123"),
        ("+447400123456", "+4474•••••456"),
        ("+2903456", "+290••••"),
        ("+68512345", "+685•••45"),
        ("+9665", "+966•"),
        ("+966", "+966"),
        ("+999123456789", "•" * 13),
        ("966501234567", "•" * 12),
        ("x", "•"),
        ("", ""),
    ],
)
def test_mask(e164, masked):
    assert numbers.mask(e164) == masked


# ------------------------------------------------------------------ as they are dialed at home


def truth_at_home(digits: str, home: str) -> Number | None:
    """Return the result of phonenumbers alone for digits dialed in that country.

    If it finds no number, it parses them again with a plus before them.
    """
    found = None
    with contextlib.suppress(phonenumbers.NumberParseException):
        parsed = phonenumbers.parse(digits, home)
        found = truth(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))
    if found is None or found.country != home:
        found = truth(f"+{digits}")
    return found if found is not None and found.country == home else None


def ours_at_home(digits: str, home: str) -> Number | None:
    try:
        return numbers.parse(digits, home)
    except InvalidNumber:
        return None


def dialed(region: str) -> list[str]:
    """Return the region's numbers as they are dialed there, without and with the calling code."""
    found = []
    for e164 in examples(region):
        parsed = phonenumbers.parse(e164)
        national = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)
        significant = phonenumbers.national_significant_number(parsed)
        found += ["".join(each for each in national if each.isdigit()), significant, e164[1:]]
    return sorted(digits for digits in set(found) if not digits.startswith("00"))


@pytest.mark.parametrize("home", REGIONS)
def test_agrees_with_phonenumbers_at_home(home: str) -> None:
    chance = random.Random(home)
    for digits in dialed(home):
        assert ours_at_home(digits, home) == truth_at_home(digits, home), digits
        for _ in range(20):
            cut = chance.randrange(len(digits))
            tail = "".join(chance.choice("0123456789") for _ in range(len(digits) - cut))
            other = digits[:cut] + tail
            if not other.startswith("00"):
                assert ours_at_home(other, home) == truth_at_home(other, home), other


@given(st.text(alphabet="0123456789", min_size=1, max_size=16), st.sampled_from(REGIONS))
def test_a_number_without_a_code_never_becomes_foreign(digits: str, home: str) -> None:
    number = ours_at_home(digits, home)
    if number is not None and not digits.startswith("00"):
        assert number.country == home
