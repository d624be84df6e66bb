"""GET /v1/usage: messages, parts and credits of a span, by day, status, sender and country."""

import urllib.parse
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.credits import ledger
from accounts.models import MICRO, LedgerEntry
from imissive.core import ids
from messaging.states import Status
from otp.models import Verification
from tests.messaging.log.test_sms_list import at as after_noon
from tests.support.factories import Api, Customer

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
PERIOD = {"from": "2026-05-01", "to": "2026-05-03"}
NO_OTP = {"sent": 0, "verified": 0, "conversion": None}


def at(**since_noon: float) -> dict[str, Any]:
    """The fields of a message accepted so long after noon of the first of May."""
    return after_noon(timedelta(**since_noon).total_seconds())


def usage(api: Api, **query: Any) -> dict[str, Any]:
    response = api.get(f"/v1/usage?{urllib.parse.urlencode(query)}")
    assert response.status_code == 200, response.content
    body: dict[str, Any] = response.json()
    return body


def refund(customer: Customer, message, micro: int) -> None:
    kind = LedgerEntry.Kind.REFUND
    ledger.post([ledger.Posting(customer.id, kind, micro, message.id, "not accepted")])


@pytest.fixture
def used(customer, carrier, world) -> Customer:
    """Five messages of three days."""
    mine = customer, carrier
    world.message(*mine, price=MICRO, status=Status.DELIVERED, **at())
    world.message(*mine, price=2 * MICRO, parts=2, status=Status.DELIVERED, **at(hours=11.99))
    failed = world.message(*mine, price=MICRO, status=Status.FAILED, sender="Other", **at(hours=13))
    world.message(
        *mine, price=500_000, country="AE", to="+971501234567", status=Status.QUEUED, **at(days=2)
    )
    world.message(*mine, price=0, test=True, **at(hours=1))
    refund(customer, failed, MICRO)
    return customer


def test_by_day_in_utc(api, used):
    body = usage(api, **PERIOD)
    assert body == {
        "from": "2026-05-01T00:00:00.000Z",
        "to": "2026-05-04T00:00:00.000Z",
        "group_by": "day",
        "data": [
            {"day": "2026-05-01", "messages": 2, "parts": 3, "credits": "3", "otp": NO_OTP},
            {"day": "2026-05-02", "messages": 1, "parts": 1, "credits": "0", "otp": NO_OTP},
            {"day": "2026-05-03", "messages": 1, "parts": 1, "credits": "0.5", "otp": NO_OTP},
        ],
        "total": {"messages": 4, "parts": 5, "credits": "3.5", "otp": NO_OTP},
    }


def test_by_status(api, used):
    body = usage(api, group_by="status", **PERIOD)
    assert body["data"] == [
        {"status": "delivered", "messages": 2, "parts": 3, "credits": "3"},
        {"status": "failed", "messages": 1, "parts": 1, "credits": "0"},
        {"status": "queued", "messages": 1, "parts": 1, "credits": "0.5"},
    ]
    assert body["total"] == {"messages": 4, "parts": 5, "credits": "3.5"}


def test_by_sender(api, used):
    body = usage(api, group_by="sender_id", **PERIOD)
    assert body["data"] == [
        {"sender_id": "MyCompany", "messages": 3, "parts": 4, "credits": "3.5"},
        {"sender_id": "Other", "messages": 1, "parts": 1, "credits": "0"},
    ]


def test_by_country(api, used):
    body = usage(api, group_by="country", **PERIOD)
    assert body["data"] == [
        {"country": "SA", "messages": 3, "parts": 4, "credits": "3", "otp": NO_OTP},
        {"country": "AE", "messages": 1, "parts": 1, "credits": "0.5", "otp": NO_OTP},
    ]


def test_it_agrees_with_the_ledger(api, used):
    """What was charged and came back, in all."""
    spent = -sum(amount for kind, amount, _ in used.ledger())
    assert usage(api, **PERIOD)["total"]["credits"] == ledger.credits_text(spent)


def test_a_part_that_came_back_is_not_counted(api, customer, carrier, world):
    message = world.message(
        customer, carrier, price=3 * MICRO, parts=3, status=Status.FAILED, **at()
    )
    refund(customer, message, 2 * MICRO)
    assert usage(api, **PERIOD)["total"]["credits"] == "1"


@pytest.mark.parametrize(
    ("start", "end", "messages"),
    [
        ("2026-05-01", "2026-05-01", 2),
        ("2026-05-02", "2026-05-02", 1),
        ("2026-04-01", "2026-04-30", 0),
        ("2026-05-01T12:00:00Z", "2026-05-01T12:00:00.001Z", 1),
        ("2026-05-01T12:00:01Z", "2026-05-01T23:59:24Z", 0),
        ("2026-05-01T12:00:01Z", "2026-05-01T23:59:25Z", 1),
        ("2026-05-02T00:00:00+03:00", "2026-05-02T03:00:00+03:00", 1),
        ("2026-05-01T15:00:00 03:00", "2026-05-01", 2),
        ("2026-03-02", "2026-06-01", 4),
    ],
)
def test_the_span_is_days_or_times(api, used, start, end, messages):
    body = usage(api, **{"from": start, "to": end})
    assert body["total"]["messages"] == messages
    assert sum(row["messages"] for row in body["data"]) == messages


