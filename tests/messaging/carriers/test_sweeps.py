"""Periodic sweeps: release, requeue from dead workers, reroute, expire, wake up again."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from accounts.models import MICRO
from messaging import tasks
from messaging.carriers import failover, receipts, sweeps
from messaging.carriers import queue as carrier_queue
from messaging.carriers.receipts import FinalReceipt
from messaging.models import Carrier, CarrierBind, Message
from messaging.routing import cache
from messaging.states import Status
from tests.support.factories import PHONE, in_threads

BULK, URGENT = "bulk", "urgent"


def now() -> datetime:
    return datetime.now(UTC)


def ago(seconds: float) -> datetime:
    return now() - timedelta(seconds=seconds)


def state_of(message: Message) -> Status:
    message.refresh_from_db()
    return Status(message.status)


def wakeup(carrier, priority: str = BULK):
    queue = f"carrier.{carrier.slug}" + (".urgent" if priority == URGENT else "")
    return ("messaging.tasks.wake", queue, (priority,))


def bind(carrier, *, state=CarrierBind.State.BOUND, age: float = 0, since: float = 60) -> None:
    """Create a bind, reported `age` seconds ago, that has had its state for `since` seconds."""
    CarrierBind.objects.create(
        carrier=carrier,
        worker="w",
        number=0,
        mode="trx",
        state=state,
        since=ago(since),
        updated_at=timezone.now() - timedelta(seconds=age),
    )


@pytest.fixture
def listening(customer, world):
    """The customer, with an endpoint for every event; no other customer has messages."""
    Message.objects.all().delete()
    world.endpoint(customer)
    return customer


# ---------------------------------------------------------------- release


def test_due_messages_are_released_with_event_and_wakeup(listening, carrier, world, wakes):
    message = world.message(
        listening, carrier, status=Status.SCHEDULED, due_at=ago(1), queued_at=None, reference="r"
    )
    assert sweeps.release_scheduled() == 1
    assert state_of(message) == Status.QUEUED
    assert abs(now() - message.queued_at) < timedelta(seconds=10)
    [event] = listening.event_rows()
    body = json.loads(event.body)
    assert (body["event"], body["message_id"]) == ("message.queued", message.public_id)
    assert body["data"] == {
        "to": PHONE,
        "status": "queued",
        "queued_at": body["timestamp"],
        "reference": "r",
    }
    assert wakeup(carrier) in wakes
    assert len(carrier_queue.claim(carrier.id, urgent=False, limit=1, lease=uuid.uuid4())) == 1
    assert sweeps.release_scheduled() == 0


def test_messages_not_due_yet_stay_scheduled(listening, carrier, world):
    message = world.message(
        listening, carrier, status=Status.SCHEDULED, due_at=now() + timedelta(minutes=1)
    )
    assert sweeps.release_scheduled() == 0
    assert state_of(message) == Status.SCHEDULED


def test_a_release_charges_nothing(listening, carrier, world):
    world.message(listening, carrier, status=Status.SCHEDULED, due_at=ago(1), price=MICRO)
    sweeps.release_scheduled()
    assert len(listening.ledger()) == 1


def test_a_step_is_bounded_and_releases_the_longest_due_first(listening, carrier, world):
    messages = [
        world.message(listening, carrier, status=Status.SCHEDULED, due_at=ago(seconds))
        for seconds in (10, 30, 20)
    ]
    assert sweeps.release_scheduled(limit=2) == 2
    assert [state_of(message) for message in messages] == [
        Status.SCHEDULED,
        Status.QUEUED,
        Status.QUEUED,
    ]
    assert sweeps.release_scheduled(limit=2) == 1


def test_concurrent_sweeps_release_each_message_once(committed_world):
    carrier, customer = committed_world.serve(), committed_world.customer()
    committed_world.endpoint(customer)
    for _ in range(60):
        committed_world.message(customer, carrier, status=Status.SCHEDULED, due_at=ago(1))

    def work():
        while sweeps.release_scheduled(limit=7):
            pass

    in_threads([work] * 4)
    assert {message.status for message in customer.messages()} == {"queued"}
    assert len(customer.events()) == 60


# ---------------------------------------------------------------- dead workers


def test_messages_of_a_dead_worker_are_requeued(listening, carrier, world, wakes):
    message = world.message(
        listening, carrier, status=Status.SENDING, lease=uuid.uuid4(), due_at=ago(1), urgent=True
    )
    assert sweeps.requeue_abandoned() == 1
    assert state_of(message) == Status.QUEUED
    assert (message.lease, message.submits) == (None, 1)
    assert message.due_at <= now()
    assert wakeup(carrier, URGENT) in wakes
    assert listening.events() == []
    assert sweeps.requeue_abandoned() == 0


def test_messages_of_a_live_worker_are_left_alone(listening, carrier, world):
    world.message(listening, carrier)
    carrier_queue.claim(carrier.id, urgent=False, limit=1, lease=uuid.uuid4())
    assert sweeps.requeue_abandoned() == 0


def test_parts_of_a_dead_worker_are_not_resubmitted(listening, carrier, world):
    message = world.message(
        listening, carrier, parts=2, status=Status.SENDING, lease=uuid.uuid4(), due_at=ago(1)
    )
    world.part(message, "c-2", 2)
    sweeps.requeue_abandoned()
    [claimed] = carrier_queue.claim(carrier.id, urgent=False, limit=1, lease=uuid.uuid4())
    assert claimed.submitted_parts == {2}


# ---------------------------------------------------------------- failover


@pytest.fixture
def two(world):
    """Two carriers of one route: the first one is down, the second one up."""
    first, second = world.carrier(), world.carrier()
    world.route("96650", first, second)
    bind(second)
    return first, second


def test_messages_of_a_down_carrier_move_to_the_next(
    listening, two, world, wakes, django_capture_on_commit_callbacks
):
    first, second = two
    message = world.message(listening, first)
    with django_capture_on_commit_callbacks(execute=True):
        assert failover.reroute_from_down() == 1
    assert state_of(message) == Status.QUEUED
    assert message.carrier == second
    assert wakeup(second) in wakes
    assert failover.reroute_from_down() == 0


@pytest.mark.parametrize(
    ("state", "age"), [(CarrierBind.State.WAITING, 0), (CarrierBind.State.BOUND, 16)]
)
def test_a_carrier_without_a_live_bind_is_down(listening, two, world, state, age):
    bind(two[0], state=state, age=age)
    message = world.message(listening, two[0])
    failover.reroute_from_down()
    message.refresh_from_db()
    assert message.carrier == two[1]


@pytest.mark.parametrize(("since", "moved"), [(3, 0), (7, 1)])
def test_a_carrier_that_was_recently_up_keeps_its_messages(listening, two, world, since, moved):
    """Its worker may be restarting."""
    bind(two[0], state=CarrierBind.State.WAITING, since=since)
    world.message(listening, two[0])
    assert failover.reroute_from_down() == moved


def test_messages_of_a_draining_carrier_move(listening, two, world):
    bind(two[0])
    Carrier.objects.filter(pk=two[0].pk).update(draining=True)
    message = world.message(listening, two[0])
    cache.reload()
    assert failover.reroute_from_down() == 1
    message.refresh_from_db()
    assert message.carrier == two[1]


def test_messages_with_only_a_draining_carrier_wait(listening, two, world):
    bind(two[0])
    Carrier.objects.update(draining=True)
    message = world.message(listening, two[0])
    cache.reload()
    assert failover.reroute_from_down() == 0
    assert state_of(message) == Status.QUEUED


def test_messages_of_a_carrier_that_is_up_stay(listening, two, world):
    bind(two[0], age=5)
    message = world.message(listening, two[0])
    assert failover.reroute_from_down() == 0
    message.refresh_from_db()
    assert message.carrier == two[0]


def test_messages_wait_while_no_carrier_of_the_route_is_up(listening, two, world):
    CarrierBind.objects.all().delete()
    message = world.message(listening, two[0])
    assert failover.reroute_from_down() == 0
    message.refresh_from_db()
    assert message.carrier == two[0]


def test_messages_of_a_disabled_carrier_move(listening, two, world):
    first, second = two
    message = world.message(listening, first)
    type(first).objects.filter(id=first.id).update(enabled=False)
    assert failover.reroute_from_down() == 1
    message.refresh_from_db()
    assert message.carrier == second


def test_a_partly_accepted_message_stays(listening, two, world):
    partial = world.message(listening, two[0], parts=2, submits=1)
    world.part(partial, "c-1")
    untouched = world.message(listening, two[0], parts=2, submits=1)
    assert failover.reroute_from_down() == 1
    partial.refresh_from_db()
    untouched.refresh_from_db()
    assert (partial.carrier, untouched.carrier) == two


def test_each_message_follows_its_own_route(listening, two, world):
    """By organization, by prefix, and to the route's first carrier that is up."""
    first, second = two
    third, fourth = world.carrier(), world.carrier()
    bind(third)
    own = world.customer()
    world.route("96650", first, fourth, third, second, owner=own)
    world.route("966501", first, third)
    messages = {
        world.message(listening, first, to="+966501234567"): third,
        world.message(listening, first, to="+966509234567"): second,
        world.message(own, first, to="+966501234567"): third,
        world.message(own, first, to="+966509234567", urgent=True): third,
        world.message(listening, first, to="+201001234567"): first,
        world.message(listening, first, due_at=now() + timedelta(hours=1)): first,
    }
    assert failover.reroute_from_down() == 4
    for message, carrier in messages.items():
        message.refresh_from_db()
        assert message.carrier == carrier


