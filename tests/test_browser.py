"""The pages in a real Chromium, against a live server."""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize, expect

from messaging.models import Message
from messaging.states import Status
from tests import browsers, showcase

pytestmark = pytest.mark.browser

WIDE = ViewportSize(width=1280, height=860)


@dataclass
class Site:
    """The live server with the showcase in its database."""

    url: str
    browser: Browser
    shown: showcase.Showcase
    refused: list[str] = field(default_factory=list)

    def open(self, *, who: str = "", phone: bool = False, **options) -> Page:
        """A page of a fresh browser, logged in as the owner, the operator, or nobody."""
        size = ViewportSize(width=360, height=740) if phone else WIDE
        context = self.browser.new_context(viewport=size, base_url=self.url, **options)
        context.set_default_timeout(15_000)
        if who:
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


@pytest.fixture(scope="module")
def site(django_db_setup: None, django_db_blocker) -> Iterator[Site]:
    if not browsers.has_chromium():
        missing = f"no Chromium at {browsers.CHROMIUM}: the pages were NOT tried in a browser"
        warnings.warn(missing, stacklevel=1)
        pytest.skip(missing)
    with django_db_blocker.unblock():
        showcase.forget()
        made = showcase.make()
        try:
            with browsers.live_server() as url, browsers.chromium() as browser:
                yield Site(url, browser, made)
        finally:
            showcase.forget()


@pytest.fixture(autouse=True)
def _nothing_refused(site: Site) -> Iterator[None]:
    """No page tries what its policy forbids, and no script fails."""
    site.refused.clear()
    yield
    assert site.refused == []
    for context in site.browser.contexts:
        context.close()


def _sign_in(page: Page, site: Site) -> None:
    page.goto("/")
    page.get_by_role("banner").get_by_role("link", name="Sign in").click()
    page.get_by_label("Email").fill(site.shown.owner.email)
    page.get_by_label("Password", exact=True).fill(showcase.PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()


@pytest.mark.parametrize("javascript", [True, False])
def test_from_the_front_page_to_why_a_message_failed(site: Site, javascript: bool) -> None:
    page = site.open(java_script_enabled=javascript)
    _sign_in(page, site)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    expect(page.get_by_text("89,312.5")).to_be_visible()
    page.get_by_role("link", name="All messages").click()
    page.get_by_label("Status").select_option("failed")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name=site.shown.failed.to).click()
    expect(page.get_by_role("heading", name=f"To {site.shown.failed.to}")).to_be_visible()
    why = page.get_by_role("region", name="Why")
    expect(why).to_contain_text("the phone may be off, full, or unreachable")
    expect(why).to_contain_text("Try again later")
    expect(page.get_by_text("Gulf Carrier was busy; trying again")).to_be_visible()


def test_signing_out(site: Site) -> None:
    page = site.open(who="owner")
    page.goto(site.home)
    page.get_by_label("Account: ").click()
    page.get_by_role("button", name="Sign out").click()
    page.goto(site.home)
    expect(page).to_have_url(re.compile(r"/accounts/login/\?next="))


@pytest.mark.parametrize("phone", [False, True])
def test_arabic_is_right_to_left(site: Site, phone: bool) -> None:
    page = site.open(who="owner", phone=phone)
    page.goto(site.home)
    if phone:
        page.get_by_role("button", name="Menu").click()
    page.get_by_label("Account: ").click()
    page.get_by_role("button", name="العربيّة").click()
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    expect(page.get_by_role("heading", name="نظرة عامة")).to_be_visible()
    if phone:
        page.get_by_role("button", name="القائمة").click()
    sidebar = page.locator("#sidebar").bounding_box()
    assert sidebar is not None
    width = page.evaluate("innerWidth")
    assert sidebar["x"] + sidebar["width"] == pytest.approx(width, abs=16)
    number = page.get_by_role("link", name=site.shown.delivered.to).first
    assert number.locator("bdi").get_attribute("dir") == "ltr"


