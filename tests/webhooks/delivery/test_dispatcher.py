"""The dispatcher's deliveries: a real PostgreSQL, real sockets, real signatures."""

import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from standardwebhooks.webhooks import WebhookVerificationError

from imissive.core import ids
from tests.support.factories import Customer, World
from tests.support.webhook_dispatch import (
    Start,
    deliver,
    endpoint_of,
    happen,
    make_due,
    rows,
    statuses,
    wait_for_status,
)
from tests.support.webhook_receivers import (
    Answer,
    Receiver,
    receiver,
    wait_until,
)
from webhooks import tasks
from webhooks.delivery import dispatcher, queue
from webhooks.endpoints import endpoints
from webhooks.endpoints.signing import new_secret
from webhooks.models import Delivery, Endpoint, Event


@pytest.fixture(autouse=True)
def _allowed(settings: Any) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = True
    settings.WEBHOOK_TIMEOUT = 2


@pytest.fixture
def customer(committed_world: World) -> Customer:
    return committed_world.customer(sender=None)


# ------------------------------------------------------------ one event


def test_an_event_arrives_signed(customer: Customer, there: Receiver, start: Start) -> None:
    there.answer = lambda _post: Answer(200, body=b"th\0nks \xff")
    endpoint = endpoint_of(customer, there.url)
    deliver(start(), happen(customer))
    [post] = there.wait_for(1)
    event = Event.objects.get(organization=customer.organization)
    assert post.verified(endpoint.secret)["data"] == {"number": 0}
    assert post.body.decode() == event.body
    assert post.id == ids.public_id("evt", event.id)
    with pytest.raises(WebhookVerificationError):
        post.verified(new_secret())
    [row] = wait_for_status(endpoint, "delivered")
    assert (row.attempts, row.response_status, row.error) == (1, 200, "")
    assert row.response_body == "th�nks �"
    assert row.next_attempt_at is None
    assert row.finished_at is not None
    assert row.duration_ms is not None


def test_the_same_id_and_body_on_every_attempt(
    customer: Customer, there: Receiver, start: Start
) -> None:
    there.script(500, 503)
    endpoint = endpoint_of(customer, there.url)
    running = start()
    deliver(running, happen(customer))
    for attempts in (1, 2):
        wait_until(lambda: rows(endpoint)[0].attempts == attempts)  # noqa: B023
        [row] = rows(endpoint)
        assert (row.status, row.finished_at) == ("pending", None)
        make_due(endpoint)
        running.wake(endpoint.id)
    wait_for_status(endpoint, "delivered")
    posts = there.wait_for(3)
    assert len({(post.id, post.body) for post in posts}) == 1
    for post in posts:
        post.verified(endpoint.secret)


def test_both_signatures_until_the_rotation_ends(
    customer: Customer, there: Receiver, start: Start
) -> None:
    endpoint = endpoint_of(customer, there.url)
    old = new_secret()
    running = start()
    for minutes, count in ((5, 2), (-5, 1)):
        endpoint.previous_secret = old
        endpoint.previous_secret_until = timezone.now() + timedelta(minutes=minutes)
        endpoint.save()
        before = len(there.posts)
        deliver(running, happen(customer))
        post = there.wait_for(before + 1)[-1]
        assert post.headers["webhook-signature"].count("v1,") == count
        post.verified(endpoint.secret)
    there.posts[0].verified(old)


# ------------------------------------------------------------ failures and the schedule


@pytest.mark.parametrize("status", [100 + 99, 300, 301, 302, 304, 400, 404, 429, 500, 503])
def test_a_response_other_than_2xx_is_retried(
    customer: Customer, there: Receiver, start: Start, status: int
) -> None:
    there.answer = lambda _post: Answer(status, headers={"Location": there.url + "/elsewhere"})
    endpoint = endpoint_of(customer, there.url)
    before = timezone.now()
    deliver(start(), happen(customer))
    wait_until(lambda: rows(endpoint)[0].attempts == 1)
    [row] = rows(endpoint)
    assert row.status == "pending"
    assert row.next_attempt_at is not None
    # 199 is not a final response, so the post waits for the timeout first.
    assert 5 <= (row.next_attempt_at - before).total_seconds() < 5.5 + 2 + 2
    assert {post.path for post in there.posts} == {"/hook"}
    if status >= 200:
        assert row.response_status == status


def test_a_timeout_is_retried(
    customer: Customer, there: Receiver, start: Start, settings: Any
) -> None:
    settings.WEBHOOK_TIMEOUT = 0.3
    there.answer = lambda _post: Answer(200, delay=1)
    endpoint = endpoint_of(customer, there.url)
    deliver(start(), happen(customer))
    wait_until(lambda: rows(endpoint)[0].attempts == 1)
    [row] = rows(endpoint)
    assert (row.status, row.response_status) == ("pending", None)
    assert row.error == "TIMEOUT"
    assert row.duration_ms is not None
    assert 300 <= row.duration_ms < 1000


