"""Housekeeping: old deliveries and events are deleted in batches, pending ones are kept."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction
from django.utils import timezone

from imissive.core import ids
from tests.support.factories import Customer, World, in_threads
from tests.support.webhook_dispatch import (
    endpoint_of,
    give_up,
    happen,
    make_due,
    rows,
    work_off,
)
from webhooks import tasks
from webhooks.delivery import housekeeping
from webhooks.delivery import replay as event_replay
from webhooks.models import Delivery, Endpoint, Event, FailedAttempt

URL = "https://example.com/"


@pytest.fixture
def customer(committed_world: World) -> Customer:
    return committed_world.customer(sender=None)


def age(endpoint: Endpoint, **ago: float) -> None:
    """Make the endpoint's deliveries, their attempts and events that old."""
    at = ids.first_id_at(timezone.now() - timedelta(**ago)).int

    def aged(id: uuid.UUID) -> uuid.UUID:
        return uuid.UUID(int=at | id.int & (2**60 - 1))

    with transaction.atomic(), connection.cursor() as cursor:
        for row in rows(endpoint):
            new = {"id": aged(row.id), "event": aged(row.event_id)}
            old = {"old_id": row.id, "old_event": row.event_id}
            cursor.execute(
                "UPDATE webhooks_event SET id = %(event)s WHERE id = %(old_event)s;"
                "UPDATE webhooks_failedattempt SET delivery_id = %(id)s"
                " WHERE delivery_id = %(old_id)s;"
                "UPDATE webhooks_delivery SET id = %(id)s, event_id = %(event)s"
                " WHERE id = %(old_id)s",
                new | old,
            )


def events(customer: Customer) -> int:
    return Event.objects.filter(organization=customer.id).count()


def test_rows_older_than_the_setting_are_deleted(customer: Customer, settings: Any) -> None:
    settings.WEBHOOK_KEEP_DAYS = 10
    old = endpoint_of(customer, URL, "message.sent")
    young = endpoint_of(customer, URL, "otp.failed")
    for type, endpoint in (("message.sent", old), ("otp.failed", young)):
        happen(customer, 3, type)
        work_off(endpoint, delivered=False)
        give_up(endpoint)
    age(old, days=10, minutes=1)
    age(young, days=9, hours=23)
    assert FailedAttempt.objects.filter(delivery__endpoint__in=[old, young]).count() == 6
    tasks.clean_up()
    assert (len(rows(old)), len(rows(young)), events(customer)) == (0, 3, 3)
    assert FailedAttempt.objects.filter(delivery__endpoint__in=[old, young]).count() == 3


def test_the_default_is_thirty_days() -> None:
    assert django_settings.WEBHOOK_KEEP_DAYS == 30


def test_pending_deliveries_are_kept(customer: Customer) -> None:
    endpoint = endpoint_of(customer, URL)
    happen(customer, 2)
    age(endpoint, days=100)
    housekeeping.purge_old()
    assert (len(rows(endpoint)), events(customer)) == (2, 2)
    Endpoint.objects.filter(id=endpoint.id).update(enabled=False)
    housekeeping.purge_old()
    assert (len(rows(endpoint)), events(customer)) == (0, 0)


def test_an_event_is_kept_for_its_replay(customer: Customer) -> None:
    endpoint = endpoint_of(customer, URL)
    happen(customer)
    work_off(endpoint, delivered=True)
    age(endpoint, days=100)
    [old] = rows(endpoint)
    replay = Delivery.objects.create(
        event=old.event, event_type=old.event_type, endpoint=endpoint, status="delivered"
    )
    housekeeping.purge_old()
    assert (rows(endpoint), events(customer)) == ([replay], 1)


def test_deletion_in_steps(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "STEP", 5)
    monkeypatch.setattr(housekeeping, "MAX_STEPS", 2)
    waiting = endpoint_of(customer, URL, "otp.failed")
    endpoint = endpoint_of(customer, URL, "message.sent")
    happen(customer, 3, "otp.failed")
    happen(customer, 9)
    work_off(endpoint, delivered=True)
    # The oldest must be kept, and are examined in each run.
    age(waiting, days=101)
    age(endpoint, days=100)
    left = []
    for _ in range(3):
        housekeeping.purge_old()
        left.append(len(rows(endpoint)))
    assert left == [2, 0, 0]
    assert len(rows(waiting)) == 3


def test_an_event_being_replayed_does_not_block_the_clean_up(customer: Customer) -> None:
    """The clean-up skips locked rows, so the replay keeps its event."""
    endpoint = endpoint_of(customer, URL)
    happen(customer)
    work_off(endpoint, delivered=True)
    age(endpoint, days=100)
    [old] = rows(endpoint)
    with transaction.atomic():
        event_replay.replay(customer.id, Delivery.objects.get(id=old.id))
        in_threads([housekeeping.purge_old])
    assert events(customer) == 1
    make_due(endpoint)
    assert [row.status for row in rows(endpoint)] == ["pending"]
