"""The events that are recorded, signed and posted are exactly as the public schema declares."""

import copy
import functools
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from accounts.models import Organization
from imissive.reference.schema import document
from messaging.billing import low_balance
from messaging.carriers import queue, receipts, sweeps
from messaging.carriers.command_statuses import SubmitOutcome
from messaging.carriers.queue import Result, SubmittedPart
from messaging.carriers.receipts import FinalReceipt
from messaging.models import Message
from messaging.senders import approval
from messaging.states import Status
from otp.verification import completion
from tests.support import otps
from tests.support.factories import (
    PHONE,
    Api,
    Customer,
    World,
)
from tests.support.people import operator
from webhooks.endpoints import disable
from webhooks.models import EventType

ANOTHER = "+966500000009"
LATER = (datetime.now(UTC) + timedelta(days=1)).isoformat()


@functools.cache
def validators() -> dict[str, Draft202012Validator]:
    """Return a validator for each event by its name, which refuses undeclared fields."""
    schema = copy.deepcopy(document().schema)
    for model in schema["components"]["schemas"].values():
        if "properties" in model:
            model.setdefault("additionalProperties", False)
    found = {}
    for name, item in schema["webhooks"].items():
        body = item["post"]["requestBody"]["content"]["application/json"]["schema"]
        whole = body | {"components": schema["components"]}
        found[name] = Draft202012Validator(whole, format_checker=FormatChecker())
    return found


def bodies(customer: Customer) -> list[dict[str, Any]]:
    return [json.loads(row.body) for row in customer.event_rows()]


@pytest.fixture
def listening(world: World, customer: Customer) -> Customer:
    """Return a customer with an endpoint for every event, also of its test messages."""
    world.carrier(is_sandbox=True)
    world.endpoint(customer)
    return customer


# ---------------------------------------------------------------- causes of the events


def post(api: Api, path: str, body: Any = None) -> dict[str, Any]:
    response = api.post(path, body)
    assert response.status_code < 300, response.content
    created: dict[str, Any] = response.json()
    return created


def send(api: Api, **more: Any) -> Message:
    sent = post(api, "/v1/sms/send", {"to": PHONE, "message": "Hello"} | more)
    return otps.message(sent["message_id"])


def submitted(message: Message, submit_outcome: SubmitOutcome) -> None:
    """Claim the message as a carrier's worker, and write that outcome of its submit."""
    lease = uuid.uuid4()
    Message.objects.filter(id=message.id).update(due_at=datetime.now(UTC) - timedelta(minutes=1))
    claimed = queue.claim(message.carrier_id, urgent=message.urgent, limit=9, lease=lease)
    [mine] = [one for one in claimed if one.id == message.id]
    result = Result(mine, submit_outcome)
    if submit_outcome is SubmitOutcome.ACCEPTED:
        result.submitted.append(SubmittedPart(message.id, 1, str(message.id), datetime.now(UTC)))
    else:
        result.code, result.detail = "ESME_RINVDSTADR", "Refused."
    queue.write_results(message.carrier_id, lease, [result])


def messages_of(api: Api, **more: Any) -> None:
    """Send messages with every possible outcome."""
    for status, code in (
        (Status.DELIVERED, "000"),
        (Status.FAILED, "UNDELIV"),
        (Status.EXPIRED, ""),
    ):
        message = send(api, **more)
        submitted(message, SubmitOutcome.ACCEPTED)
        receipt = FinalReceipt(str(message.id), status, code)
        receipts.apply(message.carrier_id, [receipt])
    submitted(send(api, **more), SubmitOutcome.REFUSED)
    post(api, f"/v1/sms/{send(api, **more).public_id}/cancel")
    gone = datetime.now(UTC) - timedelta(minutes=2)
    lost = send(api, **more)
    submitted(lost, SubmitOutcome.ACCEPTED)
    Message.objects.filter(id=lost.id).update(due_at=gone)
    sweeps.expire_sent()
    Message.objects.filter(id=send(api, **more).id).update(expires_at=gone, due_at=gone)
    sweeps.expire_queued()
    later = send(api, **more, scheduled_at=LATER)
    Message.objects.filter(id=later.id).update(due_at=gone)
    sweeps.release_scheduled()


