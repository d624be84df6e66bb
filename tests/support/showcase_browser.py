"""The showcase on a live server, with a real Chromium."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize

from tests.support import browsers, showcase

WIDE = ViewportSize(width=1280, height=860)
PHONE = ViewportSize(width=360, height=740)


@dataclass
class Site:
    """The live server with the showcase in its database."""

    url: str
    browser: Browser
    shown: showcase.Showcase
    refused: list[str] = field(default_factory=list)

    def open(self, *, who: str = "", phone: bool = False, **options) -> Page:
        """Open a page in a new browser context.

        `who` is logged in: "owner", "operator", "newcomer", "acting" for the operator who
        impersonates the owner's organization, or nobody.
        """
        options = {"base_url": self.url, **options}
        context = self.browser.new_context(viewport=PHONE if phone else WIDE, **options)
        context.set_default_timeout(15_000)
        if who == "acting":
            customer = self.shown.organization
            browsers.log_in(context, self.url, self.shown.operator, acting_as=customer)
        elif who:
            browsers.log_in(context, self.url, getattr(self.shown, who))
        page = context.new_page()
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.refused.append(str(error)))
        return page

    def _listen(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text or "Content-Security-Policy" in message.text:
            self.refused.append(message.text)

    @property
    def home(self) -> str:
        """The path of the organization's dashboard."""
        return f"/dashboard/{showcase.organization_id(self.shown)}/"


@contextmanager
def shown_site(django_db_blocker: Any) -> Iterator[Site]:
    """Run the live server with the showcase; without a Chromium, warn and skip the test."""
    if not browsers.has_chromium():
        missing = f"no Chromium at {browsers.CHROMIUM}: the pages were NOT tried in a browser"
        warnings.warn(missing, stacklevel=1)
        pytest.skip(missing)
    with django_db_blocker.unblock():
        showcase.forget()
        shown = showcase.make()
        try:
            with browsers.live_server() as url, browsers.chromium() as browser:
                # Django has one connection inside Playwright's loop and another outside, and the
                # end of the live server terminates both sessions.
                connection.close()
                yield Site(url, browser, shown)
                connection.close()
        finally:
            showcase.forget()


@pytest.fixture(scope="module")
def site(test_database: None, django_db_blocker: Any) -> Iterator[Site]:
    """Return the showcase for the tests of a file, which imports this as its fixture."""
    with shown_site(django_db_blocker) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_refused(site: Site) -> Iterator[None]:
    """Check that no page violated its Content-Security-Policy and no script failed."""
    site.refused.clear()
    yield
    assert site.refused == []
    for context in site.browser.contexts:
        context.close()
