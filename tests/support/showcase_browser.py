"""The showcase in a live server, and a real Chromium to look at it with."""

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
        """A page of a fresh browser, logged in as the owner, the operator, the
        operator who acts as the owner's organization (`acting`), or nobody."""
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
        return f"/dashboard/{showcase.organization_id(self.shown)}/"


@contextmanager
def shown_site(django_db_blocker: Any) -> Iterator[Site]:
    """The showcase while it is looked at; the test is skipped, loudly, without a Chromium."""
    if not browsers.has_chromium():
        missing = f"no Chromium at {browsers.CHROMIUM}: the pages were NOT tried in a browser"
        warnings.warn(missing, stacklevel=1)
        pytest.skip(missing)
    with django_db_blocker.unblock():
        showcase.forget()
        made = showcase.make()
        try:
            with browsers.live_server() as url, browsers.chromium() as browser:
                # Within Playwright's loop Django has another connection than outside of it, and
                # what ends this one's server ends the sessions of both.
                connection.close()
                yield Site(url, browser, made)
                connection.close()
        finally:
            showcase.forget()


@pytest.fixture(scope="module")
def site(test_database: None, django_db_blocker: Any) -> Iterator[Site]:
    """The showcase for the tests of one file, which takes this for a fixture of its own."""
    with shown_site(django_db_blocker) as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_refused(site: Site) -> Iterator[None]:
    """No page tries what its policy forbids, and no script fails."""
    site.refused.clear()
    yield
    assert site.refused == []
    for context in site.browser.contexts:
        context.close()
