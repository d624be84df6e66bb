"""The suppression list: GET and POST /v1/suppressions, GET and DELETE /v1/suppressions/{number}.

And that it is honoured on every way on which a message is accepted.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest

from accounts.keys.api_keys import create_key
from accounts.models import MICRO, AuditEntry, LedgerEntry
from accounts.roles import Scope
from messaging.carriers import sweeps
from messaging.models import Suppression
from messaging.sending import cancel
from messaging.states import Status
from tests.support.api_calls import ask
from tests.support.factories import (
    PHONE,
    Api,
    Customer,
    World,
    in_threads,
)

URL = "/v1/suppressions"
OTHER, THIRD = "+966501234568", "+971501234567"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def added(api: Api, *numbers: str, **fields: Any) -> Any:
    response = api.post(URL, {"numbers": list(numbers)} | fields)
    assert response.status_code == 201, response.content
    return response.json()


def listed(customer: Customer) -> set[str]:
    mine = Suppression.objects.filter(organization=customer.id)
    return set(mine.values_list("number", flat=True))


def refused(response: Any, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert (response.status_code, error["code"], error["field"]) == (status, code, field)
    return error


def delete(api: Api, number: str) -> Any:
    return ask(api.secret, "DELETE", f"{URL}/{number}")


# ---------------------------------------------------------------- adding


def test_numbers_are_added_once(api: Api, customer: Customer) -> None:
    assert added(api, PHONE, OTHER, reason="Replied STOP") == {
        "added": 2,
        "known": 0,
        "canceled": 0,
        "rejected": [],
    }
    again = added(api, OTHER, THIRD, reason="Complained")
    assert (again["added"], again["known"]) == (1, 1)
    assert listed(customer) == {PHONE, OTHER, THIRD}
    assert api.get(f"{URL}/{OTHER}").json()["reason"] == "Replied STOP", "the first one stays"


def test_numbers_may_be_written_like_those_of_messages(api: Api, customer: Customer) -> None:
    many = [
        "+966 50-123-4567", "00966501234567", "+٩٦٦٥٠١٢٣٤٥٦٧", PHONE,
        "0501234567", "501234567", "966501234567",
    ]  # fmt: skip
    assert (added(api, *many)["added"], listed(customer)) == (1, {PHONE})


def test_invalid_numbers_are_listed_and_the_others_added(api: Api, customer: Customer) -> None:
    response = added(api, "nobody", PHONE, "", "+966112345678", "0401234567")
    assert (response["added"], listed(customer)) == (1, {PHONE})
    assert [row["number"] for row in response["rejected"]] == [
        "nobody",
        "",
        "+966112345678",
        "0401234567",
    ]
    errors = [row["error"] for row in response["rejected"]]
    assert {error["code"] for error in errors} == {"INVALID_PHONE"}
    assert [error["field"] for error in errors] == [f"numbers[{n}]" for n in (0, 2, 3, 4)]
    assert "fixed line" in errors[2]["message"]


def test_without_a_valid_number_nothing_is_added(api: Api, customer: Customer) -> None:
    response = api.post(URL, {"numbers": ["nobody", "123"]})
    error = refused(response, 400, "INVALID_PHONE", "numbers[0]")
    assert [detail["field"] for detail in error["details"]] == ["numbers[1]"]
    assert listed(customer) == set()


def test_a_thousand_at_once(api: Api, customer: Customer) -> None:
    numbers = [f"+96650{number:07d}" for number in range(1001)]
    assert added(api, *numbers[:1000])["added"] == 1000
    refused(api.post(URL, {"numbers": numbers}), 400, "INVALID_REQUEST", "numbers")
    assert len(listed(customer)) == 1000


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "numbers"),
        ({"numbers": []}, "numbers"),
        ({"numbers": None}, "numbers"),
        ({"numbers": PHONE}, "numbers"),
        ({"numbers": [966501234567]}, "numbers[0]"),
        ({"numbers": [PHONE, None]}, "numbers[1]"),
        ({"numbers": [PHONE], "reason": "x" * 201}, "reason"),
        ({"numbers": [PHONE], "reason": "a\0b"}, "reason"),
        ({"numbers": [PHONE], "reason": None}, "reason"),
        ({"numbers": [PHONE], "source": "dashboard"}, "source"),
        ({"number": PHONE}, "numbers"),
        ([], None),
    ],
)
def test_invalid_bodies_are_refused(api: Api, customer: Customer, body: Any, field: str) -> None:
    refused(api.post(URL, body), 400, "INVALID_REQUEST", field)
    assert listed(customer) == set()


def test_concurrent_additions_of_the_same_number(committed_world: World) -> None:
    customer = committed_world.customer()
    responses = in_threads([partial(added, customer.api, PHONE, OTHER)] * 8)
    assert sum(response["added"] for response in responses) == 2
    assert sum(response["known"] for response in responses) == 14
    assert listed(customer) == {PHONE, OTHER}
    Suppression.objects.filter(organization=customer.id).delete()


# ---------------------------------------------------------------- reading


def test_numbers_are_listed_newest_first(api: Api, customer: Customer) -> None:
    for number in (PHONE, OTHER, THIRD):
        added(api, number)
    body = api.get(URL).json()
    mine = Suppression.objects.filter(organization=customer.organization)
    newest = sorted(mine, key=lambda row: row.id, reverse=True)
    assert [row["number"] for row in body["data"]] == [row.number for row in newest]
    assert body["next_cursor"] is None
    first = body["data"][0]
    assert set(first) == {"number", "reason", "source", "created_at"}
    assert (first["reason"], first["source"]) == ("", "api")
    assert TIME.fullmatch(first["created_at"])
    assert api.get(f"{URL}/{first['number']}").json() == first


def test_pages_stay_consistent_during_additions(api: Api) -> None:
    numbers = {f"+96650000{number:04d}" for number in range(7)}
    added(api, *numbers)
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        query = urlencode({"limit": 3} | ({"cursor": cursor} if cursor else {}))
        body = api.get(f"{URL}?{query}").json()
        seen += [row["number"] for row in body["data"]]
        cursor = body["next_cursor"]
        added(api, f"+96651111{len(seen):04d}")
    assert len(seen) == 7
    assert set(seen) == numbers


@pytest.mark.parametrize(
    "written",
    [
        "+966501234567",
        "%2B966501234567",
        "966501234567",
        "00966501234567",
        "+966 50 1234567",
        "0501234567",
        "050-123-4567",
        "501234567.0",
    ],
)
def test_a_number_is_found_in_any_spelling(api: Api, written: str) -> None:
    added(api, PHONE, OTHER)
    assert api.get(f"{URL}/{written.replace(' ', '%20')}").json()["number"] == PHONE
    query = written.replace(" ", "%20")
    assert [row["number"] for row in api.get(f"{URL}?number={query}").json()["data"]] == [PHONE]


@pytest.mark.parametrize(
    "written", ["nobody", "0401234567", "050123456", "+", "+0", "+12345678901234567", "%00"]
)
def test_invalid_numbers(api: Api, written: str) -> None:
    refused(api.get(f"{URL}/{written}"), 400, "INVALID_PHONE", "number")
    refused(delete(api, written), 400, "INVALID_PHONE", "number")
    if written != "%00":
        refused(api.get(f"{URL}?number={written}"), 400, "INVALID_PHONE", "number")


def test_an_unlisted_number_is_not_found(api: Api) -> None:
    added(api, OTHER)
    refused(api.get(f"{URL}/{PHONE}"), 404, "NOT_FOUND")
    assert api.get(f"{URL}?number=%2B966501234567").json() == {"data": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("cursor=x", "cursor"),
        ("reason=x", "reason"),
        ("number=%00", "number"),
    ],
)
def test_invalid_queries_are_refused(api: Api, query: str, field: str) -> None:
    refused(api.get(f"{URL}?{query}"), 400, "INVALID_REQUEST", field)


def test_lists_of_organizations_are_separate(api: Api, outsider: Customer) -> None:
    added(outsider.api, PHONE)
    refused(api.get(f"{URL}/{PHONE}"), 404, "NOT_FOUND")
    refused(delete(api, PHONE), 404, "NOT_FOUND")
    assert api.get(URL).json()["data"] == []
    assert api.post("/v1/sms/send", {"to": PHONE, "message": "Hello"}).status_code == 202
    assert listed(outsider) == {PHONE}


# ---------------------------------------------------------------- removing


def test_a_removed_number_gets_messages_again(api: Api, customer: Customer) -> None:
    added(api, PHONE, OTHER)
    response = delete(api, "%2B966501234567")
    assert (response.status_code, response.content) == (204, b"")
    assert listed(customer) == {OTHER}
    refused(delete(api, PHONE), 404, "NOT_FOUND")
    assert api.post("/v1/sms/send", {"to": PHONE, "message": "Hello"}).status_code == 202


def test_a_removal_is_audited_with_a_redacted_number(api: Api, customer: Customer) -> None:
    added(api, PHONE)
    delete(api, PHONE)
    entry = AuditEntry.objects.get(organization=customer.organization)
    assert (entry.action, entry.target) == ("suppression.removed", "+96650…67")
    assert entry.detail["api_key"].startswith("key_")
    assert entry.address == "127.0.0.1"


def test_a_number_outside_the_current_plan_can_be_removed(api: Api, customer: Customer) -> None:
    Suppression.objects.create(
        organization=customer.organization, number="+999123", source="api", reason=""
    )
    assert api.get(f"{URL}/+999123").json()["number"] == "+999123"
    assert delete(api, "+999123").status_code == 204


# ---------------------------------------------------------------- honoured on every way


def test_a_send_is_refused(api: Api, customer: Customer) -> None:
    added(api, PHONE)
    before = customer.stored()
    for written in (PHONE, "00966 50 123 4567"):
        response = api.post("/v1/sms/send", {"to": written, "message": "Hello"})
        error = refused(response, 403, "DESTINATION_BLOCKED", "to")
        assert "opted out" in error["message"]
    assert customer.stored() == before


def test_a_scheduled_send_is_refused(api: Api) -> None:
    added(api, PHONE)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    body = {"to": PHONE, "message": "Hello", "scheduled_at": tomorrow}
    refused(api.post("/v1/sms/send", body), 403, "DESTINATION_BLOCKED", "to")


def test_a_test_keys_send_is_refused(world: World, customer: Customer) -> None:
    world.carrier(is_sandbox=True)
    body = {"to": PHONE, "message": "Hello"}
    assert customer.test_api.post("/v1/sms/send", body).status_code == 202
    added(customer.test_api, PHONE)
    refused(customer.test_api.post("/v1/sms/send", body), 403, "DESTINATION_BLOCKED", "to")


def test_a_bulk_call_refuses_suppressed_numbers(api: Api, customer: Customer) -> None:
    added(api, PHONE)
    body = {"messages": [{"to": to, "message": "Hello"} for to in (PHONE, OTHER)]}
    response = api.post("/v1/sms/bulk", body).json()
    assert (response["accepted"], response["rejected"], response["credits"]) == (1, 1, "1")
    assert response["messages"][0]["error"]["code"] == "DESTINATION_BLOCKED"
    assert [message.to for message in customer.messages()] == [OTHER]


def test_an_estimate_reports_suppressed_numbers(api: Api) -> None:
    added(api, PHONE)
    response = api.post("/v1/sms/estimate", {"to": PHONE, "message": "Hello"}).json()
    assert response["accepted"] is False
    assert [problem["code"] for problem in response["problems"]] == ["DESTINATION_BLOCKED"]


def test_a_one_time_password_is_refused(api: Api, customer: Customer) -> None:
    added(api, PHONE)
    response = api.post("/v1/otp/send", {"phone": PHONE})
    assert refused(response, 403, "DESTINATION_BLOCKED", "phone")
    assert customer.messages() == []


# ---------------------------------------------------------------- pending messages


def test_pending_messages_are_canceled_and_refunded(api: Api, customer: Customer) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    body = {"message": "Hello", "scheduled_at": tomorrow}
    for to in (PHONE, PHONE, OTHER):
        assert api.post("/v1/sms/send", body | {"to": to}).status_code == 202
    assert api.post("/v1/sms/send", {"to": PHONE, "message": "At once"}).status_code == 202
    assert added(api, PHONE)["canceled"] == 3
    assert {(message.to, message.status) for message in customer.messages()} == {
        (PHONE, Status.CANCELED),
        (OTHER, Status.SCHEDULED),
    }
    assert customer.balance() == 99 * MICRO
    refunds = LedgerEntry.objects.filter(organization=customer.id, kind="refund")
    assert refunds.count() == 3
    assert added(api, PHONE)["canceled"] == 0


def test_submitted_messages_are_not_canceled(
    world: World, customer: Customer, outsider: Customer, carrier: Any
) -> None:
    for status in (Status.SENDING, Status.SENT, Status.DELIVERED):
        world.message(customer, carrier, status=status)
    theirs = world.message(outsider, carrier)
    assert added(customer.api, PHONE)["canceled"] == 0
    assert {message.status for message in customer.messages()} == {"sending", "sent", "delivered"}
    theirs.refresh_from_db()
    assert theirs.status == Status.QUEUED


def test_a_repeated_call_finishes_an_interrupted_one(
    api: Api, customer: Customer, world: World, carrier: Any, monkeypatch: Any
) -> None:
    world.message(customer, carrier, status=Status.SCHEDULED)
    with monkeypatch.context() as patch:
        patch.setattr(cancel, "cancel_to", lambda *_, **_named: 1 / 0)
        assert api.post(URL, {"numbers": [PHONE]}).status_code == 500
    assert added(api, PHONE) | {"rejected": []} == {
        "added": 0,
        "known": 1,
        "canceled": 1,
        "rejected": [],
    }


def test_a_cancel_concurrent_with_a_release(committed_world: World) -> None:
    """One of them wins: released messages are not canceled, and nothing is refunded twice."""
    carrier = committed_world.serve()
    customer = committed_world.customer()
    for _ in range(20):
        committed_world.message(customer, carrier, status=Status.SCHEDULED, price=MICRO)
    canceled, _ = in_threads(
        [lambda: added(customer.api, PHONE)["canceled"], sweeps.release_scheduled]
    )
    statuses = [message.status for message in customer.messages()]
    assert statuses.count(Status.CANCELED) == canceled == 20, "what is queued is canceled too"
    assert customer.balance() == 100 * MICRO
    Suppression.objects.filter(organization=customer.id).delete()


@pytest.mark.parametrize(
    ("scopes", "statuses"),
    [
        ([Scope.SMS_READ], (200, 403, 403)),
        ([Scope.SMS_SEND], (403, 201, 204)),
        ([Scope.OTP], (403, 403, 403)),
        ([], (200, 201, 204)),
    ],
)
def test_the_scopes(customer: Customer, scopes: list[str], statuses: tuple[int, ...]) -> None:
    added(customer.api, PHONE)
    secret = create_key(customer.organization, "k", test=False, scopes=scopes)[1]
    assert ask(secret, "GET", URL).status_code == statuses[0]
    assert ask(secret, "POST", URL, {"numbers": [OTHER]}).status_code == statuses[1]
    assert ask(secret, "DELETE", f"{URL}/{PHONE}").status_code == statuses[2]
