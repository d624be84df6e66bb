"""The reader's test key for the guide's examples: permissions, and where its secret is."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from accounts.access.page_access import public_id
from accounts.keys.api_keys import digest, revoke_key
from accounts.models import ApiKey, AuditEntry, Member
from accounts.roles import Role
from imissive.guide import keys
from messaging.models import SenderId
from tests.support.factories import Api, Customer, World
from tests.support.people import (
    PLAIN_STATIC,
    browser,
    member,
    person,
)

pytestmark = pytest.mark.django_db
KINDS = {"owner": 302, "admin": 302, "developer": 302, "finance": 403, "viewer": 403}


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def reader(customer: Customer) -> Client:
    """Return a client that is logged in as a developer of the customer."""
    return browser(member(customer.organization, Role.DEVELOPER))


def create_key_on_page(client: Client, customer: Customer) -> Any:
    return client.post("/docs/key", {"organization": public_id(customer.organization)})


def shown(client: Client) -> str | None:
    """Return the key in the page's examples, with which they also run."""
    html = client.get("/docs").content.decode()
    found = html.partition('data-key="')[2].partition('"')[0]
    assert (found in html.partition("<pre")[2]) if found else ("YOUR_API_KEY" in html)
    return found or None


def created_key(customer: Customer) -> ApiKey:
    return ApiKey.objects.get(organization=customer.organization, name=keys.NAME)


def test_a_key_is_made_filled_in_and_works(reader: Client, customer: Customer) -> None:
    assert shown(reader) is None
    assert create_key_on_page(reader, customer)["Location"] == "/docs#your-key"
    secret = shown(reader)
    assert secret is not None
    assert secret.startswith("imk_test_")
    key = created_key(customer)
    assert bytes(key.digest) == digest(secret)
    assert (key.test, key.scopes) == (True, [])
    assert key.expires_at is not None
    assert timedelta(hours=23) < key.expires_at - timezone.now() <= timedelta(hours=24)
    assert Api(secret).get("/v1/balance").json()["test"] is True


def test_its_prose_still_says_what_to_replace(reader: Client, customer: Customer) -> None:
    create_key_on_page(reader, customer)
    assert "<code>YOUR_API_KEY</code>" in reader.get("/docs").content.decode()


def test_nobody_else_sees_it(reader: Client, customer: Customer) -> None:
    create_key_on_page(reader, customer)
    secret = shown(reader)
    assert secret is not None
    others = [Client(), browser(member(customer.organization)), browser(person())]
    assert [shown(other) for other in others] == [None] * 3
    for session in Session.objects.all():
        assert secret not in str(session.get_decoded())
    assert secret not in str(list(AuditEntry.objects.values()))


def test_it_is_in_the_audit_log(reader: Client, customer: Customer) -> None:
    create_key_on_page(reader, customer)
    reader.post("/docs/key/drop")
    entries = AuditEntry.objects.filter(organization=customer.organization).order_by("id")
    key = created_key(customer)
    assert [(entry.action, entry.target) for entry in entries] == [
        ("apikey.added", str(key)),
        ("apikey.revoked", str(key)),
    ]
    assert {entry.detail["id"] for entry in entries} == {key.public_id}
    assert {entry.actor for entry in entries} == {key.created_by}
    assert {entry.address for entry in entries} == {"127.0.0.1"}


@pytest.mark.parametrize(("role", "status"), KINDS.items())
def test_a_key_needs_the_permission(customer: Customer, role: str, status: int) -> None:
    client = browser(member(customer.organization, Role(role)))
    assert create_key_on_page(client, customer).status_code == status
    count = ApiKey.objects.filter(organization=customer.organization, name=keys.NAME).count()
    assert count == (status == 302)
    assert (b"/docs/key" in client.get("/docs").content) == (status == 302)


def test_outsiders_and_invalid_ids_are_refused(customer: Customer, outsider: Customer) -> None:
    stranger = browser(member(outsider.organization))
    assert create_key_on_page(stranger, customer).status_code == 404
    assert create_key_on_page(Client(), customer)["Location"].startswith("/accounts/login/")
    for wrong in ("", "org_", "nothing", "org_" + "z" * 26, "\0"):
        assert stranger.post("/docs/key", {"organization": wrong}).status_code == 404
    assert stranger.get("/docs/key").status_code == 405
    assert stranger.get("/docs/key/drop").status_code == 405
    assert not ApiKey.objects.filter(name=keys.NAME).exists()


