"""Phone numbers: E.164 form, country, and whether an SMS can reach them. Pure.

`phonenumbers` is the authority, but needs tens of µs for a number, and bulk traffic has thousands
per second. So each calling code's rules are compiled, on first use and from phonenumbers' own
metadata, into one pattern that accepts only numbers that phonenumbers would accept unchanged. All
others (refusals, secondary countries of a shared calling code, national prefixes written by
mistake) are parsed by phonenumbers itself. The tests prove that both agree.

All parsing of numbers happens here: for the API, pages, files, SMPP and searches. Ranges entered by
operators, because the library does not know them yet, take precedence over the library.
"""

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

import phonenumbers
from phonenumbers import (
    NumberParseException,
    PhoneMetadata,
    PhoneNumber,
    PhoneNumberType,
    ValidationResult,
)
from phonenumbers.phonemetadata import PhoneNumberDesc

from messaging.numbers.reasons import InvalidNumber as InvalidNumber
from messaging.numbers.reasons import NumberReason
from messaging.numbers.spelling import read


@dataclass(frozen=True, slots=True)
class Number:
    """A number that can receive SMS.

    `e164` with '+', `country` as ISO 3166 alpha-2 (XK for Kosovo), `calling_code` as in 966.
    """

    e164: str
    country: str
    calling_code: int


class Range(NamedTuple):
    """A range of numbers that an operator has entered to correct phonenumbers.

    `prefix` and the lengths are those of E.164, with '+'. `reachable`: whether SMS can reach them.
    """

    prefix: str
    country: str
    calling_code: int
    shortest: int
    longest: int
    reachable: bool

    def holds(self, e164: str) -> bool:
        """Return whether a number is in this range."""
        digits = e164[1:]
        return (
            e164.startswith(self.prefix)
            and self.shortest <= len(e164) <= self.longest
            and digits.isascii()
            and digits.isdigit()
        )

    def number(self, e164: str) -> Number:
        """Return a number of this range. Raise InvalidNumber if SMS cannot reach it."""
        if not self.reachable:
            raise InvalidNumber(NumberReason.RANGE_NOT_SERVED)
        return Number(e164, self.country, self.calling_code)


_ranges: Callable[[], Sequence[Range]] = tuple


def set_ranges_source(source: Callable[[], Sequence[Range]]) -> None:
    """Set the source of the operators' ranges, those with the longest prefixes first."""
    global _ranges
    _ranges = source


class _Plan(NamedTuple):
    """The numbering plan for the numbers with certain first three digits."""

    mobile: re.Pattern[str]
    country: str
    calling_code: int


_NON_GEOGRAPHIC: Final = "001"  # phonenumbers' region of satellite, freephone and the like

_USABLE: Final = frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE})
_TYPE_REASONS: Final = {
    PhoneNumberType.FIXED_LINE: NumberReason.FIXED_LINE,
    PhoneNumberType.TOLL_FREE: NumberReason.TOLL_FREE,
    PhoneNumberType.PREMIUM_RATE: NumberReason.PREMIUM_RATE,
    PhoneNumberType.SHARED_COST: NumberReason.SHARED_COST,
    PhoneNumberType.VOIP: NumberReason.VOIP,
    PhoneNumberType.PERSONAL_NUMBER: NumberReason.PERSONAL,
    PhoneNumberType.PAGER: NumberReason.PAGER,
    PhoneNumberType.UAN: NumberReason.COMPANY_ACCESS,
    PhoneNumberType.VOICEMAIL: NumberReason.VOICEMAIL,
}
_PARSE_REASONS: Final = {
    NumberParseException.INVALID_COUNTRY_CODE: NumberReason.UNKNOWN_COUNTRY,
    NumberParseException.NOT_A_NUMBER: NumberReason.TOO_SHORT,  # digits only, but one or two
    NumberParseException.TOO_SHORT_AFTER_IDD: NumberReason.TOO_SHORT,
    NumberParseException.TOO_SHORT_NSN: NumberReason.TOO_SHORT,
    NumberParseException.TOO_LONG: NumberReason.TOO_LONG,
}
_LENGTH_REASONS: Final = {
    ValidationResult.TOO_SHORT: NumberReason.TOO_SHORT,
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: NumberReason.TOO_SHORT,
    ValidationResult.TOO_LONG: NumberReason.TOO_LONG,
    ValidationResult.INVALID_LENGTH: NumberReason.WRONG_LENGTH,
}


def _calling_codes() -> dict[str, int]:
    """Return the calling codes by first three digits: no calling code is a prefix of another."""
    codes = {}
    for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        tail = 3 - len(str(code))
        for following in range(10**tail):
            codes[f"{code}{following:0{tail}d}" if tail else str(code)] = code
    return codes


_CALLING_CODES: Final = _calling_codes()
_plans: Final[dict[str, _Plan]] = {}  # by first three digits; filled on first use


