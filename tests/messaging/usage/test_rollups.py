"""Sums of hours say what the messages say, whatever ends when, and whoever sums meanwhile."""

import random
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from accounts.credits import ledger
from accounts.models import MICRO, LedgerEntry
from imissive.core import ids
from messaging.models import Carrier, Message, UsageMark, UsageOpen, UsageSum
from messaging.states import FINAL, Status
from messaging.usage import rollups, usage
from tests.support.factories import Customer, World, advance, in_threads

PRICE = MICRO // 4
NOW = datetime(2026, 6, 10, 15, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)


def sent(world: World, customer: Customer, carrier: Carrier, at: datetime, **fields: Any):
    """A message accepted at that time; where it has failed, its credits are back."""
    random_bits = random.getrandbits(62)
    fields = {"id": _id(at, random_bits), "created_at": at, "price": PRICE} | fields
    message = world.message(customer, carrier, **fields)
    if message.status == Status.FAILED and message.price:
        back(customer, message)
    return message


def _id(at: datetime, bits: int):
    return type(ids.new_uuid())(int=ids.first_id_at(at).int | bits)


def back(customer: Customer, message: Message) -> None:
    kind = LedgerEntry.Kind.REFUND
    ledger.post([ledger.Posting(customer.id, kind, message.price, message.id, "not accepted")])


@transaction.atomic
def end(customer: Customer, message: Message, status: Status) -> None:
    """As whoever ends messages: the refund is in the same transaction."""
    advance(Message.objects.filter(pk=message.pk), status)
    if status == Status.FAILED:
        back(customer, message)


def usage_of(customer: Customer, start: datetime, finish: datetime) -> list[Any]:
    """Everything that can be asked about a span."""
    groups: list[usage.Group] = ["day", "status", "sender_id", "country"]
    by = [usage.used_by(customer.id, start, finish, group) for group in groups]
    return [*by, *(usage.traffic(customer.id, start, finish, step) for step in ("hour", "day"))]


@pytest.fixture
def mixed(world: World, customer: Customer, carrier: Carrier) -> list[Message]:
    """Messages of three days in all states, some of them tests."""
    dice = random.Random(4)
    return [
        sent(
            world,
            customer,
            carrier,
            NOW - timedelta(minutes=dice.randrange(3 * 24 * 60)),
            status=dice.choice(list(Status)),
            sender=dice.choice(["MyCompany", "Other"]),
            country=dice.choice(["SA", "AE", "EG"]),
            parts=dice.randrange(1, 4),
            test=dice.random() < 0.1,
        )
        for _ in range(120)
    ]


PERIODS = [
    (NOW - 4 * 24 * HOUR, NOW + HOUR),
    (NOW - 24 * HOUR, NOW),
    (NOW - timedelta(minutes=7), NOW),
    (NOW - 2 * HOUR, NOW - HOUR),
    (datetime(2026, 6, 8, tzinfo=UTC), datetime(2026, 6, 9, tzinfo=UTC)),
    (NOW - 50 * HOUR + timedelta(seconds=3), NOW - timedelta(minutes=61)),
    (NOW - 90 * 24 * HOUR, NOW - 80 * 24 * HOUR),
]


def test_sums_say_what_the_messages_say(customer: Customer, mixed: list[Message]) -> None:
    counted = [usage_of(customer, *period) for period in PERIODS]
    assert counted[0][-1].total.messages == sum(not one.test for one in mixed)
    rollups.roll_up(NOW)
    assert UsageMark.objects.get(organization=customer.id).upto == NOW.replace(hour=15, minute=0)
    assert UsageSum.objects.filter(organization=customer.id).exists()
    assert [usage_of(customer, *period) for period in PERIODS] == counted


