"""The guide in a real Chromium: its tabs, copying code, and running examples from the page."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from accounts.models import ApiKey
from imissive.guide import keys
from messaging.models import Carrier, Message
from messaging.routing import cache
from tests.support import showcase_browser
from tests.support.contrast import contrast
from tests.support.showcase_browser import Site

pytestmark = pytest.mark.browser
site, _nothing_refused = showcase_browser.site, showcase_browser.nothing_refused


@pytest.fixture
def sandbox(site: Site) -> Iterator[None]:
    """Create a sandbox carrier without a bind, so that messages of test keys stay queued."""
    carrier = Carrier.objects.create(
        slug="sandbox", name="Sandbox", host="127.0.0.1", system_id="esme", is_sandbox=True
    )
    cache.reload()
    yield
    Message.objects.filter(carrier=carrier).delete()
    carrier.delete()
    ApiKey.objects.filter(name=keys.NAME).delete()
    cache.reload()


def example(page: Page, name: str) -> Locator:
    """Return the first example of that call on the page."""
    form = page.locator(f'form.run[data-name="{name}"]').first
    return page.locator(".example").filter(has=form).first


def tabs_shown(example: Locator) -> list[str]:
    """Return the languages whose code is visible in an example."""
    codes = example.locator("pre[data-language]")
    return [
        str(codes.nth(index).get_attribute("data-language"))
        for index in range(codes.count())
        if codes.nth(index).is_visible()
    ]


@pytest.mark.parametrize("javascript", [True, False])
def test_a_tab_shows_its_language(site: Site, javascript: bool) -> None:
    page = site.open(java_script_enabled=javascript)
    page.goto("/docs")
    first = example(page, "send")
    assert tabs_shown(first) == ["curl"]
    first.get_by_role("radio", name="Python", exact=True).check()
    assert tabs_shown(first) == ["python"]
    expect(first).to_contain_text("requests.post(")


def test_the_language_holds_for_the_page_and_the_next_visit(site: Site) -> None:
    page = site.open()
    page.goto("/docs")
    example(page, "send").get_by_role("radio", name="Go", exact=True).check()
    assert tabs_shown(example(page, "bulk")) == ["go"]
    page.reload()
    expect(example(page, "send")).to_contain_text("package main")
    assert tabs_shown(example(page, "webhook-create")) == ["go"]


def test_tabs_go_by_keyboard(site: Site) -> None:
    page = site.open()
    page.goto("/docs")
    first = example(page, "send")
    first.get_by_role("radio", name="curl").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert tabs_shown(first) == ["javascript"]
    expect(first.get_by_role("radio", name="JavaScript")).to_be_focused()


def test_choosing_a_language_moves_nothing_away(site: Site) -> None:
    page = site.open()
    page.goto("/docs")
    late = example(page, "balance").get_by_role("radio", name="Java", exact=True)
    late.scroll_into_view_if_needed()
    before = late.bounding_box()
    late.check()
    after = late.bounding_box()
    assert before is not None
    assert after is not None
    assert after["y"] == pytest.approx(before["y"], abs=2)


def test_what_is_shown_is_copied(site: Site) -> None:
    page = site.open(permissions=["clipboard-read", "clipboard-write"])
    page.goto("/docs")
    first = example(page, "send")
    first.get_by_role("radio", name="PHP", exact=True).check()
    first.get_by_role("button", name="Copy the code").click()
    expect(page.locator("#spoken")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("<?php\n\n$curl = curl_init(")
    assert copied.endswith("$answer;")


def test_nobody_runs_without_a_key(site: Site) -> None:
    page = site.open()
    page.goto("/docs")
    expect(page.locator("form.run").first).to_be_hidden()
    key = page.get_by_role("region", name="Your test key")
    key.get_by_role("link", name="Sign in").click()
    expect(page).to_have_url(re.compile(r"/accounts/login/\?next=/docs$"))


def test_examples_run_with_a_key_of_the_readers_own(site: Site, sandbox: None) -> None:
    page = site.open(who="owner")
    page.goto("/docs")
    page.get_by_role("button", name="Make a test key for these examples").click()
    expect(page.get_by_text("A test key of Najd Logistics is filled in.")).to_be_visible()
    listed = example(page, "balance")
    expect(listed).to_contain_text("imk_test_")
    listed.get_by_role("button", name="Run").click()
    response = listed.locator(".run-answer")
    expect(response).to_contain_text("200 OK")
    expect(response).to_contain_text("x-ratelimit-remaining")
    expect(response).to_contain_text('"credits": "1000000"')

    canceled = example(page, "cancel")
    canceled.get_by_role("button", name="Run").click()
    response = canceled.locator(".run-answer")
    expect(response).to_contain_text("First:")
    expect(response).to_contain_text('"sender_id": "NAJD"')
    expect(response).to_contain_text('"status": "canceled"')
    assert "msg_01m83snhn8fsjsf5h41ebt60cg" not in response.inner_text()

    page.get_by_role("button", name="Revoke it").click()
    expect(listed).not_to_contain_text("imk_test_")
    expect(listed.get_by_role("button", name="Run")).to_be_hidden()


def test_a_request_that_cannot_be_sent_says_why(site: Site, sandbox: None) -> None:
    page = site.open(who="owner")
    page.goto("/docs")
    page.get_by_role("button", name="Make a test key for these examples").click()
    sending = example(page, "send-order")
    sending.locator("summary").click()
    body = sending.get_by_role("textbox", name="Request body")
    run = sending.get_by_role("button", name="Run")
    body.fill("{")
    run.click()
    expect(sending.locator(".run-answer")).to_have_text("The body is not valid JSON.")
    body.fill('{"to": "+966501234567", "message": "Hello", "sender_id": "My[Company]"}')
    run.click()
    expect(sending.locator(".run-answer")).to_contain_text("403 Forbidden")
    expect(sending.locator(".run-answer")).to_contain_text("INVALID_SENDER")
    page.context.set_offline(True)
    run.click()
    expect(sending.locator(".run-answer")).to_contain_text("There was no answer.")
    page.context.set_offline(False)
    page.get_by_role("button", name="Revoke it").click()


def test_an_errors_address_leads_to_its_line(site: Site) -> None:
    page = site.open()
    page.goto("/docs#MESSAGE_TOO_LONG")
    line = page.locator("#MESSAGE_TOO_LONG")
    expect(line).to_be_in_viewport()
    expect(line).to_contain_text("Message exceeds maximum length")


def test_the_contents_follow_the_reading(site: Site) -> None:
    page = site.open()
    page.goto("/docs")
    contents = page.get_by_role("navigation", name="On this page")
    contents.get_by_role("link", name="Rate Limits").click()
    expect(page.get_by_role("heading", name="Rate Limits")).to_be_in_viewport()
    expect(contents.locator("a[aria-current]")).to_have_text("Rate Limits")


@pytest.mark.parametrize("language", ["en", "ar"])
def test_on_a_phone(site: Site, language: str) -> None:
    page = site.open(phone=True)
    page.context.add_cookies([{"name": "django_language", "value": language, "url": site.url}])
    page.goto("/docs")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    menu, link = page.locator(".phone-bar button"), page.locator('#contents a[href="#webhooks"]')
    expect(link).to_be_hidden()
    menu.click()
    link.click()
    expect(link).to_be_hidden()
    expect(page.locator("#webhooks")).to_be_in_viewport()


def test_code_is_left_to_right_in_arabic(site: Site) -> None:
    page = site.open()
    page.context.add_cookies([{"name": "django_language", "value": "ar", "url": site.url}])
    page.goto("/docs")
    directions = page.evaluate(
        "[...new Set([...document.querySelectorAll('.guide :is(pre, code, textarea)')]"
        ".map(code => getComputedStyle(code).direction))]"
    )
    assert directions == ["ltr"]
    contents, main = page.locator("#contents").bounding_box(), page.locator("#main").bounding_box()
    assert contents is not None
    assert main is not None
    assert contents["x"] > main["x"]


_COLOURS = """() => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const known = new Map();
    const read = (colour) => {
        if (!known.has(colour)) {
            canvas.clearRect(0, 0, 1, 1);
            canvas.fillStyle = colour;
            canvas.fillRect(0, 0, 1, 1);
            known.set(colour, [...canvas.getImageData(0, 0, 1, 1).data]);
        }
        return known.get(colour);
    };
    const ground = (element) => {
        for (let one = element; one; one = one.parentElement) {
            const colour = getComputedStyle(one).backgroundColor;
            if (read(colour)[3] === 255) return colour;
        }
        return getComputedStyle(document.documentElement).backgroundColor;
    };
    const pairs = new Map();
    for (const element of document.querySelectorAll("#guide *")) {
        const text = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
        if (!text || !element.checkVisibility()) continue;
        const front = getComputedStyle(element).color;
        const back = ground(element);
        const name = element.tagName + "." + element.className;
        if (!pairs.has(front + back)) pairs.set(front + back, [name, read(front), read(back)]);
    }
    return [...pairs.values()];
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_contrasts_enough(site: Site, theme: str) -> None:
    """WCAG 2.1, 1.4.3, also for highlighted code."""
    page = site.open(color_scheme=theme)
    page.goto("/docs#SERVER_ERROR")
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    pairs = page.evaluate(_COLOURS)
    assert len(pairs) > 12
    weak = {
        name: round(contrast(front[:3], back[:3]), 2)
        for name, front, back in pairs
        if contrast(front[:3], back[:3]) < 4.5
    }
    assert weak == {}
