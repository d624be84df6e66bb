"""POST /v1/sms/bulk: a row for each input in its order, charged together or not at all."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import MICRO
from imissive.core import ids
from messaging.models import Batch, Message
from messaging.states import Status
from tests.support.factories import PHONE, SENDER

URL = "/v1/sms/bulk"
LANDLINE = "+966112345678"


def phone(index: int) -> str:
    return f"+9665{index:08d}"


def rows(count: int) -> list[dict[str, Any]]:
    return [{"to": phone(index), "message": f"Hello {index}"} for index in range(count)]


# ---------------------------------------------------------------- what is accepted


def test_the_documented_example_is_accepted_as_printed(api, customer):
    response = api.post(
        URL,
        raw="""{
"messages": [
{ "to": "+966501234567", "message": "Hello User 1" },
{ "to": "+966501234568", "message": "Hello User 2" }
],
"sender_id": "MyCompany"
}""",
    )
    assert response.status_code == 202
    body = response.json()
    assert (body["accepted"], body["rejected"], body["credits"]) == (2, 0, "2")
    # Ids of one millisecond come in no order.
    assert sorted((m.to, m.text, m.sender) for m in customer.messages()) == [
        ("+966501234567", "Hello User 1", "MyCompany"),
        ("+966501234568", "Hello User 2", "MyCompany"),
    ]


def test_rows_come_back_in_order_with_the_rejected_among_them(api, customer):
    messages = [
        {"to": PHONE, "message": "one", "reference": "a"},
        {"to": LANDLINE, "message": "two"},
        {"to": phone(3), "message": "م" * 71, "reference": "c"},
        {"to": "nonsense", "message": "four"},
        {"to": phone(5), "message": ""},
        {"to": phone(6), "message": "six", "sender_id": "Nobody"},
        {"to": "+201001234567", "message": "seven"},
        {"to": phone(8), "message": "a" * 1531},
        {"to": "00966 50 123 4567", "message": "nine"},
    ]
    body = api.post(URL, {"messages": messages, "sender_id": SENDER}).json()
    assert set(body) == {"batch_id", "accepted", "rejected", "credits", "messages"}
    assert (body["accepted"], body["rejected"], body["credits"]) == (3, 6, "4")
    told = [
        row["status"] if row["status"] == "queued" else (row["to"], row["error"]["code"])
        for row in body["messages"]
    ]
    assert told == [
        "queued",
        (LANDLINE, "INVALID_PHONE"),
        "queued",
        ("nonsense", "INVALID_PHONE"),
        (phone(5), "INVALID_REQUEST"),
        (phone(6), "INVALID_SENDER"),
        ("+201001234567", "DESTINATION_BLOCKED"),
        (phone(8), "MESSAGE_TOO_LONG"),
        "queued",
    ]
    assert set(body["messages"][1]) == {"to", "status", "error"}
    assert body["messages"][1]["status"] == "rejected"
    assert [(body["messages"][i]["to"], body["messages"][i]["reference"]) for i in (0, 2, 8)] == [
        (PHONE, "a"),
        (phone(3), "c"),
        (PHONE, None),
    ]


def test_an_accepted_row_is_a_message_as_it_then_says_of_itself(api):
    body = api.post(URL, {"messages": rows(3)}).json()
    for row in body["messages"]:
        read = api.get(f"/v1/sms/{row['message_id']}").json()
        assert {name: read[name] for name in row} == row
        assert row["batch_id"] == body["batch_id"]


def test_only_the_accepted_are_charged_in_one_ledger_row_under_the_batch(api, customer):
    messages = [*rows(3), {"to": LANDLINE, "message": "x"}, {"to": phone(9), "message": "م" * 71}]
    body = api.post(URL, {"messages": messages}).json()
    batch = ids.parse_id("bat", body["batch_id"])
    assert batch is not None
    assert customer.ledger() == [("charge", -5 * MICRO, batch)]
    assert customer.balance() == 95 * MICRO
    assert {message.batch_id for message in customer.messages()} == {batch}
    assert Batch.objects.get(id=batch).organization == customer.organization


def test_the_ids_of_a_batch_are_all_different(api):
    body = api.post(URL, {"messages": [{"to": PHONE, "message": "same"}] * 50}).json()
    assert len({row["message_id"] for row in body["messages"]}) == 50


def test_a_rows_sender_goes_before_the_calls(api, customer, world):
    world.sender(customer, "Second")
    messages = [
        {"to": PHONE, "message": "1"},
        {"to": PHONE, "message": "2", "sender_id": "Second"},
        {"to": PHONE, "message": "3", "sender_id": None},
    ]
    body = api.post(URL, {"messages": messages, "sender_id": SENDER}).json()
    assert [row["sender_id"] for row in body["messages"]] == [SENDER, "Second", SENDER]


def test_without_any_sender_the_default_one_is_used(api):
    body = api.post(URL, {"messages": rows(2)}).json()
    assert [row["sender_id"] for row in body["messages"]] == [SENDER, SENDER]


def test_a_batch_waits_on_the_bulk_lane_and_rings_once(
    api, customer, carrier, wakes, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        api.post(URL, {"messages": rows(20)})
    assert {message.urgent for message in customer.messages()} == {False}
    assert wakes == [("messaging.tasks.wake", f"carrier.{carrier.slug}", ("bulk",))]


def test_every_accepted_message_has_its_event(api, customer, world):
    world.endpoint(customer)
    messages = [*rows(3), {"to": LANDLINE, "message": "x"}]
    body = api.post(URL, {"messages": messages}).json()
    accepted = {ids.parse_id("msg", row["message_id"]) for row in body["messages"][:3]}
    assert sorted(customer.events(), key=str) == sorted(
        (("message.queued", message_id) for message_id in accepted), key=str
    )
    told = json.loads(customer.event_rows()[0].body)
    assert told["data"]["batch_id"] == body["batch_id"]


def test_schedule_and_validity_are_the_whole_batchs(api, customer):
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    order = {"messages": rows(3), "scheduled_at": at.isoformat(), "validity": 600}
    body = api.post(URL, order).json()
    assert {row["status"] for row in body["messages"]} == {"scheduled"}
    for message in customer.messages():
        assert (message.status, message.due_at) == (Status.SCHEDULED, at)
        assert message.expires_at == at + timedelta(seconds=600)


def test_several_carriers_share_a_batch_by_route(api, customer, carrier, world):
    egypt = world.serve("20", 2 * MICRO)
    messages = [{"to": PHONE, "message": "1"}, {"to": "+201001234567", "message": "2"}]
    body = api.post(URL, {"messages": messages}).json()
    assert body["credits"] == "3"
    assert {m.to: m.carrier for m in customer.messages()} == {
        PHONE: carrier,
        "+201001234567": egypt,
    }


def test_a_test_keys_batch_costs_nothing(test_api, customer, world):
    sandbox = world.carrier(is_sandbox=True)
    body = test_api.post(URL, {"messages": rows(3)}).json()
    assert body["credits"] == "0"
    assert {(m.test, m.carrier) for m in customer.messages()} == {(True, sandbox)}
    assert customer.ledger() == []


# ---------------------------------------------------------------- all or nothing


def test_when_all_are_rejected_there_is_no_batch(api, customer):
    before = customer.stored()
    response = api.post(URL, {"messages": [{"to": LANDLINE, "message": "x"}] * 3})
    assert response.status_code == 202
    body = response.json()
    assert (body["batch_id"], body["accepted"], body["rejected"]) == (None, 0, 3)
    assert body["credits"] == "0"
    assert [row["status"] for row in body["messages"]] == ["rejected"] * 3
    assert customer.stored() == before


@pytest.mark.parametrize("has_endpoint", [False, True], ids=["no endpoint", "an endpoint"])
def test_without_enough_credits_for_all_nothing_is_taken(committed_world, has_endpoint):
    committed_world.serve()
    poor = committed_world.customer(credits=5)
    if has_endpoint:
        committed_world.endpoint(poor)
    before = poor.stored()
    response = poor.api.post(URL, {"messages": [*rows(6), {"to": LANDLINE, "message": "x"}]})
    assert response.status_code == 402
    assert response.json()["error"]["code"] == "INSUFFICIENT_CREDITS"
    assert poor.stored() == before
    # The rejected row is not counted: five fit exactly.
    response = poor.api.post(URL, {"messages": [*rows(5), {"to": LANDLINE, "message": "x"}]})
    assert (response.status_code, response.json()["accepted"]) == (202, 5)
    assert poor.balance() == 0


# ---------------------------------------------------------------- what is refused

WRONG = {
    "no messages": ({}, "messages"),
    "an empty list": ({"messages": []}, "messages"),
    "messages that are no list": ({"messages": {"to": PHONE, "message": "x"}}, "messages"),
    "a row that is no object": ({"messages": ["x"]}, "messages[0]"),
    "a row without number": ({"messages": [*rows(1), {"message": "x"}]}, "messages[1].to"),
    "a row with a wrong type": ({"messages": [{"to": 5, "message": "x"}]}, "messages[0].to"),
    "a row with an unknown field": (
        {"messages": [{"to": PHONE, "message": "x", "text": "y"}]},
        "messages[0].text",
    ),
    "a schedule for one row": (
        {"messages": [{"to": PHONE, "message": "x", "scheduled_at": "2099-01-15T10:00:00Z"}]},
        "messages[0].scheduled_at",
    ),
    "an unknown field": ({"messages": rows(1), "sender": SENDER}, "sender"),
    "a reference for all": ({"messages": rows(1), "reference": "r"}, "reference"),
    "a wrong validity": ({"messages": rows(1), "validity": 1}, "validity"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_body_is_refused_as_a_whole(api, customer, case):
    body, field = WRONG[case]
    before = customer.stored()
    response = api.post(URL, body)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["field"]) == (400, "INVALID_REQUEST", field)
    assert customer.stored() == before


def test_a_schedule_in_the_past_is_refused_as_a_whole(api, customer):
    before = customer.stored()
    response = api.post(URL, {"messages": rows(2), "scheduled_at": "2024-01-15T10:00:00Z"})
    assert response.json()["error"]["code"] == "INVALID_SCHEDULE"
    assert customer.stored() == before


def test_ten_thousand_are_accepted_in_one_call_and_charged_once(world):
    world.serve()
    rich = world.customer(credits=10_000)
    response = rich.api.post(URL, {"messages": rows(10_000)})
    assert response.status_code == 202
    body = response.json()
    assert (body["accepted"], body["rejected"], body["credits"]) == (10_000, 0, "10000")
    assert [row["to"] for row in body["messages"]] == [phone(index) for index in range(10_000)]
    assert Message.objects.filter(organization=rich.organization).count() == 10_000
    assert rich.balance() == 0
    assert len(rich.ledger()) == 1


def test_ten_thousand_and_one_are_refused(world):
    world.serve()
    rich = world.customer(credits=20_000)
    before = rich.stored()
    response = rich.api.post(URL, {"messages": rows(10_001)})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "INVALID_REQUEST")
    assert (error["field"], "10,000" in error["message"]) == ("messages", True)
    assert rich.stored() == before


def test_a_batch_takes_as_many_statements_as_a_message(api, django_assert_max_num_queries):
    api.post(URL, {"messages": rows(1)})
    with django_assert_max_num_queries(4):
        api.post(URL, {"messages": rows(60)})
