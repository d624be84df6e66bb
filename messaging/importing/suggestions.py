"""Suggestion of another country for a file's numbers without a code."""

from collections.abc import Sequence
from typing import Final

from django.utils.translation import ngettext

from imissive.core.countries import name_of
from messaging.numbers import e164
from messaging.numbers.reasons import InvalidNumber

_SAMPLE: Final = 200
_LIKELY: Final = (
    "SA", "AE", "KW", "QA", "BH", "OM", "JO", "EG", "IQ", "LB", "YE", "SY", "PS", "MA", "DZ", "TN",
    "LY", "SD", "TR", "PK", "IN", "BD", "PH", "GB",
)  # fmt: skip


def suggestion(failed: Sequence[str], home: str, chosen: str, good: int) -> str:
    """Return a sentence that suggests another country for a file, or "" if none fits better.

    `good`: the number of valid rows; most of them would fail in another country.
    """
    country, count = suggested_country(failed, home, chosen)
    if count * 2 <= len(failed[:_SAMPLE]) or (chosen and count <= min(good, _SAMPLE)):
        return ""
    text = ngettext(
        "%(count)s row can be read as a number of %(country)s: choose it as the default country.",
        "%(count)s rows can be read as numbers of %(country)s: choose it as the default country.",
        count,
    )
    return text % {"count": f"{count:,}", "country": name_of(country)}


def suggested_country(failed: Sequence[str], home: str, chosen: str) -> tuple[str, int]:
    """Return the country that fits most of these numbers, and their count; "" and 0 for none.

    `failed` are numbers as written. `home` is the organization's default country, preferred among
    equals; `chosen` is the country that they were read in.
    """
    sample = failed[:_SAMPLE]
    candidates = dict.fromkeys(each for each in (home, *_LIKELY) if each and each != chosen)
    best, most = "", 0
    for country in candidates:
        count = sum(_is_of(written, country) for written in sample)
        if count > most:
            best, most = country, count
    return best, most


def _is_of(written: str, country: str) -> bool:
    try:
        return e164.parse(written, country).country == country
    except InvalidNumber:
        return False
