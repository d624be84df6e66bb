"""API keys: IP allow-lists, rotation with an overlap, and the audit log."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.keys import api_keys, ip_allow_list
from accounts.keys.api_keys import (
    create_key,
    restrict_key,
    revoke_key,
    rotate_key,
)
from accounts.keys.reasons import KeyReason
from accounts.models import ApiKey, AuditEntry, Organization
from accounts.roles import Scope
from imissive.core.errors import ApiError
from tests.support.factories import Api, World, in_threads
from tests.support.people import person

URL = "/v1/balance"
HOUR, DAY = timedelta(hours=1), timedelta(hours=24)


@pytest.fixture
def organization(db: None) -> Organization:
    return Organization.objects.create(name="Acme")


def use(secret: str, address: str = "127.0.0.1", **more: Any) -> int:
    return int(Api(secret).get(URL, REMOTE_ADDR=address, **more).status_code)


def about(moment: datetime | None, expected: datetime) -> bool:
    return moment is not None and abs(moment - expected) < timedelta(seconds=10)


def acts(organization: Organization) -> list[str]:
    entries = AuditEntry.objects.filter(organization=organization).order_by("id")
    return [entry.action for entry in entries]


# ---------------------------------------------------------------- entries of an IP allow-list


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("192.0.2.7", "192.0.2.7"),
        (" 192.0.2.7 ", "192.0.2.7"),
        ("192.0.2.7/32", "192.0.2.7"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.77/24", "192.0.2.0/24"),
        ("192.0.2.77/255.255.255.0", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0::0001/128", "2001:db8::1"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.77/120", "192.0.2.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_addresses_and_networks_are_kept_in_one_form(written: str, kept: str) -> None:
    assert ip_allow_list.clean([written]) == [kept]
    assert ip_allow_list.clean([kept]) == [kept]


@pytest.mark.parametrize(
    "written",
    [
        "",
        "localhost",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.7/33",
        "192.0.2.7/-1",
        "192.0.2.7/24/8",
        "010.0.0.1",
        "2001:db8::/129",
        "2001:db8:::1",
        "fe80::1%eth0",
        "192.0.2.1-192.0.2.9",
        "192.0.2.*",
        "١٩٢.٠.٢.٧",
        "192.0.2.7\0",
    ],
)
def test_invalid_networks_are_named(organization: Organization, written: str) -> None:
    with pytest.raises(ApiError) as caught:
        create_key(organization, "k", test=False, allowed=["192.0.2.7", written])
    shown = written if written.isprintable() else repr(written)
    assert caught.value.problem == KeyReason.NOT_A_NETWORK.problem("networks", written=shown)
    assert not ApiKey.objects.exists()


def test_each_network_counts_once_and_fifty_are_enough(organization: Organization) -> None:
    assert ip_allow_list.clean(["10.0.0.1/8", "10.9.9.9/8", "10.0.0.1"]) == [
        "10.0.0.0/8",
        "10.0.0.1",
    ]
    fifty = [f"192.0.2.{number}" for number in range(50)]
    key, _ = create_key(organization, "k", test=False, allowed=fifty * 2)
    assert key.networks == fifty
    with pytest.raises(ApiError) as caught:
        restrict_key(key, [*fifty, "198.51.100.1"])
    assert caught.value.problem == KeyReason.TOO_MANY_NETWORKS.problem("networks", most=50)
    key.refresh_from_db()
    assert key.networks == fifty


# ---------------------------------------------------------------- use of a restricted key


@pytest.mark.parametrize(
    ("allowed", "address", "status"),
    [
        ([], "203.0.113.9", 200),
        (["192.0.2.7"], "192.0.2.7", 200),
        (["192.0.2.7"], "192.0.2.8", 403),
        (["192.0.2.0/24"], "192.0.2.255", 200),
        (["192.0.2.0/24"], "192.0.3.0", 403),
        (["192.0.2.0/24"], "::ffff:192.0.2.7", 200),
        (["192.0.2.0/24"], "2001:db8::1", 403),
        (["2001:db8::/32"], "2001:db8:ffff::1", 200),
        (["2001:db8::/32"], "2001:db9::1", 403),
        (["2001:db8::/32"], "192.0.2.7", 403),
        (["198.51.100.1", "2001:db8::1", "10.0.0.0/8"], "10.200.0.1", 200),
        (["192.0.2.7"], "", 403),
        (["0.0.0.0/0"], "", 403),
    ],
)
def test_a_key_works_from_its_networks_only(
    organization: Organization, allowed: list[str], address: str, status: int
) -> None:
    _, secret = create_key(organization, "k", test=False, allowed=allowed)
    assert use(secret, address) == status


def test_a_refused_caller_learns_its_address_but_not_the_allow_list(
    organization: Organization,
) -> None:
    _, secret = create_key(organization, "k", test=False, allowed=["192.0.2.0/24"])
    response = Api(secret).get(URL, REMOTE_ADDR="198.51.100.1")
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (403, "FORBIDDEN")
    assert "198.51.100.1" in error["message"]
    assert "192.0.2" not in response.content.decode()


def test_behind_proxies_the_callers_own_address_counts(
    organization: Organization, settings: Any
) -> None:
    _, secret = create_key(organization, "k", test=False, allowed=["192.0.2.7"])
    forwarded = {"HTTP_X_FORWARDED_FOR": "192.0.2.7"}
    assert use(secret, "10.0.0.1", **forwarded) == 403, "any client can send that header"
    settings.TRUSTED_PROXIES = 1
    assert use(secret, "10.0.0.1", **forwarded) == 200
    assert use(secret, "10.0.0.1", HTTP_X_FORWARDED_FOR="192.0.2.7, 198.51.100.1") == 403


def test_a_restriction_applies_at_once_and_is_audited(organization: Organization) -> None:
    actor = person()
    key, secret = create_key(organization, "k", test=False)
    assert use(secret, "198.51.100.1") == 200
    restrict_key(key, ["192.0.2.7/24"], actor=actor, address="203.0.113.1")
    assert key.networks == ["192.0.2.0/24"]
    assert (use(secret, "198.51.100.1"), use(secret, "192.0.2.1")) == (403, 200)
    restrict_key(key, ["192.0.2.0/24"], actor=actor)
    restrict_key(key, [])
    assert use(secret, "198.51.100.1") == 200
    first, second = AuditEntry.objects.filter(organization=organization).order_by("id")
    assert (first.action, first.actor, first.address) == ("apikey.restricted", actor, "203.0.113.1")
    assert first.detail == {"id": key.public_id, "networks": [[], ["192.0.2.0/24"]]}
    assert (second.actor, second.detail["networks"]) == (None, [["192.0.2.0/24"], []])


def test_a_revoked_key_is_not_changed(organization: Organization) -> None:
    key, _ = create_key(organization, "k", test=False)
    revoke_key(key)
    with pytest.raises(ApiError) as caught:
        restrict_key(key, ["192.0.2.7"])
    assert caught.value.problem.code == "CONFLICT"


# ---------------------------------------------------------------- rotation


def pass_time(key: ApiKey, duration: timedelta) -> None:
    """Bring the key's expiry that much nearer, as if the time had passed.

    PostgreSQL's now() does not advance within the transaction of a test.
    """
    key.refresh_from_db()
    assert key.expires_at is not None
    ApiKey.objects.filter(pk=key.pk).update(expires_at=key.expires_at - duration)


def test_both_keys_work_until_the_overlap_is_over(organization: Organization) -> None:
    old, old_secret = create_key(organization, "Shop", test=False)
    new, new_secret = rotate_key(old)
    assert about(old.expires_at, timezone.now() + DAY)
    assert (use(old_secret), use(new_secret)) == (200, 200)
    pass_time(old, DAY - timedelta(minutes=1))
    assert (use(old_secret), use(new_secret)) == (200, 200)
    pass_time(old, timedelta(minutes=2))
    assert (use(old_secret), use(new_secret)) == (401, 200)
    new.refresh_from_db()
    assert (new.replaces, new.expires_at) == (old, None)


def test_the_new_key_has_the_permissions_of_the_old_one(organization: Organization) -> None:
    old, old_secret = create_key(
        organization, "Shop", test=True, scopes=[Scope.OTP, Scope.BALANCE], allowed=["192.0.2.0/24"]
    )
    actor = person()
    new, secret = rotate_key(old, HOUR, actor=actor)
    new.refresh_from_db()
    assert secret.startswith("imk_test_")
    assert secret != old_secret
    assert (new.organization, new.name, new.test) == (organization, "Shop", True)
    assert (new.scopes, new.networks) == (["otp", "balance"], ["192.0.2.0/24"])
    assert (new.created_by, new.last_used_at, new.revoked_at) == (actor, None, None)
    assert (use(secret, "192.0.2.1"), use(secret, "192.0.3.1")) == (200, 403)


def test_an_overlap_of_nothing_ends_the_old_one_at_once(organization: Organization) -> None:
    old, old_secret = create_key(organization, "k", test=False)
    _, secret = rotate_key(old, timedelta(0))
    assert about(old.expires_at, timezone.now())
    pass_time(old, timedelta(minutes=1))
    assert (use(old_secret), use(secret)) == (401, 200)


def test_the_old_key_never_lives_longer_than_it_would_have(organization: Organization) -> None:
    now = timezone.now()
    old, _ = create_key(organization, "k", test=False, expires_at=now + HOUR)
    new, _ = rotate_key(old, DAY)
    assert about(old.expires_at, now + HOUR)
    # It has the same lifetime as the old one was given.
    assert about(new.expires_at, now + HOUR)
    longer, _ = create_key(organization, "k", test=False, expires_at=now + 90 * DAY)
    ApiKey.objects.filter(pk=longer.pk).update(created_at=now - 80 * DAY, expires_at=now + 10 * DAY)
    new, _ = rotate_key(longer, DAY)
    assert about(longer.expires_at, now + DAY)
    assert about(new.expires_at, now + 90 * DAY)


@pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(days=30, seconds=1)])
def test_overlaps_that_are_refused(organization: Organization, overlap: timedelta) -> None:
    old, secret = create_key(organization, "k", test=False)
    with pytest.raises(ApiError) as caught:
        rotate_key(old, overlap)
    assert (caught.value.problem.code, caught.value.problem.field) == ("INVALID_REQUEST", "overlap")
    assert (use(secret), ApiKey.objects.count()) == (200, 1)
    rotate_key(old, api_keys.LONGEST_OVERLAP)


def _revoked(key: ApiKey) -> None:
    revoke_key(key)


def _expired(key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now())


def _rotated(key: ApiKey) -> None:
    rotate_key(key)


def _rotated_and_the_new_one_revoked(key: ApiKey) -> None:
    revoke_key(rotate_key(key)[0])


@pytest.mark.parametrize("spoil", [_revoked, _expired, _rotated, _rotated_and_the_new_one_revoked])
def test_keys_that_cannot_be_rotated(organization: Organization, spoil: Any) -> None:
    old, _ = create_key(organization, "k", test=False)
    spoil(old)
    before = ApiKey.objects.count()
    with pytest.raises(ApiError) as caught:
        rotate_key(old)
    assert caught.value.problem.code == "CONFLICT"
    assert ApiKey.objects.count() == before


def test_the_new_key_can_be_rotated_in_its_turn(organization: Organization) -> None:
    first, first_secret = create_key(organization, "k", test=False)
    second, second_secret = rotate_key(first)
    third, third_secret = rotate_key(second)
    assert (third.replaces_id, second.replaces_id) == (second.pk, first.pk)
    assert [use(secret) for secret in (first_secret, second_secret, third_secret)] == [200] * 3


def test_of_two_concurrent_rotations_one_succeeds(committed_world: World) -> None:
    customer = committed_world.customer()
    key = ApiKey.objects.get(organization=customer.id, test=False)

    def rotate() -> bool:
        try:
            rotate_key(ApiKey.objects.get(pk=key.pk))
        except ApiError:
            return False
        return True

    assert sum(in_threads([rotate] * 8)) == 1
    assert ApiKey.objects.filter(replaces=key).count() == 1


def test_without_the_lock_several_would(committed_world: World, monkeypatch: Any) -> None:
    """The race is real."""
    customer = committed_world.customer()
    key = ApiKey.objects.get(organization=customer.id, test=False)
    manager = type(ApiKey.objects)
    monkeypatch.setattr(manager, "select_for_update", lambda self, **_: self.all())

    def rotate() -> bool:
        try:
            rotate_key(ApiKey.objects.get(pk=key.pk))
        except ApiError:
            return False
        return True

    assert sum(in_threads([rotate] * 8)) > 1


# ---------------------------------------------------------------- the audit log


def test_each_action_of_a_person_is_audited_without_a_secret(organization: Organization) -> None:
    actor = person()
    by = {"actor": actor, "address": "203.0.113.1"}
    key, first = create_key(
        organization, "Shop", test=False, scopes=[Scope.OTP], created_by=actor, address="::1"
    )
    new, second = rotate_key(key, HOUR, **by)  # type: ignore[arg-type]
    revoke_key(new, **by)  # type: ignore[arg-type]
    revoke_key(new, **by)  # type: ignore[arg-type]
    entries = list(AuditEntry.objects.filter(organization=organization).order_by("id"))
    assert [entry.action for entry in entries] == [
        "apikey.added",
        "apikey.rotated",
        "apikey.revoked",
    ]
    assert {entry.actor for entry in entries} == {actor}
    assert [entry.address for entry in entries] == ["::1", "203.0.113.1", "203.0.113.1"]
    assert entries[0].target == str(key)
    assert entries[0].detail == {
        "id": key.public_id,
        "test": False,
        "scopes": ["otp"],
        "networks": [],
        "expires_at": None,
    }
    assert entries[1].detail["new"] == new.public_id
    recorded = str([(entry.target, entry.detail) for entry in entries])
    for secret in (first, second):
        assert secret not in recorded
        assert secret.removeprefix("imk_live_")[8:40] not in recorded


def test_what_fails_is_not_audited(organization: Organization) -> None:
    key, _ = create_key(organization, "k", test=False)
    for act in (lambda: rotate_key(key, -HOUR), lambda: restrict_key(key, ["x"])):
        with pytest.raises(ApiError):
            act()
    assert acts(organization) == []
