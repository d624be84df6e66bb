"""The API keys' pages: create, show the secret once, rotate, restrict, revoke."""

import re
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from accounts.access.page_access import public_id
from accounts.keys import api_keys
from accounts.models import ApiKey, AuditEntry
from accounts.roles import Role
from tests.support.factories import Api, Customer, World
from tests.support.people import PLAIN_STATIC, browser, member

SECRET = re.compile(r"imk_(?:test|live)_[0-9a-f]{64}")


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC
    cache.clear()


@pytest.fixture
def developer(customer: Customer) -> Client:
    return browser(member(customer.organization, Role.DEVELOPER))


def _keys(customer: Customer, path: str = "") -> str:
    return f"/dashboard/{public_id(customer.organization)}/keys/{path}"


def _once(client: Client, url: str) -> str:
    found = re.search(r'name="once" value="([^"]+)"', client.get(url).content.decode())
    assert found
    return found[1]


def _form(client: Client, url: str, **fields: object) -> dict[str, object]:
    return {"name": "Shop", "kind": "test", "once": _once(client, url), **fields}


def _make(client: Client, customer: Customer, **fields: object) -> str:
    """Create a key and return the secret that is shown."""
    url = _keys(customer, "new/")
    page = client.post(url, _form(client, url, **fields)).content.decode()
    found = SECRET.search(page)
    assert found, page
    return found[0]


def _made(secret: str) -> ApiKey:
    return ApiKey.objects.get(digest=api_keys.digest(secret))


def test_a_key_is_created_works_and_is_never_shown_again(
    developer: Client, customer: Customer
) -> None:
    secret = _make(developer, customer)
    assert secret.startswith("imk_test_")
    assert Api(secret).get("/v1/balance").status_code == 200
    for page in (_keys(customer), _keys(customer, "new/")):
        assert secret not in developer.get(page).content.decode()
    entry = AuditEntry.objects.get(organization=customer.organization)
    assert entry.action == "apikey.added"
    assert secret not in str(entry.detail)


def test_the_fields_of_a_new_key(developer: Client, customer: Customer) -> None:
    key = _made(
        _make(
            developer,
            customer,
            name="CI",
            kind="live",
            scopes=["sms:send", "balance"],
            networks="203.0.113.7, 198.51.100.0/24\n2001:db8::/32",
            life="90",
        )
    )
    assert (key.name, key.test, key.scopes) == ("CI", False, ["sms:send", "balance"])
    assert key.networks == ["203.0.113.7", "198.51.100.0/24", "2001:db8::/32"]
    assert key.expires_at is not None
    left = key.expires_at - timezone.now()
    assert timedelta(days=89) < left <= timedelta(days=90)
    page = developer.get(_keys(customer)).content.decode()
    for shown in ("CI", key.hint, "sms:send, balance", "198.51.100.0/24"):
        assert shown in page


def test_where_a_key_was_used_last(developer: Client, customer: Customer) -> None:
    secret = _make(developer, customer)
    assert "Never" in developer.get(_keys(customer)).content.decode()
    Api(secret).get("/v1/balance", REMOTE_ADDR="203.0.113.99")
    page = developer.get(_keys(customer)).content.decode()
    assert "203.0.113.99" in page


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "This field is required"),
        ({"name": "N" * 81}, "at most 80 characters"),
        ({"kind": "gold"}, "not one of the available choices"),
        ({"scopes": ["sms:send", "root"]}, "not one of the available choices"),
        ({"networks": "203.0.113.0/33"}, "203.0.113.0/33 is not a valid IP address or CIDR range"),
        ({"networks": "here"}, "here is not a valid IP address or CIDR range"),
        ({"networks": "<script>"}, "&lt;script&gt;"),
        ({"networks": " ".join(f"1.1.1.{n}" for n in range(51))}, "At most 50 addresses"),
        ({"life": "1000"}, "not one of the available choices"),
        ({"once": ""}, "This field is required"),
    ],
)
def test_bad_input(
    developer: Client, customer: Customer, fields: dict[str, object], message: str
) -> None:
    url = _keys(customer, "new/")
    before = ApiKey.objects.count()
    response = developer.post(url, _form(developer, url, **fields))
    assert response.status_code == 200
    assert message in response.content.decode()
    assert ApiKey.objects.count() == before


def test_a_double_click_creates_one_key(developer: Client, customer: Customer) -> None:
    url = _keys(customer, "new/")
    form = _form(developer, url)
    first, second = developer.post(url, form), developer.post(url, form, follow=True)
    assert SECRET.search(first.content.decode())
    assert not SECRET.search(second.content.decode())
    assert "made already" in second.content.decode()
    assert ApiKey.objects.filter(name="Shop").count() == 1


