"""What tests of webhook deliveries do again and again."""

import uuid
from datetime import UTC, datetime

from django.utils import timezone

from imissive import ids
from tests.receivers import wait_until
from tests.world import Customer
from webhooks import events
from webhooks.dispatcher import Dispatcher
from webhooks.models import Delivery, Endpoint
from webhooks.signing import new_secret


def endpoint_of(customer: Customer, url: str, *wanted: str) -> Endpoint:
    return Endpoint.objects.create(
        organization=customer.organization, url=url, events=list(wanted), secret=new_secret()
    )


def happen(customer: Customer, count: int = 1, type: str = "message.sent") -> frozenset[uuid.UUID]:
    """So many committed events; the endpoints to ring."""
    now = datetime.now(UTC)
    return events.record(
        [
            events.NewEvent(customer.id, type, now, ids.new_uuid(), {"number": number})
            for number in range(count)
        ]
    )


def deliver(running: Dispatcher, endpoint_ids: frozenset[uuid.UUID]) -> None:
    for endpoint_id in endpoint_ids:
        running.ring(endpoint_id)


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
