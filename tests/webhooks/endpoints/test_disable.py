"""Automatic disabling after five days of failure or 410: an event to the others, a notice due."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.support.factories import Customer, World, in_threads
from tests.support.webhook_calls import call_json
from tests.support.webhook_dispatch import (
    Start,
    attempted,
    deliver,
    endpoint_of,
    happen,
    make_due,
    statuses,
    wait_for_status,
)
from tests.support.webhook_receivers import Answer, Receiver, wait_until
from webhooks.delivery import queue
from webhooks.endpoints import disable
from webhooks.models import Endpoint, Event

NOTICE = "webhooks.tasks.tell_people"


@pytest.fixture(autouse=True)
def _allowed(settings: Any) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = True


@pytest.fixture
def customer(committed_world: World) -> Customer:
    return committed_world.customer(sender=None)


def stored(endpoint: Endpoint) -> Endpoint:
    return Endpoint.objects.get(id=endpoint.id)


def failed_since(endpoint: Endpoint, **ago: float) -> None:
    Endpoint.objects.filter(id=endpoint.id).update(failing_since=timezone.now() - timedelta(**ago))


def test_the_first_failure_after_five_days_disables(
    customer: Customer, there: Receiver, start: Start, wakes: list[Any]
) -> None:
    there.answer = lambda post: Answer(204 if post.path == "/fine" else 500)
    other = endpoint_of(customer, there.url.replace("/hook", "/fine"), "endpoint.disabled")
    endpoint = endpoint_of(customer, there.url, "message.sent")
    failed_since(endpoint, days=5, seconds=1)
    running = start()
    deliver(running, happen(customer, 10))
    wait_until(lambda: not stored(endpoint).enabled)
    wait_until(lambda: "sending" not in statuses(endpoint))
    assert stored(endpoint).disabled_reason == "FAILED_TOO_LONG"
    assert stored(endpoint).notice_due_at is not None
    assert [wake for wake in wakes if wake[0] == NOTICE] == [
        (NOTICE, "webhooks", (endpoint.id.hex,))
    ]
    # Nothing is lost: it is posted after the endpoint is enabled again.
    assert statuses(endpoint) == {"pending"}
    running.wake(other.id)
    wait_for_status(other, "delivered")
    payload = [post for post in there.posts if post.path == "/fine"][-1].verified(other.secret)
    assert payload["event"] == "endpoint.disabled"
    assert payload["data"]["endpoint_id"] == endpoint.public_id
    assert payload["data"]["reason"] == "Every post to the receiver failed for five days."

    there.answer = lambda _post: Answer()
    call_json(customer.api, "PATCH", f"/v1/webhooks/{endpoint.public_id}", {"enabled": True})
    make_due(endpoint)
    running.wake(endpoint.id)
    assert len(wait_for_status(endpoint, "delivered")) == 10


def test_failures_within_five_days_do_not_disable(
    customer: Customer, there: Receiver, start: Start
) -> None:
    there.answer = lambda _post: Answer(500)
    endpoint = endpoint_of(customer, there.url)
    failed_since(endpoint, days=4, hours=23, minutes=59)
    deliver(start(), happen(customer))
    attempted(endpoint, 1)
    assert stored(endpoint).enabled


def test_one_success_restarts_the_five_days(
    customer: Customer, there: Receiver, start: Start
) -> None:
    there.script(200, 500)
    endpoint = endpoint_of(customer, there.url)
    failed_since(endpoint, days=6)
    running = start()
    deliver(running, happen(customer))
    wait_for_status(endpoint, "delivered")
    wait_until(lambda: stored(endpoint).failing_since is None)
    deliver(running, happen(customer))
    attempted(endpoint, 2)
    wait_until(lambda: stored(endpoint).failing_since is not None)
    assert stored(endpoint).enabled


def test_a_success_of_another_worker_counts(
    customer: Customer, there: Receiver, start: Start
) -> None:
    """One worker sees the endpoint fail; another, which knows it as working, posts to it."""
    endpoint = endpoint_of(customer, there.url)
    there.answer = lambda _post: Answer(delay=0.2)
    running = start()
    deliver(running, happen(customer, 3))
    there.wait_for(1)
    failed_since(endpoint, days=6)
    deliver(running, happen(customer, 20))
    wait_for_status(endpoint, "delivered")
    wait_until(lambda: stored(endpoint).failing_since is None)


def test_a_failure_before_a_concurrent_success_does_not_disable(customer: Customer) -> None:
    endpoint = endpoint_of(customer, "https://example.com/")
    failed_since(endpoint, days=6)
    since = stored(endpoint).failing_since
    assert disable.fails_too_long(since)
    Endpoint.objects.filter(id=endpoint.id).update(failing_since=None)
    assert not disable.disable_failing(endpoint.id)
    assert stored(endpoint).enabled


def test_gone_also_makes_an_email_due(
    customer: Customer, there: Receiver, start: Start, wakes: list[Any]
) -> None:
    there.answer = lambda _post: Answer(410)
    endpoint = endpoint_of(customer, there.url)
    deliver(start(), happen(customer))
    wait_until(lambda: not stored(endpoint).enabled)
    assert stored(endpoint).disabled_reason == "GONE"
    assert (NOTICE, "webhooks", (endpoint.id.hex,)) in wakes
    assert endpoint.id not in queue.due_endpoints()


def test_concurrent_failures_disable_it_once(customer: Customer) -> None:
    endpoint_of(customer, "https://example.com/", "endpoint.disabled")
    endpoint = endpoint_of(customer, "https://example.com/")
    done = in_threads([lambda: disable.disable_gone(endpoint.id)] * 6)
    assert sorted(done) == [False] * 5 + [True]
    assert Event.objects.filter(organization=customer.id, type="endpoint.disabled").count() == 1