def test_loopback_is_refused_without_the_setting(
    customer: Customer, there: Receiver, start: Start, settings: Any
) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = False
    endpoint = endpoint_of(customer, there.url)
    deliver(start(), happen(customer))
    wait_until(lambda: rows(endpoint)[0].attempts == 1)
    assert rows(endpoint)[0].error == "HOST_REFUSED"
    assert there.connections == 0


def test_failing_is_recorded_and_cleared(customer: Customer, there: Receiver, start: Start) -> None:
    there.script(500)
    endpoint = endpoint_of(customer, there.url)
    running = start()
    deliver(running, happen(customer))
    wait_until(lambda: rows(endpoint)[0].attempts == 1)
    since = Endpoint.objects.get(id=endpoint.id).failing_since
    assert since is not None
    make_due(endpoint)
    running.wake(endpoint.id)
    wait_for_status(endpoint, "delivered")
    assert Endpoint.objects.get(id=endpoint.id).failing_since is None


def test_gone_disables_the_endpoint(customer: Customer, there: Receiver, start: Start) -> None:
    there.answer = lambda post: Answer(410 if post.path == "/gone" else 204)
    other = endpoint_of(customer, there.url, "endpoint.disabled")
    gone = endpoint_of(customer, there.url.replace("/hook", "/gone"), "message.sent")
    running = start()
    deliver(running, happen(customer, 30))
    wait_until(lambda: not Endpoint.objects.get(id=gone.id).enabled)
    assert Endpoint.objects.get(id=gone.id).disabled_reason == "GONE"
    wait_until(lambda: "sending" not in statuses(gone))
    posts = len(there.posts)
    assert posts <= 4
    assert sorted(row.status for row in rows(gone)) == ["failed"] * posts + ["pending"] * (
        30 - posts
    )
    assert gone.id not in queue.due_endpoints()
    assert happen(customer) == frozenset()
    running.wake(other.id)
    wait_for_status(other, "delivered")
    payload = there.posts[-1].verified(other.secret)
    assert payload["event"] == "endpoint.disabled"
    assert payload["data"]["endpoint_id"] == gone.public_id


# ------------------------------------------------------------ many


def test_all_are_delivered_once_and_roughly_in_order(
    customer: Customer, there: Receiver, start: Start, settings: Any
) -> None:
    settings.WEBHOOK_CONCURRENCY = 1
    endpoint = endpoint_of(customer, there.url)
    for _ in range(3):
        ringing = happen(customer, 150)
    deliver(start(), ringing)
    wait_for_status(endpoint, "delivered")
    numbers = [post.verified(endpoint.secret)["data"]["number"] for post in there.posts]
    assert numbers == [*range(150)] * 3
    assert len({post.id for post in there.posts}) == 450
    assert there.connections == 1


def test_concurrency_is_limited(
    customer: Customer, there: Receiver, start: Start, settings: Any
) -> None:
    settings.WEBHOOK_CONCURRENCY = 7
    there.answer = lambda _post: Answer(delay=0.02)
    endpoint = endpoint_of(customer, there.url)
    running = start()
    for _ in range(10):
        deliver(running, happen(customer, 20))
    wait_for_status(endpoint, "delivered")
    assert len(there.posts) == 200
    assert there.most_at_once == 7


def test_a_dead_endpoint_does_not_delay_others(
    customer: Customer, there: Receiver, start: Start, settings: Any
) -> None:
    settings.WEBHOOK_TIMEOUT = 3
    with receiver() as dead:
        dead.answer = lambda _post: Answer(delay=5)
        dying, living = endpoint_of(customer, dead.url), endpoint_of(customer, there.url)
        running = start()
        deliver(running, happen(customer, 100))
        dead.wait_for(1)
        deliver(running, happen(customer, 100))
        # Everything arrives while the dead endpoint's first posts still wait for their timeout.
        wait_for_status(living, "delivered", 2.5)
        assert len(there.posts) == 200
        assert len(dead.posts) == dead.most_at_once == 4
        # From then on it gets one post at a time.
        wait_until(lambda: sum(row.attempts for row in rows(dying)) == 4)
        dead.wait_for(5)
        # The running post, and the next one.
        assert Delivery.objects.filter(endpoint=dying, status="sending").count() <= 2


def test_a_failing_endpoint_recovers_at_once(
    customer: Customer, there: Receiver, start: Start
) -> None:
    there.script(*[500] * 6)
    endpoint = endpoint_of(customer, there.url)
    running = start()
    deliver(running, happen(customer, 200))
    wait_until(lambda: sum(row.status == "delivered" for row in rows(endpoint)) >= 194)
    make_due(endpoint)
    running.wake(endpoint.id)
    wait_for_status(endpoint, "delivered")
    assert len(there.posts) == 206


