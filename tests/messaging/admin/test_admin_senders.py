"""The operators' queue of sender IDs, page by page."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry
from messaging.models import SenderId
from messaging.senders import approval
from tests.support.factories import PDF, Customer, World
from tests.support.people import (
    PLAIN_STATIC,
    browser,
    member,
    operator,
    person,
)

LIST = "/admin/messaging/senderid/"


@pytest.fixture(autouse=True)
def _plain_static(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def admin(db: None) -> Client:
    return browser(operator())


@pytest.fixture
def pending(customer: Customer) -> SenderId:
    return approval.request_sender(customer.organization, "NewName", "Orders", "Sample")


def _page(sender: SenderId, act: str) -> str:
    return reverse(f"admin:messaging_senderid_{act}", args=(sender.pk,))


def test_what_waits_comes_first_and_is_counted_in_the_menu(
    admin: Client, pending: SenderId, world: World, customer: Customer
) -> None:
    world.sender(customer, "Newer")
    response = admin.get(LIST)
    assert response.status_code == 200
    assert next(iter(response.context["cl"].result_list)).name == "NewName"
    assert "NewName" in admin.get("/admin/").content.decode()


def test_approve(admin: Client, pending: SenderId) -> None:
    confirmation = admin.get(_page(pending, "approve"))
    assert confirmation.status_code == 200
    pending.refresh_from_db()
    assert pending.status == "pending", "a GET changes nothing"
    response = admin.post(_page(pending, "approve"), follow=True)
    assert "was approved" in response.content.decode()
    pending.refresh_from_db()
    assert pending.status == "approved"
    entry = AuditEntry.objects.filter(organization=pending.organization).latest("id")
    assert (entry.action, entry.address) == ("sender_id.approved", "127.0.0.1")


def test_reject_needs_a_reason(admin: Client, pending: SenderId) -> None:
    refused = admin.post(_page(pending, "reject"), {"reason": " "})
    assert refused.status_code == 200
    assert refused.context["form"].errors["reason"]
    pending.refresh_from_db()
    assert pending.status == "pending"
    assert admin.post(_page(pending, "reject"), {"reason": "Not yours"}).status_code == 302
    pending.refresh_from_db()
    assert (pending.status, pending.reason) == ("rejected", "Not yours")


def test_revoke(admin: Client, pending: SenderId) -> None:
    approval.approve(pending, operator())
    assert admin.post(_page(pending, "revoke"), {"reason": "Complaints"}).status_code == 302
    pending.refresh_from_db()
    assert (pending.status, pending.reason) == ("revoked", "Complaints")


def test_who_comes_late_is_told(admin: Client, pending: SenderId) -> None:
    approval.approve(pending, operator())
    response = admin.post(_page(pending, "reject"), {"reason": "Not yours"})
    assert "has changed to: Approved" in response.content.decode()


def test_only_the_buttons_that_fit_are_offered(admin: Client, pending: SenderId) -> None:
    def offered() -> set[str]:
        page = admin.get(_page(pending, "change")).content.decode()
        acts = ("approve", "reject", "revoke", "make_default", "reopen")
        return {act for act in acts if _page(pending, act) in page}

    assert offered() == {"approve", "reject"}
    approval.approve(pending, operator())
    assert offered() == {"revoke", "make_default"}
    approval.revoke(pending, operator(), "Complaints")
    assert offered() == {"reopen"}
    assert admin.post(_page(pending, "reopen")).status_code == 302
    assert offered() == {"approve", "reject"}


def test_approving_many_leaves_the_revoked_alone(
    admin: Client, pending: SenderId, world: World, customer: Customer
) -> None:
    revoked = world.sender(customer, "Revoked", status="revoked", reason="Complaints")
    chosen = {"action": "approve_selected", "_selected_action": [pending.pk, revoked.pk]}
    admin.post(LIST, chosen)
    assert SenderId.objects.get(pk=pending.pk).status == "approved"
    assert SenderId.objects.get(pk=revoked.pk).status == "revoked"


def test_an_operator_asks_for_a_customer(admin: Client, customer: Customer) -> None:
    fields = {"organization": customer.id, "purpose": "Orders", "sample": "Hello", "use": ""}
    refused = admin.post(f"{LIST}add/", {**fields, "name": "TwelveLetter"})
    assert "at most 11" in refused.content.decode()
    assert admin.post(f"{LIST}add/", {**fields, "name": "Shop"}).status_code == 302
    assert SenderId.objects.get(name="Shop").status == "pending"
    entry = AuditEntry.objects.get(organization=customer.organization)
    assert entry.action == "sender_id.requested"


def test_an_operator_without_the_permission_only_looks(pending: SenderId) -> None:
    from django.contrib.auth.models import Permission

    looker = person(is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_senderid"))
    client = browser(looker)
    page = client.get(_page(pending, "change"))
    assert page.status_code == 200
    assert _page(pending, "approve") not in page.content.decode()
    assert client.post(_page(pending, "approve")).status_code == 403
    chosen = {"action": "approve_selected", "_selected_action": [pending.pk]}
    client.post(LIST, chosen)
    assert SenderId.objects.get(pk=pending.pk).status == "pending"


def test_what_waits_longest_is_looked_at_first(
    admin: Client, world: World, customer: Customer
) -> None:
    now = timezone.now()
    for name, status, days in (
        ("Newest", "pending", 1),
        ("Oldest", "pending", 9),
        ("Long ago", "approved", 20),
        ("Lately", "approved", 2),
    ):
        sender = world.sender(customer, name, status=status)
        at = now - timedelta(days=days)
        SenderId.objects.filter(pk=sender.pk).update(created_at=at)
    rows = admin.get(LIST, {"q": customer.organization.name}).context["cl"].result_list
    names = [row.name for row in rows if row.name != "MyCompany"]
    assert names == ["Oldest", "Newest", "Lately", "Long ago"]


def test_what_an_operator_weighs(
    admin: Client, world: World, customer: Customer, outsider: Customer
) -> None:
    world.sender(outsider, "NAJD BANK7")
    world.sender(customer, "Refused", status="rejected", reason="Too vague")
    document = world.document(customer)
    SenderId.objects.filter(pk=document.sender.pk).update(name="NajdBank7")
    page = admin.get(_page(document.sender, "change")).content.decode()
    for expected in ("NAJD BANK7", str(outsider.organization), "letter.pdf", "Too vague"):
        assert expected in page
    assert "Looks the same" in page
    confirmation = admin.get(_page(document.sender, "approve")).content.decode()
    assert f"NAJD BANK7 ({outsider.organization})" in confirmation


def test_an_operator_saves_a_document_and_that_is_written_down(
    admin: Client, world: World, customer: Customer, outsider: Customer
) -> None:
    document = world.document(customer)
    path = reverse("admin:messaging_senderid_document", args=(document.sender_id, document.pk))
    response = admin.get(path)
    assert b"".join(response) == PDF
    assert response["Content-Disposition"].startswith("attachment")
    entry = AuditEntry.objects.filter(organization=customer.organization).latest("id")
    assert (entry.action, entry.detail) == ("sender_id.document_opened", {"file": "letter.pdf"})
    other = world.document(outsider)
    wrong = reverse("admin:messaging_senderid_document", args=(other.sender_id, document.pk))
    assert admin.get(wrong).status_code == 404
    assert browser(person(is_staff=True)).get(path).status_code == 403
    assert browser(member(customer.organization)).get(path).status_code == 302


@pytest.mark.parametrize(
    ("usual", "written", "stored"),
    [
        ("The document names another company than yours.", "", None),
        ("The document names another company than yours.", "See page 2.", None),
        ("", "See page 2.", None),
        ("", "", "Choose a reason or write"),
        ("Not on the list", "", "not one of the available choices"),
        ("The document names another company than yours.", "x" * 201, "at most 200"),
    ],
)
def test_reasons_are_chosen_or_written(
    admin: Client, pending: SenderId, usual: str, written: str, stored: str | None
) -> None:
    response = admin.post(_page(pending, "reject"), {"usual": usual, "reason": written})
    pending.refresh_from_db()
    if stored is None:
        assert pending.status == "rejected"
        assert pending.reason == f"{usual} {written}".strip()
    else:
        assert stored in response.content.decode()
        assert pending.status == "pending"


def test_a_withdrawn_one_has_no_buttons(admin: Client, pending: SenderId) -> None:
    approval.withdraw(pending, operator())
    page = admin.get(_page(pending, "change")).content.decode()
    assert not any(_page(pending, act) in page for act in ("approve", "reject", "reopen"))
