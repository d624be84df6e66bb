"""The answers about messages are exactly what the public reference declares."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError
from typing_extensions import is_typeddict

from imissive.core import ids
from imissive.pages.usage_api import (
    UsageByCountry,
    UsageByDay,
    UsageBySender,
    UsageByStatus,
)
from messaging.models import Attempt, Message
from messaging.sending import schemas
from messaging.states import Status
from messaging.usage import usage
from tests.support.factories import PHONE, SENDER

LATER = (datetime.now(UTC) + timedelta(days=1)).isoformat()
GOOD = {"to": PHONE, "message": "Hello", "reference": "order 7"}
REFUSED = {"to": "nobody", "message": "م" * 700, "sender_id": "Nobody"}
DEFINED: list[type] = [model for model in vars(schemas).values() if is_typeddict(model)]


def read(model: type, body: Any) -> Any:
    """Return a body that is that model to the letter: every field, no other, no wrong type."""
    return TypeAdapter(model).validate_python(body, strict=True, extra="forbid")


def holds(model: type, answer) -> Any:
    """Assert that the answer is that model to the letter, and return it."""
    assert answer.status_code in (200, 202), answer.content
    return read(model, answer.json())


@pytest.fixture
def ended(customer, carrier, world) -> list[Message]:
    """A message of each status, with parts, attempts and an error where there may be."""
    now = datetime.now(UTC)
    made = []
    for status in Status:
        final = now if status in ("delivered", "failed", "expired", "canceled") else None
        message = world.message(
            customer,
            carrier,
            status=status,
            parts=2,
            scheduled_at=now,
            sent_at=now,
            final_at=final,
            error_code="UNDELIV" if status == "failed" else "",
            error_message="Not delivered." if status == "failed" else "",
        )
        for number, part in enumerate(("delivered", "failed", "expired", "sent")[:2], start=1):
            world.part(message, f"{status}-{number}", number, status=part, final_at=now)
        for outcome in ("throttled", "held"):
            Attempt.objects.create(message=message, carrier=carrier, outcome=outcome, detail="X.")
        made.append(message)
    return made


@pytest.mark.parametrize("more", [{}, {"scheduled_at": LATER}], ids=["now", "later"])
def test_a_send(api, carrier, more):
    holds(schemas.Message, api.post("/v1/sms/send", GOOD | more))


def test_a_bulk_call(api, carrier):
    for rows in ([GOOD, REFUSED, GOOD], [REFUSED]):
        answer = holds(schemas.BulkResult, api.post("/v1/sms/bulk", {"messages": rows}))
        assert {row["status"] for row in answer["messages"]} <= {"queued", "rejected"}
        assert len(answer["messages"]) == len(rows)


@pytest.mark.parametrize("body", [GOOD, REFUSED, GOOD | {"scheduled_at": "soon"}], ids=str)
def test_an_estimate(api, carrier, body):
    holds(schemas.Estimate, api.post("/v1/sms/estimate", body))
    shared = {name: body[name] for name in ("scheduled_at",) if name in body}
    row = {name: value for name, value in body.items() if name not in shared}
    answer = api.post("/v1/sms/estimate", {"messages": [row]} | shared)
    holds(schemas.BulkEstimate, answer)


def test_lists_and_messages(api, ended):
    listed = holds(schemas.Messages, api.get("/v1/sms"))
    assert {row["status"] for row in listed["data"]} == set(map(str, Status))
    assert holds(schemas.Messages, api.get("/v1/sms?limit=1"))["next_cursor"]
    for message in ended:
        detail = holds(schemas.MessageDetail, api.get(f"/v1/sms/{message.public_id}"))
        assert {entry["event"] for entry in detail["timeline"]} >= {"accepted", "attempt", "held"}


def test_a_cancel(api, carrier):
    sent = api.post("/v1/sms/send", GOOD).json()
    holds(schemas.Message, api.post(f"/v1/sms/{sent['message_id']}/cancel"))


def test_a_batch_and_its_cancel(api, carrier):
    sent = api.post("/v1/sms/bulk", {"messages": [GOOD, REFUSED]}).json()
    holds(schemas.Batch, api.get(f"/v1/batches/{sent['batch_id']}"))
    holds(schemas.CanceledBatch, api.post(f"/v1/batches/{sent['batch_id']}/cancel"))
    holds(schemas.Batch, api.get(f"/v1/batches/{sent['batch_id']}"))


USAGE = {
    "day": UsageByDay,
    "status": UsageByStatus,
    "sender_id": UsageBySender,
    "country": UsageByCountry,
}


@pytest.mark.parametrize("group", get_args(usage.Group))
def test_usage(api, ended, group):
    answer = holds(USAGE[group], api.get(f"/v1/usage?group_by={group}"))
    assert answer["data"]


def test_the_vocabulary_is_the_codes():
    assert TypeAdapter(schemas.StatusName).json_schema()["enum"] == list(Status)
    assert set(schemas.StatusCounts.__annotations__) == set(map(str, Status))


def test_what_is_not_declared_would_be_noticed(api, carrier):
    """The models are strict enough to fail."""
    body = api.post("/v1/sms/send", GOOD).json()
    for change in (
        {"extra": 1},
        {"parts": "1"},
        {"status": "lost"},
        {"to": "966501234567"},
        {"credits": 1},
        {"message_id": body["message_id"][:-1]},
        {"created_at": None},
        {"created_at": "2027-01-15T10:00:00Z"},
        {"created_at": "2027-01-15T13:00:00.000+03:00"},
    ):
        with pytest.raises(ValidationError):
            read(schemas.Message, body | change)
    for name in body:
        rest = {key: value for key, value in body.items() if key != name}
        with pytest.raises(ValidationError):
            read(schemas.Message, rest)


@pytest.mark.parametrize("model", DEFINED, ids=lambda model: model.__name__)
def test_every_field_is_always_there(model):
    schema = TypeAdapter(model).json_schema(mode="serialization")
    assert set(schema.get("required", ())) == set(schema["properties"])


def test_examples_are_examples():
    for name, prefix in (("MessageId", ids.MESSAGE), ("BatchId", ids.BATCH)):
        [field] = [one for one in get_args(getattr(schemas, name)) if hasattr(one, "examples")]
        assert ids.parse_id(prefix, field.examples[0])
    schema = TypeAdapter(schemas.Message).json_schema()
    assert SENDER in schema["properties"]["sender_id"]["examples"]