def test_what_ends_later_is_right_before_and_after_it_is_added(
    customer: Customer, mixed: list[Message]
) -> None:
    rollups.roll_up(NOW)
    dice = random.Random(5)
    going = [one for one in mixed if one.status not in FINAL]
    for message in going[::2]:
        end(customer, message, dice.choice([Status.DELIVERED, Status.FAILED]))
    counted = [usage_of(customer, *period) for period in PERIODS]
    waiting = UsageOpen.objects.filter(organization=customer.id)
    before = waiting.count()
    while rollups.add_completed(3):
        assert usage_of(customer, *PERIODS[0]) == counted[0]
    assert 0 < waiting.count() < before
    assert [usage_of(customer, *period) for period in PERIODS] == counted
    UsageMark.objects.filter(organization=customer.id).delete()
    again = [usage_of(customer, *period) for period in PERIODS]
    assert again == counted, "counted from messages alone"


def test_an_hour_is_summed_once_it_is_over(
    world: World, customer: Customer, carrier: Carrier
) -> None:
    sent(world, customer, carrier, NOW - HOUR, status=Status.DELIVERED)
    rollups.roll_up(NOW.replace(minute=14, second=59))
    assert not UsageSum.objects.filter(organization=customer.id).exists()
    rollups.roll_up(NOW.replace(minute=15))
    rollups.roll_up(NOW)
    [row] = UsageSum.objects.filter(organization=customer.id)
    assert (row.hour, row.status, row.messages, row.credits) == (
        NOW.replace(hour=14, minute=0), "delivered", 1, PRICE,
    )  # fmt: skip
    sent(world, customer, carrier, NOW, status=Status.DELIVERED)
    assert usage.traffic(customer.id, NOW - 24 * HOUR, NOW + HOUR, "day").total.messages == 2


def test_sums_are_read_and_not_the_messages(customer: Customer, mixed: list[Message]) -> None:
    """So that what is asked of old days costs no reading of their messages."""
    rollups.roll_up(NOW)
    start, finish = PERIODS[4]
    counted = usage_of(customer, start, finish)
    Message.objects.filter(organization=customer.id, status__in=FINAL).delete()
    assert usage_of(customer, start, finish) == counted
    assert counted[0]


def test_an_organization_without_messages_costs_nothing_to_read(customer: Customer) -> None:
    rollups.roll_up(NOW)
    assert usage.traffic(customer.id, NOW - 24 * HOUR, NOW, "hour") == usage.Traffic()
    assert usage.Traffic().delivery_rate is None


def test_another_organizations_are_not_counted(outsider: Customer, mixed: list[Message]) -> None:
    rollups.roll_up(NOW)
    assert usage.traffic(outsider.id, *PERIODS[0], "day") == usage.Traffic()


def test_the_delivery_rate_is_of_what_has_ended() -> None:
    counts = {"delivered": 3, "failed": 1, "queued": 5, "canceled": 2}
    assert usage.delivery_rate(counts) == 75
    assert usage.delivery_rate({"queued": 1}) is None


def test_many_summing_at_once_sum_once(committed_world: World) -> None:
    """Four workers, while messages end."""
    world = committed_world
    customer, carrier = world.customer(), world.serve()
    messages = [
        sent(world, customer, carrier, NOW - timedelta(minutes=20 * one), status=Status.SENT)
        for one in range(6, 40)
    ]
    more = threading.Event()

    def ending() -> None:
        for message in messages:
            end(customer, message, Status.FAILED)
        more.set()

    def adding() -> None:
        last = False
        while True:
            rollups.roll_up_hours(customer.id, usage.floor_hour(NOW))
            rollups.add_completed(2)
            if last:
                return
            last = more.is_set()

    in_threads([ending, adding, adding, adding])
    while rollups.add_completed(100):
        pass
    try:
        rows = UsageSum.objects.filter(organization=customer.id)
        assert sum(row.messages for row in rows) == len(messages)
        assert {row.status for row in rows} == {"failed"}
        assert not UsageOpen.objects.filter(organization=customer.id).exists()
        assert usage.traffic(customer.id, *PERIODS[0], "day").total == usage.Used(34, 34, 0)
    finally:
        rows.delete()
        UsageMark.objects.filter(organization=customer.id).delete()
