"""API key authentication: storage as a hash, expiry, scopes, and the record of the last use."""

import re
from dataclasses import fields
from datetime import timedelta

import pytest
from django.db import connection
from django.test import RequestFactory
from django.utils import timezone
from rest_framework.views import APIView

from accounts.api.authentication import Caller, HasScope, find_caller
from accounts.api.rate_limits import Limits
from accounts.api.reasons import CallReason
from accounts.keys.api_keys import create_key, digest, revoke_key
from accounts.models import ApiKey, Organization
from accounts.roles import Scope
from imissive.core import ids
from imissive.core.api.requests import client_address
from imissive.core.errors import ApiError
from tests.support.factories import Api, client

URL = "/v1/balance"
SECRET = re.compile(r"imk_(live|test)_[0-9a-f]{64}")


@pytest.fixture
def organization(db):
    return Organization.objects.create(name="Acme")


def use(secret: str, **more) -> int:
    return int(Api(secret).get(URL, **more).status_code)


# ---------------------------------------------------------------- what is stored


@pytest.mark.parametrize(("test", "prefix"), [(False, "imk_live_"), (True, "imk_test_")])
def test_a_key_says_what_it_is_for_and_is_256_random_bits(organization, test, prefix):
    secrets = [create_key(organization, "k", test=test)[1] for _ in range(3)]
    assert all(SECRET.fullmatch(secret) and secret.startswith(prefix) for secret in secrets)
    assert len(set(secrets)) == 3


def test_the_database_holds_the_hash_and_a_hint_but_not_the_key(organization):
    key, secret = create_key(organization, "k", test=False)
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(k)::text FROM accounts_apikey k")
        [(stored,)] = cursor.fetchall()
    random = secret.removeprefix("imk_live_")
    assert digest(secret).hex() in stored
    assert key.hint == f"imk_live_{random[:4]}…{random[-4:]}"
    pieces = {random[start : start + 8] for start in range(len(random) - 7)}
    assert not [piece for piece in pieces if piece in stored]


def test_a_key_cannot_be_used_by_its_hash(organization):
    key, _ = create_key(organization, "k", test=False)
    for guess in (bytes(key.digest).hex(), key.hint, key.public_id, f"imk_live_{key.digest.hex()}"):
        assert use(guess.encode("ascii", "replace").decode()) == 401


# ---------------------------------------------------------------- the caller


def test_the_caller_is_the_keys_organization_with_its_kind_and_scopes(organization):
    key, secret = create_key(organization, "k", test=True, scopes=[Scope.SMS_SEND, Scope.BALANCE])
    assert find_caller(secret, "") == Caller(
        key.id,
        organization.id,
        False,
        True,
        frozenset({"sms:send", "balance"}),
        Limits(),
        "",
        (),
        home="SA",
    )


def test_the_caller_holds_no_secret(organization):
    assert {field.name for field in fields(Caller)} == {
        "key_id",
        "organization_id",
        "suspended",
        "test",
        "scopes",
        "limits",
        "address",
        "networks",
        "extra",  # a value that a view wants to be read with the key; never part of the key
        "home",
    }


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_may_be_in_any_case(organization, scheme):
    _, secret = create_key(organization, "k", test=False)
    assert client.get(URL, HTTP_AUTHORIZATION=f"{scheme}  {secret} ").status_code == 200


def test_a_key_ends_when_it_expires(organization):
    now = timezone.now()
    _, later = create_key(organization, "k", test=False, expires_at=now + timedelta(minutes=1))
    _, expired = create_key(organization, "k", test=False, expires_at=now - timedelta(seconds=1))
    assert (use(later), use(expired)) == (200, 401)


def test_a_key_ends_when_it_is_revoked_and_revoking_again_changes_nothing(organization):
    key, secret = create_key(organization, "k", test=False)
    _, other = create_key(organization, "k", test=False)
    assert use(secret) == 200
    revoke_key(key)
    first = key.revoked_at
    revoke_key(key)
    assert key.revoked_at == first is not None
    assert (use(secret), use(other)) == (401, 200)


def test_suspension_is_read_for_each_request(organization):
    _, secret = create_key(organization, "k", test=False)
    statuses = []
    for status in ("active", "suspended", "active"):
        Organization.objects.filter(id=organization.id).update(status=status)
        statuses.append(use(secret))
    assert statuses == [200, 403, 200]


# ---------------------------------------------------------------- scopes


@pytest.mark.parametrize(
    ("scopes", "scope", "may"),
    [
        ([], "sms:send", True),
        (["sms:send"], "sms:send", True),
        (["sms:send"], "sms:read", False),
        (["balance", "otp"], "otp", True),
        (["balance", "otp"], "webhooks", False),
    ],
)
def test_a_key_has_its_listed_scopes_and_all_without_any(scopes, scope, may):
    caller = _caller(scopes)
    assert caller.may(scope) is may


