"""PATCH /v1/webhooks/{id}"""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.support.factories import Api, Customer, World
from tests.support.webhook_calls import (
    UNKNOWN_WEBHOOKS,
    call,
    call_json,
    check_other_methods,
    check_who_may,
    refused,
)
from webhooks.models import Endpoint


@pytest.fixture(autouse=True)
def _production(settings: Any) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = False


@pytest.fixture
def endpoint(world: World, customer: Customer) -> Endpoint:
    return world.endpoint(customer, "message.sent")


def path(endpoint: Endpoint) -> str:
    return f"/v1/webhooks/{endpoint.public_id}"


def stored(endpoint: Endpoint) -> Any:
    return Endpoint.objects.filter(id=endpoint.id).values().get()


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "https://example.com/elsewhere"},
        {"description": "orders"},
        {"description": ""},
        {"events": ["message.failed", "otp.verified"]},
        {"events": []},
        {"enabled": False},
        {"url": "https://example.com/2", "description": "d", "events": [], "enabled": False},
        {},
    ],
)
def test_only_given_fields_change(api: Api, endpoint: Endpoint, changes: dict[str, Any]) -> None:
    before = call_json(api, "GET", path(endpoint))
    after = call_json(api, "PATCH", path(endpoint), changes)
    assert after == before | changes
    assert call_json(api, "GET", path(endpoint)) == after


def test_events_are_named_once(api: Api, endpoint: Endpoint) -> None:
    changed = call_json(api, "PATCH", path(endpoint), {"events": ["message.sent"] * 2})
    assert changed["events"] == ["message.sent"]


def broken(endpoint: Endpoint) -> None:
    """Put the endpoint into the state in which a long failure leaves it."""
    now = timezone.now()
    Endpoint.objects.filter(id=endpoint.id).update(
        enabled=False,
        disabled_reason="GONE",
        failing_since=now - timedelta(days=5),
        paused_until=now + timedelta(hours=1),
        notice_due_at=now,
    )


def test_the_response_has_the_receiver_s_health(api: Api, endpoint: Endpoint) -> None:
    broken(endpoint)
    read_back = call_json(api, "GET", path(endpoint))
    assert read_back["enabled"] is False
    assert read_back["disabled_reason"] == "The receiver responded with 410 Gone."
    assert read_back["failing_since"].endswith("Z")
    assert read_back["paused_until"] > read_back["failing_since"]


def test_enabling_resets_the_failures_and_wakes_the_worker(
    api: Api, endpoint: Endpoint, wakes: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    broken(endpoint)
    with django_capture_on_commit_callbacks(execute=True):
        read_back = call_json(api, "PATCH", path(endpoint), {"enabled": True})
    assert (read_back["enabled"], read_back["disabled_reason"]) == (True, None)
    assert (read_back["failing_since"], read_back["paused_until"]) == (None, None)
    assert stored(endpoint)["notice_due_at"] is None
    assert ("webhooks.tasks.deliver", "webhooks", (endpoint.id.hex,)) in wakes


def test_a_disabled_endpoint_wakes_no_worker(
    api: Api, endpoint: Endpoint, wakes: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        call_json(api, "PATCH", path(endpoint), {"enabled": False})
    assert wakes == []


def test_enabling_an_enabled_endpoint_keeps_failing_since(api: Api, endpoint: Endpoint) -> None:
    """Otherwise repeated calls would prevent a dead endpoint from being disabled."""
    since = timezone.now() - timedelta(days=4)
    Endpoint.objects.filter(id=endpoint.id).update(failing_since=since)
    call_json(api, "PATCH", path(endpoint), {"enabled": True, "description": "again"})
    assert stored(endpoint)["failing_since"] == since


def test_another_url_has_not_failed_yet(api: Api, endpoint: Endpoint) -> None:
    now = timezone.now()
    Endpoint.objects.filter(id=endpoint.id).update(failing_since=now, paused_until=now)
    call_json(api, "PATCH", path(endpoint), {"url": endpoint.url})
    assert stored(endpoint)["failing_since"] == now
    call_json(api, "PATCH", path(endpoint), {"url": endpoint.url + "/new"})
    assert (stored(endpoint)["failing_since"], stored(endpoint)["paused_until"]) == (None, None)


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"url": "http://example.com/"}, "INVALID_URL", "url"),
        ({"url": ""}, "INVALID_URL", "url"),
        ({"url": "https://10.0.0.1/"}, "INVALID_URL", "url"),
        ({"url": "https://example.com/" + "a" * 481}, "INVALID_URL", "url"),
        ({"url": None}, "INVALID_REQUEST", "url"),
        ({"url": 5}, "INVALID_REQUEST", "url"),
        ({"description": None}, "INVALID_REQUEST", "description"),
        ({"description": "d" * 201}, "INVALID_REQUEST", "description"),
        ({"description": "a\0b"}, "INVALID_REQUEST", "description"),
        ({"events": None}, "INVALID_REQUEST", "events"),
        ({"events": "message.sent"}, "INVALID_REQUEST", "events"),
        ({"events": ["message.lost"]}, "INVALID_REQUEST", "events[0]"),
        ({"events": ["message.sent"] * 51}, "INVALID_REQUEST", "events"),
        ({"enabled": None}, "INVALID_REQUEST", "enabled"),
        ({"enabled": "true"}, "INVALID_REQUEST", "enabled"),
        ({"enabled": 1}, "INVALID_REQUEST", "enabled"),
        ({"secret": "whsec_mine"}, "INVALID_REQUEST", "secret"),
        ({"description": "new", "color": "red"}, "INVALID_REQUEST", "color"),
        ([], "INVALID_REQUEST", None),
        ("text", "INVALID_REQUEST", None),
    ],
)
def test_invalid_bodies(api: Api, endpoint: Endpoint, body: Any, code: str, field: str) -> None:
    before = stored(endpoint)
    refused(call(api, "PATCH", path(endpoint), body), 400, code, field)
    assert stored(endpoint) == before


@pytest.mark.parametrize("raw", ["{", "", '{"url": "\\ud800"}'])
def test_bodies_that_are_not_json(api: Api, endpoint: Endpoint, raw: str) -> None:
    refused(call(api, "PATCH", path(endpoint), raw=raw), 400, "INVALID_REQUEST")


@pytest.mark.parametrize("id", UNKNOWN_WEBHOOKS)
def test_ids_of_other_kinds_are_not_found(api: Api, id: str) -> None:
    refused(call(api, "PATCH", f"/v1/webhooks/{id}", {}), 404, "NOT_FOUND")


def test_a_deleted_endpoint_is_not_found(api: Api, endpoint: Endpoint) -> None:
    call_json(api, "DELETE", path(endpoint), status=204)
    refused(call(api, "PATCH", path(endpoint), {"enabled": True}), 404, "NOT_FOUND")
    assert stored(endpoint)["enabled"] is False


def test_permissions(customer: Customer, outsider: Customer, endpoint: Endpoint) -> None:
    body = {"description": "changed"}
    check_who_may(customer, outsider, "PATCH", path(endpoint), body, status=200)
    check_other_methods(customer.api, path(endpoint), "GET", "PATCH", "DELETE")
