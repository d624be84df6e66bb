"""Operators who act as a customer: how it begins and ends, what is seen of it, what is kept out."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.access.page_access import public_id
from accounts.models import Acting, AuditEntry, Member, Organization, User
from accounts.roles import Role
from messaging.models import Carrier
from tests.journeys.test_dashboard_permissions import TABLE
from tests.support.dashboard_pages import url_of
from tests.support.factories import Customer, World
from tests.support.people import (
    PLAIN_STATIC,
    browser,
    member,
    operator,
    person,
)

KEPT_OUT = {
    "keys",
    "new_key",
    "rotate_key",
    "revoke_key",
    "invite",
    "leave",
    "resend_invitation",
    "revoke_invitation",
    "change_role",
    "remove_member",
    "rename_organization",
    "close_organization",
    "smpp_password",
    "restrict_key",
    "new_webhook",
    "rotate_webhook",
}
"""Pages of keys and other secrets, of members, and what is the owner's alone."""

MAY_SHOW = {("delete_webhook", "POST")}
"""What is only looked at while acting."""


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def who(db: None) -> User:
    return operator()


@pytest.fixture
def acting(who: User, customer: Customer) -> Client:
    """The browser of an operator who acts as the customer."""
    client = browser(who)
    assert _begin(client, customer).status_code == 302
    return client


def _begin(client: Client, customer: Customer, reason: str = "Ticket 118"):
    path = reverse("admin:accounts_organization_act_as", args=(customer.id,))
    return client.post(path, {"reason": reason})


def _home(customer: Customer) -> str:
    return f"/dashboard/{public_id(customer.organization)}/"


def _audited(customer: Customer) -> list[tuple[str, User | None, object]]:
    entries = AuditEntry.objects.filter(organization=customer.organization).order_by("id")
    return [(e.action, e.actor, e.detail.get("acting_because")) for e in entries]


def test_it_begins_with_a_reason(who: User, customer: Customer) -> None:
    client = browser(who)
    path = reverse("admin:accounts_organization_act_as", args=(customer.id,))
    assert client.get(path).status_code == 200
    assert client.get(_home(customer)).status_code == 404, "asking alone begins nothing"
    refused = _begin(client, customer, " ")
    assert refused.context["form"].errors["reason"]
    assert client.get(_home(customer)).status_code == 404
    begun = _begin(client, customer)
    assert begun["Location"] == _home(customer)
    page = client.get(_home(customer))
    assert page.status_code == 200
    assert f"You are acting as {customer.organization}" in page.content.decode()
    row = Acting.objects.get(organization=customer.organization)
    assert (row.operator, row.reason) == (who, "Ticket 118")
    assert timedelta(minutes=29) < row.ends_at - timezone.now() <= timedelta(minutes=30)
    entry = AuditEntry.objects.get(organization=customer.organization)
    assert (entry.action, entry.actor, entry.detail) == (
        "acting.began", who, {"reason": "Ticket 118"},
    )  # fmt: skip


def test_who_may_not_begin(customer: Customer) -> None:
    looker = person(is_staff=True)
    looker.user_permissions.add(
        *Permission.objects.filter(codename__in=["view_organization", "change_organization"])
    )
    for user, status in (
        (looker, 403),
        (member(customer.organization), 302),
        (person(), 302),
    ):
        client = browser(user)
        assert _begin(client, customer).status_code == status
    assert not Acting.objects.filter(organization=customer.organization).exists()
    looker.user_permissions.add(Permission.objects.get(codename="act_as_customer"))
    assert _begin(browser(User.objects.get(pk=looker.pk)), customer).status_code == 302
    assert Acting.objects.filter(organization=customer.organization).exists()


def test_a_member_needs_no_acting(who: User, customer: Customer) -> None:
    Member.objects.create(organization=customer.organization, user=who, role=Role.VIEWER)
    client = browser(who)
    assert "You are a member" in _begin(client, customer).content.decode()
    page = client.get(_home(customer)).content.decode()
    assert "You are acting" not in page
    assert client.get(f"{_home(customer)}keys/").status_code == 403, "a viewer stays one"


