"""POST /v1/webhooks/{id}/replay: the deliveries of a period."""

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
from tests.support.webhook_dispatch import (
    Start,
    endpoint_of,
    give_up,
    happen,
    make_due,
    rows,
    wait_for_status,
    work_off,
)
from tests.support.webhook_receivers import Receiver
from webhooks.delivery import replay as event_replay
from webhooks.models import Delivery, Endpoint

PERIOD = {"from": "2026-01-15T12:00:00Z", "to": "2100-01-15T12:00:00+03:00"}


def path(endpoint: Endpoint) -> str:
    return f"/v1/webhooks/{endpoint.public_id}/replay"


@pytest.fixture
def endpoint(world: World, customer: Customer) -> Endpoint:
    return world.endpoint(customer)


def replay(api: Api, endpoint: Endpoint, **body: Any) -> Any:
    return call_json(api, "POST", path(endpoint), PERIOD | body, status=202)


def fail(customer: Customer, endpoint: Endpoint, count: int, type: str = "message.sent") -> None:
    happen(customer, count, type)
    work_off(endpoint, delivered=False)
    give_up(endpoint)


def arrive(customer: Customer, endpoint: Endpoint, count: int, type: str = "message.sent") -> None:
    happen(customer, count, type)
    work_off(endpoint, delivered=True)


def pending(endpoint: Endpoint) -> list[Delivery]:
    return [row for row in rows(endpoint) if row.status == "pending"]


def test_failed_deliveries_are_replayed_in_order(
    committed_world: World, there: Receiver, start: Start, settings: Any
) -> None:
    settings.WEBHOOK_CONCURRENCY = 1
    customer = committed_world.customer(sender=None)
    endpoint = endpoint_of(customer, there.url)
    fail(customer, endpoint, 20)
    failed = [row.event_id for row in rows(endpoint)]
    assert replay(customer.api, endpoint) == {"replayed": 20, "next_cursor": None}
    start().wake(endpoint.id)
    posts = there.wait_for(20)
    assert [post.verified(endpoint.secret)["data"]["number"] for post in posts] == [*range(20)]
    Delivery.objects.filter(endpoint=endpoint, status="failed").delete()
    assert [row.event_id for row in wait_for_status(endpoint, "delivered")] == failed


def test_failed_only_or_all(api: Api, customer: Customer, endpoint: Endpoint) -> None:
    fail(customer, endpoint, 2)
    arrive(customer, endpoint, 3)
    assert replay(api, endpoint)["replayed"] == 2
    assert {row.event_id for row in pending(endpoint)} == {
        row.event_id for row in rows(endpoint) if row.status == "failed"
    }
    # These two are on their way now.
    assert replay(api, endpoint, status="all")["replayed"] == 3
    assert replay(api, endpoint, status="all")["replayed"] == 0
    work_off(endpoint, delivered=True)
    # The failed ones have been delivered since.
    assert replay(api, endpoint, status="failed")["replayed"] == 0
    assert replay(api, endpoint, status="all")["replayed"] == 5


def test_an_event_that_failed_twice_is_replayed_once(
    api: Api, customer: Customer, endpoint: Endpoint
) -> None:
    """An event with two failed deliveries in the period gets one new delivery."""
    fail(customer, endpoint, 1)
    assert replay(api, endpoint)["replayed"] == 1
    work_off(endpoint, delivered=False)
    give_up(endpoint)
    assert replay(api, endpoint)["replayed"] == 1
    assert len(rows(endpoint)) == 3


def test_pending_deliveries_are_not_replayed(
    api: Api, customer: Customer, endpoint: Endpoint
) -> None:
    happen(customer, 2)
    for status in ("failed", "all"):
        assert replay(api, endpoint, status=status)["replayed"] == 0
    work_off(endpoint, delivered=False)
    for status in ("failed", "all"):
        assert replay(api, endpoint, status=status)["replayed"] == 0
    assert len(rows(endpoint)) == 2


def test_only_the_given_events(api: Api, customer: Customer, endpoint: Endpoint) -> None:
    for type in ("message.sent", "message.failed", "otp.failed"):
        fail(customer, endpoint, 1, type)
    assert replay(api, endpoint, events=["message.failed", "otp.failed"])["replayed"] == 2
    assert {row.event_type for row in pending(endpoint)} == {"message.failed", "otp.failed"}
    assert replay(api, endpoint, events=[])["replayed"] == 1


