"""GET /v1/sms/{message_id}: the organization's own message with its segments and timeline."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.keys.api_keys import create_key
from accounts.models import MICRO
from accounts.roles import Scope
from imissive.core import ids
from messaging.models import Attempt
from messaging.states import Status
from tests.support.factories import (
    PHONE,
    SENDER,
    Api,
    client,
)

NOON = datetime(2026, 5, 1, 12, 0, 0, 123_456, tzinfo=UTC)
CONTRACT = {
    "message_id", "to", "sender_id", "status", "parts", "encoding", "credits", "reference",
    "batch_id", "test", "created_at", "scheduled_at", "queued_at", "sent_at", "delivered_at",
    "failed_at", "error",
}  # fmt: skip


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


def get(api: Api, message) -> dict[str, Any]:
    response = api.get(f"/v1/sms/{message.public_id}")
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    body: dict[str, Any] = response.json()
    return body


def test_a_delivered_message_shows_its_segments_and_timeline(api, customer, carrier, world):
    message = world.message(
        customer,
        carrier,
        parts=2,
        price=2 * MICRO,
        encoding="ucs2",
        text="م" * 71,
        reference="order 7",
        status=Status.DELIVERED,
        created_at=NOON,
        queued_at=NOON,
        sent_at=after(1),
        final_at=after(4),
        expires_at=after(3600),
    )
    attempt = Attempt.objects.create(
        message=message, carrier=carrier, outcome="throttled", detail="The carrier answered X."
    )
    Attempt.objects.filter(id=attempt.id).update(at=after(0.5))
    world.part(message, "c-2", 2, submitted_at=after(1), final_at=after(4), status=Status.DELIVERED)
    world.part(message, "c-1", 1, submitted_at=after(1), final_at=after(3), status=Status.DELIVERED)
    assert get(api, message) == {
        "message_id": message.public_id,
        "to": PHONE,
        "sender_id": SENDER,
        "status": "delivered",
        "parts": 2,
        "encoding": "ucs2",
        "credits": "2",
        "reference": "order 7",
        "batch_id": None,
        "test": False,
        "created_at": "2026-05-01T12:00:00.123Z",
        "scheduled_at": None,
        "queued_at": "2026-05-01T12:00:00.123Z",
        "sent_at": "2026-05-01T12:00:01.123Z",
        "delivered_at": "2026-05-01T12:00:04.123Z",
        "failed_at": None,
        "error": None,
        "text": "م" * 71,
        "expires_at": "2026-05-01T13:00:00.123Z",
        "segments": [
            {
                "number": number,
                "status": "delivered",
                "carrier_message_id": f"c-{number}",
                "sent_at": "2026-05-01T12:00:01.123Z",
                "final_at": text(after(final)),
                "error_code": None,
            }
            for number, final in ((1, 3), (2, 4))
        ],
        "timeline": [
            {"at": text(after(at)), "event": event, "detail": detail}
            for at, event, detail in (
                (0, "accepted", None),
                (0.5, "attempt", "throttled: The carrier answered X."),
                (1, "sent", "part 1 of 2"),
                (1, "sent", "part 2 of 2"),
                (3, "part delivered", "part 1 of 2"),
                (4, "part delivered", "part 2 of 2"),
                (4, "delivered", None),
            )
        ],
    }


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (Status.FAILED, {"failed_at": text(after(4)), "delivered_at": None}),
        (Status.DELIVERED, {"failed_at": None, "delivered_at": text(after(4))}),
        (Status.EXPIRED, {"failed_at": None, "delivered_at": None}),
        (Status.CANCELED, {"failed_at": None, "delivered_at": None}),
    ],
)
def test_the_time_of_the_end_stands_under_the_name_of_the_end(
    api, customer, carrier, world, status, shown
):
    message = world.message(customer, carrier, status=status, final_at=after(4))
    body = get(api, message)
    assert body["status"] == status
    assert {name: body[name] for name in shown} == shown


def test_a_failed_message_says_why(api, customer, carrier, world):
    message = world.message(
        customer,
        carrier,
        status=Status.FAILED,
        created_at=NOON,
        final_at=after(4),
        error_code="UNDELIV 001",
        error_message="The carrier reported it.",
    )
    body = get(api, message)
    assert body["error"] == {"code": "UNDELIV 001", "message": "The carrier reported it."}
    assert body["timeline"][-1] == {
        "at": text(after(4)),
        "event": "failed",
        "detail": "The carrier reported it.",
    }


def test_a_scheduled_message_shows_when_it_was_queued(api, customer, carrier, world):
    message = world.message(
        customer, carrier, created_at=NOON, scheduled_at=after(60), queued_at=after(61)
    )
    body = get(api, message)
    assert (body["scheduled_at"], body["queued_at"]) == (text(after(60)), text(after(61)))
    assert [(row["event"], row["detail"]) for row in body["timeline"]] == [
        ("accepted", None),
        ("scheduled", f"until {text(after(60))}"),
        ("queued", None),
    ]


def test_every_field_of_the_contract_is_there_from_the_beginning(api):
    sent = api.post("/v1/sms/send", {"to": PHONE, "message": "x"}).json()
    body = api.get(f"/v1/sms/{sent['message_id']}").json()
    assert set(body) == CONTRACT | {"text", "expires_at", "segments", "timeline"}
    assert set(sent) == CONTRACT
    assert body["segments"] == []


def test_every_key_of_a_mode_sees_its_messages(customer, carrier, world):
    for test in (False, True):
        message = world.message(customer, carrier, test=test)
        api, other = (Api(create_key(customer.organization, "k", test=test)[1]) for _ in "12")
        assert get(api, message) == get(other, message)


# ---------------------------------------------------------------- refusals


def assert_not_found(response) -> dict[str, Any]:
    assert (response.status_code, response["Content-Type"]) == (404, "application/json")
    error: dict[str, Any] = response.json()["error"]
    assert error["code"] == "NOT_FOUND"
    return error


def test_another_organizations_message_is_as_missing_as_none(customer, outsider, carrier, world):
    message = world.message(customer, carrier)
    theirs = assert_not_found(outsider.api.get(f"/v1/sms/{message.public_id}"))
    nobodys = assert_not_found(outsider.api.get(f"/v1/sms/{ids.public_id('msg', ids.new_uuid())}"))
    assert theirs == nobodys


@pytest.mark.parametrize(
    "wrong",
    [
        lambda good: good.replace("msg_", "bat_"),
        lambda good: good.replace("msg_", ""),
        lambda good: good.upper(),
        lambda good: good[:-1],
        lambda good: good + "0",
        lambda good: good[:4] + "z" * 26,  # beyond 128 bits
        lambda good: good[:4] + "u" * 26,  # no letter of the alphabet
        lambda good: good[:4] + "٠" * 26,
        lambda good: good[:-1] + "%00",
        lambda good: "msg_",
        lambda good: "1",
        lambda good: "' OR 1=1 --",
        lambda good: "x" * 5000,
        lambda good: str(ids.parse_id("msg", good)),
    ],
)
def test_what_is_no_id_is_not_found(api, customer, carrier, world, wrong):
    message = world.message(customer, carrier)
    assert_not_found(api.get(f"/v1/sms/{wrong(message.public_id)}"))


@pytest.mark.parametrize(
    "path",
    ["/v1", "/v1/", "/v1/nothing", "/v1/nothing/", "/v1/sms/a/b", "/v1/%ff", "/v1/../v1/x"],
)
def test_nothing_under_v1_is_ever_html(path):
    response = client.get(path, HTTP_ACCEPT="text/html")
    error = assert_not_found(response)
    assert "<" not in error["message"]
    assert ids.parse_id("req", response["X-Request-Id"])


def test_a_format_in_the_query_does_not_bring_html(api, customer, carrier, world):
    message = world.message(customer, carrier)
    assert_not_found(api.get(f"/v1/sms/{message.public_id}?format=html"))


def test_reading_needs_its_scope(customer, carrier, world):
    message = world.message(customer, carrier)
    _, secret = create_key(customer.organization, "k", test=False, scopes=[Scope.SMS_SEND])
    response = Api(secret).get(f"/v1/sms/{message.public_id}")
    assert (response.status_code, response.json()["error"]["code"]) == (403, "FORBIDDEN")


def test_reading_needs_a_key(customer, carrier, world):
    message = world.message(customer, carrier)
    response = client.get(f"/v1/sms/{message.public_id}")
    assert (response.status_code, response.json()["error"]["code"]) == (401, "UNAUTHORIZED")
