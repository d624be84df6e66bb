"""Worker liveness: the claims of a killed worker are freed after seconds, before its lease ends."""

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

from imissive.run.unprivileged import die_with_parent
from tests.support.factories import Customer, World
from tests.support.webhook_dispatch import (
    Start,
    endpoint_of,
    happen,
    outcome,
    rows,
    statuses,
    wait_for_status,
)
from tests.support.webhook_receivers import Answer, Receiver, wait_until
from webhooks import tasks
from webhooks.delivery import dispatcher, queue, worker_liveness
from webhooks.delivery.worker_liveness import GRACE_SECONDS, Lifeline, Watch
from webhooks.models import Endpoint

LEASE = 30.0

# The dispatcher of a worker, in a process that can be killed.
WORKER = """
import sys, time, uuid, django
django.setup()
from webhooks.delivery import dispatcher
running = dispatcher.current()
while running.worker_id is None:
    time.sleep(0.01)
running.wake(uuid.UUID(sys.argv[1]))
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
    with holding() as held:
        yield held


@contextmanager
def holding() -> Iterator[Lifeline]:
    held = Lifeline()
    held.start()
    try:
        wait_until(lambda: held.worker_id is not None)
        yield held
    finally:
        end(held)


def end(line: Lifeline) -> None:
    """Release the lock, and wait until PostgreSQL has noticed."""
    line.stop()
    wait_until(lambda: line._number not in worker_liveness._alive())


def claim(endpoint: Endpoint, line: Lifeline, count: int) -> None:
    assert len(queue.claim(endpoint.id, count, line.worker_id)) == count


def test_claims_of_living_workers_are_kept(
    customer: Customer, endpoint: Endpoint, line: Lifeline
) -> None:
    happen(customer, 3)
    claim(endpoint, line, 2)
    queue.claim(endpoint.id, 1)  # by a worker without a lock
    for watch in (Watch(), Watch()):
        for now in (0.0, 10.0, 100.0):
            assert watch.step(LEASE, now=now) == 0
    assert statuses(endpoint) == {"sending"}


def test_claims_of_dead_workers_are_due_after_the_grace_period(
    customer: Customer, endpoint: Endpoint
) -> None:
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
    assert endpoint.id in queue.due_endpoints()
    assert len(queue.claim(endpoint.id, 10)) == 3


def test_a_new_process_frees_claims_immediately(customer: Customer, endpoint: Endpoint) -> None:
    """It may replace the only worker, of which it has no state."""
    happen(customer, 2)
    with holding() as line:
        claim(endpoint, line, 2)
    assert Watch().step(LEASE) == 2


def test_a_late_result_of_a_supposedly_dead_worker_changes_nothing(
    customer: Customer, endpoint: Endpoint
) -> None:
    happen(customer)
    with holding() as line:
        [claimed] = queue.claim(endpoint.id, 1, line.worker_id)
    Watch().step(LEASE)
    queue.write(queue.Results(outcomes=[outcome(claimed, delivered=True)]))
    assert [(row.status, row.attempts) for row in rows(endpoint)] == [("pending", 0)]


def test_a_broken_connection_does_not_count_as_death(
    customer: Customer, endpoint: Endpoint, line: Lifeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_liveness, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(worker_liveness, "GRACE_SECONDS", 1.0)
    happen(customer)
    claim(endpoint, line, 1)
    watch, before = Watch(), line.worker_id
    watch.step(LEASE)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks"
            " WHERE locktype = 'advisory' AND classid = %s AND objid = %s",
            [worker_liveness.LOCK_CLASS, before],
        )
    wait_until(lambda: line.worker_id is None)
    until = time.monotonic() + 1.5
    wait_until(lambda: line.worker_id == before, 1.0)
    while time.monotonic() < until:
        assert watch.step(LEASE) == 0
        time.sleep(0.1)
    assert statuses(endpoint) == {"sending"}


def test_without_its_lock_a_worker_claims_without_an_id(committed_db: None) -> None:
    """Otherwise claims of a worker without a connection would be freed again and again."""
    line = Lifeline()
    assert line.worker_id is None
    with holding() as held:
        assert held.worker_id is not None
    assert held.worker_id is None


# ------------------------------------------------------------ a real process, killed


@contextmanager
def worker(endpoint: Endpoint) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that posts the endpoint's due deliveries."""
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
    monkeypatch.setattr(worker_liveness, "GRACE_SECONDS", 1.0)
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
        before = time.monotonic()

        def swept() -> bool:
            tasks.sweep()
            time.sleep(0.1)
            return statuses(endpoint) == {"delivered"}

        wait_until(swept, LEASE / 2)
    assert time.monotonic() - before < 6
    assert len(wait_for_status(endpoint, "delivered")) == 20
    # The posts without a response are repeated, and nothing else is posted twice.
    assert len(there.posts) == 24