def test_a_test_message_never_leaves_the_sandbox(listening, two, world):
    sandbox = world.carrier(is_sandbox=True)
    message = world.message(listening, sandbox, test=True)
    assert failover.reroute_from_down() == 0
    message.refresh_from_db()
    assert message.carrier == sandbox


def test_messages_without_another_carrier_do_not_block_others(listening, two, world):
    """An organization whose own route has only the dead carrier waits alone."""
    first, second = two
    stuck_customer = world.customer()
    world.route("966", first, owner=stuck_customer)
    for _ in range(5):
        world.message(stuck_customer, first, due_at=ago(60))
    free = [world.message(listening, first, due_at=ago(1)) for _ in range(2)]
    assert failover.reroute_from_down(limit=5) == 2
    for message in free:
        message.refresh_from_db()
    assert {message.carrier for message in free} == {second}


# ---------------------------------------------------------------- expiry


def test_a_sent_message_without_receipt_expires_without_refund(listening, carrier, world):
    message = world.message(
        listening, carrier, parts=2, price=2 * MICRO, status=Status.SENT, due_at=ago(1)
    )
    world.part(message, "c-1", 1, status=Status.DELIVERED)
    world.part(message, "c-2", 2)
    assert sweeps.expire_sent() == 1
    assert state_of(message) == Status.EXPIRED
    assert (message.error_code, message.due_at) == ("EXPIRED", None)
    assert message.final_at is not None
    parts = message.submitted_parts.order_by("number")
    assert [part.status for part in parts] == ["delivered", "expired"]
    assert len(listening.ledger()) == 1
    [event] = listening.event_rows()
    body = json.loads(event.body)
    assert body["event"] == "message.expired"
    assert body["data"]["error"]["code"] == "EXPIRED"
    assert body["data"]["expired_at"] == body["timestamp"]
    receipts.apply(carrier.id, [FinalReceipt("c-2", Status.DELIVERED)])
    assert state_of(message) == Status.EXPIRED
    assert sweeps.expire_sent() == 0


