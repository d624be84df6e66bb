"""Settings of an organization, the profile of a user, and closing an organization."""

import re
from datetime import UTC, datetime

import pytest
from django.test import Client

from accounts.access.page_access import public_id
from accounts.api import rate_limits
from accounts.keys.api_keys import create_key, revoke_key
from accounts.members import invitations
from accounts.models import (
    MICRO,
    ApiKey,
    AuditEntry,
    Invitation,
    LedgerEntry,
    Member,
    Organization,
    User,
)
from accounts.roles import Role
from accounts.templatetags.shown import browser_name
from messaging.models import Carrier
from messaging.states import Status
from tests.support.factories import Customer, World
from tests.support.people import (
    PLAIN_STATIC,
    browser,
    member,
    person,
)
from webhooks.endpoints.endpoints import endpoints_of


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def owner(customer: Customer) -> Client:
    return browser(member(customer.organization))


def _settings(customer: Customer, path: str = "") -> str:
    return f"/dashboard/{public_id(customer.organization)}/settings/{path}"


def _stored(customer: Customer) -> Organization:
    return Organization.objects.get(pk=customer.id)


# ---------------------------------------------------------------- the organization


def test_limits_as_they_are(owner: Client, customer: Customer) -> None:
    Organization.objects.filter(pk=customer.id).update(calls_per_minute=4321, max_parts=7)
    bucket = f"{customer.id.hex}:calls"
    rate_limits.take_tokens(bucket, 4321, 60, cost=2000)
    page = re.sub(r"<[^>]+>", "", owner.get(_settings(customer)).content.decode())
    row = " ".join(page.partition("Other calls of the API")[2].split()[:2])
    limit, used = row.split()
    assert limit == "4,321"
    # The bucket refills, 72 tokens per second.
    assert 1000 < int(used.replace(",", "")) <= 2000
    assert " ".join(page.partition("Parts of one message")[2].split()[:1]) == "7"


def test_ip_allow_lists_of_keys(owner: Client, customer: Customer) -> None:
    create_key(customer.organization, "Bound", test=True, allowed=["203.0.113.7"])
    over, _ = create_key(customer.organization, "Over", test=True, allowed=["203.0.113.8"])
    revoke_key(over)
    page = owner.get(_settings(customer)).content.decode()
    assert "203.0.113.7" in page
    assert "203.0.113.8" not in page
    assert "2 keys work from everywhere" in page
    viewer = browser(member(customer.organization, Role.VIEWER))
    assert "203.0.113.7" not in viewer.get(_settings(customer)).content.decode()


def test_renaming(owner: Client, customer: Customer) -> None:
    old = customer.organization.name
    page = owner.post(_settings(customer, "name/"), {"name": "Najd"}, follow=True)
    assert "Saved." in page.content.decode()
    assert _stored(customer).name == "Najd"
    entry = AuditEntry.objects.get(organization=customer.organization)
    assert entry.action == "organization.renamed"
    assert entry.detail == {"name": {"from": old, "to": "Najd"}}
    owner.post(_settings(customer, "name/"), {"name": "Najd"})
    assert AuditEntry.objects.filter(organization=customer.organization).count() == 1


@pytest.mark.parametrize("name", ["", " ", "N" * 121, "https://x.example", "a\0b"])
def test_invalid_names(owner: Client, customer: Customer, name: str) -> None:
    response = owner.post(_settings(customer, "name/"), {"name": name})
    assert response.status_code == 200
    assert "errorlist" in response.content.decode()
    assert _stored(customer).name == customer.organization.name


def test_the_low_balance_alert(customer: Customer) -> None:
    finance = browser(member(customer.organization, Role.FINANCE))
    finance.post(_settings(customer, "alert/"), {"low_balance_threshold": "12.5"})
    assert _stored(customer).low_balance_threshold == 12_500_000
    entry = AuditEntry.objects.get(organization=customer.organization)
    assert entry.detail == {"low_balance_threshold": {"from": "0", "to": "12.5"}}
    assert 'value="12.5"' in finance.get(_settings(customer)).content.decode()


@pytest.mark.parametrize("value", ["", "-1", "x", "NaN", "1e99", "0.0000001", "9" * 20])
def test_invalid_thresholds(owner: Client, customer: Customer, value: str) -> None:
    response = owner.post(_settings(customer, "alert/"), {"low_balance_threshold": value})
    assert response.status_code == 200
    assert "errorlist" in response.content.decode()
    assert _stored(customer).low_balance_threshold == 0


def test_each_role_sees_what_it_may_change(customer: Customer) -> None:
    for role, forms in {
        Role.OWNER: {"name/", "alert/", "close/"},
        Role.ADMIN: {"alert/"},
        Role.DEVELOPER: set(),
        Role.FINANCE: {"alert/"},
        Role.VIEWER: set(),
    }.items():
        page = browser(member(customer.organization, role)).get(_settings(customer))
        text = page.content.decode()
        shown = {path for path in ("name/", "alert/", "close/") if f"settings/{path}" in text}
        assert shown == forms, role


# ---------------------------------------------------------------- closing it


def _close(client: Client, customer: Customer, name: str = "") -> str:
    data = {"name": name or customer.organization.name}
    return client.post(_settings(customer, "close/"), data, follow=True).content.decode()


