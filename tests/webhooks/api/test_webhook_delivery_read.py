"""GET /v1/webhooks/deliveries/{id}: the request, each attempt, and the time of the next one."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from standardwebhooks import Webhook

from imissive.core import ids
from tests.support.factories import Api, Customer, World
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
    attempted,
    deliver,
    endpoint_of,
    happen,
    make_due,
    outcome,
    rows,
    wait_for_status,
    work_off,
)
from tests.support.webhook_receivers import Answer, Receiver
from webhooks.delivery import queue
from webhooks.models import Delivery, Endpoint, FailedAttempt


@pytest.fixture
def endpoint(world: World, customer: Customer) -> Endpoint:
    return world.endpoint(customer)


def read(api: Api, endpoint: Endpoint) -> Any:
    """Return the endpoint's only delivery."""
    [row] = rows(endpoint)
    return call_json(api, "GET", f"/v1/webhooks/deliveries/{row.public_id}")


def test_every_attempt_and_its_request(
    committed_world: World, there: Receiver, start: Start
) -> None:
    customer = committed_world.customer(sender=None)
    bodies = iter([b"down", b"still down", b"thanks"])
    codes = iter([500, 503, 200])
    there.answer = lambda _post: Answer(next(codes), body=next(bodies))
    endpoint = endpoint_of(customer, there.url)
    running = start()
    deliver(running, happen(customer))
    for attempts in (1, 2):
        attempted(endpoint, attempts)
        make_due(endpoint)
        running.wake(endpoint.id)
    wait_for_status(endpoint, "delivered")
    delivery = read(customer.api, endpoint)
    assert delivery["webhook_id"] == endpoint.public_id
    assert (delivery["status"], delivery["next_attempt_at"]) == ("delivered", None)
    assert delivery["event"] == "message.sent"
    assert delivery["message_id"].startswith("msg_")
    assert [
        (one["number"], one["response_status"], one["response_body"], one["error"])
        for one in delivery["attempts"]
    ] == [(1, 500, "down", None), (2, 503, "still down", None), (3, 200, "thanks", None)]
    times = [datetime.fromisoformat(one["at"]) for one in delivery["attempts"]]
    assert times == sorted(times)
    assert all(0 <= one["duration_ms"] < 5000 for one in delivery["attempts"])
    last = there.posts[-1]
    assert delivery["request"]["body"] == last.body.decode()
    sent = {name.lower(): value for name, value in delivery["request"]["headers"].items()}
    assert sent == {name: last.headers[name] for name in sent}
    assert {"webhook-id", "webhook-timestamp", "webhook-signature", "user-agent"} < set(sent)
    # The response shows the signature as it was sent, and no secret.
    Webhook(endpoint.secret).verify(delivery["request"]["body"], sent)
    assert endpoint.secret.removeprefix("whsec_") not in str(delivery)


def test_an_attempt_without_a_response_is_shown(
    committed_world: World, there: Receiver, start: Start, settings: Any
) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = False
    customer = committed_world.customer(sender=None)
    endpoint = endpoint_of(customer, there.url)
    deliver(start(), happen(customer))
    attempted(endpoint, 1)
    [attempt] = read(customer.api, endpoint)["attempts"]
    assert attempt["error"] == "host name not found, or its address not allowed"
    assert (attempt["response_status"], attempt["response_body"]) == (None, None)


def test_a_first_success_has_no_failed_attempt(world: World, customer: Customer) -> None:
    endpoint = world.endpoint(customer)
    happen(customer)
    work_off(endpoint, delivered=True)
    assert not FailedAttempt.objects.filter(delivery__endpoint=endpoint).exists()
    [attempt] = read(customer.api, endpoint)["attempts"]
    assert (attempt["number"], attempt["response_status"], attempt["duration_ms"]) == (1, 200, 7)


def test_only_failed_deliveries_of_a_batch_have_failed_attempts(
    customer: Customer, endpoint: Endpoint
) -> None:
    happen(customer, 2)
    fine, broken = queue.claim(endpoint.id, 2)
    outcomes = [outcome(fine, delivered=True), outcome(broken, delivered=False)]
    queue.write(queue.Results(outcomes=outcomes))
    [attempt] = FailedAttempt.objects.filter(delivery__endpoint=endpoint)
    assert (attempt.delivery_id, attempt.number) == (broken.id, 1)


