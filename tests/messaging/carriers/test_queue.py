"""A carrier worker's claims and results: only the holder of a message writes its result, once."""

import json
import threading
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.conf import settings
from django.db import OperationalError, transaction

from accounts.models import MICRO
from messaging.carriers import queue, receipts, sweeps
from messaging.carriers.command_statuses import SubmitOutcome
from messaging.carriers.queue import Claimed, Result, SubmittedPart
from messaging.carriers.receipts import FinalReceipt
from messaging.models import Attempt, Message
from messaging.models import MessagePart as Part
from messaging.states import Status
from tests.support.factories import PHONE, SENDER, advance, in_threads

ACCEPTED, REFUSED = SubmitOutcome.ACCEPTED, SubmitOutcome.REFUSED
SLOW_DOWN, ELSEWHERE = SubmitOutcome.SLOW_DOWN, SubmitOutcome.ELSEWHERE


def now() -> datetime:
    return datetime.now(UTC)


def claim(carrier, *, urgent=False, limit=100, lease=None) -> list[Claimed]:
    return queue.claim(carrier.id, urgent=urgent, limit=limit, lease=lease or uuid.uuid4())


class Holder:
    """A worker that has claimed one message of a carrier."""

    def __init__(self, carrier) -> None:
        self.carrier, self.lease = carrier, uuid.uuid4()
        # PostgreSQL's now() is the start of the test's transaction.
        due = Message.objects.filter(carrier=carrier, status=Status.QUEUED, due_at__lte=now())
        due.update(due_at=now() - timedelta(minutes=1))
        [self.message] = claim(carrier, lease=self.lease)

    def write(self, submit_outcome: SubmitOutcome | None, accepted=(), **more) -> None:
        """Write a result, in which these parts were accepted as `<message>-<part>`."""
        id = self.message.id
        parts = [SubmittedPart(id, number, f"{id}-{number}", now()) for number in accepted]
        result = Result(self.message, submit_outcome, parts, **more)
        queue.write_results(self.carrier.id, self.lease, [result])


def refuse(holder: Holder, accepted=(), **more) -> None:
    fields = {
        "command_status": 0x0B,
        "code": "ESME_RINVDSTADR",
        "detail": "The carrier answered ESME_RINVDSTADR.",
    }
    holder.write(REFUSED, accepted, **(fields | more))


def make_due(message: Message) -> None:
    Message.objects.filter(id=message.id).update(due_at=now() - timedelta(seconds=1))


def parts_of(message: Message) -> list[tuple[int, str]]:
    return list(message.submitted_parts.order_by("number").values_list("number", "status"))


def attempts_of(message: Message) -> list[str]:
    return list(message.attempts.order_by("id").values_list("outcome", flat=True))


def state_of(message: Message) -> Status:
    message.refresh_from_db()
    return Status(message.status)


# ---------------------------------------------------------------- claiming


def test_a_claim_lasts_as_long_as_the_lease(customer, carrier, world):
    message = world.message(customer, carrier, parts=2, price=2 * MICRO, reference="order 7")
    lease = uuid.uuid4()
    [claimed] = claim(carrier, lease=lease)
    message.refresh_from_db()
    assert (message.status, message.lease) == (Status.SENDING, lease)
    length = message.due_at - now()
    assert timedelta(0) <= timedelta(seconds=settings.CARRIER_LEASE) - length < timedelta(seconds=5)
    assert claimed == Claimed(
        id=message.id,
        organization_id=customer.id,
        test=False,
        urgent=False,
        to=PHONE,
        sender=SENDER,
        text="Hello",
        parts=2,
        price=2 * MICRO,
        reference="order 7",
        batch_id=None,
        carrier_id=carrier.id,
        expires_at=message.expires_at,
        submits=0,
        unanswered=0,
        tried=(),
        submitted_parts=frozenset(),
    )


