"""Claims of a dead carrier worker are requeued immediately; a live one keeps its claims."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from messaging.carriers import queue, sweeps, worker_liveness
from messaging.carriers.worker_liveness import GAP_SECONDS, SILENT_SECONDS, report_alive
from messaging.models import Carrier, CarrierWorker, Message, SweepRun
from messaging.states import Status
from tests.support.factories import Customer, World

LEASE = uuid.UUID(int=4711)


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def held(world: World, customer: Customer, carrier: Carrier, due: float = -60) -> Message:
    """A message that the worker holds; its lease ended `due` seconds ago."""
    return world.message(customer, carrier, status=Status.SENDING, lease=LEASE, due_at=ago(due))


def status_of(message: Message) -> str:
    message.refresh_from_db()
    return message.status


def lives(carrier: Carrier, *, seen: float = 0.0, steady: float = 3600.0) -> None:
    """Record that the worker reported that many seconds ago, without a gap since that many."""
    report_alive(LEASE, carrier.id, "here:1", [])
    CarrierWorker.objects.update(seen_at=ago(seen), steady_since=ago(steady))


def swept_for(seconds: float) -> None:
    """Record that the sweep has run for that long, and last ran a second ago."""
    worker_liveness.record_silent_deaths()
    SweepRun.objects.update(last_at=ago(1), steady_since=ago(seconds))


def test_messages_of_a_dead_worker_are_due_immediately(
    world: World, customer: Customer, carrier: Carrier
) -> None:
    message = held(world, customer, carrier)
    lives(carrier)
    assert sweeps.release_dead() == 0
    worker_liveness.report_end(LEASE)
    assert sweeps.release_dead() == 1
    assert status_of(message) == Status.QUEUED
    # It may have been submitted: accepted parts are looked up.
    assert (message.lease, message.submits) == (None, 1)
    assert message.due_at is not None
    assert message.due_at <= datetime.now(UTC)
    assert sweeps.release_dead() == 0


def test_other_workers_keep_their_messages(
    world: World, customer: Customer, carrier: Carrier
) -> None:
    other = world.message(
        customer, carrier, status=Status.SENDING, lease=uuid.uuid4(), due_at=ago(-60)
    )
    lives(carrier)
    worker_liveness.report_end(LEASE)
    assert sweeps.release_dead() == 0
    assert status_of(other) == Status.SENDING


def test_a_worker_declared_dead_needs_a_new_lease(
    world: World, customer: Customer, carrier: Carrier
) -> None:
    world.message(customer, carrier)

    def claim(lease: uuid.UUID) -> int:
        return len(queue.claim(carrier.id, urgent=False, limit=10, lease=lease))

    assert report_alive(LEASE, carrier.id, "here:1", [])
    worker_liveness.report_end(LEASE)
    assert claim(LEASE) == 0
    assert not report_alive(LEASE, carrier.id, "here:1", [])
    assert claim(LEASE) == 0
    another = uuid.uuid4()
    assert report_alive(another, carrier.id, "here:1", [])
    assert claim(another) == 1


def test_a_report_renews_the_held_messages(
    world: World, customer: Customer, carrier: Carrier
) -> None:
    mine, given_up = held(world, customer, carrier, 5), held(world, customer, carrier, 5)
    another = world.message(
        customer, carrier, status=Status.SENDING, lease=uuid.uuid4(), due_at=ago(5)
    )
    lives(carrier)
    report_alive(LEASE, carrier.id, "here:1", [mine.id, another.id])
    assert sweeps.requeue_abandoned() == 2
    assert [status_of(m) for m in (mine, given_up, another)] == ["sending", "queued", "queued"]


@pytest.mark.parametrize(
    ("seen", "steady", "swept", "dead"),
    [
        (SILENT_SECONDS + 1, 3600, SILENT_SECONDS + 1, True),
        (SILENT_SECONDS - 1, 3600, 3600, False),
        # After an outage, every worker has been silent.
        (3600, 7200, SILENT_SECONDS - 1, False),
        (3600, 7200, 0, False),
    ],
)
def test_a_silent_worker_is_declared_dead_after_a_while(
    world: World, carrier: Carrier, seen: float, steady: float, swept: float, dead: bool
) -> None:
    lives(carrier, seen=seen, steady=steady)
    swept_for(swept)
    assert worker_liveness.record_silent_deaths() == dead
    assert (CarrierWorker.objects.get().died_at is not None) is dead


def test_a_gap_in_the_sweeps_restarts_the_waiting_time(world: World, carrier: Carrier) -> None:
    lives(carrier, seen=3600)
    swept_for(3600)
    SweepRun.objects.update(last_at=ago(GAP_SECONDS + 1))
    assert worker_liveness.record_silent_deaths() == 0
    assert SweepRun.objects.get().steady_since > ago(1)


@pytest.mark.parametrize(
    ("seen", "steady", "released"),
    [
        (0, 3600, True),  # it does not hold the message any more
        (0, SILENT_SECONDS - 1, False),  # it has just got its database back
        (GAP_SECONDS + 1, 3600, False),  # it has not, or is dead: see above
    ],
)
def test_a_lease_that_ends_under_a_live_worker(
    world: World, customer: Customer, carrier: Carrier, seen: float, steady: float, released: bool
) -> None:
    message = held(world, customer, carrier, 30)
    lives(carrier, seen=seen, steady=steady)
    assert sweeps.requeue_abandoned() == released
    assert (status_of(message) == Status.QUEUED) is released


def test_a_gap_in_the_reports_restarts_the_waiting_time(world: World, carrier: Carrier) -> None:
    lives(carrier, seen=GAP_SECONDS + 1)
    report_alive(LEASE, carrier.id, "here:1", [])
    assert CarrierWorker.objects.get().steady_since > ago(1)
    CarrierWorker.objects.update(seen_at=ago(GAP_SECONDS - 2), steady_since=ago(60))
    report_alive(LEASE, carrier.id, "here:1", [])
    assert CarrierWorker.objects.get().steady_since < ago(50)


def test_dead_workers_are_deleted(world: World, carrier: Carrier) -> None:
    lives(carrier)
    worker_liveness.report_end(LEASE)
    sweeps.release_dead()
    assert CarrierWorker.objects.count() == 1
    CarrierWorker.objects.update(died_at=ago(601))
    sweeps.release_dead()
    assert CarrierWorker.objects.count() == 0


def test_messages_of_dead_workers_are_found_without_reading_the_queue(
    world: World, customer: Customer, carrier: Carrier
) -> None:
    """The release reads only messages being sent, by their index, however many are queued."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            "EXPLAIN SELECT id FROM messaging_message WHERE status = 'sending'"
            f" AND lease = ANY('{{{LEASE}}}'::uuid[]) LIMIT 1000 FOR UPDATE SKIP LOCKED"
        )
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "message_sweep" in plan, plan
