"""Country rules and suppressions in the operators' admin."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, Organization
from messaging.models import SendingRule, Suppression
from messaging.routing import cache
from tests.support.factories import PHONE, Customer
from tests.support.people import PLAIN_STATIC, browser, operator

RULE = {
    "country": "AE",
    "sender_suffix": "-AD",
    "opens": "09:00",
    "closes": "19:00",
    "time_zone": "Asia/Dubai",
    "enabled": "on",
}
ADD = "/admin/messaging/sendingrule/add/"
LIST = "/admin/messaging/suppression/"


@pytest.fixture(autouse=True)
def _plain_static(settings: Any) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def admin(db: None) -> Client:
    return browser(operator())


def test_a_rule_applies_and_is_audited(admin: Client) -> None:
    assert admin.post(ADD, RULE).status_code == 302
    rule = SendingRule.objects.get(country="AE")
    assert cache.read().sending_hours("AE", "SHOP-AD") is not None
    assert cache.read().sending_hours("AE", "SHOP") is None
    url = reverse("admin:messaging_sendingrule_change", args=(rule.pk,))
    assert admin.post(url, RULE | {"closes": "20:00", "enabled": ""}).status_code == 302
    assert cache.read().sending_hours("AE", "SHOP-AD") is None
    added, changed = AuditEntry.objects.filter(action__startswith="sendingrule").order_by("id")
    assert (added.action, changed.action) == ("sendingrule.added", "sendingrule.changed")
    assert changed.detail["values"]["closes"] == ["19:00:00", "20:00:00"]


@pytest.mark.parametrize(
    ("field", "value", "at"),
    [
        ("country", "ae", "country"),
        ("country", "UAE", "country"),
        ("time_zone", "Dubai", "time_zone"),
        ("opens", "25:00", "opens"),
        ("opens", "19:00", "__all__"),
        ("sender_suffix", "x" * 12, "sender_suffix"),
    ],
)
def test_what_is_no_rule(admin: Client, field: str, value: str, at: str) -> None:
    response = admin.post(ADD, RULE | {field: value})
    assert set(response.context["adminform"].form.errors) == {at}
    assert not SendingRule.objects.filter(time_zone="Asia/Dubai").exists()


@pytest.fixture
def listed(customer: Customer, outsider: Customer) -> Suppression:
    """The customer's entry of PHONE, beside the outsider's of another number."""
    theirs = Suppression(organization=outsider.organization, number="+966509999999", source="api")
    mine = Suppression(organization=customer.organization, number=PHONE, source="api")
    Suppression.objects.bulk_create([theirs, mine])
    return mine


@pytest.mark.parametrize("term", [PHONE, "00966 50 123 4567", "name"])
def test_a_number_is_found_by_itself_or_its_organization(
    admin: Client, customer: Customer, outsider: Customer, listed: Suppression, term: str
) -> None:
    term = customer.organization.name if term == "name" else term
    ours = {customer.organization, outsider.organization}
    assert _organizations(admin, q=term) & ours == {customer.organization}
    assert _organizations(admin) & ours == ours


def _organizations(admin: Client, **query: str) -> set[Organization]:
    """Whose suppressions the list shows."""
    rows = admin.get(LIST, query).context["cl"].result_list
    return {row.organization for row in rows}


def test_operators_only_look(admin: Client, listed: Suppression) -> None:
    assert admin.get(f"{LIST}add/").status_code == 403
    assert admin.get(f"{LIST}{listed.pk}/change/").status_code == 200
    assert admin.post(f"{LIST}{listed.pk}/change/", {"number": "+1"}).status_code == 403
    assert admin.post(f"{LIST}{listed.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Suppression.objects.filter(pk=listed.pk, number=PHONE).exists()
