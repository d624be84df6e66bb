"""What the clock does: release, take back from the dead, send elsewhere, expire, ring again."""

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
    """A bind of a live worker's, as it said `age` seconds ago: so since `since` seconds."""
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
    """The customer, with an endpoint that wants every event; nobody else has a message."""
    Message.objects.all().delete()
    world.endpoint(customer)
    return customer


# ---------------------------------------------------------------- release


def test_what_is_due_is_released_told_and_rung(listening, carrier, world, wakes):
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


def test_what_is_not_due_yet_stays(listening, carrier, world):
    message = world.message(
        listening, carrier, status=Status.SCHEDULED, due_at=now() + timedelta(minutes=1)
    )
    assert sweeps.release_scheduled() == 0
    assert state_of(message) == Status.SCHEDULED


def test_a_release_is_not_a_second_charge(listening, carrier, world):
    world.message(listening, carrier, status=Status.SCHEDULED, due_at=ago(1), price=MICRO)
    sweeps.release_scheduled()
    assert len(listening.ledger()) == 1


def test_a_step_is_bounded_and_takes_the_longest_due(listening, carrier, world):
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


def test_sweeps_at_once_release_each_message_once(committed_world):
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


# ---------------------------------------------------------------- a dead worker's


def test_what_a_dead_worker_held_is_queued_again(listening, carrier, world, wakes):
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


def test_what_a_live_worker_holds_is_left_to_it(listening, carrier, world):
    world.message(listening, carrier)
    carrier_queue.claim(carrier.id, urgent=False, limit=1, lease=uuid.uuid4())
    assert sweeps.requeue_abandoned() == 0


def test_the_parts_that_the_dead_worker_wrote_are_not_submitted_again(listening, carrier, world):
    message = world.message(
        listening, carrier, parts=2, status=Status.SENDING, lease=uuid.uuid4(), due_at=ago(1)
    )
    world.part(message, "c-2", 2)
    sweeps.requeue_abandoned()
    [claimed] = carrier_queue.claim(carrier.id, urgent=False, limit=1, lease=uuid.uuid4())
    assert claimed.submitted_parts == {2}


# ---------------------------------------------------------------- elsewhere


@pytest.fixture
def two(world):
    """The carriers of one route: the first down, the second up."""
    first, second = world.carrier(), world.carrier()
    world.route("96650", first, second)
    bind(second)
    return first, second


def test_what_waits_for_a_carrier_that_is_down_goes_to_the_next(
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
def test_a_carrier_that_was_up_a_moment_ago_is_waited_for(listening, two, world, since, moved):
    """Its worker may only be restarting."""
    bind(two[0], state=CarrierBind.State.WAITING, since=since)
    world.message(listening, two[0])
    assert failover.reroute_from_down() == moved


def test_what_waits_for_a_drained_carrier_moves_on(listening, two, world):
    bind(two[0])
    Carrier.objects.filter(pk=two[0].pk).update(draining=True)
    message = world.message(listening, two[0])
    cache.reload()
    assert failover.reroute_from_down() == 1
    message.refresh_from_db()
    assert message.carrier == two[1]


def test_what_has_only_a_drained_carrier_waits(listening, two, world):
    bind(two[0])
    Carrier.objects.update(draining=True)
    message = world.message(listening, two[0])
    cache.reload()
    assert failover.reroute_from_down() == 0
    assert state_of(message) == Status.QUEUED


def test_what_waits_for_a_carrier_that_is_up_stays(listening, two, world):
    bind(two[0], age=5)
    message = world.message(listening, two[0])
    assert failover.reroute_from_down() == 0
    message.refresh_from_db()
    assert message.carrier == two[0]


def test_where_no_carrier_of_the_route_is_up_it_waits(listening, two, world):
    CarrierBind.objects.all().delete()
    message = world.message(listening, two[0])
    assert failover.reroute_from_down() == 0
    message.refresh_from_db()
    assert message.carrier == two[0]


def test_a_disabled_carriers_messages_go_on(listening, two, world):
    first, second = two
    message = world.message(listening, first)
    type(first).objects.filter(id=first.id).update(enabled=False)
    assert failover.reroute_from_down() == 1
    message.refresh_from_db()
    assert message.carrier == second


def test_a_message_some_of_whose_parts_were_accepted_stays(listening, two, world):
    begun = world.message(listening, two[0], parts=2, submits=1)
    world.part(begun, "c-1")
    untouched = world.message(listening, two[0], parts=2, submits=1)
    assert failover.reroute_from_down() == 1
    begun.refresh_from_db()
    untouched.refresh_from_db()
    assert (begun.carrier, untouched.carrier) == two


def test_each_message_goes_where_its_own_route_leads(listening, two, world):
    """By organization, by prefix, and to the first of its route that is up."""
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


def test_messages_that_cannot_go_elsewhere_hold_up_none_that_can(listening, two, world):
    """An organization with a route of its own over the dead carrier alone waits by itself."""
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


def test_what_was_sent_and_got_no_receipt_expires_without_a_refund(listening, carrier, world):
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


def test_what_may_still_get_its_receipt_is_left(listening, carrier, world):
    message = world.message(
        listening, carrier, status=Status.SENT, due_at=now() + timedelta(seconds=5)
    )
    assert sweeps.expire_sent() == 0
    assert state_of(message) == Status.SENT


@pytest.mark.parametrize(("taken", "refunded"), [([], 3), ([2], 2), ([1, 3], 1), ([1, 2, 3], 0)])
def test_what_was_not_submitted_in_time_expires_and_the_parts_not_taken_are_refunded(
    listening, carrier, world, taken, refunded
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
    for number in taken:
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
def test_only_what_is_queued_expires_there(listening, carrier, world, status):
    message = world.message(
        listening, carrier, status=status, expires_at=ago(1), due_at=now() + timedelta(hours=1)
    )
    assert sweeps.expire_queued() == 0
    assert state_of(message) == status


def test_what_is_still_valid_stays_queued(listening, carrier, world):
    world.message(listening, carrier)
    assert sweeps.expire_queued() == 0


def test_sweeps_at_once_refund_each_message_once(committed_world):
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


def test_a_receipt_and_the_expiry_at_once_end_the_message_once(committed_world):
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


# ---------------------------------------------------------------- the bell again


def test_every_lane_with_something_overdue_is_rung(listening, carrier, world, wakes):
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
def test_what_is_not_overdue_is_not_rung_for(listening, carrier, world, wakes, fields):
    world.message(listening, carrier, **fields)
    assert sweeps.wake_overdue() == 0
    assert wakes == []


def test_a_moment_is_not_overdue_and_a_disabled_carrier_is_not_rung(
    listening, carrier, world, wakes
):
    world.message(listening, carrier, due_at=ago(0.5))
    disabled = world.carrier(enabled=False)
    world.message(listening, disabled)
    assert sweeps.wake_overdue() == 0
    assert wakes == []


# ---------------------------------------------------------------- the tasks


def test_the_tasks_take_step_after_step_until_all_is_moved(listening, carrier, world, monkeypatch):
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