def test_messages_within_their_receipt_deadline_are_left_alone(listening, carrier, world):
    message = world.message(
        listening, carrier, status=Status.SENT, due_at=now() + timedelta(seconds=5)
    )
    assert sweeps.expire_sent() == 0
    assert state_of(message) == Status.SENT


@pytest.mark.parametrize(("accepted", "refunded"), [([], 3), ([2], 2), ([1, 3], 1), ([1, 2, 3], 0)])
def test_an_expired_queued_message_is_refunded_for_unaccepted_parts(
    listening, carrier, world, accepted, refunded
):
    message = world.message(
        listening,
        carrier,
        parts=3,
        price=3 * MICRO,
        submits=1,
        expires_at=ago(1),
        due_at=now() + timedelta(hours=1),
    )
    for number in accepted:
        world.part(message, f"c-{number}", number)
    assert sweeps.expire_queued() == 1
    assert state_of(message) == Status.EXPIRED
    assert message.error_code == "EXPIRED"
    assert listening.balance() == (97 + refunded) * MICRO
    refunds = [row for row in listening.ledger() if row[0] == "refund"]
    assert refunds == ([("refund", refunded * MICRO, message.id)] if refunded else [])
    assert listening.events() == [("message.expired", message.id)]
    assert sweeps.expire_queued() == 0


