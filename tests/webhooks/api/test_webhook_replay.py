"""POST /v1/webhooks/deliveries/{id}/replay"""

from typing import Any

import pytest

from tests.support.factories import (
    Api,
    Customer,
    World,
    in_threads,
)
from tests.support.webhook_calls import (
    UNKNOWN_DELIVERIES,
    call,
    call_json,
    check_other_methods,
    check_who_may,
    refused,
)
from tests.support.webhook_dispatch import (
    Start,
    deliver,
    endpoint_of,
    give_up,
    happen,
    rows,
    wait_for_status,
    work_off,
)
from tests.support.webhook_receivers import Receiver
from webhooks.endpoints import endpoints
from webhooks.models import Delivery, Endpoint


def path(delivery: Delivery) -> str:
    return f"/v1/webhooks/deliveries/{delivery.public_id}/replay"


@pytest.fixture
def endpoint(world: World, customer: Customer) -> Endpoint:
    return world.endpoint(customer)


@pytest.fixture
def delivered(customer: Customer, endpoint: Endpoint) -> Delivery:
    """A delivery that was received."""
    happen(customer)
    work_off(endpoint, delivered=True)
    return rows(endpoint)[0]


def test_the_same_event_is_delivered_again(
    committed_world: World, there: Receiver, start: Start, wakes: list[Any]
) -> None:
    customer = committed_world.customer(sender=None)
    endpoint = endpoint_of(customer, there.url)
    running = start()
    deliver(running, happen(customer))
    [first] = wait_for_status(endpoint, "delivered")
    again = call_json(customer.api, "POST", path(first), status=202)
    assert again["status"] == "pending"
    assert again["id"] != first.public_id
    assert wakes[-1] == ("webhooks.tasks.deliver", "webhooks", (endpoint.id.hex,))
    running.wake(endpoint.id)
    posts = there.wait_for(2)
    assert (posts[0].id, posts[0].body) == (posts[1].id, posts[1].body)
    assert posts[0].id == again["event_id"]
    posts[1].verified(endpoint.secret)
    assert len(wait_for_status(endpoint, "delivered")) == 2


def test_a_failed_delivery_is_replayed(api: Api, customer: Customer, endpoint: Endpoint) -> None:
    happen(customer)
    work_off(endpoint, delivered=False)
    give_up(endpoint)
    [failed] = rows(endpoint)
    again = call_json(api, "POST", path(failed), status=202)
    original = call_json(api, "GET", f"/v1/webhooks/deliveries/{failed.public_id}")
    assert (original["status"], len(original["attempts"])) == ("failed", 1)
    for same in ("event_id", "event", "message_id", "webhook_id"):
        assert again[same] == original[same]
    assert again["request"]["body"] == original["request"]["body"]


def test_a_pending_delivery_is_not_replayed(
    api: Api, customer: Customer, endpoint: Endpoint
) -> None:
    happen(customer)
    [pending] = rows(endpoint)
    assert "on its way" in refused(call(api, "POST", path(pending)), 409, "CONFLICT")
    work_off(endpoint, delivered=True)
    call_json(api, "POST", path(pending), status=202)
    # The replay is on its way now, so neither of the two can be replayed.
    for one in rows(endpoint):
        refused(call(api, "POST", path(one)), 409, "CONFLICT")
    assert len(rows(endpoint)) == 2


def test_another_endpoint_s_delivery_does_not_prevent_a_replay(
    api: Api, world: World, customer: Customer, delivered: Delivery
) -> None:
    world.endpoint(customer)
    Delivery.objects.create(
        event=delivered.event, event_type=delivered.event_type, endpoint=world.endpoint(customer)
    )
    call_json(api, "POST", path(delivered), status=202)


def test_concurrent_replays_create_only_one(
    committed_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the lock several are created; with it only one."""
    customer = committed_world.customer(sender=None)
    endpoint = committed_world.endpoint(customer)
    held = endpoints.lock

    def replays() -> list[int]:
        Delivery.objects.filter(endpoint=endpoint).delete()
        happen(customer)
        work_off(endpoint, delivered=True)
        [delivery] = rows(endpoint)
        calls = [lambda: call(customer.api, "POST", path(delivery)).status_code] * 6
        return sorted(in_threads(calls))

    monkeypatch.setattr(endpoints, "lock", endpoints.find)
    without = [replays() for _ in range(5)]
    assert any(statuses.count(202) > 1 for statuses in without), without
    monkeypatch.setattr(endpoints, "lock", held)
    for _ in range(5):
        assert replays() == [202] + [409] * 5


def test_a_disabled_endpoint_is_refused(api: Api, endpoint: Endpoint, delivered: Delivery) -> None:
    Endpoint.objects.filter(id=endpoint.id).update(enabled=False)
    assert "disabled" in refused(call(api, "POST", path(delivered)), 409, "CONFLICT")
    assert rows(endpoint) == [delivered]


@pytest.mark.parametrize(
    ("raw", "field"), [('{"to": "now"}', "to"), ("[1]", None), ("{", None), ('"x"', None)]
)
def test_invalid_bodies(
    api: Api, endpoint: Endpoint, delivered: Delivery, raw: str, field: str
) -> None:
    refused(call(api, "POST", path(delivered), raw=raw), 400, "INVALID_REQUEST", field)
    assert rows(endpoint) == [delivered]


@pytest.mark.parametrize("id", UNKNOWN_DELIVERIES)
def test_ids_of_other_kinds_are_not_found(api: Api, id: str) -> None:
    refused(call(api, "POST", f"/v1/webhooks/deliveries/{id}/replay"), 404, "NOT_FOUND")


def test_deliveries_of_a_deleted_endpoint_are_not_found(
    api: Api, endpoint: Endpoint, delivered: Delivery
) -> None:
    call_json(api, "DELETE", f"/v1/webhooks/{endpoint.public_id}", status=204)
    refused(call(api, "POST", path(delivered)), 404, "NOT_FOUND")


def test_permissions(customer: Customer, outsider: Customer, delivered: Delivery) -> None:
    check_who_may(customer, outsider, "POST", path(delivered), None, status=202)
    assert len(rows(delivered.endpoint)) == 2
    check_other_methods(customer.api, path(delivered), "POST")
