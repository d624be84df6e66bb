"""POST /v1/webhooks/{id}/test"""

from typing import Any

import pytest

from tests.support.factories import Api, Customer, World
from tests.support.webhook_calls import (
    UNKNOWN_WEBHOOKS,
    call,
    call_json,
    check_other_methods,
    check_who_may,
    refused,
)
from tests.support.webhook_dispatch import Start, endpoint_of, rows
from tests.support.webhook_receivers import Answer, Receiver, wait_until
from webhooks.models import Delivery, Endpoint


def path(endpoint: Endpoint) -> str:
    return f"/v1/webhooks/{endpoint.public_id}/test"


def test_it_reaches_only_that_endpoint_whatever_its_subscriptions(
    committed_world: World,
    there: Receiver,
    start: Start,
    wakes: list[Any],
) -> None:
    there.answer = lambda _post: Answer(200, body=b"seen")
    customer = committed_world.customer(sender=None)
    endpoint = endpoint_of(customer, there.url, "message.failed")
    other = endpoint_of(customer, there.url + "/other")
    accepted = call_json(customer.api, "POST", path(endpoint), status=202)
    assert accepted["status"] == "pending"
    assert wakes == [("webhooks.tasks.deliver", "webhooks", (endpoint.id.hex,))]
    start().wake(endpoint.id)
    [post] = there.wait_for(1)
    event = post.verified(endpoint.secret)
    assert (event["event"], event["data"]) == ("webhook.test", {"endpoint_id": endpoint.public_id})
    assert "message_id" not in event
    assert post.id == accepted["event_id"]
    assert rows(other) == []

    def read() -> Any:
        return call_json(customer.api, "GET", f"/v1/webhooks/deliveries/{accepted['id']}")

    wait_until(lambda: read()["status"] == "delivered")
    assert read()["attempts"][0]["response_body"] == "seen"


def test_a_disabled_endpoint_is_refused(api: Api, world: World, customer: Customer) -> None:
    endpoint = world.endpoint(customer)
    Endpoint.objects.filter(id=endpoint.id).update(enabled=False)
    assert "disabled" in refused(call(api, "POST", path(endpoint)), 409, "CONFLICT")
    assert not Delivery.objects.filter(endpoint=endpoint).exists()


@pytest.mark.parametrize(
    ("raw", "field"), [('{"event": "message.sent"}', "event"), ('"x"', None), ("{", None)]
)
def test_invalid_bodies(api: Api, world: World, customer: Customer, raw: str, field: str) -> None:
    endpoint = world.endpoint(customer)
    refused(call(api, "POST", path(endpoint), raw=raw), 400, "INVALID_REQUEST", field)
    assert not Delivery.objects.filter(endpoint=endpoint).exists()


@pytest.mark.parametrize("id", UNKNOWN_WEBHOOKS)
def test_ids_of_other_kinds_are_not_found(api: Api, id: str) -> None:
    refused(call(api, "POST", f"/v1/webhooks/{id}/test"), 404, "NOT_FOUND")


def test_permissions(world: World, customer: Customer, outsider: Customer) -> None:
    endpoint = world.endpoint(customer)
    check_who_may(customer, outsider, "POST", path(endpoint), {}, status=202)
    assert Delivery.objects.filter(endpoint=endpoint).count() == 1
    check_other_methods(customer.api, path(endpoint), "POST")