def test_it_needs_a_csrf_token(customer: Customer) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(member(customer.organization))
    assert create_key_on_page(client, customer).status_code == 403


def test_one_is_replaced_by_the_next(
    reader: Client, customer: Customer, outsider: Customer
) -> None:
    user = Member.objects.get(organization=customer.organization).user
    Member.objects.create(organization=outsider.organization, user=user, role=Role.OWNER)
    create_key_on_page(reader, customer)
    first = shown(reader)
    assert b"<option" not in reader.get("/docs").content
    create_key_on_page(reader, outsider)
    assert shown(reader) not in (None, first)
    assert created_key(customer).revoked_at is not None
    assert created_key(outsider).revoked_at is None


def test_several_organizations_are_offered(
    reader: Client, customer: Customer, outsider: Customer
) -> None:
    user = Member.objects.get(organization=customer.organization).user
    seat = Member.objects.create(organization=outsider.organization, user=user, role=Role.OWNER)
    offered = [public_id(one.organization) for one in (customer, outsider)]
    html = reader.get("/docs").content.decode()
    assert [id for id in offered if f'<option value="{id}">' in html] == offered
    Member.objects.filter(pk=seat.pk).update(role=Role.VIEWER)
    assert offered[1] not in reader.get("/docs").content.decode()


def test_dropping_revokes_it(reader: Client, customer: Customer) -> None:
    create_key_on_page(reader, customer)
    assert reader.post("/docs/key/drop")["Location"] == "/docs#your-key"
    assert created_key(customer).revoked_at is not None
    assert shown(reader) is None
    assert reader.post("/docs/key/drop").status_code == 302


def _revoke(key: ApiKey) -> None:
    revoke_key(key)


def _expire(key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now())


def _demote(key: ApiKey) -> None:
    Member.objects.filter(organization=key.organization).update(role=Role.VIEWER)


def _dismiss(key: ApiKey) -> None:
    Member.objects.filter(organization=key.organization).delete()


@pytest.mark.parametrize("end", [_revoke, _expire, _demote, _dismiss])
def test_an_unusable_key_is_removed(reader: Client, customer: Customer, end: Any) -> None:
    create_key_on_page(reader, customer)
    end(created_key(customer))
    assert shown(reader) is None
    assert "guide_key" not in reader.session


def test_a_replaced_encryption_key_forgets_it(
    reader: Client, customer: Customer, settings: Any
) -> None:
    create_key_on_page(reader, customer)
    settings.FIELD_ENCRYPTION_KEYS = ["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="]
    assert shown(reader) is None


def bodies(client: Client) -> list[dict[str, Any]]:
    """Return the bodies with which the examples run."""
    html = client.get("/docs").content.decode()
    found = re.findall(r"<textarea[^>]*>(.*?)</textarea>", html, re.S)
    return [json.loads(text.replace("&quot;", '"')) for text in found]


def test_a_sender_of_the_readers_is_filled_in(
    reader: Client, customer: Customer, world: World
) -> None:
    SenderId.objects.filter(organization=customer.organization).delete()
    world.sender(customer, "Pending", status=SenderId.Status.PENDING)
    world.sender(customer, 'It\'s "us"', is_default=True)
    world.sender(customer, "Najd Shop")
    create_key_on_page(reader, customer)
    senders = {body["sender_id"] for body in bodies(reader) if "sender_id" in body}
    assert senders == {"Najd Shop", "NotMine"}
    codes = re.findall(r"<pre.*?</pre>", reader.get("/docs").content.decode(), re.S)
    assert "MyCompany" not in "".join(codes)


def test_without_a_sender_none_is_named(reader: Client, customer: Customer) -> None:
    before = bodies(reader)
    create_key_on_page(reader, customer)
    SenderId.objects.filter(organization=customer.organization).delete()
    for body in before:
        if body.get("sender_id") == "MyCompany":
            del body["sender_id"]
    assert bodies(reader) == before
    assert b"No sender ID is approved yet" in reader.get("/docs").content
