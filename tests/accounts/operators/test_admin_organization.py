"""An organization's admin page: panels, suspension, credits; and the audit log in the admin."""

import uuid
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import Permission
from django.db import DatabaseError, transaction
from django.test import Client
from django.urls import reverse

from accounts.access.page_access import public_id
from accounts.audit import trail
from accounts.models import MICRO, AuditEntry, Organization
from messaging.models import Carrier
from tests.support.factories import PHONE, Customer, World
from tests.support.people import (
    PLAIN_STATIC,
    browser,
    member,
    operator,
    person,
)
from tests.support.top_ups import confirmed

LOG = "/admin/accounts/auditentry/"


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def admin(db: None) -> Client:
    return browser(operator())


def _page(customer: Customer, act: str = "change") -> str:
    return reverse(f"admin:accounts_organization_{act}", args=(customer.id,))


def test_one_page_says_it_all(
    admin: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    user = member(customer.organization)
    world.sender(customer, "Waiting", status="pending")
    world.price("9665", 123_450_000, owner=customer)
    world.route("9665", carrier, owner=customer)
    for status in ("delivered", "failed", "failed"):
        world.message(customer, carrier, status=status, created_at=datetime.now(UTC))
    page = admin.get(_page(customer)).content.decode()
    for text in (
        ">100<",  # the balance
        "paid",  # the ledger's reason
        "Waiting",
        "MyCompany",
        "123.45",
        carrier.name,
        user.email,
        "imk_live_",
        datetime.now(UTC).date().isoformat(),
        "The whole ledger",
        "The whole audit log",
        "Its messages",
    ):
        assert text in page, text
    for secret in (customer.api.secret, customer.test_api.secret):
        assert secret not in page


def test_an_operator_sees_what_they_may(customer: Customer) -> None:
    looker = person(is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_organization"))
    page = browser(looker).get(_page(customer)).content.decode()
    assert customer.organization.name in page
    for hidden in ("The whole ledger", "imk_live_", "The whole audit log", "Its messages"):
        assert hidden not in page
    for act in ("suspend", "adjust_credits", "act_as"):
        assert browser(looker).post(_page(customer, act), {"reason": "x"}).status_code == 403


def test_queries_do_not_grow(
    admin: Client, world: World, customer: Customer, carrier: Carrier,
    django_assert_max_num_queries,
) -> None:  # fmt: skip
    for number in range(12):
        world.sender(customer, f"Name {number}")
        trail.record("x.y", actor=operator(), organization=customer.organization)
        world.message(customer, carrier)
        member(customer.organization)
    admin.get(_page(customer))
    with django_assert_max_num_queries(70):
        admin.get(_page(customer))


# ---------------------------------------------------------------- suspension


def test_suspension_and_its_end(admin: Client, customer: Customer) -> None:
    assert admin.post(_page(customer, "suspend"), {"reason": " "}).status_code == 200
    assert customer.api.get("/v1/balance").status_code == 200
    assert admin.post(_page(customer, "suspend"), {"reason": "Unpaid"}).status_code == 302
    stored = Organization.objects.get(pk=customer.id)
    assert (stored.status, stored.suspended_because) == ("suspended", "Unpaid")
    assert customer.api.post("/v1/sms/send", {"to": PHONE, "message": "x"}).status_code == 403
    home = f"/dashboard/{public_id(customer.organization)}/"
    owner = browser(member(customer.organization))
    assert "Unpaid" in owner.get(home).content.decode()
    again = admin.post(_page(customer, "suspend"), {"reason": "Twice"})
    assert "has changed to: Suspended" in again.content.decode()
    assert admin.post(_page(customer, "reinstate"), {"reason": "Paid"}).status_code == 302
    stored.refresh_from_db()
    assert (stored.status, stored.suspended_because) == ("active", "")
    assert customer.api.get("/v1/balance").status_code == 200
    assert "Unpaid" not in owner.get(home).content.decode()
    entries = AuditEntry.objects.filter(organization=customer.organization).order_by("id")
    assert [(e.action, e.detail["reason"]) for e in entries] == [
        ("organization.suspended", "Unpaid"),
        ("organization.reinstated", "Paid"),
    ]


def test_only_the_actions_that_the_status_allows(admin: Client, customer: Customer) -> None:
    def offered() -> set[str]:
        page = admin.get(_page(customer)).content.decode()
        acts = ("adjust_credits", "suspend", "reinstate", "act_as")
        return {act for act in acts if _page(customer, act) in page}

    assert offered() == {"adjust_credits", "suspend", "act_as"}
    Organization.objects.filter(pk=customer.id).update(status="suspended")
    assert offered() == {"adjust_credits", "reinstate", "act_as"}
    Organization.objects.filter(pk=customer.id).update(status="closed")
    assert offered() == {"adjust_credits", "act_as"}
    refused = admin.post(_page(customer, "suspend"), {"reason": "x"})
    assert "has changed to: Closed" in refused.content.decode()


def test_the_form_cannot_change_the_status(admin: Client, customer: Customer) -> None:
    fields = {
        "name": "Renamed",
        "status": "suspended",
        "max_parts": "3",
        "low_balance_threshold": "0",
        "memberships-TOTAL_FORMS": "0",
        "memberships-INITIAL_FORMS": "0",
    }
    assert admin.post(_page(customer), fields).status_code == 302
    stored = Organization.objects.get(pk=customer.id)
    assert (stored.name, stored.status) == ("Renamed", "active")


def test_money_goes_through_the_ledger(admin: Client, customer: Customer) -> None:
    path = _page(customer, "adjust_credits")
    for values, text in (
        ({"credits": "0", "reason": "x"}, "Zero would change nothing"),
        ({"credits": "5", "reason": ""}, "This field is required"),
        ({"credits": "-1000", "reason": "x"}, "does not cover"),
    ):
        values["reference"] = str(uuid.uuid4())
        assert text in admin.post(path, values).content.decode()
    assert customer.balance() == 100 * MICRO
    confirmed(admin, customer, "-0.5", "Wrong invoice")
    assert customer.balance() == 99_500_000
    assert [row[:2] for row in customer.ledger()] == [("correction", -500_000)]
    assert "Wrong invoice" in admin.get(_page(customer)).content.decode()


# ---------------------------------------------------------------- the audit log


@pytest.fixture
def log(customer: Customer, outsider: Customer) -> dict[str, AuditEntry]:
    boss, owner = operator(), member(customer.organization)
    entries = {
        "approved": trail.record(
            "sender_id.approved", actor=boss, organization=customer.organization,
            target="snd_9 NajdShop", address="203.0.113.9",
        ),
        "rejected": trail.record(
            "sender_id.rejected", actor=boss, organization=outsider.organization,
            target="snd_8 Other", detail={"reason": "No letter attached"},
        ),
        "renamed": trail.record(
            "organization.renamed", actor=owner, organization=customer.organization,
            target="Najd",
        ),
        "by a key": trail.record(
            "sender_id.requested", actor=None, organization=customer.organization, target="Keyed",
        ),
    }  # fmt: skip
    with trail.impersonating("Ticket 7731"):
        entries["acting"] = trail.record(
            "organization.alert_changed", actor=boss, organization=customer.organization
        )
    return entries


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "NajdShop"}, {"approved"}),
        ({"q": "letter attached"}, {"rejected"}),
        ({"q": "7731"}, {"acting"}),
        ({"q": "203.0.113.9"}, {"approved"}),
        ({"q": "sender_id. {other}"}, {"rejected"}),
        ({"q": "{owner}"}, {"renamed"}),
        ({"q": "NajdShop nothing"}, set()),
        ({"organization__id__exact": "{id}"}, {"approved", "renamed", "by a key", "acting"}),
        ({"organization__id__exact": "{id}", "who": "member"}, {"renamed"}),
        ({"organization__id__exact": "{id}", "who": "operator"}, {"approved", "acting"}),
        ({"organization__id__exact": "{id}", "who": "acting"}, {"acting"}),
        ({"organization__id__exact": "{id}", "who": "platform"}, {"by a key"}),
    ],
)
def test_searching_the_audit_log(
    admin: Client, log: dict[str, AuditEntry], customer: Customer, outsider: Customer,
    query: dict[str, str], found: set[str],
) -> None:  # fmt: skip
    owner = log["renamed"].actor
    # Its number would be found in any address or reference that happens to have it.
    Organization.objects.filter(id=outsider.id).update(name="Elsewhere")
    holes = {
        "id": customer.id,
        "other": "Elsewhere",
        "owner": owner.email if owner else "",
    }
    response = admin.get(LOG, {key: value.format(**holes) for key, value in query.items()})
    rows = {row.pk for row in response.context["cl"].result_list}
    assert {name for name, entry in log.items() if entry.pk in rows} == found


def test_nobody_changes_the_audit_log(admin: Client, log: dict[str, AuditEntry]) -> None:
    entry = log["rejected"]
    change = reverse("admin:accounts_auditentry_change", args=(entry.pk,))
    assert "No letter attached" in admin.get(change).content.decode()
    assert admin.post(change, {"action": "x"}).status_code == 403
    delete = reverse("admin:accounts_auditentry_delete", args=(entry.pk,))
    assert admin.post(delete, {"post": "yes"}).status_code == 403
    assert admin.get(reverse("admin:accounts_auditentry_add")).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [entry.pk], "post": "yes"}
    admin.post(LOG, chosen)
    mine = AuditEntry.objects.filter(pk=entry.pk)
    for change_it in (mine.delete, lambda: mine.update(action="x")):
        with pytest.raises(DatabaseError), transaction.atomic():
            change_it()
    assert mine.get().action == "sender_id.rejected"
