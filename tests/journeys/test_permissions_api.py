"""Permissions of the API: every route and method, with every kind of key.

The routes come from the URL resolver, valid calls from `tests.support.api_calls`: a new route
without a row there fails here.
"""

import codecs
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.keys.api_keys import create_key, revoke_key
from accounts.models import Organization
from accounts.roles import Scope
from messaging.models import Carrier
from tests.support.api_calls import (
    GOOD,
    METHODS,
    Good,
    Scene,
    ask,
    calls,
    routes,
)
from tests.support.factories import Customer, World

CALLS = calls()
# Calls with an object's id in the body.
ABOUT_OBJECTS = {call for call in CALLS if "<" in call[1]} | {("POST", "otp/verify")}


@pytest.fixture
def scene(world: World, customer: Customer, carrier: Carrier) -> Scene:
    return Scene(world, customer, carrier)


def key(customer: Customer, **fields: Any) -> str:
    return create_key(customer.organization, "k", test=False, **fields)[1]


def _revoked(customer: Customer) -> str:
    revoked, secret = create_key(customer.organization, "k", test=False)
    revoke_key(revoked)
    return secret


def _expired(customer: Customer) -> str:
    return key(customer, expires_at=timezone.now() - timedelta(hours=1))


def _suspended(customer: Customer) -> str:
    Organization.objects.filter(id=customer.id).update(status="suspended")
    return key(customer)


Secret = Callable[[Customer], str]
REFUSED: dict[str, tuple[int, Secret]] = {
    "no key": (401, lambda customer: ""),
    "an unknown key": (401, lambda customer: "imk_live_" + "0" * 64),
    "half of a key": (401, lambda customer: customer.api.secret[:40]),
    "a revoked key": (401, _revoked),
    "an expired key": (401, _expired),
    "a key of elsewhere": (403, lambda customer: key(customer, allowed=["192.0.2.7"])),
    # Last, because it stays suspended.
    "a suspended organization": (403, _suspended),
}


def call(scene: Scene, method: str, good: Good, secret: str) -> Any:
    path, body = good.make(scene)
    return ask(secret, method, path, body)


def refused_as(response: Any, status: int) -> bool:
    """Return whether the call is refused with that status, in the contract's form."""
    code = {401: "UNAUTHORIZED", 403: "FORBIDDEN", 404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}
    body = response.json()
    assert set(body) == {"error", "request_id"}
    return bool((response.status_code, body["error"]["code"]) == (status, code[status]))


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    assert set(CALLS) == set(GOOD)


@pytest.mark.parametrize(("method", "pattern"), CALLS)
def test_a_key_needs_the_scope_and_no_other(scene: Scene, method: str, pattern: str) -> None:
    good = GOOD[method, pattern]
    for scope in Scope:
        response = call(scene, method, good, key(scene.customer, scopes=[scope]))
        if scope == good.scope:
            assert response.status_code == good.status, response.content
        else:
            assert refused_as(response, 403), (scope, response.content)
            assert good.scope in response.json()["error"]["message"]
    others = [scope for scope in Scope if scope != good.scope]
    assert refused_as(call(scene, method, good, key(scene.customer, scopes=others)), 403)
    response = call(scene, method, good, key(scene.customer))
    assert response.status_code == good.status, "a key without any listed scope may do everything"


@pytest.mark.parametrize(("method", "pattern"), CALLS)
def test_a_trailing_slash_and_a_byte_order_mark_are_ignored(
    scene: Scene, method: str, pattern: str
) -> None:
    good = GOOD[method, pattern]
    path, body = good.make(scene)
    path, mark, query = path.partition("?")
    content = b"" if body is None else codecs.BOM_UTF8 + json.dumps(body).encode()
    response = Client().generic(
        method,
        f"{path}/{mark}{query}",
        content,
        content_type="application/json",
        headers={"Authorization": f"Bearer {key(scene.customer)}"},
    )
    assert response.status_code == good.status, response.content


@pytest.mark.parametrize(("method", "pattern"), CALLS)
def test_invalid_keys_are_refused(scene: Scene, method: str, pattern: str) -> None:
    path, body = GOOD[method, pattern].make(scene)
    for who, (status, secret) in REFUSED.items():
        response = ask(secret(scene.customer), method, path, body)
        assert refused_as(response, status), (who, response.content)


@pytest.mark.parametrize(("method", "pattern"), sorted(ABOUT_OBJECTS))
def test_another_organizations_objects_are_not_found(
    scene: Scene, outsider: Customer, method: str, pattern: str
) -> None:
    good = GOOD[method, pattern]
    path, body = good.make(Scene(scene.world, outsider, scene.carrier))
    assert refused_as(ask(scene.customer.api.secret, method, path, body), 404)
    response = ask(outsider.api.secret, method, path, body)
    assert response.status_code == good.status, "for their own it is as it was"


BEYOND = "7" + "z" * 25
"""The largest id: its time is far behind the year 9999."""


@pytest.mark.parametrize(("method", "pattern"), [call for call in CALLS if "_id>" in call[1]])
def test_an_id_beyond_its_range_is_not_found(scene: Scene, method: str, pattern: str) -> None:
    path, body = GOOD[method, pattern].make(scene)
    beyond = re.sub(r"(/[a-z]{3}_)[0-9a-z]{26}", rf"\g<1>{BEYOND}", path)
    assert beyond != path
    assert refused_as(ask(scene.customer.api.secret, method, beyond, body), 404)


def test_an_id_beyond_its_range_is_refused_as_a_filter_and_a_cursor(scene: Scene) -> None:
    for query in (f"sms?batch_id=bat_{BEYOND}", f"sms?cursor=cur_{BEYOND}"):
        response = ask(scene.customer.api.secret, "GET", f"/v1/{query}")
        assert response.status_code == 400, response.content


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in routes()])
def test_other_methods_get_405_with_the_allowed_ones(scene: Scene, pattern: str) -> None:
    there = [method for method in METHODS if (method, pattern) in GOOD]
    path = GOOD[there[0], pattern].make(scene)[0]
    for method in {*METHODS, "OPTIONS", "TRACE"} - set(there):
        response = ask(scene.customer.api.secret, method, path, {} if method != "GET" else None)
        assert refused_as(response, 405), (method, response.content)
        assert set(response["Allow"].split(", ")) - {"HEAD"} == set(there)
        assert refused_as(ask("", method, path), 401), "no more information without a key"


@pytest.mark.parametrize("secret", [None, ""])
@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing", "/v1/balance/x"])
def test_unknown_paths_get_a_json_error(api: Any, secret: str | None, path: str) -> None:
    for method in METHODS:
        response = ask(api.secret if secret is None else secret, method, path)
        assert refused_as(response, 404)
        assert response["Content-Type"] == "application/json"
