"""Countries by name and by prefix."""

import phonenumbers
import pytest
from django.utils import translation

from imissive.core.countries import countries_of, name_of


def test_every_country_of_phone_numbers_has_a_name_in_both_languages() -> None:
    regions = {
        region
        for found in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.values()
        for region in found
        if region != "001"
    }
    for language in ("en", "ar"):
        with translation.override(language):
            assert all(name_of(region) != region for region in regions)


@pytest.mark.parametrize(
    ("language", "code", "name"),
    [("en", "SA", "Saudi Arabia"), ("ar", "SA", "السعودية"), ("en", "XX", "XX"), ("ar", "", "")],
)
def test_a_name_is_in_the_language_of_the_page(language: str, code: str, name: str) -> None:
    with translation.override(language):
        assert name_of(code) == name


@pytest.mark.parametrize(
    ("prefix", "countries"),
    [
        ("966", ("SA",)),
        ("96650", ("SA",)),
        ("9", ()),
        ("", ()),
        ("999", ()),
        ("1242", ("BS",)),
        ("77", ("KZ",)),
        ("70", ("RU", "KZ")),
    ],
)
def test_countries_of_a_prefix(prefix: str, countries: tuple[str, ...]) -> None:
    assert countries_of(prefix) == countries


def test_a_shared_code_names_the_main_country_first() -> None:
    assert countries_of("1")[0] == "US"
    assert "CA" in countries_of("1")
