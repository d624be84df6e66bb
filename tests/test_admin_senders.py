"""The operators' queue of sender IDs, page by page."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry
from messaging import senders
from messaging.models import SenderId
from tests.people import PLAIN_STATIC, browser, operator, person
from tests.world import Customer, World

LIST = "/admin/messaging/senderid/"


@pytest.fixture(autouse=True)
def _plain_static(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def admin(db: None) -> Client:
    return browser(operator())


@pytest.fixture
def pending(customer: Customer) -> SenderId:
    return senders.request_sender(customer.organization, "NewName", "Orders", "Sample")


def _page(sender: SenderId, act: str) -> str:
    return reverse(f"admin:messaging_senderid_{act}", args=(sender.pk,))


def test_what_waits_comes_first_and_is_counted_in_the_menu(
    admin: Client, pending: SenderId, world: World, customer: Customer
) -> None:
    world.sender(customer, "Newer")
    answer = admin.get(LIST)
    assert answer.status_code == 200
    assert next(iter(answer.context["cl"].result_list)).name == "NewName"
    assert "NewName" in admin.get("/admin/").content.decode()


def test_approve(admin: Client, pending: SenderId) -> None:
    asked = admin.get(_page(pending, "approve"))
    assert asked.status_code == 200
    pending.refresh_from_db()
    assert pending.status == "pending", "a GET changes nothing"
    answer = admin.post(_page(pending, "approve"), follow=True)
    assert "was approved" in answer.content.decode()
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
    senders.approve(pending, operator())
    assert admin.post(_page(pending, "revoke"), {"reason": "Complaints"}).status_code == 302
    pending.refresh_from_db()
    assert (pending.status, pending.reason) == ("revoked", "Complaints")


def test_who_comes_late_is_told(admin: Client, pending: SenderId) -> None:
    senders.approve(pending, operator())
    answer = admin.post(_page(pending, "reject"), {"reason": "Not yours"})
    assert "approved by now" in answer.content.decode()


def test_only_the_buttons_that_fit_are_offered(admin: Client, pending: SenderId) -> None:
    def offered() -> set[str]:
        page = admin.get(_page(pending, "change")).content.decode()
        acts = ("approve", "reject", "revoke", "make_default", "reopen")
        return {act for act in acts if _page(pending, act) in page}

    assert offered() == {"approve", "reject"}
    senders.approve(pending, operator())
    assert offered() == {"revoke", "make_default"}
    senders.revoke(pending, operator(), "Complaints")
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
    fields = {"organization": customer.id, "purpose": "Orders", "sample": "Hello"}
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