def _caller(scopes) -> Caller:
    return Caller(ids.new_uuid(), ids.new_uuid(), False, False, frozenset(scopes), Limits(), "", ())


class _Dual:
    """A view whose scope depends on the method."""

    required_scope = {"GET": Scope.SMS_READ, "POST": Scope.SMS_SEND}


@pytest.mark.parametrize(
    ("method", "scopes", "lacking"),
    [
        ("GET", ["sms:read"], None),
        ("HEAD", ["sms:read"], None),
        ("HEAD", ["sms:send"], "sms:read"),
        ("POST", ["sms:read"], "sms:send"),
        ("POST", ["sms:send"], None),
        ("DELETE", ["sms:read"], None),  # the view itself then responds with 405
    ],
)
def test_a_view_may_require_another_scope_for_each_method(method, scopes, lacking):
    request = APIView().initialize_request(RequestFactory().generic(method, "/v1/x"))
    request.auth = Caller(
        ids.new_uuid(), ids.new_uuid(), False, False, frozenset(scopes), Limits(), "", ()
    )
    if lacking is None:
        assert HasScope().has_permission(request, _Dual())
    else:
        with pytest.raises(ApiError) as caught:
            HasScope().has_permission(request, _Dual())
        assert caught.value.status == 403
        assert caught.value.problem == CallReason.NO_SCOPE.problem(scope=lacking)


# ---------------------------------------------------------------- the last use


def aged(key: ApiKey, seconds: int) -> ApiKey:
    """Return the key after setting its last use that far back into the past."""
    ApiKey.objects.filter(id=key.id).update(
        last_used_at=timezone.now() - timedelta(seconds=seconds)
    )
    key.refresh_from_db()
    return key


def test_the_first_use_is_recorded_with_its_address(organization):
    _, secret = create_key(organization, "k", test=False)
    assert ApiKey.objects.get().last_used_at is None
    use(secret, REMOTE_ADDR="203.0.113.9")
    key = ApiKey.objects.get()
    assert key.last_used_at is not None
    assert abs(timezone.now() - key.last_used_at) < timedelta(minutes=1)
    assert key.last_used_address == "203.0.113.9"


@pytest.mark.parametrize(("seconds", "written"), [(5, False), (55, False), (65, True)])
def test_a_use_is_recorded_at_most_once_a_minute(organization, seconds, written):
    key, secret = create_key(organization, "k", test=False)
    before = aged(key, seconds).last_used_at
    use(secret)
    key.refresh_from_db()
    assert (key.last_used_at != before) is written


def test_within_the_minute_a_request_writes_nothing(organization, django_assert_num_queries):
    key, secret = create_key(organization, "k", test=False)
    aged(key, 1)
    with django_assert_num_queries(1) as asked:
        find_caller(secret, "203.0.113.9")
    assert "UPDATE" not in asked.captured_queries[0]["sql"]


def test_a_refused_key_leaves_no_trace_of_use(organization):
    key, secret = create_key(organization, "k", test=False)
    revoke_key(key)
    use(secret)
    key.refresh_from_db()
    assert key.last_used_at is None


# ---------------------------------------------------------------- behind proxies


@pytest.mark.parametrize(
    ("proxies", "forwarded", "found"),
    [
        (0, "198.51.100.1", "192.0.2.1"),  # any client can send that header
        (1, "198.51.100.1", "198.51.100.1"),
        (1, "6.6.6.6, 198.51.100.1", "198.51.100.1"),  # the client's forged entry is on the left
        (2, "6.6.6.6, 198.51.100.1, 10.0.0.1", "198.51.100.1"),
        (2, "198.51.100.1", "192.0.2.1"),  # the request did not pass both proxies
        (1, "", "192.0.2.1"),
        (1, "2001:db8::1", "2001:db8::1"),
        (1, "unknown", "192.0.2.1"),
        (1, "198.51.100.1:4711", "198.51.100.1"),
        (1, "fe80::1%eth0", "192.0.2.1"),
        (1, "'; DROP TABLE", "192.0.2.1"),
    ],
)
def test_the_callers_address_is_read_behind_as_many_proxies_as_are_trusted(
    settings, proxies, forwarded, found
):
    settings.TRUSTED_PROXIES = proxies
    request = RequestFactory().get(
        "/v1/balance", REMOTE_ADDR="192.0.2.1", HTTP_X_FORWARDED_FOR=forwarded
    )
    assert client_address(request) == found


def test_an_invalid_address_does_not_stop_a_request(organization, settings):
    settings.TRUSTED_PROXIES = 1
    _, secret = create_key(organization, "k", test=False)
    assert use(secret, HTTP_X_FORWARDED_FOR="unknown") == 200
    _, secret = create_key(organization, "k", test=False)
    assert use(secret, REMOTE_ADDR="") == 200
