"""A sender ID in a real Chromium: requested with a document, approved, used to send."""

import pytest
from django.db import connection
from playwright.sync_api import FilePayload, Page, expect

from accounts.keys.api_keys import create_key
from messaging.models import SenderId
from tests.support import showcase_browser
from tests.support.factories import PDF, PHONE
from tests.support.showcase_browser import Site

pytestmark = pytest.mark.browser
site, _nothing_refused = showcase_browser.site, showcase_browser.nothing_refused


def test_request_approval_and_use_of_a_sender_id(site: Site) -> None:
    owner = site.open(who="owner")
    owner.goto(site.home)
    owner.get_by_role("link", name="Sender IDs").click()
    owner.get_by_role("link", name="Request a sender ID").first.click()
    owner.get_by_label("Sender ID", exact=True).fill("NajdFast")
    owner.get_by_label("Transactional: orders").check()
    owner.get_by_label("Purpose").fill("Same-day deliveries")
    owner.get_by_label("Sample message").fill("Najd: your parcel comes within the hour.")
    picture = FilePayload(name="lies.pdf", mimeType="application/pdf", buffer=b"<script></script>")
    owner.get_by_label("Documents").set_input_files(picture)
    owner.get_by_role("button", name="Send the request").click()
    expect(owner.get_by_text("lies.pdf is no PDF")).to_be_visible()
    letter = FilePayload(name="letter.pdf", mimeType="application/pdf", buffer=PDF)
    owner.get_by_label("Documents").set_input_files(letter)
    owner.get_by_role("button", name="Send the request").click()
    expect(owner.get_by_text("NajdFast is requested")).to_be_visible()

    operator = site.open(who="operator")
    operator.goto("/admin/")
    operator.get_by_role("link", name="NajdFast").click()
    with operator.expect_download() as saved:
        operator.get_by_role("link", name="letter.pdf").click()
    assert saved.value.path().read_bytes() == PDF
    operator.get_by_role("link", name="Approve").first.click()
    operator.get_by_role("button", name="Approve this sender ID").click()
    expect(operator.get_by_text("The sender ID was approved.")).to_be_visible()

    owner.goto(site.home)
    notice = owner.get_by_role("region", name="Decision on NajdFast")
    expect(notice).to_contain_text("NajdFast is approved.")
    notice.get_by_role("button", name="Dismiss").click()
    expect(notice).to_have_count(0)
    assert _send(site, owner) == 202
    owner.goto(f"{site.home}messages/")
    expect(owner.get_by_role("row", name="NajdFast").first).to_contain_text(PHONE)


def _send(site: Site, owner: Page) -> int:
    sender = SenderId.objects.get(name="NajdFast", organization=site.shown.organization)
    _, secret = create_key(sender.organization, "Journey", test=False)
    connection.close()
    body = {"to": PHONE, "message": "Your parcel is near.", "sender_id": sender.name}
    headers = {"Authorization": f"Bearer {secret}"}
    response = owner.request.post("/v1/sms/send", data=body, headers=headers)
    return response.status