def batch_of(api: Api) -> None:
    rows = [{"to": PHONE, "message": "Hello", "reference": "order 7"}]
    batch = post(api, "/v1/sms/bulk", {"messages": rows})["batch_id"]
    post(api, f"/v1/batches/{batch}/cancel")


def codes_of(customer: Customer, api: Api) -> None:
    """Send one-time passwords with every possible outcome."""

    def sent() -> str:
        otps.pass_by(customer, 3600)
        response = otps.send(api, phone=ANOTHER, expiry=3600)
        return str(response["otp_id"])

    right = sent()
    otps.check(api, right, otps.code_of(right))
    wrong = sent()
    for _ in range(5):
        otps.check(api, wrong, otps.wrong(wrong))
    post(api, f"/v1/otp/{sent()}/cancel")
    sent()
    completion.expire_due()
    otps.send(api, phone="+966500000008")
    otps.pass_by(customer, 61)
    otps.send(api, phone="+966500000008")
    otps.pass_by(customer, 3600)
    completion.expire_due()


def the_rest(world: World, customer: Customer) -> None:
    someone = operator()
    for name, decide in (
        ("Wanted", lambda sender: approval.approve(sender, someone)),
        ("Unwanted", lambda sender: approval.reject(sender, someone, "No licence.")),
    ):
        decide(world.sender(customer, name, status="pending"))
    Organization.objects.filter(id=customer.id).update(low_balance_threshold=10**12)
    low_balance.watch()
    endpoint = world.endpoint(customer)
    post(customer.api, f"/v1/webhooks/{endpoint.public_id}/test")
    disable.disable_gone(endpoint.id)


# ---------------------------------------------------------------- checks


def test_every_event_is_as_declared(world: World, listening: Customer) -> None:
    world.endpoint(listening, test=True)
    for api in (listening.api, listening.test_api):
        messages_of(api)
        messages_of(api, reference="order 7")
        batch_of(api)
        codes_of(listening, api)
    the_rest(world, listening)
    found = bodies(listening)
    assert {body["event"] for body in found} == set(EventType.values) == set(validators())
    wrong = [
        (body, error.message)
        for body in found
        for error in validators()[body["event"]].iter_errors(body)
    ]
    assert wrong == []
    reasons = {body["data"].get("reason") for body in found if body["event"] == "otp.failed"}
    assert reasons == {"expired", "superseded", "too_many_attempts", "canceled"}
    about_messages = [body["data"] for body in found if body["event"].startswith("message.")]
    for name in ("reference", "batch_id", "test"):
        assert {name in data for data in about_messages} == {True, False}, name


Change = Callable[[dict[str, Any]], Any]
CHANGES: dict[str, Change] = {
    "no event": lambda body: body.pop("event"),
    "another event": lambda body: body.update(event="message.sent"),
    "no message": lambda body: body.pop("message_id"),
    "no time": lambda body: body.pop("timestamp"),
    "no such time": lambda body: body.update(timestamp="yesterday"),
    "no data": lambda body: body.pop("data"),
    "one more": lambda body: body.update(extra=1),
    "one more in the data": lambda body: body["data"].update(extra=1),
    "no status": lambda body: body["data"].pop("status"),
    "another status": lambda body: body["data"].update(status="sent"),
    "no recipient": lambda body: body["data"].pop("to"),
    "no error": lambda body: body["data"].pop("error"),
    "a word for an error": lambda body: body["data"].update(error="UNDELIV"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_what_is_not_declared_would_be_noticed(listening: Customer, change: Change) -> None:
    submitted(send(listening.api), SubmitOutcome.REFUSED)
    body = bodies(listening)[-1]
    assert body["event"] == "message.failed"
    assert validators()["message.failed"].is_valid(body)
    change(body)
    assert not validators()["message.failed"].is_valid(body)
