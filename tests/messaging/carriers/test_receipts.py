"""Receipts: each has its effect once, in any order of arrival, and none is lost."""

import itertools
import json
import random
import threading
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import transaction

from accounts.models import MICRO
from messaging.carriers import queue, receipts
from messaging.carriers.command_statuses import SubmitOutcome
from messaging.carriers.queue import Result, SubmittedPart
from messaging.carriers.receipts import FinalReceipt, Reason, UnusedReceipt
from messaging.models import EarlyReceipt, Message
from messaging.states import FINAL, Status
from tests.support.factories import PHONE, in_threads

DELIVERED, FAILED, EXPIRED = Status.DELIVERED, Status.FAILED, Status.EXPIRED


def now() -> datetime:
    return datetime.now(UTC)


def delivered(*carrier_message_ids: str) -> list[FinalReceipt]:
    return [FinalReceipt(each, DELIVERED) for each in carrier_message_ids]


def state_of(message: Message) -> Status:
    message.refresh_from_db()
    return Status(message.status)


def kinds(customer) -> list[str]:
    return [kind for kind, _ in customer.events()]


@pytest.fixture
def listening(customer, world):
    """The customer, with an endpoint that wants every event."""
    world.endpoint(customer)
    return customer


@pytest.fixture
def sent(listening, carrier, world):
    """A message of one part that the carrier accepted as c-1."""
    message = world.message(
        listening, carrier, status=Status.SENT, sent_at=now(), price=MICRO, reference="order 7"
    )
    world.part(message, "c-1")
    return message


def submit(carrier, message: Message, *carrier_message_ids: str) -> None:
    """Have the carrier accept the message's parts under these ids."""
    lease = uuid.uuid4()
    [claimed] = [
        claimed
        for claimed in queue.claim(carrier.id, urgent=False, limit=100, lease=lease)
        if claimed.id == message.id
    ]
    accepted = [
        SubmittedPart(message.id, number, each, now())
        for number, each in enumerate(carrier_message_ids, start=1)
    ]
    queue.write_results(carrier.id, lease, [Result(claimed, SubmitOutcome.ACCEPTED, accepted)])


# ---------------------------------------------------------------- the three final statuses

ENDINGS = [
    (DELIVERED, "", None, ""),
    (
        FAILED,
        "UNDELIV 027",
        {
            "code": "UNDELIV",
            "message": "The carrier reported that the message was not delivered (UNDELIV 027).",
        },
        "UNDELIV 027",
    ),
    (
        FAILED,
        "UNDELIVERABLE_BY_ALL 01234567890123456789",  # both at their maximum length
        {
            "code": "UNDELIVERABLE_BY_ALL",
            "message": "The carrier reported that the message was not delivered"
            " (UNDELIVERABLE_BY_ALL 01234567890123456789).",
        },
        "UNDELIVERABLE_BY_ALL 01234567890123456789",
    ),
    (
        EXPIRED,
        "EXPIRED",
        {
            "code": "EXPIRED",
            "message": "The carrier could not deliver the message within its validity.",
        },
        "EXPIRED",
    ),
    (
        EXPIRED,
        "",
        {
            "code": "EXPIRED",
            "message": "The carrier could not deliver the message within its validity.",
        },
        "",
    ),
]


@pytest.mark.parametrize(("status", "code", "error", "part_code"), ENDINGS)
def test_a_receipt_completes_the_message(sent, listening, carrier, status, code, error, part_code):
    receipts.apply(carrier.id, [FinalReceipt("c-1", status, code)])
    assert state_of(sent) == status
    assert abs(now() - sent.final_at) < timedelta(seconds=10)
    assert (sent.due_at, sent.lease) == (None, None)
    stored = {"code": sent.error_code, "message": sent.error_message}
    assert stored == (error or {"code": "", "message": ""})
    part = sent.submitted_parts.get()
    assert (part.status, part.error_code) == (status, part_code)
    assert part.final_at is not None
    body = json.loads(listening.event_rows()[0].body)
    assert body == {
        "event": f"message.{status}",
        "message_id": sent.public_id,
        "timestamp": body["timestamp"],
        "data": {
            "to": PHONE,
            "status": str(status),
            f"{status}_at": body["timestamp"],
            "reference": "order 7",
        }
        | ({"error": error} if error else {}),
    }


