"""Phone numbers: E.164 form, country, and whether an SMS can reach them. Pure.

`phonenumbers` is the truth, but costs tens of µs for a number and bulk traffic brings thousands a
second. So each calling code's rules are compiled, on first use and out of phonenumbers' own
metadata, into one pattern that accepts only what phonenumbers would accept unchanged. Whatever
it does not match (refusals, secondary countries of a shared calling code, national prefixes
written by mistake) goes to phonenumbers itself. The tests prove that the two agree.
"""

import contextlib
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

import phonenumbers
from phonenumbers import NumberParseException, PhoneMetadata, PhoneNumberType, ValidationResult
from phonenumbers.phonemetadata import PhoneNumberDesc

from imissive.core.problems import Problem
from messaging.numbers.reasons import NumberReason


class InvalidNumber(ValueError):
    """A number that cannot be sent to."""

    def __init__(self, reason: NumberReason) -> None:
        super().__init__(str(reason))
        self.reason = reason

    def problem(self, field: str | None = None) -> Problem:
        """Return it as a problem with that field."""
        return self.reason.problem(field)


@dataclass(frozen=True, slots=True)
class Number:
    """A number that can receive SMS.

    `e164` with '+', `country` as ISO 3166 alpha-2 (XK for Kosovo), `calling_code` as in 966.
    """

    e164: str
    country: str
    calling_code: int


class _Plan(NamedTuple):
    """The plan of the numbers that begin with some three digits."""

    mobile: re.Pattern[str]
    country: str
    calling_code: int


_NON_GEOGRAPHIC: Final = "001"  # phonenumbers' region of satellite, freephone and the like

# Marks that text direction leaves in pasted numbers, then what people put between digits.
_IGNORED: Final = (
    "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060"
    "\u2066\u2067\u2068\u2069\u061c\ufeff"
    " \t\r\n\u00a0\u2002\u2003\u2007\u2008\u2009\u200a\u202f"
    "-\u00ad\u2010\u2011\u2012\u2013\u2014\u2015\u2212.()"
)
_CLEANING: Final = str.maketrans(
    "٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹＋",
    "01234567890123456789+",
    _IGNORED,
)
_MAX_RAW: Final = 64  # no number is longer, whatever stands between its digits
_INTERNATIONAL: Final = re.compile(r"(?:\+|00)([0-9]+)")

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
    NumberParseException.NOT_A_NUMBER: NumberReason.TOO_SHORT,  # of digits only: one or two
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
    """Calling code by a number's first three digits: no calling code is another's beginning."""
    codes = {}
    for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        tail = 3 - len(str(code))
        for following in range(10**tail):
            codes[f"{code}{following:0{tail}d}" if tail else str(code)] = code
    return codes


_CALLING_CODES: Final = _calling_codes()
_plans: Final[dict[str, _Plan]] = {}  # by first three digits; filled on first use


def parse(raw: str) -> Number:
    """The number that a person or program wrote, in E.164, if an SMS can reach it.

    Accepted: '+' or '00' and the country's calling code, then digits (Arabic-Indic ones too) with
    spaces, dashes, dots, parentheses and direction marks anywhere. A national prefix after the
    calling code (+966 050…) is dropped as phonenumbers does. Raises InvalidNumber otherwise.
    """
    number = _parse_quickly(raw)
    if number is not None:
        return number
    e164 = _clean(raw)
    if e164 != raw:
        number = _parse_quickly(e164)
        if number is not None:
            return number
    return _parse_slowly(e164)


def parse_written(raw: str, calling_code: int | None) -> Number:
    """The number as people write it in a list: without the plus, or as it is dialled at home.

    `calling_code` is of the country whose numbers stand there without one; None: each has its own.
    Spreadsheets take the plus and the first zero from numbers. Raises InvalidNumber.
    """
    try:
        return parse(raw)
    except InvalidNumber as error:
        digits = raw[: _MAX_RAW + 1].translate(_CLEANING)
        if not (digits.isascii() and digits.isdigit()) or len(raw) > _MAX_RAW:
            raise
        tries = [f"+{digits}"]
        if calling_code is not None:
            tries.insert(0, f"+{calling_code}{digits.lstrip('0')}")
        for each in tries:
            found = _parse_quickly(each)
            if found is not None:
                return found
        for each in tries:
            with contextlib.suppress(InvalidNumber):
                return _parse_slowly(each)
        raise error


def mask(e164: str) -> str:
    """A number for logs: calling code, two digits, dots, and the last three (+96650••••567).

    With fewer than nine national digits it is the last two, and none after the calling code if
    less than three would be hidden. What is not a number is hidden but for its length.
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
    """The number if its calling code's pattern is certain of it."""
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


def _parse_slowly(e164: str) -> Number:
    """The number if phonenumbers accepts it; else the reason why not."""
    try:
        parsed = phonenumbers.parse(e164)
    except NumberParseException as error:
        reason = _PARSE_REASONS.get(error.error_type, NumberReason.NOT_A_NUMBER)
        raise InvalidNumber(reason) from None
    country = phonenumbers.region_code_for_number(parsed)
    if country == _NON_GEOGRAPHIC:
        raise InvalidNumber(NumberReason.NOT_GEOGRAPHIC)
    kind = phonenumbers.number_type(parsed)
    if country is not None and kind in _USABLE:
        e164 = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
        return Number(e164, country, parsed.country_code or 0)
    if kind in _TYPE_REASONS:
        raise InvalidNumber(_TYPE_REASONS[kind])
    length = phonenumbers.is_possible_number_for_type_with_reason(parsed, PhoneNumberType.MOBILE)
    raise InvalidNumber(_LENGTH_REASONS.get(length, NumberReason.NOT_IN_PLAN))


def _clean(raw: str) -> str:
    """'+' and digits out of what was written."""
    if len(raw) > _MAX_RAW:
        raise InvalidNumber(NumberReason.TOO_LONG)
    written = raw.translate(_CLEANING)
    match = _INTERNATIONAL.fullmatch(written)
    if match is not None:
        return "+" + match[1]
    if written.isascii() and written.isdigit():
        raise InvalidNumber(NumberReason.NO_COUNTRY_CODE)
    raise InvalidNumber(NumberReason.NOT_A_NUMBER)


def _plan(calling_code: int) -> _Plan:
    """The pattern of the numbers of a calling code's main country that are surely usable.

    It asks, in this order, what phonenumbers asks: that no national prefix would be taken off,
    that the number belongs to the main country if several share the code, that it is possible
    there, that it is of no special type, and that it is mobile.
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
    """The pattern of the national numbers that phonenumbers' description describes."""
    pattern = f"(?:{description.national_number_pattern or '(?!)'})"
    lengths = [length for length in description.possible_length if length > 0]
    if not lengths:
        return pattern
    possible = "|".join(rf"\d{{{length}}}" for length in lengths)
    return rf"(?=(?:{possible})\Z){pattern}"
