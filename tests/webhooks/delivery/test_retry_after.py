"""Retry-After of a receiver: both forms, the longer wait counts, and it pauses all its posts."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from django.utils import timezone

from tests.support.factories import Customer, World
from tests.support.webhook_calls import call_json
from tests.support.webhook_dispatch import (
    Start,
    attempted,
    deliver,
    endpoint_of,
    happen,
    make_due,
    rows,
    statuses,
    wait_for_status,
)
from tests.support.webhook_receivers import Answer, Receiver, wait_until
from webhooks.delivery import queue
from webhooks.delivery.retry import (
    MAX_RETRY_AFTER,
    RETRY_SECONDS,
    retry_after_seconds,
    retry_seconds,
)
from webhooks.models import Endpoint

NOW = datetime(2026, 1, 15, 12, 0, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _allowed(settings: Any) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = True


@pytest.fixture
def customer(committed_world: World) -> Customer:
    return committed_world.customer(sender=None)


# ------------------------------------------------------------ the header


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 120 ", 120.0),
        ("000120", 120.0),
        ("86400", 86_400.0),
        ("86401", MAX_RETRY_AFTER),
        ("9" * 5_000, MAX_RETRY_AFTER),
        ("Thu, 15 Jan 2026 12:02:00 GMT", 120.0),
        ("Thu, 15 Jan 2026 11:00:00 GMT", 0.0),
        ("Sun, 01 Jan 2100 00:00:00 GMT", MAX_RETRY_AFTER),
        # The two obsolete date formats, which a recipient must accept too (RFC 9110, 5.6.7).
        ("Thursday, 15-Jan-26 12:02:00 GMT", 120.0),
        ("Thu Jan 15 12:02:00 2026", 120.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("١٢", None),
        ("12 s", None),
        ("Thu, 45 Jan 2026 12:02:00 GMT", None),
        ("Thu, 15 Jan 99999999999 12:02:00 GMT", None),
    ],
)
def test_the_requested_seconds(header: str, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW) == seconds


def test_the_longer_wait_counts() -> None:
    assert 5 <= (retry_seconds(1) or 0) <= 5.5
    assert retry_seconds(1, 100.0) == 100.0
    assert 300 <= (retry_seconds(2, 100.0) or 0) <= 330
    assert retry_seconds(len(RETRY_SECONDS) + 1, 100.0) is None


# ------------------------------------------------------------ one delivery


def in_an_hour() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)


@pytest.mark.parametrize("status", [429, 503, 500, 404, 302])
@pytest.mark.parametrize("header", ["3600", in_an_hour])
def test_the_delivery_waits_for_retry_after(
    customer: Customer, there: Receiver, start: Start, status: int, header: Any
) -> None:
    retry_after = header if isinstance(header, str) else header()
    there.answer = lambda _post: Answer(status, headers={"Retry-After": retry_after})
    endpoint = endpoint_of(customer, there.url)
    before = timezone.now()
    deliver(start(), happen(customer))
    [row] = attempted(endpoint, 1)
    assert row.next_attempt_at is not None
    # An HTTP date has whole seconds.
    assert 3599 <= (row.next_attempt_at - before).total_seconds() < 3610
    read_back = call_json(customer.api, "GET", f"/v1/webhooks/deliveries/{row.public_id}")
    assert abs(
        datetime.fromisoformat(read_back["next_attempt_at"]) - row.next_attempt_at
    ) < timedelta(seconds=2)


def test_our_own_wait_where_retry_after_is_shorter(
    customer: Customer, there: Receiver, start: Start
) -> None:
    there.answer = lambda _post: Answer(500, headers={"Retry-After": "1"})
    endpoint = endpoint_of(customer, there.url)
    before = timezone.now()
    deliver(start(), happen(customer))
    [row] = attempted(endpoint, 1)
    assert row.next_attempt_at is not None
    assert (row.next_attempt_at - before).total_seconds() >= 5


# ------------------------------------------------------------ the receiver as a whole


@pytest.mark.parametrize("status", [429, 503])
def test_an_overloaded_receiver_is_paused(
    customer: Customer, there: Receiver, start: Start, status: int
) -> None:
    there.answer = lambda _post: Answer(status, headers={"Retry-After": "3600"})
    endpoint, other = endpoint_of(customer, there.url), endpoint_of(customer, there.url)
    Endpoint.objects.filter(id=other.id).update(enabled=False)
    first, second = start(), start()
    deliver(first, happen(customer, 100))
    wait_until(lambda: Endpoint.objects.get(id=endpoint.id).paused_until is not None)
    wait_until(lambda: "sending" not in statuses(endpoint))
    # Only the running posts at the first response, whatever wake-ups follow.
    posts = len(there.posts)
    assert posts <= 4
    assert endpoint.id not in queue.due_endpoints()
    for running in (first, second):
        deliver(running, happen(customer, 10))
    deliver(first, frozenset({endpoint.id}))
    wait_until(lambda: len(rows(endpoint)) == 120)
    first.stop()
    second.stop()
    assert len(there.posts) == posts
    assert sum(row.attempts for row in rows(endpoint)) == posts
    read_back = call_json(customer.api, "GET", f"/v1/webhooks/{endpoint.public_id}")
    rest = datetime.fromisoformat(read_back["paused_until"]) - timezone.now()
    assert timedelta(minutes=59) < rest <= timedelta(hours=1)


def test_posts_continue_after_the_pause(customer: Customer, there: Receiver, start: Start) -> None:
    there.answer = lambda _post: Answer(429, headers={"Retry-After": "1"})
    endpoint = endpoint_of(customer, there.url)
    running = start()
    deliver(running, happen(customer, 20))
    wait_until(lambda: Endpoint.objects.get(id=endpoint.id).paused_until is not None)
    there.answer = lambda _post: Answer()
    before = timezone.now()

    def swept() -> bool:
        make_due(endpoint)
        for endpoint_id in queue.due_endpoints():
            running.wake(endpoint_id)
        return statuses(endpoint) == {"delivered"}

    wait_until(swept)
    assert timezone.now() - before > timedelta(seconds=0.5)
    assert Endpoint.objects.get(id=endpoint.id).failing_since is None


def test_other_failures_with_retry_after_do_not_pause_the_endpoint(
    customer: Customer, there: Receiver, start: Start
) -> None:
    there.answer = lambda post: (
        Answer(500, headers={"Retry-After": "3600"}) if b'"number":0' in post.body else Answer()
    )
    endpoint = endpoint_of(customer, there.url)
    deliver(start(), happen(customer, 5))
    attempted(endpoint, 5)
    assert statuses(endpoint) == {"delivered", "pending"}
    assert Endpoint.objects.get(id=endpoint.id).paused_until is None


def test_a_change_of_the_endpoint_ends_the_pause(
    customer: Customer, there: Receiver, start: Start
) -> None:
    there.answer = lambda _post: Answer(503, headers={"Retry-After": "3600"})
    endpoint = endpoint_of(customer, there.url)
    running = start()
    deliver(running, happen(customer, 2))
    wait_until(lambda: Endpoint.objects.get(id=endpoint.id).paused_until is not None)
    wait_until(lambda: "sending" not in statuses(endpoint))
    there.answer = lambda _post: Answer()
    call_json(
        customer.api, "PATCH", f"/v1/webhooks/{endpoint.public_id}", {"url": there.url + "/2"}
    )
    make_due(endpoint)
    running.wake(endpoint.id)
    wait_for_status(endpoint, "delivered")
    assert there.posts[-1].path == "/hook/2"