@pytest.mark.parametrize("status", [DELIVERED, FAILED, EXPIRED])
def test_accepted_messages_are_never_refunded(sent, listening, carrier, status):
    receipts.apply(carrier.id, [FinalReceipt("c-1", status, "X")])
    assert [kind for kind, _, _ in listening.ledger()] == ["charge"]


def test_the_event_has_exactly_the_documented_fields(listening, carrier, world):
    message = world.message(listening, carrier, status=Status.SENT)
    world.part(message, "c-1")
    receipts.apply(carrier.id, delivered("c-1"))
    body = json.loads(listening.event_rows()[0].body)
    assert set(body) == {"event", "message_id", "timestamp", "data"}
    assert set(body["data"]) == {"to", "status", "delivered_at"}


def test_each_receipt_of_a_batch_completes_its_message(listening, carrier, world):
    messages = []
    for index in range(50):
        messages.append(world.message(listening, carrier, status=Status.SENT))
        world.part(messages[-1], f"c-{index}")
    endings = [(DELIVERED, FAILED, EXPIRED)[index % 3] for index in range(50)]
    batch = [FinalReceipt(f"c-{i}", status, "X") for i, status in enumerate(endings)]
    random.Random(1).shuffle(batch)
    receipts.apply(carrier.id, batch)
    assert [state_of(message) for message in messages] == endings
    assert len(listening.events()) == 50


def test_a_batch_needs_as_many_statements_as_one_receipt(
    listening, carrier, world, django_assert_max_num_queries
):
    for index in range(100):
        world.part(world.message(listening, carrier, status=Status.SENT), f"c-{index}")
    with django_assert_max_num_queries(10):
        receipts.apply(carrier.id, delivered(*(f"c-{index}" for index in range(100))))
    assert len(listening.events()) == 100


# ---------------------------------------------------------------- repeated and late


def test_a_duplicate_receipt_in_a_batch_counts_once(sent, listening, carrier):
    receipts.apply(carrier.id, delivered("c-1", "c-1"))
    assert kinds(listening) == ["message.delivered"]


@pytest.mark.parametrize("second", [DELIVERED, FAILED, EXPIRED])
@pytest.mark.parametrize("first", [DELIVERED, FAILED, EXPIRED])
@pytest.mark.parametrize("together", [True, False], ids=["one batch", "two batches"])
def test_the_first_of_several_receipts_counts(sent, listening, carrier, first, second, together):
    batch = [FinalReceipt("c-1", first, "X"), FinalReceipt("c-1", second, "Y")]
    if together:
        receipts.apply(carrier.id, batch)
    else:
        receipts.apply(carrier.id, batch[:1])
        final_at = (sent.refresh_from_db(), sent.final_at)[1]
        receipts.apply(carrier.id, batch[1:])
        assert state_of(sent) == first
        assert sent.final_at == final_at
    assert state_of(sent) == first
    assert kinds(listening) == [f"message.{first}"]
    assert not EarlyReceipt.objects.filter(carrier=carrier).exists()


@pytest.mark.parametrize("status", sorted(FINAL))
def test_a_receipt_for_a_completed_message_changes_nothing(listening, carrier, world, status):
    message = world.message(listening, carrier, status=status, final_at=now(), error_code="E")
    world.part(message, "c-1", status=Status.SENT)
    before = Message.objects.filter(id=message.id).values().get()
    receipts.apply(carrier.id, delivered("c-1"))
    assert Message.objects.filter(id=message.id).values().get() == before
    assert listening.events() == []