@pytest.mark.parametrize("language", ["en", "ar"])
def test_nothing_is_wider_than_a_phone(site: Site, language: str) -> None:
    page = site.open(who="owner", phone=True)
    page.context.add_cookies([{"name": "django_language", "value": language, "url": site.url}])
    for path in (
        "",
        "messages/",
        f"messages/{site.shown.delivered.public_id}/",
        f"messages/{site.shown.failed.public_id}/",
    ):
        page.goto(site.home + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_the_phones_menu_opens_and_closes_by_keyboard(site: Site) -> None:
    page = site.open(who="owner", phone=True)
    page.goto(site.home)
    messages = page.get_by_role("navigation").get_by_role("link", name="Messages")
    expect(messages).to_be_hidden()
    page.get_by_role("button", name="Menu").press("Enter")
    expect(messages).to_be_visible()
    page.keyboard.press("Escape")
    expect(messages).to_be_hidden()


def test_the_log_is_live_while_open(site: Site) -> None:
    page = site.open(who="owner")
    page.goto(f"{site.home}messages/")
    link = page.locator(f"#{site.shown.failed.public_id}")
    link.focus()
    row = page.get_by_role("row").filter(has=link)
    expect(row).to_contain_text("Failed")
    change = Message.objects.filter(pk=site.shown.failed.pk)
    try:
        change.update(status=Status.EXPIRED)
        expect(row).to_contain_text("Expired")
        expect(link).to_be_focused()
        expect(row.locator("time")).not_to_contain_text("UTC")
    finally:
        change.update(status=Status.FAILED)


def test_the_theme_stays_chosen(site: Site) -> None:
    page = site.open(who="owner", color_scheme="light")
    page.goto(site.home)
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_label("Account: ").click()
    page.get_by_role("button", name="Dark").click()
    page.goto("/accounts/2fa/")
    assert page.evaluate(ground) != light


def test_an_operator_approves_a_sender_id(site: Site) -> None:
    """Unfold's pages work under the admin's policy: its menu opens, its buttons act."""
    page = site.open(who="operator")
    page.goto("/admin/")
    page.get_by_role("link", name="NAJD-Offers").click()
    page.get_by_role("link", name="Approve").click()
    page.get_by_role("button", name="Approve this sender ID").click()
    expect(page.get_by_text("The sender ID was approved.")).to_be_visible()
    page.locator("#nav-sidebar-inner").get_by_text(site.shown.operator.email).click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Text messages that arrive")


# ---------------------------------------------------------------- contrast (WCAG 2.1, 1.4.3)

_TEXT = 4.5
_SHAPE = 3.0
_PAIRS = [
    *[(ink, ground, _TEXT) for ink in ("ink", "ink-soft", "accent", "accent-strong")
      for ground in ("ground", "surface", "sunken", "raised")],
    *[(tone, f"{tone}-soft", _TEXT) for tone in ("good", "bad", "late", "moving", "still")],
    *[("ink", f"{tone}-soft", _TEXT) for tone in ("good", "bad", "late", "still", "accent")],
    *[("ink-soft", f"{tone}-soft", _TEXT) for tone in ("bad", "late")],
    ("on-accent", "accent", _TEXT),
    ("on-accent", "accent-strong", _TEXT),
    ("accent-strong", "accent-soft", _TEXT),
    ("bad", "surface", _TEXT),
    *[(shape, "surface", _SHAPE) for shape in ("line-strong", "focus")],
]  # fmt: skip

_READ_COLOURS = """names => names.map(name => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d");
    const probe = document.createElement("i");
    probe.className = "probe-" + name;
    document.body.append(probe);
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(`.probe-${name} { color: var(--${name}); }`);
    document.adoptedStyleSheets.push(sheet);
    canvas.fillStyle = getComputedStyle(probe).color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
})"""


def _luminance(colour: list[int]) -> float:
    def linear(value: float) -> float:
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(value / 255) for value in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: list[int], other: list[int]) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_contrast_enough(site: Site, theme: str) -> None:
    page = site.open(color_scheme=theme)
    page.goto("/")
    names = sorted({name for pair in _PAIRS for name in pair[:2]})
    colours = dict(zip(names, page.evaluate(_READ_COLOURS, names), strict=True))
    weak = {
        (front, back): round(_contrast(colours[front], colours[back]), 2)
        for front, back, least in _PAIRS
        if _contrast(colours[front], colours[back]) < least
    }
    assert weak == {}