def test_claimed_messages_are_not_claimed_again(customer, carrier, world):
    world.message(customer, carrier)
    assert len(claim(carrier)) == 1
    assert claim(carrier) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"urgent": True},
        {"due_at": datetime(2999, 1, 1, tzinfo=UTC)},
        {"expires_at": datetime(2020, 1, 1, tzinfo=UTC)},
        *({"status": status} for status in Status if status != Status.QUEUED),
    ],
    ids=str,
)
def test_only_due_messages_of_that_priority_are_claimed(customer, carrier, world, fields):
    world.message(customer, carrier, **fields)
    assert claim(carrier) == []


def test_each_carrier_and_priority_has_its_own_queue(customer, carrier, world):
    other = world.carrier()
    world.message(customer, other)
    urgent = world.message(customer, carrier, urgent=True)
    assert claim(carrier) == []
    assert [claimed.id for claimed in claim(carrier, urgent=True)] == [urgent.id]


def test_messages_due_longest_are_claimed_first(customer, carrier, world):
    messages = [
        world.message(customer, carrier, due_at=now() - timedelta(seconds=age))
        for age in (10, 30, 20)
    ]
    order = [messages[1].id, messages[2].id, messages[0].id]
    assert [claim(carrier, limit=1)[0].id for _ in range(3)] == order


def in_overlapping_transactions(carrier) -> tuple[list[uuid.UUID], list[uuid.UUID]]:
    """Return the claims of two workers, the second one created before the first is committed."""
    first_claimed, second_done = threading.Event(), threading.Event()

    def first():
        with transaction.atomic():
            claimed = claim(carrier, limit=10)
            first_claimed.set()
            second_done.wait(0.5)  # it may be waiting for this one
        return [message.id for message in claimed]

    def second():
        first_claimed.wait(10)
        claimed = claim(carrier, limit=10)
        second_done.set()
        return [message.id for message in claimed]

    one, two = in_threads([first, second])
    return one, two


def test_concurrent_workers_claim_different_messages(committed_world):
    carrier, customer = committed_world.serve(), committed_world.customer()
    for _ in range(20):
        committed_world.message(customer, carrier)
    first, second = in_overlapping_transactions(carrier)
    assert (len(first), len(second)) == (10, 10)
    assert not set(first) & set(second)


def test_without_the_lock_concurrent_workers_claim_the_same(committed_world, monkeypatch):
    """The race is real: the lock separates them, not luck."""
    carrier, customer = committed_world.serve(), committed_world.customer()
    for _ in range(20):
        committed_world.message(customer, carrier)
    lockless = queue._CLAIM.replace("FOR UPDATE SKIP LOCKED", "")
    assert lockless != queue._CLAIM
    monkeypatch.setattr(queue, "_CLAIM", lockless)
    first, second = in_overlapping_transactions(carrier)
    assert set(first) & set(second)


def test_many_workers_claim_each_message_exactly_once(committed_world):
    carrier, customer = committed_world.serve(), committed_world.customer()
    created = {committed_world.message(customer, carrier).id for _ in range(150)}

    def work():
        found = []
        while claimed := claim(carrier, limit=7):
            found += [message.id for message in claimed]
        return found

    claimed = [message_id for found in in_threads([work] * 6) for message_id in found]
    assert len(claimed) == len(set(claimed))
    assert set(claimed) == created


def test_a_worker_returns_unsubmitted_messages(customer, carrier, world):
    message = world.message(customer, carrier)
    holder = Holder(carrier)
    queue.hand_back([holder.message], uuid.uuid4())
    assert state_of(message) == Status.SENDING, "only its own"
    queue.hand_back([holder.message], holder.lease)
    assert state_of(message) == Status.QUEUED
    assert (message.lease, message.submits) == (None, 0)
    assert len(claim(carrier)) == 1


# ---------------------------------------------------------------- accepted


