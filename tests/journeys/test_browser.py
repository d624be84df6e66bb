"""The pages in a real Chromium, against a live server."""

import re

import pytest
from allauth.mfa.models import Authenticator
from django.db import connection
from playwright.sync_api import Page, expect

from messaging.models import Message
from messaging.states import Status
from tests.support import showcase, showcase_browser, transitions
from tests.support.contrast import contrast
from tests.support.factories import Api
from tests.support.mails import link
from tests.support.showcase_browser import Site

pytestmark = pytest.mark.browser
site, _nothing_refused = showcase_browser.site, showcase_browser.nothing_refused


def _sign_in(page: Page, site: Site) -> None:
    page.goto("/")
    page.get_by_role("banner").get_by_role("link", name="Sign in").click()
    page.get_by_label("Email").fill(site.shown.owner.email)
    page.get_by_label("Password", exact=True).fill(showcase.PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign in", exact=True).click()


@pytest.mark.parametrize("javascript", [True, False])
def test_from_the_front_page_to_a_failure_reason(site: Site, javascript: bool) -> None:
    page = site.open(java_script_enabled=javascript)
    _sign_in(page, site)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    expect(page.get_by_text("88,036.5")).to_be_visible()
    page.get_by_role("link", name="All messages").click()
    page.get_by_label("Status").select_option("failed")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name=site.shown.failed.to).click()
    expect(page.get_by_role("heading", name=f"To {site.shown.failed.to}")).to_be_visible()
    why = page.get_by_role("region", name="Why")
    expect(why).to_contain_text("the phone may be off, full, or unreachable")
    expect(why).to_contain_text("Try again later")
    expect(page.get_by_text("Gulf Carrier was busy; trying again")).to_be_visible()


def test_a_slash_searches_everything(site: Site) -> None:
    """It works on any page outside a field; on a phone it opens the drawer with the field."""
    page = site.open()
    _sign_in(page, site)
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Search everything")).to_be_focused()
    page.keyboard.type("055 987 6543")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=f"To {site.shown.failed.to}")).to_be_visible()
    page.get_by_role("link", name="Messages", exact=True).first.click()
    number = page.get_by_label("Number or message id")
    number.focus()
    page.keyboard.press("/")
    expect(number).to_have_value("/")
    page.set_viewport_size({"width": 360, "height": 740})
    number.blur()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Search everything")).to_be_focused()


