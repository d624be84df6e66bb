"""Compose in a real Chromium, in Arabic: from signing in to the sent message."""

import pytest
from playwright.sync_api import Page, expect

from messaging.models import Message
from tests.support import showcase, showcase_browser
from tests.support.showcase_browser import Site

pytestmark = pytest.mark.browser
site, _nothing_refused = showcase_browser.site, showcase_browser.nothing_refused

NUMBER = "+966501112233"


def _signed_in(site: Site, **options) -> Page:
    page = site.open(**options)
    page.context.add_cookies([{"name": "django_language", "value": "ar", "url": site.url}])
    page.goto("/accounts/login/")
    page.locator("input[name=login]").fill(site.shown.owner.email)
    page.locator("input[name=password]").fill(showcase.PASSWORD)
    page.locator("input[name=password]").press("Enter")
    expect(page.get_by_role("heading", name="نظرة عامة")).to_be_visible()
    return page


def test_from_signing_in_to_the_sent_message_in_arabic(site: Site) -> None:
    page = _signed_in(site, timezone_id="Asia/Riyadh")
    page.get_by_role("navigation").get_by_role("link", name="رسالة جديدة").click()
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    expect(page.locator("#zone-shown")).to_have_text("Asia/Riyadh")
    page.get_by_label("الأرقام").fill(NUMBER)
    text = page.get_by_label("النص")
    bubble = page.locator(".handset .bubble")

    # A Latin text is left to right, and one click replaces characters that force UCS-2.
    text.fill("“Hello” …")
    expect(bubble).to_have_text("“Hello” …")
    assert bubble.evaluate("each => getComputedStyle(each).direction") == "ltr"
    page.get_by_role("button", name="استبدلها").click()
    expect(text).to_have_value('"Hello" ...')
    expect(page.locator("#counted")).to_contain_text("GSM 7-bit")

    text.fill("مَرْحَبًا {name}، أهـــلًا بك")
    expect(bubble).to_contain_text("مَرْحَبًا")
    assert bubble.evaluate("each => getComputedStyle(each).direction") == "rtl"
    page.get_by_role("button", name="احذف التشكيل والتطويل").click()
    expect(text).to_have_value("مرحبا {name}، أهلا بك")
    page.get_by_label("{name}").fill("سارة")
    expect(bubble).to_have_text("مرحبا سارة، أهلا بك")
    expect(page.locator("#said")).to_contain_text("0.5")

    page.get_by_role("button", name="مراجعة", exact=True).last.click()
    expect(page.get_by_role("heading", name="مراجعة")).to_be_visible()
    page.get_by_role("button", name="إرسال رسالة واحدة").click()
    expect(page.get_by_text("أُرسلت.")).to_be_visible()
    expect(page.get_by_role("heading", name=NUMBER)).to_be_visible()
    message = Message.objects.get(organization=site.shown.organization, to=NUMBER)
    assert (message.status, message.text) == ("queued", "مرحبا سارة، أهلا بك")
    assert page.url.endswith(f"/messages/{message.public_id}/")


@pytest.mark.parametrize("language", ["en", "ar"])
def test_nothing_is_wider_than_a_phone(site: Site, language: str) -> None:
    page = site.open(who="owner", phone=True)
    page.context.add_cookies([{"name": "django_language", "value": language, "url": site.url}])
    for path in (
        "compose/?to=%2B966501112233",
        "templates/",
        "templates/new/",
        "contacts/",
        "contacts/new/",
        "contacts/lists/",
        "contacts/import/",
        "suppressions/",
        "suppressions/add/",
    ):
        page.goto(site.home + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