def test_before_the_first_attempt(api: Api, customer: Customer, endpoint: Endpoint) -> None:
    happen(customer)
    delivery = read(api, endpoint)
    assert (delivery["status"], delivery["attempts"], delivery["finished_at"]) == (
        "pending",
        [],
        None,
    )
    assert delivery["request"]["headers"] is None
    assert delivery["request"]["body"].startswith('{"event":"message.sent"')
    assert delivery["created_at"].endswith("Z")


def test_the_next_attempt(api: Api, customer: Customer, endpoint: Endpoint) -> None:
    """It has a time, except while posting, while the endpoint is disabled, and at the end."""
    happen(customer)
    queue.claim(endpoint.id, 1)
    delivery = read(api, endpoint)
    assert (delivery["status"], delivery["next_attempt_at"]) == ("pending", None)
    make_due_again(endpoint)
    work_off(endpoint, delivered=False)
    [row] = rows(endpoint)
    due = datetime.fromisoformat(read(api, endpoint)["next_attempt_at"])
    assert row.next_attempt_at is not None
    assert abs(due - row.next_attempt_at) < timedelta(milliseconds=1)
    others = timezone.now() + timedelta(hours=1)
    Endpoint.objects.filter(id=endpoint.id).update(paused_until=others)
    due = datetime.fromisoformat(read(api, endpoint)["next_attempt_at"])
    assert abs(due - others) < timedelta(milliseconds=1)
    Endpoint.objects.filter(id=endpoint.id).update(enabled=False)
    assert read(api, endpoint)["next_attempt_at"] is None


def make_due_again(endpoint: Endpoint) -> None:
    Delivery.objects.filter(endpoint=endpoint).update(next_attempt_at=timezone.now())


def test_after_the_last_attempt_all_ten_are_listed(
    api: Api, customer: Customer, endpoint: Endpoint
) -> None:
    happen(customer)
    for _ in range(10):
        make_due(endpoint)
        work_off(endpoint, delivered=False)
    delivery = read(api, endpoint)
    assert (delivery["status"], delivery["next_attempt_at"]) == ("failed", None)
    assert [one["number"] for one in delivery["attempts"]] == list(range(1, 11))
    assert delivery["finished_at"] is not None


def test_a_late_result_leaves_no_attempt(api: Api, customer: Customer, endpoint: Endpoint) -> None:
    """A result without the lease is written neither to the delivery nor as a failed attempt."""
    happen(customer)
    [late] = queue.claim(endpoint.id, 1)
    make_due_again(endpoint)
    [ours] = queue.claim(endpoint.id, 1)
    for claimed in (late, ours):
        queue.write(queue.Results(outcomes=[outcome(claimed, delivered=False)]))
    assert [one["number"] for one in read(api, endpoint)["attempts"]] == [1]


@pytest.mark.parametrize("id", UNKNOWN_DELIVERIES)
def test_ids_of_other_kinds_are_not_found(api: Api, id: str) -> None:
    refused(call(api, "GET", f"/v1/webhooks/deliveries/{id}"), 404, "NOT_FOUND")


def test_deliveries_of_a_deleted_endpoint_are_not_found(
    api: Api, customer: Customer, endpoint: Endpoint
) -> None:
    happen(customer)
    call_json(api, "DELETE", f"/v1/webhooks/{endpoint.public_id}", status=204)
    path = f"/v1/webhooks/deliveries/{ids.public_id('dlv', rows(endpoint)[0].id)}"
    refused(call(api, "GET", path), 404, "NOT_FOUND")


def test_permissions(customer: Customer, outsider: Customer, endpoint: Endpoint) -> None:
    happen(customer)
    path = f"/v1/webhooks/deliveries/{rows(endpoint)[0].public_id}"
    check_who_may(customer, outsider, "GET", path, None, status=200)
    check_other_methods(customer.api, path, "GET")