def test_an_accepted_message_is_sent_with_its_part_and_event(customer, carrier, world):
    world.endpoint(customer)
    message = world.message(customer, carrier, price=MICRO, reference="order 7")
    holder = Holder(carrier)
    holder.write(ACCEPTED, [1])
    assert state_of(message) == Status.SENT
    assert (message.lease, message.submits, message.error_code) == (None, 1, "")
    assert abs(now() - message.sent_at) < timedelta(seconds=10)
    assert message.due_at - message.expires_at == queue.RECEIPT_GRACE
    part = message.submitted_parts.get()
    assert (part.number, part.status, part.carrier) == (1, Status.SENT, carrier)
    assert part.carrier_message_id == f"{message.id}-1"
    [event] = customer.event_rows()
    payload = json.loads(event.body)
    assert payload["event"] == "message.sent"
    assert payload["message_id"] == message.public_id
    assert payload["data"] == {
        "to": PHONE,
        "status": "sent",
        "sent_at": payload["timestamp"],
        "reference": "order 7",
    }
    assert [kind for kind, _, _ in customer.ledger()] == ["charge"]
    assert attempts_of(message) == []


def test_each_result_of_a_batch_is_written_to_its_message(customer, carrier, world):
    world.endpoint(customer)
    messages = [world.message(customer, carrier, price=MICRO) for _ in range(30)]
    lease = uuid.uuid4()
    results = []
    for index, message in enumerate(claim(carrier, lease=lease)):
        kind = (ACCEPTED, REFUSED, SLOW_DOWN)[index % 3]
        part = SubmittedPart(message.id, 1, f"c-{message.id}", now())
        accepted = [part] if kind is ACCEPTED else []
        results.append(Result(message, kind, accepted, code="X", detail="d"))
    queue.write_results(carrier.id, lease, results)
    expected = {ACCEPTED: Status.SENT, REFUSED: Status.FAILED, SLOW_DOWN: Status.QUEUED}
    for result in results:
        written = Message.objects.get(id=result.message.id)
        assert result.submit_outcome is not None
        assert written.status == expected[result.submit_outcome]
        if result.submit_outcome is ACCEPTED:
            assert written.submitted_parts.get().carrier_message_id == f"c-{written.id}"
    assert sorted(kind for kind, _ in customer.events()) == (
        ["message.failed"] * 10 + ["message.sent"] * 10
    )
    assert customer.balance() == (100 - len(messages) + 10) * MICRO


# ---------------------------------------------------------------- refused


def test_a_refused_message_fails_with_refund_and_event(customer, carrier, world):
    world.endpoint(customer)
    message = world.message(customer, carrier, parts=3, price=3 * MICRO)
    refuse(Holder(carrier))
    assert state_of(message) == Status.FAILED
    assert (message.error_code, message.due_at, message.lease) == ("ESME_RINVDSTADR", None, None)
    assert message.final_at is not None
    assert message.sent_at is None
    assert customer.ledger() == [
        ("charge", -3 * MICRO, message.id),
        ("refund", 3 * MICRO, message.id),
    ]
    payload = json.loads(customer.event_rows()[0].body)
    assert payload["event"] == "message.failed"
    assert payload["data"]["status"] == "failed"
    assert payload["data"]["failed_at"] == payload["timestamp"]
    assert payload["data"]["error"] == {
        "code": "ESME_RINVDSTADR",
        "message": "The carrier answered ESME_RINVDSTADR.",
    }
    attempt = message.attempts.get()
    assert (attempt.outcome, attempt.command_status) == ("refused", 0x0B)


def test_a_result_written_twice_has_one_refund_and_one_event(customer, carrier, world):
    world.endpoint(customer)
    world.message(customer, carrier, price=MICRO)
    holder = Holder(carrier)
    for _ in range(2):
        refuse(holder)
    assert customer.balance() == 100 * MICRO
    assert len(customer.events()) == 1
    assert Attempt.objects.filter(message=holder.message.id).count() == 1


def test_a_free_message_is_not_refunded(customer, carrier, world):
    world.message(customer, carrier, price=0, test=True)
    refuse(Holder(carrier))
    assert customer.ledger() == []


@pytest.mark.parametrize("command_status", [0x400, 2**31 - 1, 2**31, 2**32 - 1])
def test_any_command_status_can_be_written(customer, carrier, world, command_status):
    message = world.message(customer, carrier)
    refuse(Holder(carrier), command_status=command_status)
    assert state_of(message) == Status.FAILED


