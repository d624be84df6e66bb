"""The record of a message, and the events, refunds and wake-ups that are built from it."""

import ast
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from django.db import connection

from accounts.models import MICRO, LedgerEntry
from imissive.core import ids
from imissive.env import read_env
from imissive.run import programs
from imissive.run.programs import ROOT
from messaging.carriers.queue import Claimed
from messaging.lifecycle.events import EVENT_TYPES, MessageError, message_event, message_events
from messaging.lifecycle.record import MessageRecord, columns
from messaging.lifecycle.refunds import refunds
from messaging.lifecycle.wakeups import carrier_queue, wake_carriers, wake_for
from messaging.models import Carrier, Message
from messaging.states import FINAL, Status
from tests.support.factories import Customer, World
from tests.support.sql_in_code import files
from webhooks.events import outbox
from webhooks.models import EventType

AT = datetime(2026, 11, 28, 10, 1, 23, tzinfo=UTC)
RECORD = MessageRecord(
    id=ids.new_uuid(),
    organization_id=ids.new_uuid(),
    batch_id=None,
    carrier_id=7,
    test=False,
    urgent=False,
    to="+966501234567",
    reference="",
    parts=3,
    price=3 * MICRO,
)
BATCH = ids.new_uuid()


# ---------------------------------------------------------------- the record


def test_columns_match_the_fields() -> None:
    assert columns("m").split(", ") == [
        'm."id"', 'm."organization_id"', 'm."batch_id"', 'm."carrier_id"', 'm."test"',
        'm."urgent"', 'm."to"', 'm."reference"', 'm."parts"', 'm."price"',
    ]  # fmt: skip
    assert columns("m", Claimed, but=2).startswith(columns("m") + ', m."sender", m."text"')
    assert "tried" not in columns("m", Claimed, but=2)


def test_a_record_is_read_from_a_row_by_its_columns(
    customer: Customer, carrier: Carrier, world: World
) -> None:
    message = world.message(customer, carrier, reference="order 7", parts=2, price=4, urgent=True)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {columns('m')} FROM messaging_message m WHERE id = %s", [message.id]
        )
        record = MessageRecord(*cursor.fetchone())
    names = MessageRecord.__dataclass_fields__
    assert {name: getattr(record, name) for name in names} == {
        name: getattr(message, name) for name in names
    }


# ---------------------------------------------------------------- events


@pytest.mark.parametrize("status", EVENT_TYPES)
def test_an_event_has_the_documented_data(status: Status) -> None:
    event = message_event(RECORD, status, AT)
    assert orjson.loads(outbox.body_of(event)) == {
        "event": f"message.{status}",
        "message_id": ids.public_id(ids.MESSAGE, RECORD.id),
        "timestamp": "2026-11-28T10:01:23Z",
        "data": {
            "to": "+966501234567",
            "status": str(status),
            f"{status}_at": "2026-11-28T10:01:23Z",
        },
    }
    assert event.organization_id == RECORD.organization_id


@pytest.mark.parametrize(
    ("fields", "error", "more"),
    [
        ({"reference": "order 7"}, None, {"reference": "order 7"}),
        ({"batch_id": BATCH}, None, {"batch_id": ids.public_id(ids.BATCH, BATCH)}),
        ({"test": True}, None, {"test": True}),
        ({}, MessageError("UNDELIV", "Why."), {"error": {"code": "UNDELIV", "message": "Why."}}),
    ],
)
def test_an_event_has_optional_data(
    fields: dict[str, Any], error: MessageError | None, more: dict[str, Any]
) -> None:
    plain = message_event(RECORD, Status.FAILED, AT).data
    event = message_event(replace(RECORD, **fields), Status.FAILED, AT, error)
    assert event.data == plain | more


def test_every_message_event_type_has_a_status() -> None:
    assert set(EVENT_TYPES.values()) == {kind for kind in EventType if kind.startswith("message.")}
    assert set(EVENT_TYPES) == FINAL | {Status.QUEUED, Status.SENT}
    assert [event.type for event in message_events([RECORD] * 2, Status.SENT, AT)] == [
        "message.sent"
    ] * 2


def test_no_other_module_builds_message_events() -> None:
    naming = {
        str(path)
        for path in files()
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.Attribute) and node.attr.startswith("MESSAGE_")
        if path.parts[0] == "messaging" and node.attr in EventType.__members__
    }
    assert naming == {
        "messaging/lifecycle/events.py",
        "messaging/sending/accept.py",  # asks whether anybody wants message.queued
    }


# ---------------------------------------------------------------- refunds


@pytest.mark.parametrize(
    ("submitted", "amount"), [(0, 3 * MICRO), (1, 2 * MICRO), (2, MICRO), (3, 0)]
)
def test_parts_that_no_carrier_accepted_are_refunded(submitted: int, amount: int) -> None:
    found = refunds(RECORD, submitted, "canceled")
    assert [posting.amount for posting in found] == ([amount] if amount else [])
    for posting in found:
        assert posting.reference == RECORD.id
        assert posting.organization_id == RECORD.organization_id
        assert (posting.kind, posting.reason) == (LedgerEntry.Kind.REFUND, "canceled")


def test_free_messages_are_not_refunded() -> None:
    assert refunds(replace(RECORD, price=0), 0, "canceled") == []


# ---------------------------------------------------------------- wake-ups


def test_a_carrier_worker_listens_to_its_queues() -> None:
    command = programs.carrier_command(read_env(), "north")
    queues = command[command.index("-Q") + 1].split(",")
    assert set(queues) == {carrier_queue("north", urgent=urgent) for urgent in (True, False)}


def test_each_priority_is_woken_once(world: World, wakes: list[Any]) -> None:
    first, second = world.carrier(), world.carrier()
    waiting = [replace(RECORD, carrier_id=carrier.id) for carrier in (first, second, first)]
    wake_for([*waiting, replace(waiting[0], urgent=True)])
    assert sorted(wakes) == sorted(
        [
            ("messaging.tasks.wake", f"carrier.{first.slug}", ("bulk",)),
            ("messaging.tasks.wake", f"carrier.{first.slug}.urgent", ("urgent",)),
            ("messaging.tasks.wake", f"carrier.{second.slug}", ("bulk",)),
        ]
    )


def test_a_deleted_carrier_is_not_woken(db: None, wakes: list[Any]) -> None:
    assert not Message.objects.exists()
    wake_carriers([(2_000_000_000, False)])
    assert wakes == []