def _add_virtual_passkey(page: Page) -> None:
    """Attach a virtual authenticator without user interaction to the browser."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True,
        "hasUserVerification": True, "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }  # fmt: skip
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def test_a_passkey_is_added_and_signs_in(site: Site) -> None:
    """It uses localhost, since browsers allow passkeys for names only, over HTTPS or there."""
    page = site.open(base_url=site.url.replace("127.0.0.1", "localhost"))
    _add_virtual_passkey(page)
    _sign_in(page, site)
    try:
        page.goto("/accounts/2fa/webauthn/add/")
        page.get_by_label("Password").fill(showcase.PASSWORD)
        page.get_by_role("button", name="Confirm").click()
        page.get_by_label("Name").fill("Laptop")
        page.get_by_label("Passwordless").check()
        page.get_by_role("button", name="Go on").click()
        expect(page.get_by_role("heading", name="Recovery Codes")).to_be_visible()
        codes = page.get_by_label("Unused codes").input_value().split()
        assert len(codes) == 10
        page.goto("/accounts/2fa/")
        expect(page.get_by_text("Laptop")).to_be_visible()
        page.get_by_role("link", name="Manage").click()
        expect(page.get_by_role("row").filter(has_text="Laptop")).to_contain_text("Passkey")
        page.context.clear_cookies()
        page.goto("/accounts/login/")
        page.get_by_role("button", name="Sign in with a passkey").click()
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        _sign_in_with_code(page, site, codes[0])
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    finally:
        Authenticator.objects.filter(user=site.shown.owner).delete()


def _sign_in_with_code(page: Page, site: Site, code: str) -> None:
    page.context.clear_cookies()
    _sign_in(page, site)
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Sign In", exact=True).click()


@pytest.mark.parametrize("javascript", [True, False])
def test_a_key_is_created_copied_and_rotated(site: Site, javascript: bool) -> None:
    page = site.open(who="owner", java_script_enabled=javascript)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(site.home)
    page.get_by_role("link", name="API keys").click()
    page.get_by_role("link", name="New key").click()
    name = f"Shop {javascript}"
    page.get_by_label("Name").fill(name)
    page.get_by_label("Read messages").check()
    page.get_by_role("button", name="Make the key").click()
    secret = page.locator("#the-secret").inner_text()
    assert Api(secret).get("/v1/sms").status_code == 200
    if javascript:
        page.get_by_role("button", name="Copy", exact=True).click()
        assert page.evaluate("navigator.clipboard.readText()") == secret
    else:
        expect(page.get_by_role("button", name="Copy", exact=True)).to_be_hidden()
    page.get_by_role("link", name="I have copied it").click()
    page.get_by_role("link", name=f"Rotate {name}").click()
    page.get_by_label("The old key works").select_option("1")
    page.get_by_role("button", name="Make the new key").click()
    new = page.locator("#the-secret").inner_text()
    assert new != secret
    for each in (secret, new):
        assert Api(each).get("/v1/sms").status_code == 200
    page.goto(f"{site.home}keys/")
    old = page.get_by_role("row").filter(has_text=name).filter(has_text="Being replaced")
    expect(old).to_have_count(1)
    page.get_by_role("link", name=f"Revoke {name}").first.click()
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text(f"{name} does not work any more.")).to_be_visible()


def test_a_member_is_invited_and_limited_by_role(site: Site) -> None:
    page = site.open(who="owner")
    page.goto(f"{site.home}team/")
    page.get_by_label("E-mail").fill("reem@najd.example")
    page.get_by_label("Role", exact=True).select_option("viewer")
    page.get_by_role("button", name="Send the invitation").click()
    expect(page.get_by_text("reem@najd.example is invited.")).to_be_visible()
    theirs = site.open()
    theirs.goto(link("/invitations/", "reem@najd.example"))
    theirs.get_by_role("button", name="Create your account").click()
    theirs.get_by_label("Your name").fill("Reem")
    theirs.get_by_label("Password").fill("a-long-and-odd-one")
    theirs.get_by_role("button", name="Create account").click()
    expect(theirs.get_by_role("heading", name="Overview")).to_be_visible()
    navigation = theirs.get_by_role("navigation")
    expect(navigation.get_by_role("link", name="Messages")).to_be_visible()
    expect(navigation.get_by_role("link", name="API keys")).to_be_hidden()
    response = theirs.goto(f"{site.home}keys/")
    assert response is not None
    assert response.status == 403
    page.reload()
    row = page.get_by_role("row").filter(has_text="Reem")
    expect(row.get_by_role("button", name="Save")).to_be_hidden()
    row.get_by_label("Role of Reem").select_option("developer")
    row.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Reem is Developer now.")).to_be_visible()
    theirs.goto(f"{site.home}keys/")
    expect(theirs.get_by_role("heading", name="API keys")).to_be_visible()


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
        "team/",
        "team/leave/",
        "keys/",
        "keys/new/",
        "settings/",
        "settings/close/",
        "test-message/",
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
    with connection.cursor() as cursor, transitions.disabled(cursor.execute):
        try:
            change.update(status=Status.EXPIRED)
            expect(row).to_contain_text("Expired")
            expect(link).to_be_focused()
            expect(row.locator("time")).not_to_contain_text("UTC")
        finally:
            change.update(status=Status.FAILED)


def test_the_theme_is_remembered(site: Site) -> None:
    page = site.open(who="owner", color_scheme="light")
    page.goto(site.home)
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_label("Account: ").click()
    page.get_by_role("button", name="Dark").click()
    page.goto("/accounts/2fa/")
    assert page.evaluate(ground) != light


def test_an_operator_approves_a_sender_id(site: Site) -> None:
    """Unfold's pages work under the admin's policy: its menu opens, its buttons work."""
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


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_have_enough_contrast(site: Site, theme: str) -> None:
    page = site.open(color_scheme=theme)
    page.goto("/")
    names = sorted({name for pair in _PAIRS for name in pair[:2]})
    colours = dict(zip(names, page.evaluate(_READ_COLOURS, names), strict=True))
    weak = {
        (front, back): round(contrast(colours[front], colours[back]), 2)
        for front, back, least in _PAIRS
        if contrast(colours[front], colours[back]) < least
    }
    assert weak == {}