def test_an_empty_batch_needs_no_query(django_assert_num_queries, db):
    with django_assert_num_queries(0):
        receipts.apply(1, [])


# ---------------------------------------------------------------- before the submit response


def test_an_unknown_receipt_is_kept(listening, carrier):
    receipts.apply(carrier.id, [FinalReceipt("c-9", FAILED, "UNDELIV 001")])
    kept = EarlyReceipt.objects.get(carrier=carrier)
    assert (kept.carrier_message_id, kept.status, kept.error_code) == (
        "c-9",
        "failed",
        "UNDELIV 001",
    )
    assert listening.events() == []


@pytest.mark.parametrize(("status", "code"), [(DELIVERED, ""), (FAILED, "UNDELIV 001")])
def test_an_early_receipt_is_applied_when_its_submit_is_written(
    listening, carrier, world, status, code
):
    message = world.message(listening, carrier)
    receipts.apply(carrier.id, [FinalReceipt("c-1", status, code)])
    submit(carrier, message, "c-1")
    assert state_of(message) == status
    assert message.error_code == code.partition(" ")[0]
    assert message.submitted_parts.get().status == status
    assert kinds(listening) == ["message.sent", f"message.{status}"]
    assert not EarlyReceipt.objects.filter(carrier=carrier).exists()


def test_the_first_of_two_early_receipts_counts(listening, carrier, world):
    message = world.message(listening, carrier)
    receipts.apply(carrier.id, [FinalReceipt("c-1", FAILED, "X")])
    receipts.apply(carrier.id, delivered("c-1"))
    submit(carrier, message, "c-1")
    assert state_of(message) == FAILED
    assert kinds(listening) == ["message.sent", "message.failed"]
    assert not EarlyReceipt.objects.filter(carrier=carrier).exists()


def test_early_and_late_receipts_of_one_message_are_combined(listening, carrier, world):
    message = world.message(listening, carrier, parts=3)
    receipts.apply(carrier.id, delivered("c-2"))
    submit(carrier, message, "c-1", "c-2", "c-3")
    assert state_of(message) == Status.SENT
    receipts.apply(carrier.id, delivered("c-3", "c-1"))
    assert state_of(message) == DELIVERED
    assert kinds(listening) == ["message.sent", "message.delivered"]


def test_another_carriers_receipt_with_the_same_id_does_not_match(listening, carrier, world):
    other = world.carrier()
    message = world.message(listening, carrier)
    receipts.apply(other.id, delivered("c-1"))
    submit(carrier, message, "c-1")
    receipts.apply(other.id, delivered("c-1"))
    receipts.match_waiting()
    assert state_of(message) == Status.SENT
    assert EarlyReceipt.objects.filter(carrier=other).count() == 2


def test_a_stale_unmatched_receipt_does_not_complete_a_new_message(listening, carrier, world):
    """A carrier that reuses its ids gives out ids of old, unmatched receipts."""
    receipts.apply(carrier.id, delivered("c-1"))
    long_ago = now() - receipts.EARLY_AT_MOST - timedelta(minutes=1)
    EarlyReceipt.objects.filter(carrier=carrier).update(received_at=long_ago)
    message = world.message(listening, carrier)
    submit(carrier, message, "c-1")
    assert state_of(message) == Status.SENT
    receipts.match_waiting()
    receipts.apply(carrier.id, [FinalReceipt("c-1", FAILED, "X")])
    assert state_of(message) == FAILED


def test_a_reused_id_matches_its_latest_part(listening, carrier, world):
    old = world.message(listening, carrier, status=DELIVERED)
    world.part(old, "c-1", status=DELIVERED)
    new = world.message(listening, carrier)
    submit(carrier, new, "c-1")
    receipts.apply(carrier.id, [FinalReceipt("c-1", FAILED, "X")])
    assert (state_of(old), state_of(new)) == (DELIVERED, FAILED)