@pytest.mark.parametrize("name", TABLE)
def test_every_page_while_acting(
    name: str, acting: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    methods, allowed = TABLE[name]
    for method in methods.split():
        answer = acting.generic(method, url_of(name, world, customer, carrier))
        if name in KEPT_OUT or Role.ADMIN not in allowed or (name, method) in MAY_SHOW:
            assert answer.status_code == 403, method
        else:
            assert answer.status_code in (200, 302), method
        if answer.status_code == 200 and "text/html" in answer["Content-Type"]:
            text = b"".join(answer).decode()
            assert f"You are acting as {customer.organization}" in text or "</html>" not in text


def test_what_is_written_is_audited_with_the_reason(
    acting: Client, who: User, customer: Customer
) -> None:
    acting.post(f"{_home(customer)}settings/alert/", {"low_balance_threshold": "12"})
    assert Organization.objects.get(pk=customer.id).low_balance_threshold == 12_000_000
    assert _audited(customer)[1:] == [
        ("acting.wrote", who, "Ticket 118"),
        ("organization.alert_changed", who, "Ticket 118"),
    ]
    entry = AuditEntry.objects.get(organization=customer.organization, action="acting.wrote")
    assert (entry.target, entry.address) == ("set_alert", "127.0.0.1")
    # What the same process records for others afterwards knows nothing of it.
    owner = member(customer.organization)
    browser(owner).post(f"{_home(customer)}settings/alert/", {"low_balance_threshold": "13"})
    assert _audited(customer)[-1] == ("organization.alert_changed", owner, None)


def test_looking_writes_nothing(acting: Client, customer: Customer) -> None:
    before = len(_audited(customer))
    for path in ("", "messages/", "team/", "settings/"):
        assert acting.get(_home(customer) + path).status_code == 200
    assert len(_audited(customer)) == before
    assert "organization" not in acting.session, "not where the operator works next time"


def test_no_other_organization(acting: Client, outsider: Customer) -> None:
    assert acting.get(_home(outsider)).status_code == 404
    assert acting.post(f"{_home(outsider)}settings/alert/").status_code == 404


def test_it_ends_after_half_an_hour(acting: Client, customer: Customer) -> None:
    mine = Acting.objects.filter(organization=customer.organization)
    mine.update(ends_at=timezone.now())
    answer = acting.post(f"{_home(customer)}settings/alert/", {"low_balance_threshold": "12"})
    back = reverse("admin:accounts_organization_change", args=(customer.id,))
    assert (answer.status_code, answer["Location"]) == (302, back)
    assert "is over" in acting.get(back).content.decode()
    assert Organization.objects.get(pk=customer.id).low_balance_threshold == 0


def test_it_is_ended(acting: Client, who: User, customer: Customer) -> None:
    assert acting.get("/acting/end/").status_code == 405
    answer = acting.post("/acting/end/")
    back = reverse("admin:accounts_organization_change", args=(customer.id,))
    assert (answer.status_code, answer["Location"]) == (302, back)
    assert acting.get(_home(customer)).status_code == 404
    assert _audited(customer)[-1][:2] == ("acting.ended", who)
    assert acting.post("/acting/end/").status_code == 302, "twice does no harm"
    assert [entry[0] for entry in _audited(customer)].count("acting.ended") == 1


def test_one_at_a_time(acting: Client, customer: Customer, outsider: Customer) -> None:
    assert _begin(acting, outsider).status_code == 302
    assert acting.get(_home(outsider)).status_code == 200
    assert acting.get(_home(customer)).status_code == 404
    assert _audited(customer)[-1][0] == "acting.ended"


def test_only_in_the_browser_in_which_it_began(
    acting: Client, who: User, customer: Customer
) -> None:
    assert browser(who).get(_home(customer)).status_code == 404
    thief = browser(operator())
    session = thief.session
    session["acting"] = Acting.objects.get(organization=customer.organization).pk
    session.save()
    assert thief.get(_home(customer)).status_code == 404


@pytest.mark.parametrize("lost", ["is_superuser", "is_staff"])
def test_who_loses_the_right_is_out_at_once(
    acting: Client, who: User, customer: Customer, lost: str
) -> None:
    User.objects.filter(pk=who.pk).update(**{lost: False})
    assert acting.get(_home(customer)).status_code == 404
