"""From sign-up to a delivered message, in a real Chromium on the running platform."""

import re
import warnings
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.support import browsers
from tests.support.platforms import until
from tests.support.running_platform import Site
from tests.support.webhook_receivers import Answer, receiver

pytestmark = pytest.mark.browser

EMAIL = "huda@hala.example"


@pytest.fixture
def page(site: Site) -> Iterator[Page]:
    if not browsers.has_chromium():
        missing = f"no Chromium at {browsers.CHROMIUM}: the journey was NOT tried"
        warnings.warn(missing, stacklevel=1)
        pytest.skip(missing)
    refused: list[str] = []
    with browsers.chromium() as browser:
        page = browser.new_context(base_url=site.url).new_page()
        page.on("pageerror", lambda error: refused.append(str(error)))
        yield page
    assert refused == []


def _printed_link(site: Site) -> str:
    """Return the path of the link in the email that `make run` prints."""
    pattern = re.compile(r"http://\S+(/accounts/confirm-email/\S+/)")
    until(lambda: pattern.search(site.text), 15, lambda: site.text[-3000:])
    found = pattern.search(site.text)
    assert found
    return urlsplit(found[1]).path


def test_from_sign_up_to_the_first_delivered_message(site: Site, page: Page) -> None:
    page.goto("/")
    page.get_by_role("link", name="Create an account").first.click()
    page.get_by_label("Your name").fill("Huda")
    page.get_by_label("Organization").fill("Hala Clinics")
    page.get_by_label("Work e-mail").fill(EMAIL)
    page.get_by_label("Password").fill("a-long-and-odd-one")
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_role("heading", name="Check your mail")).to_be_visible()
    page.goto(_printed_link(site))
    page.get_by_role("button", name="Yes, confirm").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    expect(page.locator("#sidebar").get_by_text("Hala Clinics")).to_be_visible()
    page.get_by_role("button", name="Send the test message").click()
    expect(page.get_by_role("heading", name="To +966500000001")).to_be_visible()
    # The page updates automatically.
    expect(page.locator(".timeline .ended")).to_contain_text("Delivered", timeout=20_000)
    page.get_by_role("navigation").get_by_role("link", name="Overview").click()
    expect(page.get_by_role("listitem").filter(has_text="Send a test message")).to_contain_text(
        "Done"
    )


def _secret(page: Page) -> str:
    return page.locator("#the-secret").inner_text()


def test_a_webhook_is_created_tested_and_replayed(site: Site, page: Page) -> None:
    """A real receiver verifies the signature and refuses the first post."""
    page.goto("/accounts/login/")
    page.get_by_label("Email").fill(site.demo["IMISSIVE_EMAIL"])
    page.get_by_label("Password", exact=True).fill(site.demo["IMISSIVE_PASSWORD"])
    page.get_by_role("main").get_by_role("button", name="Sign in", exact=True).click()
    with receiver() as there:
        there.answer = lambda _post: Answer(500 if len(there.posts) == 1 else 200, body=b"got it")
        page.get_by_role("navigation").get_by_role("link", name="Webhooks").click()
        page.get_by_role("link", name="New endpoint").or_(
            page.get_by_role("link", name="Make an endpoint")
        ).first.click()
        page.get_by_label("URL").fill("https://localhost:0/")
        page.get_by_role("button", name="Make the endpoint").click()
        expect(page.get_by_text("The URL has no host.")).to_be_visible()
        page.get_by_label("URL").fill(there.url)
        page.get_by_label("message.delivered").check()
        page.get_by_role("button", name="Make the endpoint").click()
        secret = _secret(page)
        page.get_by_role("button", name="Send a test event").click()
        # The page updates automatically. The post is refused, and retried after five seconds.
        expect(page.get_by_text("Answered 500")).to_be_visible(timeout=20_000)
        expect(page.get_by_text("Answered 200")).to_be_visible(timeout=30_000)
        expect(page.get_by_text("got it").first).to_be_visible()
        assert there.posts[1].verified(secret)["event"] == "webhook.test"
        page.get_by_role("button", name="Deliver it again").click()
        expect(page.get_by_text("The event is on its way again.")).to_be_visible()
        expect(page.get_by_text("Answered 200")).to_be_visible(timeout=20_000)
        assert [post.id for post in there.posts] == [there.posts[0].id] * 3
        page.get_by_role("link", name=there.url).first.click()
        expect(page.get_by_role("row").filter(has_text="webhook.test")).to_have_count(2)
        page.get_by_role("navigation").get_by_role("link", name="Webhooks").click()
        page.get_by_role("link", name="Live events").click()
        event = page.locator("details").filter(has_text="webhook.test").first
        event.locator("summary").click()
        expect(event.locator("pre")).to_contain_text('"endpoint_id"')
        expect(event.get_by_role("link", name=there.url)).to_have_count(2)