def test_the_sweep_applies_receipts_concurrent_with_their_submit(committed_world):
    """Each transaction read before the other one was committed."""
    carrier, customer = committed_world.serve(), committed_world.customer()
    committed_world.endpoint(customer)
    message = committed_world.message(customer, carrier)
    submitted, applied = threading.Event(), threading.Event()

    def worker():
        with transaction.atomic():
            submit(carrier, message, "c-1")
            submitted.set()
            assert applied.wait(10), "the receipt must not wait for the submit"

    def receiver():
        submitted.wait(10)
        receipts.apply(carrier.id, delivered("c-1"))
        applied.set()

    in_threads([worker, receiver])
    assert state_of(message) == Status.SENT, "they did not cross: this test shows nothing"
    receipts.match_waiting()
    assert state_of(message) == DELIVERED
    assert kinds(customer) == ["message.sent", "message.delivered"]
    assert not EarlyReceipt.objects.filter(carrier=carrier).exists()


def test_the_sweep_returns_the_number_of_matches(listening, carrier, world):
    EarlyReceipt.objects.all().delete()
    for index in range(3):
        world.part(world.message(listening, carrier, status=Status.SENT), f"c-{index}")
        EarlyReceipt.objects.create(
            carrier=carrier, carrier_message_id=f"c-{index}", status=DELIVERED
        )
    EarlyReceipt.objects.create(carrier=carrier, carrier_message_id="nobody's", status=DELIVERED)
    assert [receipts.match_waiting(limit=2) for _ in range(3)] == [2, 1, 0]
    assert kinds(listening) == ["message.delivered"] * 3


# ---------------------------------------------------------------- several parts


@pytest.mark.parametrize("order", [*itertools.permutations([1, 2, 3])], ids=str)
def test_a_message_completes_with_its_last_part_in_any_order(listening, carrier, world, order):
    message = world.message(listening, carrier, parts=3, status=Status.SENT)
    for number in (1, 2, 3):
        world.part(message, f"c-{number}", number)
    for number in order:
        assert state_of(message) == Status.SENT
        receipts.apply(carrier.id, delivered(f"c-{number}"))
    assert state_of(message) == DELIVERED
    assert kinds(listening) == ["message.delivered"]


@pytest.mark.parametrize(
    ("parts", "ending"),
    [
        ([DELIVERED, DELIVERED, DELIVERED], DELIVERED),
        ([FAILED, DELIVERED, DELIVERED], FAILED),
        ([DELIVERED, DELIVERED, FAILED], FAILED),
        ([DELIVERED, EXPIRED, DELIVERED], EXPIRED),
        ([EXPIRED, DELIVERED, FAILED], EXPIRED),
        ([FAILED, EXPIRED, DELIVERED], FAILED),
    ],
)
@pytest.mark.parametrize("together", [True, False], ids=["one batch", "one by one"])
def test_one_undelivered_part_fails_the_message(listening, carrier, world, parts, ending, together):
    message = world.message(listening, carrier, parts=3, status=Status.SENT)
    for number in (1, 2, 3):
        world.part(message, f"c-{number}", number)
    batch = [FinalReceipt(f"c-{n}", status, "X") for n, status in enumerate(parts, start=1)]
    batch.reverse()
    for each in [batch] if together else [[receipt] for receipt in batch]:
        receipts.apply(carrier.id, each)
    assert state_of(message) == ending
    assert kinds(listening) == [f"message.{ending}"]
    assert list(message.submitted_parts.order_by("number").values_list("status", flat=True)) == [
        str(status) for status in parts
    ]


def test_a_repeated_receipt_does_not_count_for_another_part(listening, carrier, world):
    message = world.message(listening, carrier, parts=2, status=Status.SENT)
    world.part(message, "c-1", 1)
    world.part(message, "c-2", 2)
    for _ in range(3):
        receipts.apply(carrier.id, delivered("c-1", "c-1"))
    assert state_of(message) == Status.SENT
    assert listening.events() == []