def test_only_deliveries_of_the_period_and_this_endpoint(
    api: Api, world: World, customer: Customer, endpoint: Endpoint
) -> None:
    other = world.endpoint(customer)
    fail(customer, endpoint, 1)
    work_off(other, delivered=False)
    give_up(other)
    now = timezone.now()
    past = [(now - timedelta(hours=hours)).isoformat() for hours in (2, 1)]
    assert replay(api, endpoint, **{"from": past[0], "to": past[1]})["replayed"] == 0
    ahead = {"from": (now + timedelta(hours=1)).isoformat()}
    assert replay(api, endpoint, **ahead)["replayed"] == 0
    assert replay(api, endpoint)["replayed"] == 1
    assert pending(other) == []


def test_a_long_period_continues_with_the_cursor(
    api: Api, customer: Customer, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_replay, "MOST", 4)
    fail(customer, endpoint, 9)
    arrive(customer, endpoint, 2)
    first = replay(api, endpoint, status="all")
    assert first["replayed"] == 4
    second = replay(api, endpoint, status="all", cursor=first["next_cursor"])
    third = replay(api, endpoint, status="all", cursor=second["next_cursor"])
    assert (second["replayed"], third["replayed"], third["next_cursor"]) == (4, 3, None)
    assert len({row.event_id for row in pending(endpoint)}) == 11
    # The same call finds all of them on their way.
    assert replay(api, endpoint, status="all")["replayed"] == 0


def test_a_disabled_endpoint_is_refused(api: Api, customer: Customer, endpoint: Endpoint) -> None:
    fail(customer, endpoint, 1)
    Endpoint.objects.filter(id=endpoint.id).update(enabled=False)
    assert "disabled" in refused(call(api, "POST", path(endpoint), PERIOD), 409, "CONFLICT")
    assert pending(endpoint) == []


def test_a_repeated_call_with_an_idempotency_key_replays_once(
    api: Api, customer: Customer, endpoint: Endpoint
) -> None:
    arrive(customer, endpoint, 1)
    body, key = PERIOD | {"status": "all"}, {"HTTP_IDEMPOTENCY_KEY": "replay-1"}
    assert call(api, "POST", path(endpoint), body, **key).json()["replayed"] == 1
    make_due(endpoint)
    work_off(endpoint, delivered=True)
    assert call(api, "POST", path(endpoint), body, **key).json()["replayed"] == 1
    assert len(rows(endpoint)) == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "from"),
        ({"from": PERIOD["from"]}, "to"),
        ({"to": PERIOD["to"]}, "from"),
        (PERIOD | {"from": PERIOD["to"]}, "to"),
        (PERIOD | {"to": PERIOD["from"]}, "to"),
        (PERIOD | {"from": None}, "from"),
        (PERIOD | {"from": 1_700_000_000}, "from"),
        (PERIOD | {"to": "4100000000"}, "to"),
        (PERIOD | {"from": "yesterday"}, "from"),
        (PERIOD | {"from": "2026-01-15T12:00:00"}, "from"),
        (PERIOD | {"to": "2026-02-30T12:00:00Z"}, "to"),
        (PERIOD | {"to": True}, "to"),
        (PERIOD | {"status": "delivered"}, "status"),
        (PERIOD | {"status": None}, "status"),
        (PERIOD | {"events": ["message.lost"]}, "events[0]"),
        (PERIOD | {"events": "message.sent"}, "events"),
        (PERIOD | {"cursor": "x"}, "cursor"),
        (PERIOD | {"cursor": 1}, "cursor"),
        (PERIOD | {"since": PERIOD["from"]}, "since"),
        (PERIOD | {"limit": 1}, "limit"),
        ([], None),
    ],
)
def test_invalid_bodies(
    api: Api, customer: Customer, endpoint: Endpoint, body: Any, field: str
) -> None:
    fail(customer, endpoint, 1)
    refused(call(api, "POST", path(endpoint), body), 400, "INVALID_REQUEST", field)
    assert pending(endpoint) == []


@pytest.mark.parametrize("id", UNKNOWN_WEBHOOKS)
def test_ids_of_other_kinds_are_not_found(api: Api, id: str) -> None:
    refused(call(api, "POST", f"/v1/webhooks/{id}/replay", PERIOD), 404, "NOT_FOUND")


def test_permissions(customer: Customer, outsider: Customer, endpoint: Endpoint) -> None:
    fail(customer, endpoint, 1)
    check_who_may(customer, outsider, "POST", path(endpoint), PERIOD, status=202)
    assert len(pending(endpoint)) == 1
    check_other_methods(customer.api, path(endpoint), "POST")