def test_the_last_thirty_days_unless_asked(api, customer, carrier, world):
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for moment in (now, midnight - timedelta(days=29), midnight - timedelta(days=29, seconds=1)):
        world.message(customer, carrier, **after_noon((moment - NOON).total_seconds()))
    body = usage(api)
    assert body["total"]["messages"] == 2
    assert body["from"] == f"{midnight - timedelta(days=29):%Y-%m-%d}T00:00:00.000Z"
    assert body["to"] == f"{midnight + timedelta(days=1):%Y-%m-%d}T00:00:00.000Z"


def test_thirty_days_before_a_given_end(api, used):
    body = usage(api, to="2026-05-02")
    assert (body["from"], body["to"]) == ("2026-04-03T00:00:00.000Z", "2026-05-03T00:00:00.000Z")


def test_an_id_of_a_moment_before_midnight_belongs_to_its_messages_day(
    api, customer, carrier, world
):
    midnight = {"created_at": NOON + timedelta(hours=12)}
    world.message(customer, carrier, **at(hours=11.999) | midnight)
    body = usage(api, **{"from": "2026-05-02", "to": "2026-05-02"})
    assert [row["day"] for row in body["data"]] == ["2026-05-02"]


def test_another_organizations_are_not_counted(outsider, used):
    body = usage(outsider.api, **PERIOD)
    assert (body["data"], body["total"]["messages"]) == ([], 0)


# ---------------------------------------------------------------- one-time passwords


def verification(customer: Customer, hours: float, **fields: Any) -> None:
    """One that was begun so many hours after noon, verified unless fields differ."""
    moment = after_noon(hours * 3600)
    started = moment["created_at"]
    fields = {
        "phone": "+966501234567",
        "country": "SA",
        "prefix": "96650",
        "length": 6,
        "expiry": 300,
        "text": "{code}",
        "status": Verification.Status.VERIFIED,
        "message_id": ids.new_uuid(),
        "expires_at": started,
        "ended_at": started,
    } | fields
    Verification.objects.create(organization=customer.organization, **moment, **fields)


@pytest.fixture
def verified(used) -> Customer:
    failed = {"status": "failed", "reason": "canceled"}
    for hours in (0, 1, 13):
        verification(used, hours)
    verification(used, 2, **failed)
    verification(used, 3, country="EG", **failed)
    verification(used, 4, test=True)
    return used


def test_conversion_by_day(api, verified):
    body = usage(api, **PERIOD)
    assert [row["otp"] for row in body["data"]] == [
        {"sent": 4, "verified": 2, "conversion": 0.5},
        {"sent": 1, "verified": 1, "conversion": 1.0},
        NO_OTP,
    ]
    assert body["total"]["otp"] == {"sent": 5, "verified": 3, "conversion": 0.6}


def test_conversion_by_country(api, verified):
    body = usage(api, group_by="country", **PERIOD)
    assert {row["country"]: row["otp"] for row in body["data"]} == {
        "SA": {"sent": 4, "verified": 3, "conversion": 0.75},
        "AE": NO_OTP,
        "EG": {"sent": 1, "verified": 0, "conversion": 0.0},
    }
    assert body["total"]["messages"] == 4


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("group_by=hour", "group_by"),
        ("group_by=", "group_by"),
        ("from=", "from"),
        ("from=yesterday", "from"),
        ("from=2026", "from"),
        ("from=20260501", "from"),
        ("from=2026-02-30", "from"),
        ("from=2026-05-01T00:00:00", "from"),
        ("to=1777636800", "to"),
        ("from=2026-05-02&to=2026-05-01", "from"),
        ("from=2026-05-01T00:00:00Z&to=2026-05-01T00:00:00Z", "from"),
        ("from=2026-01-01&to=2026-04-03", "from"),
        ("from=2020-01-01", "from"),
        ("to=9999-12-31", "to"),
        ("to=0001-01-01", "to"),
        ("from=2026-05-01&from=2026-05-02", "from"),
        ("since=2026-05-01", "since"),
        ("time_zone=Asia/Riyadh", "time_zone"),
        ("from=2026-05-01%00", "from"),
    ],
)
def test_what_cannot_be_asked_for(api, query, field):
    response = api.get(f"/v1/usage?{query}")
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["field"]) == (400, "INVALID_REQUEST", field)


def test_ninety_two_days_are_not_too_long(api):
    assert usage(api, **{"from": "2026-01-01", "to": "2026-04-02"})["data"] == []