def test_receipts_wait_for_parts_not_submitted_yet(listening, carrier, world):
    message = world.message(listening, carrier, parts=2)
    lease = uuid.uuid4()
    [claimed] = queue.claim(carrier.id, urgent=False, limit=1, lease=lease)
    throttled = Result(
        claimed, SubmitOutcome.SLOW_DOWN, [SubmittedPart(message.id, 1, "c-1", now())]
    )
    queue.write_results(carrier.id, lease, [throttled])
    receipts.apply(carrier.id, delivered("c-1"))
    assert state_of(message) == Status.QUEUED
    Message.objects.filter(id=message.id).update(due_at=now() - timedelta(minutes=1))
    [claimed] = queue.claim(carrier.id, urgent=False, limit=1, lease=lease)
    rest = Result(claimed, SubmitOutcome.ACCEPTED, [SubmittedPart(message.id, 2, "c-2", now())])
    queue.write_results(carrier.id, lease, [rest])
    assert state_of(message) == Status.SENT
    receipts.apply(carrier.id, delivered("c-2"))
    assert state_of(message) == DELIVERED


def test_a_receipt_of_a_final_part_changes_nothing(listening, carrier, world):
    """Not even while its message is open because it is being resubmitted."""
    message = world.message(listening, carrier, status=Status.SENDING, lease=uuid.uuid4())
    world.part(message, "c-1", status=FAILED)
    receipts.apply(carrier.id, delivered("c-1"))
    assert state_of(message) == Status.SENDING
    assert listening.events() == []


def test_a_receipt_during_a_resubmit_is_final(listening, carrier, world):
    """The late worker's part is delivered while the next worker holds the message."""
    message = world.message(listening, carrier, status=Status.SENDING, lease=uuid.uuid4())
    world.part(message, "c-1")
    receipts.apply(carrier.id, delivered("c-1"))
    assert state_of(message) == DELIVERED
    assert (message.lease, message.due_at) == (None, None)
    assert message.sent_at is not None


# ---------------------------------------------------------------- under load


def many(world, count: int, parts: int = 1):
    """Return a customer with that many messages sent over one carrier, and all their ids."""
    carrier, customer = world.serve(), world.customer()
    world.endpoint(customer)
    messages = [
        world.message(customer, carrier, parts=parts, status=Status.SENT) for _ in range(count)
    ]
    names = [f"c-{index}-{number}" for index in range(count) for number in range(1, parts + 1)]
    for name in names:
        _, index, number = name.split("-")
        world.part(messages[int(index)], name, int(number))
    return carrier, customer, messages, names


@pytest.mark.parametrize("parts", [1, 3])
def test_concurrent_duplicates_on_several_binds_create_one_event_each(committed_world, parts):
    carrier, customer, messages, names = many(committed_world, 60, parts)

    def bind(seed: int):
        shuffled = random.Random(seed).sample(names, len(names))
        for start in range(0, len(shuffled), 13):
            batch = [
                FinalReceipt(name, (DELIVERED, FAILED)[seed % 2], "X")
                for name in shuffled[start : start + 13]
            ]
            receipts.apply(carrier.id, batch)

    in_threads([partial(bind, seed) for seed in range(5)])
    assert {state_of(message) for message in messages} <= {DELIVERED, FAILED}
    events = customer.events()
    assert len(events) == len(messages)
    assert {message_id: kind for kind, message_id in events} == {
        message.id: f"message.{message.status}" for message in messages
    }


