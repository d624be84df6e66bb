"""API keys in the operators' admin: create, rotate, restrict, revoke, each of them audited."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.keys import api_keys
from accounts.models import ApiKey, AuditEntry
from tests.support.factories import Api, Customer
from tests.support.people import (
    PLAIN_STATIC,
    browser,
    operator,
    person,
)

LIST, ADD = "admin:accounts_apikey_changelist", "admin:accounts_apikey_add"


@pytest.fixture(autouse=True)
def _plain_static(settings: Any) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def admin(db: None) -> Client:
    return browser(operator())


@pytest.fixture
def live(customer: Customer) -> ApiKey:
    return ApiKey.objects.get(organization=customer.id, test=False)


def url(act: str, key: ApiKey) -> str:
    return reverse(f"admin:accounts_apikey_{act}", args=(key.pk,))


def shown_secret(response: Any) -> str:
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    return str(response.content.decode().split('<code id="secret">')[1].split("</code>")[0])


def entry_of(customer: Customer) -> AuditEntry:
    return AuditEntry.objects.get(organization=customer.organization)


def nowhere_to_be_found(admin: Client, secret: str, key: ApiKey) -> None:
    """Assert that the secret is in no other page, the audit log, the session or a cookie."""
    for page in (reverse(LIST), url("change", key)):
        assert secret not in admin.get(page).content.decode()
    assert secret not in str(list(AuditEntry.objects.values_list("detail", "target")))
    assert secret not in str(dict(admin.session)) + str(admin.cookies)


def test_a_key_is_shown_once_and_never_again(admin: Client, customer: Customer) -> None:
    fields = {
        "organization": customer.id,
        "name": "Shop",
        "scopes": ["sms:send"],
        "networks": "192.0.2.7/24\n2001:db8::1, 10.0.0.1",
    }
    secret = shown_secret(admin.post(reverse(ADD), fields))
    assert secret.startswith("imk_live_")
    key = ApiKey.objects.get(name="Shop")
    assert bytes(key.digest) == api_keys.digest(secret)
    assert key.scopes == ["sms:send"]
    assert key.networks == ["192.0.2.0/24", "2001:db8::1", "10.0.0.1"]
    entry = entry_of(customer)
    assert (entry.action, entry.target) == ("apikey.added", str(key))
    nowhere_to_be_found(admin, secret, key)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("networks", "192.0.2.7, example.com", "example.com"),
        ("networks", "192.0.2.0/33", "192.0.2.0/33"),
        ("expires_at_0", "2020-01-01", "passed"),
        ("scopes", ["sms:everything"], "sms:everything"),
        ("name", "", "required"),
    ],
)
def test_invalid_new_keys(
    admin: Client, customer: Customer, field: str, value: Any, says: str
) -> None:
    fields = {"organization": customer.id, "name": "Shop", "expires_at_1": "00:00"}
    before = ApiKey.objects.count()
    response = admin.post(reverse(ADD), fields | {field: value})
    assert says in str(response.context["adminform"].form.errors)
    assert ApiKey.objects.count() == before


def test_rotating(admin: Client, customer: Customer, live: ApiKey) -> None:
    assert admin.get(url("rotate", live)).status_code == 200
    secret = shown_secret(admin.post(url("rotate", live), {"overlap": "1"}))
    assert [api.get("/v1/balance").status_code for api in (customer.api, Api(secret))] == [200, 200]
    live.refresh_from_db()
    assert live.expires_at is not None
    assert abs(live.expires_at - timezone.now() - timedelta(hours=1)) < timedelta(minutes=1)
    entry = entry_of(customer)
    assert (entry.action, entry.target) == ("apikey.rotated", str(live))
    assert "rotated" in admin.get(reverse(LIST)).content.decode().lower()
    new = ApiKey.objects.get(replaces=live)
    nowhere_to_be_found(admin, secret, new)
    assert str(live) in admin.get(url("change", new)).content.decode()
    again = admin.post(url("rotate", live), {"overlap": "1"})
    assert "rotated already" in str(again.context["form"].errors)


@pytest.mark.parametrize("overlap", ["", "-1", "721", "x"])
def test_invalid_overlaps(admin: Client, live: ApiKey, overlap: str) -> None:
    response = admin.post(url("rotate", live), {"overlap": overlap})
    assert response.context["form"].errors
    live.refresh_from_db()
    assert live.expires_at is None


def test_changing_where_a_key_may_be_used(admin: Client, customer: Customer, live: ApiKey) -> None:
    api_keys.restrict_key(live, ["192.0.2.0/24"])
    assert "192.0.2.0/24" in admin.get(url("restrict", live)).content.decode()
    refused = admin.post(url("restrict", live), {"networks": "192.0.2.0/24 nowhere"})
    assert "nowhere" in str(refused.context["form"].errors)
    assert customer.api.get("/v1/balance").status_code == 403
    admin.post(url("restrict", live), {"networks": "192.0.2.0/24\n127.0.0.1"})
    assert customer.api.get("/v1/balance").status_code == 200
    admin.post(url("restrict", live), {"networks": ""})
    live.refresh_from_db()
    assert live.networks == []
    last = AuditEntry.objects.filter(action="apikey.restricted").latest("id")
    assert last.detail["networks"] == [["192.0.2.0/24", "127.0.0.1"], []]
    assert last.address == "127.0.0.1"


def test_revoking(admin: Client, customer: Customer, live: ApiKey) -> None:
    assert customer.api.get("/v1/balance").status_code == 200
    assert admin.post(url("revoke", live)).status_code == 302
    assert customer.api.get("/v1/balance").status_code == 401
    entry = entry_of(customer)
    assert (entry.action, entry.target) == ("apikey.revoked", str(live))
    assert admin.post(url("change", live), {"name": "Other"}).status_code == 403
    assert admin.post(url("delete", live), {"post": "yes"}).status_code == 403


def test_revoking_several(admin: Client, customer: Customer) -> None:
    mine = ApiKey.objects.filter(organization=customer.id)
    chosen = {"action": "revoke_selected", "_selected_action": [key.pk for key in mine]}
    admin.post(reverse(LIST), chosen)
    assert not mine.filter(revoked_at=None).exists()
    assert AuditEntry.objects.filter(action="apikey.revoked").count() == 2


@pytest.mark.parametrize(
    ("spoil", "state", "buttons"),
    [
        (lambda key: None, "active", {"rotate", "restrict", "revoke"}),
        (api_keys.rotate_key, "rotated", {"restrict", "revoke"}),
        (api_keys.revoke_key, "revoked", set()),
        (
            lambda key: ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now()),
            "expired",
            {"revoke"},
        ),
    ],
)
def test_only_the_actions_that_the_state_allows(
    admin: Client, live: ApiKey, spoil: Any, state: str, buttons: set[str]
) -> None:
    spoil(live)
    page = admin.get(url("change", live)).content.decode()
    assert {act for act in ("rotate", "restrict", "revoke") if url(act, live) in page} == buttons
    assert state in admin.get(reverse(LIST)).content.decode().lower()


def test_without_permission_to_create_keys_there_is_no_rotation(live: ApiKey) -> None:
    helper = person(is_staff=True)
    names = ["view_apikey", "change_apikey"]
    helper.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = browser(helper)
    assert client.post(url("rotate", live), {"overlap": "1"}).status_code == 403
    assert client.post(url("restrict", live), {"networks": "192.0.2.1"}).status_code == 302
    helper.user_permissions.set(Permission.objects.filter(codename="view_apikey"))
    client = browser(helper)
    assert client.get(url("change", live)).status_code == 200
    for act in ("rotate", "restrict", "revoke"):
        assert client.post(url(act, live), {"overlap": "1"}).status_code == 403
    live.refresh_from_db()
    assert (live.revoked_at, live.networks) == (None, ["192.0.2.1"])