@pytest.mark.parametrize("status", [s for s in Status if s != Status.QUEUED])
def test_only_queued_messages_expire_in_the_queue(listening, carrier, world, status):
    message = world.message(
        listening, carrier, status=status, expires_at=ago(1), due_at=now() + timedelta(hours=1)
    )
    assert sweeps.expire_queued() == 0
    assert state_of(message) == status


def test_valid_messages_stay_queued(listening, carrier, world):
    world.message(listening, carrier)
    assert sweeps.expire_queued() == 0


def test_concurrent_sweeps_refund_each_message_once(committed_world):
    carrier = committed_world.serve()
    customers = [committed_world.customer() for _ in range(3)]
    for customer in customers:
        committed_world.endpoint(customer)
        for _ in range(20):
            committed_world.message(customer, carrier, price=MICRO, expires_at=ago(1))

    def work():
        while sweeps.expire_queued(limit=7):
            pass

    in_threads([work] * 4)
    for customer in customers:
        assert {message.status for message in customer.messages()} == {"expired"}
        assert customer.balance() == 100 * MICRO
        assert len(customer.events()) == 20


def test_a_receipt_concurrent_with_expiry_completes_the_message_once(committed_world):
    carrier, customer = committed_world.serve(), committed_world.customer()
    committed_world.endpoint(customer)
    for index in range(60):
        message = committed_world.message(customer, carrier, status=Status.SENT, due_at=ago(1))
        committed_world.part(message, f"c-{index}")

    def expire():
        while sweeps.expire_sent(limit=5):
            pass

    def receive():
        for index in range(0, 60, 3):
            batch = [FinalReceipt(f"c-{index + i}", Status.DELIVERED) for i in range(3)]
            receipts.apply(carrier.id, batch)

    in_threads([expire, receive, expire, receive])
    messages = customer.messages()
    assert {message.status for message in messages} <= {"expired", "delivered"}
    assert sorted(customer.events(), key=str) == sorted(
        ((f"message.{message.status}", message.id) for message in messages), key=str
    )
    for message in messages:
        assert message.submitted_parts.get().status == message.status


# ---------------------------------------------------------------- repeated wake-ups


def test_every_priority_with_overdue_messages_is_woken(listening, carrier, world, wakes):
    world.message(listening, carrier, urgent=True)
    other = world.carrier()
    world.message(listening, other)
    assert sweeps.wake_overdue() == 2
    assert sorted(wakes) == sorted([wakeup(carrier, URGENT), wakeup(other)])


@pytest.mark.parametrize(
    "fields",
    [
        {"due_at": datetime(2999, 1, 1, tzinfo=UTC)},
        {"status": Status.SENDING},
        {"status": Status.SENT},
        {"status": Status.SCHEDULED},
    ],
    ids=str,
)
def test_messages_that_are_not_overdue_cause_no_wakeup(listening, carrier, world, wakes, fields):
    world.message(listening, carrier, **fields)
    assert sweeps.wake_overdue() == 0
    assert wakes == []


def test_no_wakeup_within_a_second_or_for_a_disabled_carrier(listening, carrier, world, wakes):
    world.message(listening, carrier, due_at=ago(0.5))
    disabled = world.carrier(enabled=False)
    world.message(listening, disabled)
    assert sweeps.wake_overdue() == 0
    assert wakes == []


# ---------------------------------------------------------------- the tasks


def test_tasks_repeat_steps_until_all_messages_moved(listening, carrier, world, monkeypatch):
    monkeypatch.setattr(sweeps, "STEP", 2)
    for step in ("release_scheduled", "requeue_abandoned", "expire_sent", "expire_queued"):
        whole = getattr(sweeps, step)
        monkeypatch.setattr(sweeps, step, lambda whole=whole: whole(2))
    bind(carrier)
    scheduled = [
        world.message(listening, carrier, status=Status.SCHEDULED, due_at=ago(1)) for _ in range(5)
    ]
    abandoned = [
        world.message(listening, carrier, status=Status.SENDING, due_at=ago(1)) for _ in range(5)
    ]
    sent = [world.message(listening, carrier, status=Status.SENT, due_at=ago(1)) for _ in range(5)]
    late = [world.message(listening, carrier, expires_at=ago(1)) for _ in range(5)]
    tasks.release()
    tasks.sweep()
    tasks.expire_sent()
    tasks.expire_queued()
    assert {state_of(message) for message in scheduled + abandoned} == {Status.QUEUED}
    assert {state_of(message) for message in sent + late} == {Status.EXPIRED}