def test_concurrent_receipts_of_the_last_two_parts_complete_the_message(committed_world):
    """Neither transaction may see the other one's part as still open."""
    carrier, customer, [message], _ = many(committed_world, 1, 2)
    first_applied, second_done = threading.Event(), threading.Event()

    def first():
        with transaction.atomic():
            receipts.apply(carrier.id, delivered("c-0-1"))
            first_applied.set()
            assert not second_done.wait(0.3), "the second must wait for the first"

    def second():
        first_applied.wait(10)
        receipts.apply(carrier.id, delivered("c-0-2"))
        second_done.set()

    in_threads([first, second])
    assert state_of(message) == DELIVERED
    assert kinds(customer) == ["message.delivered"]


def test_concurrent_receipts_of_one_part_count_once(committed_world):
    """The second one has read the part as open, and then waits for the first."""
    carrier, customer, [message], [name] = many(committed_world, 1)
    first_applied, second_done = threading.Event(), threading.Event()

    def first():
        with transaction.atomic():
            receipts.apply(carrier.id, delivered(name))
            first_applied.set()
            assert not second_done.wait(0.3), "the second must wait for the first"

    def second():
        first_applied.wait(10)
        receipts.apply(carrier.id, [FinalReceipt(name, FAILED, "UNDELIV")])
        second_done.set()

    in_threads([first, second])
    part = message.submitted_parts.get()
    assert (state_of(message), part.status, part.error_code) == (DELIVERED, "delivered", "")
    assert kinds(customer) == ["message.delivered"]


def test_receipts_concurrent_with_results_are_all_applied(committed_world):
    carrier, customer = committed_world.serve(), committed_world.customer()
    committed_world.endpoint(customer)
    messages = [committed_world.message(customer, carrier, parts=2) for _ in range(80)]
    names = [f"{message.id}-{number}" for message in messages for number in (1, 2)]

    def worker():
        lease = uuid.uuid4()
        while claimed := queue.claim(carrier.id, urgent=False, limit=9, lease=lease):
            results = [
                Result(
                    each,
                    SubmitOutcome.ACCEPTED,
                    [
                        SubmittedPart(each.id, number, f"{each.id}-{number}", now())
                        for number in (1, 2)
                    ],
                )
                for each in claimed
            ]
            queue.write_results(carrier.id, lease, results)

    def receiver(seed: int):
        shuffled = random.Random(seed).sample(names, len(names))
        for start in range(0, len(shuffled), 11):
            receipts.apply(carrier.id, delivered(*shuffled[start : start + 11]))

    def sweep():
        for _ in range(10):
            receipts.match_waiting()

    works: list[Any] = [worker, worker, sweep]
    in_threads(works + [partial(receiver, seed) for seed in (1, 2)])
    receipts.match_waiting()
    assert {state_of(message) for message in messages} == {DELIVERED}
    expected = [(f"message.{kind}", m.id) for m in messages for kind in ("delivered", "sent")]
    assert sorted(customer.events(), key=str) == sorted(expected, key=str)
    assert not EarlyReceipt.objects.filter(carrier=carrier).exists()


# ---------------------------------------------------------------- unmatched receipts


WORDS = {"receipt_words": {"NODLV": "failed", "GONE": "expired", "WAIT": "enroute"}}


@pytest.mark.parametrize(
    ("reason", "word", "status", "setting", "ends"),
    [
        (Reason.UNKNOWN_WORD, "NODLV", "", WORDS, FAILED),
        (Reason.UNKNOWN_WORD, "GONE", "", WORDS, EXPIRED),
        (Reason.UNKNOWN_WORD, "WAIT", "", WORDS, None),
        (Reason.UNMARKED, "DELIVRD", "delivered", {"receipts_unmarked": True}, DELIVERED),
        (Reason.DATA_SM, "UNDELIV", "failed", {"receipts_by_data_sm": True}, FAILED),
        (Reason.CONTRADICTION, "DELIVRD", "delivered", {"receipt_text_first": True}, DELIVERED),
    ],
)
def test_kept_receipts_are_applied_once_the_settings_allow_them(
    sent, listening, carrier, reason, word, status, setting, ends
):
    type(carrier).objects.filter(id=carrier.id).update(receipts_by_data_sm=False)
    receipts.apply(
        carrier.id, [UnusedReceipt(reason, "c-1", status, f"{word} 5", word, f"id:c-1 stat:{word}")]
    )
    assert state_of(sent) == Status.SENT
    assert receipts.use_kept() == 0
    type(carrier).objects.filter(id=carrier.id).update(**setting)
    assert receipts.use_kept() == 1
    assert state_of(sent) == (ends or Status.SENT)
    assert kinds(listening) == ([f"message.{ends}"] if ends else [])
    part = sent.submitted_parts.get()
    assert part.error_code == ("" if ends in (DELIVERED, None) else f"{word} 5")
    assert not EarlyReceipt.objects.exists()
    assert receipts.use_kept() == 0