def parse(raw: str, home: str = "") -> Number:
    """Return a number, written by a person or program, in E.164 if an SMS can reach it.

    `home`: the country (ISO 3166) whose numbers may have their national form, or the calling code
    without `+`; other numbers without `+` or `00` are refused. If empty, all need `+` or `00`. A
    national prefix after a calling code (+966 050…) is dropped, like in phonenumbers. Raises
    InvalidNumber.
    """
    number = _parse_quickly(raw)
    if number is not None:
        return number
    spelling = read(raw)
    if spelling.international:
        return _parse_international(spelling.digits)
    if not home:
        raise InvalidNumber(NumberReason.NO_COUNTRY_CODE)
    return _parse_national(spelling.digits, home)


def parse_with_code(raw: str, home: str = "") -> Number:
    """Return a number with its calling code, even if the `+` is missing.

    A number that could also be one of `home` without its code is ambiguous, and refused. Raises
    InvalidNumber.
    """
    spelling = read(raw)
    if spelling.international:
        return _parse_international(spelling.digits)
    if spelling.digits.startswith("0"):
        raise InvalidNumber(NumberReason.NO_COUNTRY_CODE)
    try:
        number = _parse_international(spelling.digits)
    except InvalidNumber:
        if _is_national(spelling.digits, home):
            raise InvalidNumber(NumberReason.NO_COUNTRY_CODE) from None
        raise
    if number.country != home and _is_national(spelling.digits, home):
        raise InvalidNumber(NumberReason.NO_COUNTRY_CODE)
    return number


def starts_like_national(digits: str, home: str) -> bool:
    """Return whether the digits start like a mobile number of that country, whatever follows.

    Such a number without `+` or `00` is one of that country with an error in it, even where other
    countries have a number with these digits.
    """
    return digits[:1] in _first_digits(home)


@cache
def _first_digits(home: str) -> frozenset[str]:
    """Return the first digits of the country's mobile numbers in national form."""
    example = phonenumbers.example_number_for_type(home, PhoneNumberType.MOBILE)
    if example is None:
        return frozenset()
    national = str(example.national_number)
    return frozenset(
        digit
        for digit in "123456789"
        if digit == national[0] or _is_national(digit + national[1:], home)
    )


def in_groups(e164: str) -> str:
    """Return a number in readable groups, such as +966 50 123 4567; other text unchanged."""
    try:
        parsed = phonenumbers.parse(e164)
    except NumberParseException:
        return e164
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL)


def mask(e164: str) -> str:
    """Return a number for logs: calling code, two digits, dots, last three (+96650••••567).

    With fewer than nine national digits, it has the last two, and none after the calling code if
    less than three would be hidden. Of other text, only the length remains.
    """
    code = _CALLING_CODES.get(e164[1:4])
    if code is None or e164[0] != "+":
        return "•" * len(e164)
    start = 1 + len(str(code))
    national = len(e164) - start
    tail = 3 if national >= 9 else 2
    head = 2 if national - 2 - tail >= 3 else 0
    hidden = max(0, national - head - tail)
    if hidden < 3:
        return e164[:start] + "•" * national
    return e164[: start + head] + "•" * hidden + e164[-tail:]


def _parse_quickly(e164: str) -> Number | None:
    """Return the number if an operator's range or its calling code's pattern matches, or None.

    Raises InvalidNumber for a number of a range that SMS cannot reach.
    """
    for each in _ranges():
        if each.holds(e164):
            return each.number(e164)
    start = e164[1:4]
    plan = _plans.get(start)
    if plan is None:
        code = _CALLING_CODES.get(start)
        if code is None:
            return None
        plan = _plans[start] = _plan(code)
    if plan.mobile.fullmatch(e164) is None:
        return None
    return Number(e164, plan.country, plan.calling_code)


def _parse_international(digits: str) -> Number:
    """Return the number for digits that start with a calling code. Raise InvalidNumber."""
    e164 = f"+{digits}"
    number = _parse_quickly(e164)
    if number is not None:
        return number
    try:
        parsed = phonenumbers.parse(e164)
    except NumberParseException as error:
        reason = _PARSE_REASONS.get(error.error_type, NumberReason.NOT_A_NUMBER)
        raise InvalidNumber(reason) from None
    country = phonenumbers.region_code_for_number(parsed)
    if country == _NON_GEOGRAPHIC:
        raise InvalidNumber(NumberReason.NOT_GEOGRAPHIC)
    if country is not None:
        number = _usable(parsed, country)
        if number is not None:
            return number
    length = phonenumbers.is_possible_number_for_type_with_reason(parsed, PhoneNumberType.MOBILE)
    raise InvalidNumber(_LENGTH_REASONS.get(length, NumberReason.NOT_IN_PLAN))


def _parse_national(digits: str, home: str) -> Number:
    """Return the number of that country in its national form, or with the calling code only.

    Raises InvalidNumber.
    """
    number = _in_range_at_home(digits, home) or _parse_national_quickly(digits, home)
    if number is not None:
        return number
    try:
        return _parse_dialed(digits, home)
    except InvalidNumber as error:
        # phonenumbers does not remove a calling code if the digits could be a complete number.
        with contextlib.suppress(InvalidNumber):
            number = _parse_international(digits)
            if number.country == home:
                return number
        raise error from None


