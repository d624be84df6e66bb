"""Impersonation of a customer by an operator: start, end, audit log, and pages without access."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.access.page_access import public_id
from accounts.models import AuditEntry, Impersonation, Member, Organization, User
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
"""Pages without access: keys and other secrets, members, and everything reserved to owners."""

MAY_SHOW = {("delete_webhook", "POST")}
"""Methods without access on pages that an impersonating operator may view."""


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def impersonator(db: None) -> User:
    return operator()


@pytest.fixture
def impersonating(impersonator: User, customer: Customer) -> Client:
    """The browser of an operator who impersonates the customer."""
    client = browser(impersonator)
    assert _start(client, customer).status_code == 302
    return client


def _start(client: Client, customer: Customer, reason: str = "Ticket 118"):
    path = reverse("admin:accounts_organization_act_as", args=(customer.id,))
    return client.post(path, {"reason": reason})


def _home(customer: Customer) -> str:
    return f"/dashboard/{public_id(customer.organization)}/"


def _audited(customer: Customer) -> list[tuple[str, User | None, object]]:
    entries = AuditEntry.objects.filter(organization=customer.organization).order_by("id")
    return [(e.action, e.actor, e.detail.get("acting_because")) for e in entries]


def test_it_starts_with_a_reason(impersonator: User, customer: Customer) -> None:
    client = browser(impersonator)
    path = reverse("admin:accounts_organization_act_as", args=(customer.id,))
    assert client.get(path).status_code == 200
    assert client.get(_home(customer)).status_code == 404, "opening the form starts nothing"
    refused = _start(client, customer, " ")
    assert refused.context["form"].errors["reason"]
    assert client.get(_home(customer)).status_code == 404
    started = _start(client, customer)
    assert started["Location"] == _home(customer)
    page = client.get(_home(customer))
    assert page.status_code == 200
    assert f"You are acting as {customer.organization}" in page.content.decode()
    row = Impersonation.objects.get(organization=customer.organization)
    assert (row.operator, row.reason) == (impersonator, "Ticket 118")
    assert timedelta(minutes=29) < row.ends_at - timezone.now() <= timedelta(minutes=30)
    entry = AuditEntry.objects.get(organization=customer.organization)
    assert (entry.action, entry.actor, entry.detail) == (
        "acting.began", impersonator, {"reason": "Ticket 118"},
    )  # fmt: skip


def test_users_without_permission_cannot_start(customer: Customer) -> None:
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
        assert _start(client, customer).status_code == status
    assert not Impersonation.objects.filter(organization=customer.organization).exists()
    looker.user_permissions.add(Permission.objects.get(codename="act_as_customer"))
    assert _start(browser(User.objects.get(pk=looker.pk)), customer).status_code == 302
    assert Impersonation.objects.filter(organization=customer.organization).exists()


def test_a_member_needs_no_impersonation(impersonator: User, customer: Customer) -> None:
    Member.objects.create(organization=customer.organization, user=impersonator, role=Role.VIEWER)
    client = browser(impersonator)
    assert "You are a member" in _start(client, customer).content.decode()
    page = client.get(_home(customer)).content.decode()
    assert "You are acting" not in page
    assert client.get(f"{_home(customer)}keys/").status_code == 403, "a viewer keeps that role"


@pytest.mark.parametrize("name", TABLE)
def test_every_page_while_impersonating(
    name: str, impersonating: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    methods, allowed = TABLE[name]
    for method in methods.split():
        response = impersonating.generic(method, url_of(name, world, customer, carrier))
        if name in KEPT_OUT or Role.ADMIN not in allowed or (name, method) in MAY_SHOW:
            assert response.status_code == 403, method
        else:
            assert response.status_code in (200, 302), method
        if response.status_code == 200 and "text/html" in response["Content-Type"]:
            text = b"".join(response).decode()
            assert f"You are acting as {customer.organization}" in text or "</html>" not in text


def test_what_is_written_is_audited_with_the_reason(
    impersonating: Client, impersonator: User, customer: Customer
) -> None:
    impersonating.post(f"{_home(customer)}settings/alert/", {"low_balance_threshold": "12"})
    assert Organization.objects.get(pk=customer.id).low_balance_threshold == 12_000_000
    assert _audited(customer)[1:] == [
        ("acting.wrote", impersonator, "Ticket 118"),
        ("organization.alert_changed", impersonator, "Ticket 118"),
    ]
    entry = AuditEntry.objects.get(organization=customer.organization, action="acting.wrote")
    assert (entry.target, entry.address) == ("set_alert", "127.0.0.1")
    # Later entries of the same process, for other users, carry no reason.
    owner = member(customer.organization)
    browser(owner).post(f"{_home(customer)}settings/alert/", {"low_balance_threshold": "13"})
    assert _audited(customer)[-1] == ("organization.alert_changed", owner, None)


def test_looking_writes_nothing(impersonating: Client, customer: Customer) -> None:
    before = len(_audited(customer))
    for path in ("", "messages/", "team/", "settings/"):
        assert impersonating.get(_home(customer) + path).status_code == 200
    assert len(_audited(customer)) == before
    assert "organization" not in impersonating.session, "the last organization is kept"


def test_no_other_organization(impersonating: Client, outsider: Customer) -> None:
    assert impersonating.get(_home(outsider)).status_code == 404
    assert impersonating.post(f"{_home(outsider)}settings/alert/").status_code == 404


def test_it_ends_after_half_an_hour(impersonating: Client, customer: Customer) -> None:
    mine = Impersonation.objects.filter(organization=customer.organization)
    mine.update(ends_at=timezone.now())
    response = impersonating.post(
        f"{_home(customer)}settings/alert/", {"low_balance_threshold": "12"}
    )
    back = reverse("admin:accounts_organization_change", args=(customer.id,))
    assert (response.status_code, response["Location"]) == (302, back)
    assert "is over" in impersonating.get(back).content.decode()
    assert Organization.objects.get(pk=customer.id).low_balance_threshold == 0


def test_it_is_ended(impersonating: Client, impersonator: User, customer: Customer) -> None:
    assert impersonating.get("/acting/end/").status_code == 405
    response = impersonating.post("/acting/end/")
    back = reverse("admin:accounts_organization_change", args=(customer.id,))
    assert (response.status_code, response["Location"]) == (302, back)
    assert impersonating.get(_home(customer)).status_code == 404
    assert _audited(customer)[-1][:2] == ("acting.ended", impersonator)
    assert impersonating.post("/acting/end/").status_code == 302, "ending it twice is harmless"
    assert [entry[0] for entry in _audited(customer)].count("acting.ended") == 1


def test_one_at_a_time(impersonating: Client, customer: Customer, outsider: Customer) -> None:
    assert _start(impersonating, outsider).status_code == 302
    assert impersonating.get(_home(outsider)).status_code == 200
    assert impersonating.get(_home(customer)).status_code == 404
    assert _audited(customer)[-1][0] == "acting.ended"


def test_only_in_the_browser_in_which_it_started(
    impersonating: Client, impersonator: User, customer: Customer
) -> None:
    assert browser(impersonator).get(_home(customer)).status_code == 404
    thief = browser(operator())
    session = thief.session
    session["acting"] = Impersonation.objects.get(organization=customer.organization).pk
    session.save()
    assert thief.get(_home(customer)).status_code == 404


@pytest.mark.parametrize("lost", ["is_superuser", "is_staff"])
def test_losing_the_permission_ends_it_at_once(
    impersonating: Client, impersonator: User, customer: Customer, lost: str
) -> None:
    User.objects.filter(pk=impersonator.pk).update(**{lost: False})
    assert impersonating.get(_home(customer)).status_code == 404