@pytest.mark.parametrize("reason", [Reason.UNREADABLE, Reason.UNWRITABLE])
def test_unusable_receipts_stay_whatever_the_settings(sent, carrier, reason):
    receipts.apply(carrier.id, [UnusedReceipt(reason, "c-1", "delivered")])
    type(carrier).objects.filter(id=carrier.id).update(
        receipts_unmarked=True, receipt_text_first=True, **WORDS
    )
    assert receipts.use_kept() == 0
    assert EarlyReceipt.objects.get().reason == reason
    assert state_of(sent) == Status.SENT


def test_an_unused_receipt_is_not_an_early_receipt(listening, carrier, world):
    message = world.message(listening, carrier)
    receipts.apply(carrier.id, [UnusedReceipt(Reason.UNMARKED, "c-9", "delivered")])
    submit(carrier, message, "c-9")
    assert receipts.match_waiting() == 0
    assert state_of(message) == Status.SENT
    assert EarlyReceipt.objects.get().reason == Reason.UNMARKED


def test_an_allowed_receipt_without_a_message_becomes_unmatched(carrier):
    receipts.apply(carrier.id, [UnusedReceipt(Reason.UNMARKED, "c-9", "delivered")])
    type(carrier).objects.filter(id=carrier.id).update(receipts_unmarked=True)
    assert receipts.use_kept() == 1
    row = EarlyReceipt.objects.get()
    assert (row.reason, row.carrier_message_id, row.status) == ("unmatched", "c-9", "delivered")


def test_no_receipt_matches_a_part_without_an_id(listening, carrier, world):
    """The carrier accepted it without an id; a receipt with an unreadable id is not its own."""
    message = world.message(listening, carrier)
    receipts.apply(carrier.id, [UnusedReceipt(Reason.UNREADABLE, "", "")])
    submit(carrier, message, "")
    assert receipts.match_waiting() == 0
    assert state_of(message) == Status.SENT
    assert EarlyReceipt.objects.count() == 1


def kept(carrier, name: str, days: float) -> EarlyReceipt:
    receipts.apply(carrier.id, delivered(name))
    found = EarlyReceipt.objects.get(carrier=carrier, carrier_message_id=name)
    EarlyReceipt.objects.filter(id=found.id).update(received_at=now() - timedelta(days=days))
    return found


def test_unmatched_receipts_are_deleted_after_three_days(carrier):
    EarlyReceipt.objects.all().delete()
    for name, days in (("a", 4), ("b", 3.01), ("c", 2.99), ("d", 0)):
        kept(carrier, name, days)
    assert receipts.forget_early() == 2
    left = EarlyReceipt.objects.values_list("carrier_message_id", flat=True)
    assert sorted(left) == ["c", "d"]
    assert receipts.forget_early() == 0


def test_deletion_has_bounded_steps(carrier):
    EarlyReceipt.objects.all().delete()
    for number in range(5):
        kept(carrier, str(number), 4)
    assert [receipts.forget_early(limit=2) for _ in range(4)] == [2, 2, 1, 0]