def test_two_workers_share_deliveries_and_post_nothing_twice(
    customer: Customer, there: Receiver, start: Start
) -> None:
    endpoint = endpoint_of(customer, there.url)
    ringing = happen(customer, 400)
    for running in (start(), start()):
        deliver(running, ringing)
    wait_for_status(endpoint, "delivered")
    assert len({post.id for post in there.posts}) == len(there.posts) == 400


# ------------------------------------------------------------ claims and leases


def test_a_dead_workers_claims_are_posted_by_the_sweep(
    customer: Customer, there: Receiver, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = endpoint_of(customer, there.url)
    happen(customer, 3)
    assert len(queue.claim(endpoint.id, 3)) == 3  # and its worker died
    running = start()
    monkeypatch.setattr(dispatcher, "current", lambda: running)
    tasks.sweep()
    time.sleep(0.2)
    assert there.posts == []
    Delivery.objects.filter(endpoint=endpoint).update(next_attempt_at=timezone.now())
    tasks.sweep()
    wait_for_status(endpoint, "delivered")
    assert len(there.posts) == 3


def test_a_wake_up_reaches_the_dispatcher(
    customer: Customer, there: Receiver, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = endpoint_of(customer, there.url)
    happen(customer)
    running = start()
    monkeypatch.setattr(dispatcher, "current", lambda: running)
    tasks.deliver(endpoint.id.hex)
    tasks.deliver(uuid.uuid4().hex)
    wait_for_status(endpoint, "delivered")


def test_deliveries_are_not_posted_too_close_to_the_end_of_their_lease(
    customer: Customer, there: Receiver, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a second worker would post it while the first one still does."""
    endpoint = endpoint_of(customer, there.url)
    monkeypatch.setattr(queue, "lease_seconds", lambda: 3.0)  # the timeout plus 1 s
    running = start()
    deliver(running, happen(customer, 2))
    time.sleep(0.3)
    running.stop()
    assert there.posts == []
    assert statuses(endpoint) == {"pending"}


# ------------------------------------------------------------ stopping, and a database outage


def test_stopping_finishes_posts_and_hands_back_the_others(
    customer: Customer, there: Receiver, start: Start
) -> None:
    there.answer = lambda _post: Answer(delay=0.3)
    endpoint = endpoint_of(customer, there.url)
    running = start()
    deliver(running, happen(customer, 200))
    there.wait_for(20)
    running.stop()
    found = [row.status for row in rows(endpoint)]
    assert found.count("delivered") == len(there.posts)
    assert set(found) == {"delivered", "pending"}
    deliver(running, frozenset({endpoint.id}))  # too late: no effect and no error
    there.answer = lambda _post: Answer()
    deliver(start(), frozenset({endpoint.id}))
    wait_for_status(endpoint, "delivered")
    assert len({post.id for post in there.posts}) == len(there.posts) == 200


def test_stopping_waits_for_a_limited_time(
    customer: Customer, there: Receiver, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "DRAIN_SECONDS", 0.3)
    there.answer = lambda _post: Answer(delay=1.5)
    endpoint = endpoint_of(customer, there.url)
    running = start()
    deliver(running, happen(customer, 2))
    there.wait_for(2)
    before = time.monotonic()
    running.stop()
    assert time.monotonic() - before < 1.2
    assert [(row.status, row.attempts) for row in rows(endpoint)] == [("pending", 0)] * 2


def test_results_survive_a_lost_connection(
    customer: Customer, there: Receiver, start: Start
) -> None:
    """Results are written once the database is back, so nothing is posted twice."""
    there.answer = lambda _post: Answer(delay=0.02)
    endpoint = endpoint_of(customer, there.url)
    running = start()
    deliver(running, happen(customer, 300))

    def swept(condition: Callable[[], bool]) -> bool:
        running.wake(endpoint.id)
        return condition()

    for posts in (5, 20, 40, 80):
        wait_until(lambda: swept(lambda: len(there.posts) >= posts))  # noqa: B023
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                "   AND application_name = 'imissive'"
            )
    # A claim whose response was lost is repeated when its lease has ended.
    wait_until(lambda: swept(lambda: statuses(endpoint) == {"delivered"}), 30)
    assert len({post.id for post in there.posts}) == len(there.posts) == 300


def test_a_deleted_endpoint_gets_no_more_posts(
    customer: Customer, there: Receiver, start: Start
) -> None:
    endpoint = endpoint_of(customer, there.url)
    ringing = happen(customer, 3)
    endpoints.delete(endpoint)
    running = start()
    deliver(running, ringing)
    other = endpoint_of(customer, there.url.replace("/hook", "/other"))
    deliver(running, happen(customer))
    wait_for_status(other, "delivered")
    assert {post.path for post in there.posts} == {"/other"}
