"""What a killed worker had claimed is free after seconds, not when its lease ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection

from imissive.unprivileged import die_with_parent
from tests.dispatching import (
    Start,
    endpoint_of,
    happen,
    outcome,
    rows,
    statuses,
    wait_for_status,
)
from tests.receivers import Answer, Receiver, wait_until
from tests.world import Customer, World
from webhooks import deliveries, dispatcher, holders, tasks
from webhooks.holders import GRACE_SECONDS, Lifeline, Watch
from webhooks.models import Endpoint

LEASE = 30.0

# A worker's dispatcher, in a process that can be killed.
WORKER = """
import sys, time, uuid, django
django.setup()
from webhooks import dispatcher
running = dispatcher.current()
while running.holder is None:
    time.sleep(0.01)
running.ring(uuid.UUID(sys.argv[1]))
time.sleep(60)
"""


@pytest.fixture
def customer(committed_world: World) -> Customer:
    return committed_world.customer(sender=None)


@pytest.fixture
def endpoint(customer: Customer) -> Endpoint:
    return endpoint_of(customer, "https://example.com/")


@pytest.fixture
def line(committed_db: None) -> Iterator[Lifeline]:
    with holding() as made:
        yield made


@contextmanager
def holding() -> Iterator[Lifeline]:
    made = Lifeline()
    made.start()
    try:
        wait_until(lambda: made.holder is not None)
        yield made
    finally:
        end(made)


def end(line: Lifeline) -> None:
    """Let go of the lock, and wait until PostgreSQL has noticed."""
    line.stop()
    wait_until(lambda: line._number not in holders._living())


def claim(endpoint: Endpoint, line: Lifeline, count: int) -> None:
    assert len(deliveries.claim(endpoint.id, count, line.holder)) == count


def test_what_the_living_hold_stays_theirs(
    customer: Customer, endpoint: Endpoint, line: Lifeline
) -> None:
    happen(customer, 3)
    claim(endpoint, line, 2)
    deliveries.claim(endpoint.id, 1)  # by somebody without a lock
    for watch in (Watch(), Watch()):
        for now in (0.0, 10.0, 100.0):
            assert watch.step(LEASE, now=now) == 0
    assert statuses(endpoint) == {"sending"}


def test_what_the_dead_held_is_due_after_the_grace(customer: Customer, endpoint: Endpoint) -> None:
    happen(customer, 5)
    watch = Watch()
    with holding() as line:
        claim(endpoint, line, 3)
        with holding() as other:
            claim(endpoint, other, 2)
            assert watch.step(LEASE, now=0.0) == 0
            end(line)
            assert watch.step(LEASE, now=1.0) == 0
            assert watch.step(LEASE, now=0.9 + GRACE_SECONDS) == 0
            assert watch.step(LEASE, now=1.1 + GRACE_SECONDS) == 3
            assert watch.step(LEASE, now=100.0) == 0
            assert [row.status for row in rows(endpoint)].count("pending") == 3
    assert endpoint.id in deliveries.due_endpoints()
    assert len(deliveries.claim(endpoint.id, 10)) == 3


def test_a_process_that_begins_frees_at_once(customer: Customer, endpoint: Endpoint) -> None:
    """It may stand in for the only worker there was, of which it knows nothing."""
    happen(customer, 2)
    with holding() as line:
        claim(endpoint, line, 2)
    assert Watch().step(LEASE) == 2


def test_a_result_of_who_was_taken_for_dead_changes_nothing(
    customer: Customer, endpoint: Endpoint
) -> None:
    happen(customer)
    with holding() as line:
        [claimed] = deliveries.claim(endpoint.id, 1, line.holder)
    Watch().step(LEASE)
    deliveries.write(deliveries.Results(outcomes=[outcome(claimed, delivered=True)]))
    assert [(row.status, row.attempts) for row in rows(endpoint)] == [("pending", 0)]


def test_a_broken_connection_is_no_death(
    customer: Customer, endpoint: Endpoint, line: Lifeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(holders, "GRACE_SECONDS", 1.0)
    happen(customer)
    claim(endpoint, line, 1)
    watch, before = Watch(), line.holder
    watch.step(LEASE)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks"
            " WHERE locktype = 'advisory' AND classid = %s AND objid = %s",
            [holders.LOCK_CLASS, before],
        )
    wait_until(lambda: line.holder is None)
    until = time.monotonic() + 1.5
    wait_until(lambda: line.holder == before, 1.0)
    while time.monotonic() < until:
        assert watch.step(LEASE) == 0
        time.sleep(0.1)
    assert statuses(endpoint) == {"sending"}


def test_without_its_lock_nobody_is_named(committed_db: None) -> None:
    """Else what one without a connection claims would be taken from it again and again."""
    line = Lifeline()
    assert line.holder is None
    with holding() as held:
        assert held.holder is not None
    assert held.holder is None


# ------------------------------------------------------------ a real process, killed


@contextmanager
def worker(endpoint: Endpoint) -> Iterator[subprocess.Popen[bytes]]:
    """A process that begins to post what is due at the endpoint."""
    name = connection.settings_dict["NAME"]
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
    env = os.environ | {"DATABASE_URL": url, "WEBHOOK_ALLOW_LOOPBACK": "1"}
    env["DJANGO_SETTINGS_MODULE"] = "imissive.settings"
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, endpoint.id.hex],
        env=env,
        preexec_fn=die_with_parent(signal.SIGKILL),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_the_next_worker_takes_over_within_seconds(
    customer: Customer,
    there: Receiver,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = True
    monkeypatch.setattr(holders, "GRACE_SECONDS", 1.0)
    there.answer = lambda _post: Answer(delay=60 if len(there.posts) <= 4 else 0)
    endpoint = endpoint_of(customer, there.url)
    happen(customer, 20)
    monkeypatch.setattr(tasks, "_watch", Watch())
    running = start()
    monkeypatch.setattr(dispatcher, "current", lambda: running)
    with worker(endpoint) as process:
        there.wait_for(4, 30)
        tasks.sweep()
        process.kill()
        process.wait()
        began = time.monotonic()

        def swept() -> bool:
            tasks.sweep()
            time.sleep(0.1)
            return statuses(endpoint) == {"delivered"}

        wait_until(swept, LEASE / 2)
    assert time.monotonic() - began < 6
    assert len(wait_for_status(endpoint, "delivered")) == 20
    # What the dead one was about to hear of is posted again, and nothing else twice.
    assert len(there.posts) == 24