def test_carrier_texts_are_truncated_to_the_columns(customer, carrier, world):
    message = world.message(customer, carrier)
    refuse(Holder(carrier), code="X" * 300, detail="y" * 300)
    assert state_of(message) == Status.FAILED
    assert (message.error_code, message.error_message) == ("X" * 40, "y" * 200)


# ---------------------------------------------------------------- retries and the next carrier


def test_a_throttled_message_is_retried_after_a_delay(customer, carrier, world):
    world.endpoint(customer)
    message = world.message(customer, carrier, price=MICRO)
    Holder(carrier).write(SLOW_DOWN, command_status=0x58)
    assert state_of(message) == Status.QUEUED
    assert (message.carrier, message.submits, message.lease) == (carrier, 1, None)
    assert message.due_at > now()
    assert claim(carrier) == []
    assert (customer.events(), len(customer.ledger())) == ([], 1)
    assert attempts_of(message) == ["throttled"]
    make_due(message)
    Holder(carrier).write(ACCEPTED, [1])
    assert state_of(message) == Status.SENT
    assert message.submits == 2


@pytest.mark.parametrize(
    ("submits", "seconds"),
    [(0, 0.5), (1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (9999, 60)],
)
def test_the_retry_delay_doubles_up_to_a_minute_with_jitter(submits, seconds):
    waits = {queue.retry_delay(submits).total_seconds() for _ in range(50)}
    assert len(waits) > 10
    assert all(0.8 * seconds <= wait <= 1.2 * seconds for wait in waits)


@pytest.fixture
def three(world):
    """The carriers of one route, in order."""
    carriers = [world.carrier() for _ in range(3)]
    world.route("96650", *carriers)
    return carriers


def test_a_throttled_message_stays_with_its_carrier(customer, three, world):
    message = world.message(customer, three[0])
    Holder(three[0]).write(SLOW_DOWN)
    assert state_of(message) == Status.QUEUED
    assert message.carrier == three[0]


def test_a_temporary_refusal_tries_all_carriers_of_the_route_then_waits(
    customer, three, world, wakes
):
    message = world.message(customer, three[0], urgent=False)
    for carrier, following in (three[:2], three[1:]):
        Holder(carrier).write(ELSEWHERE, command_status=0x08)
        assert state_of(message) == Status.QUEUED
        assert message.carrier == following
        assert message.due_at <= now()
        assert wakes.pop() == ("messaging.tasks.wake", f"carrier.{following.slug}", ("bulk",))
    Holder(three[2]).write(ELSEWHERE)
    assert state_of(message) == Status.QUEUED
    assert message.carrier == three[2], "the route is at its end: the same one later"
    assert message.due_at > now()
    assert message.tried is None, "and then from the top"
    make_due(message)
    Holder(three[2]).write(ELSEWHERE)
    message.refresh_from_db()
    assert message.carrier == three[0]
    assert message.submits == 4
    assert attempts_of(message) == ["refused for now"] * 4


def test_an_unsubmitted_message_stays_due(customer, three, world):
    message = world.message(customer, three[0])
    Holder(three[0]).write(None)
    assert state_of(message) == Status.QUEUED
    assert (message.carrier, message.submits) == (three[0], 0)
    assert message.due_at <= now()
    assert attempts_of(message) == []


def test_an_unsubmitted_message_keeps_its_tried_carriers(customer, three, world):
    message = world.message(customer, three[0])
    Holder(three[0]).write(ELSEWHERE)
    Holder(three[1]).write(None)
    Holder(three[1]).write(ELSEWHERE)
    message.refresh_from_db()
    assert message.carrier == three[2]


def test_a_test_message_stays_with_the_sandbox(customer, three, world):
    sandbox = world.carrier(is_sandbox=True)
    message = world.message(customer, sandbox, test=True)
    Holder(sandbox).write(ELSEWHERE)
    message.refresh_from_db()
    assert message.carrier == sandbox


# ---------------------------------------------------------------- without a response


def test_after_one_timeout_the_next_carrier_is_tried(customer, three, world):
    message = world.message(customer, three[0], price=MICRO)
    Holder(three[0]).write(None, unanswered=True, detail="no answer in 30 s")
    assert state_of(message) == Status.QUEUED
    assert (message.carrier, message.unanswered, message.submits) == (three[1], 1, 1)
    assert attempts_of(message) == ["unanswered"]
    assert len(customer.ledger()) == 1


def test_after_two_timeouts_the_message_fails_with_a_refund(customer, three, world):
    world.endpoint(customer)
    message = world.message(customer, three[0], price=MICRO)
    for carrier in three[:2]:
        Holder(carrier).write(None, unanswered=True)
    assert state_of(message) == Status.FAILED
    assert message.error_code == "NO_RESPONSE"
    assert customer.balance() == 100 * MICRO
    assert [kind for kind, _ in customer.events()] == ["message.failed"]


def test_a_refused_part_is_final_despite_an_unanswered_one(customer, carrier, world):
    message = world.message(customer, carrier, parts=2, price=2 * MICRO)
    refuse(Holder(carrier), unanswered=True)
    assert state_of(message) == Status.FAILED


# ---------------------------------------------------------------- messages of several parts


def test_only_missing_parts_are_resubmitted(customer, three, world):
    carrier = three[0]
    message = world.message(customer, carrier, parts=3, price=3 * MICRO)
    Holder(carrier).write(SLOW_DOWN, [1, 3])
    assert state_of(message) == Status.QUEUED
    assert parts_of(message) == [(1, "sent"), (3, "sent")]
    make_due(message)
    holder = Holder(carrier)
    assert holder.message.submitted_parts == {1, 3}
    holder.write(ACCEPTED, [2])
    assert state_of(message) == Status.SENT
    assert parts_of(message) == [(1, "sent"), (2, "sent"), (3, "sent")]
    assert len(customer.ledger()) == 1


def test_parts_written_before_the_result_survive_the_worker(customer, carrier, world):
    world.endpoint(customer)
    message = world.message(customer, carrier, parts=3)
    dead = Holder(carrier)
    early = [SubmittedPart(message.id, number, f"c-{number}", now()) for number in (1, 3)]
    queue.write_parts(carrier.id, early)
    receipts.apply(carrier.id, [FinalReceipt("c-1", Status.DELIVERED)])
    assert state_of(message) == Status.SENDING
    make_due(message)
    sweeps.requeue_abandoned()
    receipts.apply(carrier.id, [FinalReceipt("c-3", Status.DELIVERED)])
    holder = Holder(carrier)
    assert holder.message.submitted_parts == {1, 3}
    holder.write(ACCEPTED, [2])
    dead.write(ACCEPTED, [1, 2, 3])
    assert state_of(message) == Status.SENT
    receipts.apply(carrier.id, [FinalReceipt(f"{message.id}-2", Status.DELIVERED)])
    assert state_of(message) == Status.DELIVERED
    assert [kind for kind, _ in customer.events()] == ["message.sent", "message.delivered"]


def test_a_part_written_twice_is_stored_once(customer, carrier, world):
    message = world.message(customer, carrier, parts=2)
    holder = Holder(carrier)
    receipts.apply(
        carrier.id, [FinalReceipt(f"{message.id}-{n}", Status.DELIVERED) for n in (1, 2)]
    )
    queue.write_parts(carrier.id, [SubmittedPart(message.id, 1, f"{message.id}-1", now())])
    holder.write(ACCEPTED, [1, 2])
    assert state_of(message) == Status.DELIVERED, "the receipts came before both"
    assert parts_of(message) == [(1, "delivered"), (2, "delivered")]


@pytest.mark.parametrize(
    ("submit_outcome", "more"), [(ELSEWHERE, {}), (None, {"unanswered": True}), (None, {})]
)
def test_a_partly_accepted_message_stays_with_its_carrier(
    customer, three, world, submit_outcome, more
):
    """No handset could join the parts of two carriers."""
    message = world.message(customer, three[0], parts=2)
    Holder(three[0]).write(submit_outcome, [1], **more)
    assert state_of(message) == Status.QUEUED
    assert message.carrier == three[0]
    assert message.submits == 1, "or the next claim would not look for its parts"
    make_due(message)
    holder = Holder(three[0])
    assert holder.message.submitted_parts == {1}
    holder.write(ELSEWHERE)
    message.refresh_from_db()
    assert message.carrier == three[0]


@pytest.mark.parametrize(
    ("first", "then", "refunded"), [([], [], 3), ([], [2], 2), ([1], [], 2), ([1], [2], 1)]
)
def test_only_parts_that_no_carrier_accepted_are_refunded(
    customer, carrier, world, first, then, refunded
):
    message = world.message(customer, carrier, parts=3, price=3 * MICRO)
    Holder(carrier).write(SLOW_DOWN, first)
    make_due(message)
    refuse(Holder(carrier), then)
    assert state_of(message) == Status.FAILED
    assert customer.ledger() == [
        ("charge", -3 * MICRO, message.id),
        ("refund", refunded * MICRO, message.id),
    ]


def test_a_failed_message_with_all_parts_accepted_is_not_refunded(customer, carrier, world):
    world.message(customer, carrier, parts=2, price=2 * MICRO)
    refuse(Holder(carrier), [1, 2])
    assert len(customer.ledger()) == 1


# ---------------------------------------------------------------- the lease


def test_a_worker_without_the_lease_writes_only_the_parts(customer, carrier, world):
    world.endpoint(customer)
    message = world.message(customer, carrier, price=MICRO)
    late = Holder(carrier)
    make_due(message)
    assert sweeps.requeue_abandoned() == 1
    holder = Holder(carrier)
    before = customer.stored()
    refuse(late)
    late.write(ACCEPTED, [1])
    assert state_of(message) == Status.SENDING
    assert message.lease == holder.lease
    assert customer.stored() == before
    assert attempts_of(message) == []
    assert parts_of(message) == [(1, "sent")], "its receipt will come"


def test_a_worker_without_the_lease_does_not_undo_a_later_result(customer, carrier, world):
    world.endpoint(customer)
    message = world.message(customer, carrier, price=MICRO)
    late = Holder(carrier)
    make_due(message)
    sweeps.requeue_abandoned()
    refuse(Holder(carrier))
    late.write(ACCEPTED, [1])
    assert state_of(message) == Status.FAILED
    assert [kind for kind, _ in customer.events()] == ["message.failed"]


def test_parts_of_a_late_worker_are_not_resubmitted(customer, carrier, world):
    message = world.message(customer, carrier, parts=2)
    late = Holder(carrier)
    make_due(message)
    sweeps.requeue_abandoned()
    late.write(ACCEPTED, [1, 2])
    assert state_of(message) == Status.QUEUED
    holder = Holder(carrier)
    assert holder.message.submitted_parts == {1, 2}
    holder.write(ACCEPTED)
    assert state_of(message) == Status.SENT


def test_a_part_that_two_workers_submitted_is_stored_once(customer, carrier, world):
    message = world.message(customer, carrier)
    late = Holder(carrier)
    make_due(message)
    sweeps.requeue_abandoned()
    holder = Holder(carrier)
    late.write(ACCEPTED, [1])
    holder.write(ACCEPTED, [1])
    assert state_of(message) == Status.SENT
    assert parts_of(message) == [(1, "sent")]


@pytest.mark.parametrize(
    ("ended", "status"), [("delivered", Status.DELIVERED), ("failed", Status.FAILED)]
)
def test_receipts_during_requeueing_are_not_lost(customer, carrier, world, ended, status):
    """As after an outage of the database that was longer than the lease."""
    world.endpoint(customer)
    message = world.message(customer, carrier, parts=2)
    late = Holder(carrier)
    make_due(message)
    sweeps.requeue_abandoned()
    late.write(ACCEPTED, [1, 2])
    receipts.apply(
        carrier.id,
        [
            FinalReceipt(f"{message.id}-1", Status.DELIVERED),
            FinalReceipt(f"{message.id}-2", Status(ended), "UNDELIV" if ended == "failed" else ""),
        ],
    )
    Holder(carrier).write(ACCEPTED)
    assert state_of(message) == status
    assert [kind for kind, _ in customer.events()] == ["message.sent", f"message.{ended}"]
    assert parts_of(message) == [(1, "delivered"), (2, ended)]


def test_a_message_completed_meanwhile_is_unchanged(customer, carrier, world):
    message = world.message(customer, carrier)
    holder = Holder(carrier)
    advance(Message.objects.filter(id=message.id), Status.DELIVERED)
    refuse(holder)
    queue.hand_back([holder.message], holder.lease)
    assert state_of(message) == Status.DELIVERED


@pytest.mark.parametrize("last", ["outbox.record", "receipts.apply_early", "ledger.post"])
def test_a_batch_is_written_atomically(customer, carrier, world, monkeypatch, last):
    world.endpoint(customer)
    messages = [world.message(customer, carrier, price=MICRO) for _ in range(3)]
    lease = uuid.uuid4()
    results = [
        Result(message, kind, [SubmittedPart(message.id, 1, f"c-{message.id}", now())], code="X")
        for message, kind in zip(
            claim(carrier, lease=lease), (ACCEPTED, REFUSED, SLOW_DOWN), strict=True
        )
    ]
    before = customer.stored()

    def broken(*_args):
        raise OperationalError("the database is gone")

    with monkeypatch.context() as patch:
        patch.setattr(f"messaging.carriers.queue.{last}", broken)
        with pytest.raises(OperationalError):
            queue.write_results(carrier.id, lease, results)
    assert {state_of(message) for message in messages} == {Status.SENDING}
    assert Part.objects.filter(message__in=messages).count() == 0
    assert Attempt.objects.filter(message__in=messages).count() == 0
    assert customer.stored() == before
    queue.write_results(carrier.id, lease, results)
    assert {state_of(m) for m in messages} == {Status.SENT, Status.FAILED, Status.QUEUED}


# ---------------------------------------------------------------- under load


def test_concurrent_workers_keep_messages_credits_and_events_consistent(
    committed_world,
):
    """Workers on two carriers fail and send messages of the same organizations."""
    carriers = [committed_world.serve("966"), committed_world.serve("20")]
    customers = [committed_world.customer() for _ in range(3)]
    for customer in customers:
        committed_world.endpoint(customer)
        for index in range(40):
            committed_world.message(customer, carriers[index % 2], price=MICRO)

    def work(index: int):
        carrier, lease, number = carriers[index % 2], uuid.uuid4(), 0
        while claimed := claim(carrier, limit=11, lease=lease):
            results = []
            for message in claimed:
                number += 1
                if number % 3:
                    results.append(Result(message, REFUSED, code="X"))
                else:
                    part = SubmittedPart(message.id, 1, f"{message.id}-1", now())
                    results.append(Result(message, ACCEPTED, [part]))
            queue.write_results(carrier.id, lease, results)

    in_threads([partial(work, index) for index in range(6)])
    for customer in customers:
        messages = customer.messages()
        failed = {message.id for message in messages if message.status == Status.FAILED}
        sent = {message.id for message in messages if message.status == Status.SENT}
        assert len(failed | sent) == 40
        refunded = [reference for kind, _, reference in customer.ledger() if kind == "refund"]
        assert (len(refunded), set(refunded)) == (len(failed), failed)
        assert customer.balance() == (100 - len(sent)) * MICRO
        assert sorted(customer.events(), key=str) == sorted(
            [("message.failed", message_id) for message_id in failed]
            + [("message.sent", message_id) for message_id in sent],
            key=str,
        )
        assert Part.objects.filter(message__in=sent).count() == len(sent)