def _parse_dialed(digits: str, home: str) -> Number:
    """Return the number that phonenumbers parses. Raise InvalidNumber."""
    try:
        parsed = phonenumbers.parse(digits, home)
    except NumberParseException as error:
        reason = _PARSE_REASONS.get(error.error_type, NumberReason.NOT_A_NUMBER)
        raise InvalidNumber(reason) from None
    if phonenumbers.region_code_for_number(parsed) == home:
        number = _usable(parsed, home)
        if number is not None:
            return number
    length = phonenumbers.is_possible_number_for_type_with_reason(parsed, PhoneNumberType.MOBILE)
    if _LENGTH_REASONS.get(length) is NumberReason.TOO_SHORT:
        raise InvalidNumber(NumberReason.TOO_SHORT)
    raise InvalidNumber(NumberReason.NOT_OF_COUNTRY)


def _is_national(digits: str, home: str) -> bool:
    if not home:
        return False
    try:
        _parse_national(digits, home)
    except InvalidNumber:
        return False
    return True


def _in_range_at_home(digits: str, home: str) -> Number | None:
    """Return the number if an operator's range of that country has it. Raise InvalidNumber."""
    own = [each for each in _ranges() if each.country == home]
    if not own:
        return None
    code = own[0].calling_code
    metadata = PhoneMetadata.metadata_for_region(home)
    trunk = (metadata.national_prefix if metadata else None) or ""
    for e164 in (f"+{code}{digits.removeprefix(trunk)}", f"+{code}{digits}", f"+{digits}"):
        for each in own:
            if each.holds(e164):
                return each.number(e164)
    return None


def _parse_national_quickly(digits: str, home: str) -> Number | None:
    """Return the number if the pattern of the country's calling code matches, or None."""
    trunk = _trunk_of(home)
    if trunk is None:
        return None
    code, prefix = trunk
    national = digits.removeprefix(prefix) if prefix else digits
    for e164 in (f"+{code}{national}", f"+{digits}"):
        number = _parse_quickly(e164)
        if number is not None and number.country == home and number.calling_code == code:
            return number
    return None


@cache
def _trunk_of(country: str) -> tuple[int, str] | None:
    """Return a country's calling code and its national (trunk) prefix.

    None if the rules are more complex than a prefix, or the country is unknown.
    """
    metadata = PhoneMetadata.metadata_for_region(country)
    if metadata is None or metadata.national_prefix_transform_rule:
        return None
    if metadata.country_code is None:
        return None
    prefix = metadata.national_prefix or ""
    if (metadata.national_prefix_for_parsing or "") != prefix:
        return None
    return metadata.country_code, prefix


def _usable(parsed: PhoneNumber, country: str) -> Number | None:
    """Return a valid number if an SMS can reach it; None if there is no such number.

    Raises InvalidNumber for a kind of number that SMS cannot reach.
    """
    kind = phonenumbers.number_type(parsed)
    if kind in _USABLE:
        e164 = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
        return Number(e164, country, parsed.country_code or 0)
    if kind in _TYPE_REASONS:
        raise InvalidNumber(_TYPE_REASONS[kind])
    return None


def _plan(calling_code: int) -> _Plan:
    """Return the pattern of the certainly usable numbers of a calling code's main country.

    It checks the same as phonenumbers, in the same order: that no national prefix would be removed,
    that the number belongs to the main country if several share the code, that its length is
    possible there, that it is not of a special type, and that it is mobile.
    """
    country = phonenumbers.region_code_for_country_code(calling_code)
    metadata = PhoneMetadata.metadata_for_region(country)
    if metadata is None or metadata.mobile is None or metadata.general_desc is None:
        return _Plan(re.compile(r"(?!)"), country, calling_code)
    pattern = rf"\+{calling_code}"
    if metadata.national_prefix_for_parsing:
        pattern += f"(?!{metadata.national_prefix_for_parsing})"
    if metadata.leading_digits:
        pattern += f"(?={metadata.leading_digits})"
    pattern += rf"(?={_numbers(metadata.general_desc)}\Z)"
    special = (
        metadata.premium_rate,
        metadata.toll_free,
        metadata.shared_cost,
        metadata.voip,
        metadata.personal_number,
        metadata.pager,
        metadata.uan,
        metadata.voicemail,
    )
    for description in special:
        if description is not None and description.national_number_pattern:
            pattern += rf"(?!{_numbers(description)}\Z)"
    return _Plan(re.compile(pattern + _numbers(metadata.mobile), re.ASCII), country, calling_code)


def _numbers(description: PhoneNumberDesc) -> str:
    """Return the pattern of the national numbers in a description of phonenumbers."""
    pattern = f"(?:{description.national_number_pattern or '(?!)'})"
    lengths = [length for length in description.possible_length if length > 0]
    if not lengths:
        return pattern
    possible = "|".join(rf"\d{{{length}}}" for length in lengths)
    return rf"(?=(?:{possible})\Z){pattern}"
