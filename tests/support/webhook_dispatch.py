"""Steps of the tests of webhook deliveries: events, dispatchers, attempts."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from django.utils import timezone

from imissive.core import ids
from tests.support.factories import Customer
from tests.support.webhook_receivers import wait_until
from webhooks.delivery import queue
from webhooks.delivery.dispatcher import Dispatcher
from webhooks.delivery.queue import Claimed, Outcome, Results
from webhooks.endpoints.signing import new_secret
from webhooks.events import outbox
from webhooks.models import Delivery, Endpoint


def endpoint_of(customer: Customer, url: str, *wanted: str) -> Endpoint:
    return Endpoint.objects.create(
        organization=customer.organization, url=url, events=list(wanted), secret=new_secret()
    )


def happen(customer: Customer, count: int = 1, type: str = "message.sent") -> frozenset[uuid.UUID]:
    """Record that many committed events; return the endpoints to wake."""
    now = datetime.now(UTC)
    return outbox.record(
        [
            outbox.NewEvent(customer.id, type, now, ids.new_uuid(), {"number": number}, test=False)
            for number in range(count)
        ]
    )


def deliver(running: Dispatcher, endpoint_ids: frozenset[uuid.UUID]) -> None:
    for endpoint_id in endpoint_ids:
        running.wake(endpoint_id)


def rows(endpoint: Endpoint) -> list[Delivery]:
    return list(Delivery.objects.filter(endpoint=endpoint).order_by("id"))


def statuses(endpoint: Endpoint) -> set[str]:
    mine = Delivery.objects.filter(endpoint=endpoint)
    return set(mine.order_by("status").values_list("status", flat=True).distinct())


def wait_for_status(endpoint: Endpoint, status: str, seconds: float = 15.0) -> list[Delivery]:
    wait_until(lambda: statuses(endpoint) == {status}, seconds, lambda: str(statuses(endpoint)))
    return rows(endpoint)


def make_due(endpoint: Endpoint) -> None:
    Delivery.objects.filter(endpoint=endpoint, status="pending").update(
        next_attempt_at=timezone.now()
    )


Start = Callable[[], Dispatcher]


@contextmanager
def dispatchers() -> Iterator[Start]:
    """Yield a function that starts dispatchers; a second one stands for another worker process."""
    started: list[Dispatcher] = []

    def start() -> Dispatcher:
        dispatcher = Dispatcher()
        dispatcher.start()
        started.append(dispatcher)
        return dispatcher

    try:
        yield start
    finally:
        for dispatcher in started:
            dispatcher.stop()


def attempted(endpoint: Endpoint, attempts: int, seconds: float = 15.0) -> list[Delivery]:
    """Wait until the endpoint's deliveries had that many attempts together; return them."""
    wait_until(lambda: sum(row.attempts for row in rows(endpoint)) == attempts, seconds)
    return rows(endpoint)


def outcome(
    claimed: Claimed,
    *,
    delivered: bool,
    status: int | None = None,
    retry_after: float | None = None,
) -> Outcome:
    """Return the outcome of an attempt: status 200 if delivered, otherwise 500 or `status`."""
    return Outcome(
        claimed=claimed,
        started_at=timezone.now(),
        signature="v1,c2lnbmF0dXJl",
        delivered=delivered,
        final=False,
        retry_after=retry_after,
        response_status=status or (200 if delivered else 500),
        response_body="fine" if delivered else "not fine",
        error="",
        milliseconds=7,
    )


def work_off(endpoint: Endpoint, *, delivered: bool, count: int = 1000) -> None:
    """Attempt the due deliveries without a network: all succeed, or all fail."""
    claimed = queue.claim(endpoint.id, count)
    queue.write(Results(outcomes=[outcome(one, delivered=delivered) for one in claimed]))


def give_up(endpoint: Endpoint) -> None:
    """Fail the endpoint's pending deliveries finally."""
    Delivery.objects.filter(endpoint=endpoint, status="pending").update(
        status="failed", next_attempt_at=None, finished_at=timezone.now()
    )
