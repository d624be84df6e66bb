"""Which country a file's numbers seem to be of, where they were read as another's."""

from collections.abc import Sequence
from typing import Final

from django.utils.translation import ngettext

from imissive.core.countries import name_of
from messaging.numbers import e164
from messaging.numbers.reasons import InvalidNumber

_LOOKED_AT: Final = 200
_LIKELY: Final = (
    "SA", "AE", "KW", "QA", "BH", "OM", "JO", "EG", "IQ", "LB", "YE", "SY", "PS", "MA", "DZ", "TN",
    "LY", "SD", "TR", "PK", "IN", "BD", "PH", "GB",
)  # fmt: skip


def suggestion(failed: Sequence[str], home: str, chosen: str, good: int) -> str:
    """Return a sentence that suggests another country for a file; empty where none fits better.

    `good`: rows that can be read now; most of them would fail in another country than the chosen.
    """
    country, count = suggested_country(failed, home, chosen)
    if count * 2 <= len(failed[:_LOOKED_AT]) or (chosen and count <= min(good, _LOOKED_AT)):
        return ""
    told = ngettext(
        "%(count)s row can be read as a number of %(country)s: choose it as the default country.",
        "%(count)s rows can be read as numbers of %(country)s: choose it as the default country.",
        count,
    )
    return told % {"count": f"{count:,}", "country": name_of(country)}


def suggested_country(failed: Sequence[str], home: str, chosen: str) -> tuple[str, int]:
    """Return the country of which most of these numbers are, and how many; none: empty and 0.

    `failed` are numbers as they were written, `home` is the organization's default country, which
    goes before others that know as many of them; `chosen` is the country that they were read in.
    """
    looked_at = failed[:_LOOKED_AT]
    candidates = dict.fromkeys(each for each in (home, *_LIKELY) if each and each != chosen)
    best, most = "", 0
    for country in candidates:
        count = sum(_is_of(written, country) for written in looked_at)
        if count > most:
            best, most = country, count
    return best, most


def _is_of(written: str, country: str) -> bool:
    try:
        return e164.parse(written, country).country == country
    except InvalidNumber:
        return False
