"""Accessibility of every page, checked by axe, in both themes and both directions.

`make axe` checks each page in both themes, both languages and two widths. The suite checks each one
once, alternately in light English and in dark Arabic on a phone, in an eighth of the time.
"""

import os
from itertools import product
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.screenshots import LANGUAGES, THEMES, WIDTHS, pages_of
from tests.support import showcase_browser
from tests.support.showcase_browser import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
site = showcase_browser.site

Variant = tuple[str, str, str]
"""A theme, a language and a width."""

EVERYTHING = list(product(THEMES, LANGUAGES, WIDTHS))
IN_TURN = [("light", "en", "wide"), ("dark", "ar", "phone")]
RULES = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}
MISSING = ("not-found", "link-ended")
"""The error pages."""

SERIOUS = ("serious", "critical")


@pytest.mark.parametrize("who", ["", "owner", "newcomer", "operator", "acting"])
@pytest.mark.parametrize("variant", EVERYTHING if os.environ.get("AXE_ALL") else [None])
def test_no_page_has_serious_violations(site: Site, who: str, variant: Variant | None) -> None:
    pages = [
        (name, path) for name, (visitor, path) in pages_of(site.shown).items() if visitor == who
    ]
    variants = [variant] if variant else IN_TURN
    found = []
    for number, each in enumerate(variants):
        browser_page = _open(site, who, each)
        for name, path in pages[number :: len(variants)]:
            response = browser_page.goto(path)
            assert response is not None
            assert response.status == (404 if name in MISSING else 200), (name, each)
            found += [f"{name} {each}: {problem}" for problem in serious_problems(browser_page)]
    assert not found, "\n".join(found)


def _open(site: Site, who: str, variant: Variant) -> Page:
    """Open a page in that theme, language and width."""
    theme, language, width = variant
    scheme: Literal["dark", "light"] = "dark" if theme == "dark" else "light"
    page = site.open(who=who, phone=width == "phone", color_scheme=scheme)
    cookies = {"theme": theme, "django_language": language}
    page.context.add_cookies(
        [{"name": name, "value": value, "url": site.url} for name, value in cookies.items()]
    )
    return page


def serious_problems(page: Page) -> list[str]:
    """Return axe's serious and critical violations, each with the first elements that have it."""
    violations = []
    for violation in Axe().run(page, options=RULES).response["violations"]:
        if violation["impact"] in SERIOUS:
            where = "; ".join(node["html"][:120] for node in violation["nodes"][:3])
            violations.append(f"{violation['id']} ({len(violation['nodes'])}): {where}")
    return violations