def test_closing(owner: Client, world: World, customer: Customer) -> None:
    mate = browser(member(customer.organization, Role.VIEWER))
    by = Member.objects.filter(organization=customer.organization).first()
    assert by is not None
    invitations.invite(by, "late@x.example", Role.VIEWER)
    world.endpoint(customer)
    page = owner.get(_settings(customer, "close/")).content.decode()
    assert "100" in page.split("credits are left")[0][-80:]
    assert "is closed" in _close(owner, customer)
    assert _stored(customer).status == Organization.Status.CLOSED
    assert customer.api.get("/v1/balance").status_code == 401
    assert mate.get(_settings(customer)).status_code == 404
    assert not ApiKey.objects.filter(organization=customer.id, revoked_at=None).exists()
    assert not Invitation.objects.filter(organization=customer.id).exists()
    assert not Member.objects.filter(organization=customer.id).exists()
    assert not endpoints_of(customer.id, test=None).exists()
    # The balance is kept, and so is the record of the person who closed it.
    assert customer.balance() == 100 * MICRO
    assert LedgerEntry.objects.filter(organization=customer.id).count() == 1
    entry = AuditEntry.objects.get(organization=customer.id, action="organization.closed")
    assert entry.detail == {"credits": "100"}


@pytest.mark.parametrize("typed", ["x", "CUSTOMER", " "])
def test_the_name_has_to_be_typed(owner: Client, customer: Customer, typed: str) -> None:
    response = owner.post(_settings(customer, "close/"), {"name": typed})
    assert "errorlist" in response.content.decode()
    assert _stored(customer).status == Organization.Status.ACTIVE


@pytest.mark.parametrize("status", [Status.SCHEDULED, Status.QUEUED, Status.SENDING])
def test_not_while_messages_wait(
    owner: Client, world: World, customer: Customer, carrier: Carrier, status: Status
) -> None:
    world.message(customer, carrier, status=status)
    assert "still wait to be sent" in _close(owner, customer)
    assert _stored(customer).status == Organization.Status.ACTIVE
    assert customer.api.get("/v1/balance").status_code == 200


def test_sent_messages_do_not_hinder(
    owner: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    world.message(customer, carrier, status=Status.SENT)
    assert "is closed" in _close(owner, customer)


def test_only_owners_close(customer: Customer) -> None:
    for role in set(Role) - {Role.OWNER}:
        client = browser(member(customer.organization, role))
        assert client.post(_settings(customer, "close/"), {}).status_code == 403


# ---------------------------------------------------------------- the person


def _save_profile(client: Client, **changes: str) -> str:
    data = {"name": "Sara", "language": "en", "time_zone": ""} | changes
    return client.post("/accounts/profile/", data, follow=True).content.decode()


def test_a_persons_profile() -> None:
    assert Client().get("/accounts/profile/").status_code == 302


def test_name_language_and_time_zone(customer: Customer) -> None:
    user = member(customer.organization)
    client = browser(user)
    page = _save_profile(client, name="سارة", language="ar", time_zone="Asia/Riyadh")
    assert '<html lang="ar" dir="rtl"' in page
    assert "تم الحفظ" in page
    user.refresh_from_db()
    assert (user.name, user.language, user.time_zone) == ("سارة", "ar", "Asia/Riyadh")
    # A new browser gets the language as soon as the user has logged in.
    user.set_password("a-long-and-odd-one")
    user.save()
    other = Client()
    from accounts.members.people import vouch_for_address

    vouch_for_address(user)
    login = {"login": user.email, "password": "a-long-and-odd-one"}
    page = other.post("/accounts/login/", login, follow=True).content.decode()
    assert '<html lang="ar"' in page


def test_the_language_switch_is_remembered_too(db: None) -> None:
    user = person()
    browser(user).post("/i18n/setlang/", {"language": "ar", "next": "/"})
    user.refresh_from_db()
    assert user.language == "ar"
    browser(user).post("/i18n/setlang/", {"language": "xx", "next": "/"})
    user.refresh_from_db()
    assert user.language == "ar"


def test_times_are_shown_in_the_persons_zone(
    world: World, customer: Customer, carrier: Carrier
) -> None:
    at = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)
    message = world.message(customer, carrier, created_at=at)
    user = member(customer.organization)
    client = browser(user)
    url = f"/dashboard/{public_id(customer.organization)}/messages/{message.public_id}/"
    assert "2026-03-01 22:30:00 UTC</time>" in client.get(url).content.decode()
    User.objects.filter(pk=user.pk).update(time_zone="Asia/Riyadh")
    page = client.get(url).content.decode()
    assert 'title="2026-03-01 22:30:00 UTC" dir="ltr">2026-03-02 01:30:00</time>' in page
    # A value that an older version may have stored causes no error.
    User.objects.filter(pk=user.pk).update(time_zone="Mars/Phobos")
    assert "2026-03-01 22:30:00 UTC</time>" in client.get(url).content.decode()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "www.evil.example"),
        ("language", "xx"),
        ("language", ""),
        ("time_zone", "Mars/Phobos"),
        ("time_zone", "../../etc/passwd"),
    ],
)
def test_invalid_profiles(db: None, field: str, value: str) -> None:
    user = person()
    assert "errorlist" in _save_profile(browser(user), **{field: value})
    user.refresh_from_db()
    assert (user.name, user.language, user.time_zone) == ("", "en", "")


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/130.0", "Firefox, Linux"),
        ("Mozilla/5.0 (Linux; Android 14) Chrome/130.0 Safari/537.36", "Chrome, Android"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/130.0 Safari/537.36 Edg/130", "Edge, Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17 like Mac OS X) Safari/604", "Safari, iPhone"),
        ("x" * 300, "x" * 40),
        ("", "—"),
    ],
)
def test_browsers_by_name(user_agent: str, name: str) -> None:
    assert browser_name(user_agent) == name