def test_the_secrets_page_is_kept_by_no_cache(developer: Client, customer: Customer) -> None:
    url = _keys(customer, "new/")
    response = developer.post(url, _form(developer, url))
    assert "no-store" in response["Cache-Control"]


def test_rotating(developer: Client, customer: Customer) -> None:
    old_secret = _make(developer, customer, scopes=["balance"])
    old = _made(old_secret)
    url = _keys(customer, f"{old.public_id}/rotate/")
    form = {"overlap": "1", "once": _once(developer, url)}
    found = SECRET.search(developer.post(url, form).content.decode())
    assert found
    assert found[0] != old_secret
    for secret in (old_secret, found[0]):
        assert Api(secret).get("/v1/balance").status_code == 200
    old.refresh_from_db()
    assert old.expires_at is not None
    assert timedelta(minutes=59) < old.expires_at - timezone.now() <= timedelta(hours=1)
    assert _made(found[0]).scopes == ["balance"]
    assert "Being replaced" in developer.get(_keys(customer)).content.decode()
    form = {"overlap": "1", "once": _once(developer, url)}
    page = developer.post(url, form, follow=True).content.decode()
    assert "rotated already" in page
    assert not SECRET.search(page)


def test_rotating_what_has_leaked(developer: Client, customer: Customer) -> None:
    old = _made(_make(developer, customer))
    url = _keys(customer, f"{old.public_id}/rotate/")
    developer.post(url, {"overlap": "0", "once": _once(developer, url)})
    old.refresh_from_db()
    assert old.expires_at is not None
    assert old.expires_at <= timezone.now()


@pytest.mark.parametrize("overlap", ["", "-1", "9999", "x"])
def test_overlaps_that_do_not_exist(developer: Client, customer: Customer, overlap: str) -> None:
    old = _made(_make(developer, customer))
    url = _keys(customer, f"{old.public_id}/rotate/")
    response = developer.post(url, {"overlap": overlap, "once": _once(developer, url)})
    assert response.status_code == 200
    old.refresh_from_db()
    assert old.expires_at is None


def test_the_addresses_of_a_key_are_changed(developer: Client, customer: Customer) -> None:
    secret = _make(developer, customer, networks="203.0.113.7")
    key = _made(secret)
    url = _keys(customer, f"{key.public_id}/addresses/")
    assert "203.0.113.7" in developer.get(url).content.decode()
    assert Api(secret).get("/v1/balance").status_code == 403
    wrong = developer.post(url, {"networks": "203.0.113.0/33"}).content.decode()
    assert "203.0.113.0/33 is not a valid IP address or CIDR range" in wrong
    assert _made(secret).networks == ["203.0.113.7"]
    assert "Saved." in developer.post(url, {"networks": ""}, follow=True).content.decode()
    assert Api(secret).get("/v1/balance").status_code == 200
    api_keys.revoke_key(key)
    page = developer.post(url, {"networks": "203.0.113.8"}, follow=True).content.decode()
    assert "This key has ended." in page
    assert _made(secret).networks == []


def test_revoking(developer: Client, customer: Customer) -> None:
    secret = _make(developer, customer)
    url = _keys(customer, f"{_made(secret).public_id}/revoke/")
    assert "cannot be undone" in developer.get(url).content.decode()
    assert Api(secret).get("/v1/balance").status_code == 200
    assert "does not work any more" in developer.post(url, follow=True).content.decode()
    assert Api(secret).get("/v1/balance").status_code == 401
    page = developer.get(_keys(customer)).content.decode()
    assert "Shop" in page.split("Revoked and expired keys")[1]
    assert AuditEntry.objects.filter(action="apikey.revoked").count() == 1
    developer.post(url)
    assert AuditEntry.objects.filter(action="apikey.revoked").count() == 1


def test_another_organizations_key_is_not_found(
    developer: Client, customer: Customer, outsider: Customer
) -> None:
    theirs = ApiKey.objects.filter(organization=outsider.organization).first()
    assert theirs is not None
    for act in ("rotate", "revoke", "addresses"):
        for key_id in (theirs.public_id, "key_x", "msg_" + "0" * 26):
            url = _keys(customer, f"{key_id}/{act}/")
            assert developer.get(url).status_code == 404
            assert developer.post(url).status_code == 404
    theirs.refresh_from_db()
    assert theirs.revoked_at is None
    assert theirs.hint not in developer.get(_keys(customer)).content.decode()


def test_an_empty_page_says_what_to_do(world: World) -> None:
    newcomer = world.customer()
    ApiKey.objects.filter(organization=newcomer.organization).delete()
    client = browser(member(newcomer.organization))
    assert "Make a test key" in client.get(_keys(newcomer)).content.decode()
