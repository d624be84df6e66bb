"""POST /v1/sms/estimate: what a call would cost, and all that is against it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.credits import ledger
from accounts.keys.api_keys import create_key
from accounts.models import MICRO
from accounts.roles import Scope
from messaging.models import SendingRule, Suppression
from messaging.routing import cache
from tests.support.factories import (
    PHONE,
    SENDER,
    Api,
    Customer,
)

URL = "/v1/sms/estimate"
GOOD = {"to": PHONE, "message": "Hello", "sender_id": SENDER}
OPTED_OUT = "+966500000111"
CLOSED_SENDER = "Shop-AD"


def estimate(api: Api, body: dict[str, Any]) -> dict[str, Any]:
    answer = api.post(URL, body)
    assert answer.status_code == 200, answer.content
    told: dict[str, Any] = answer.json()
    return told


def codes(told: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(problem["code"], problem["field"]) for problem in told["problems"]]


def soon(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


@pytest.fixture
def closed(customer, world) -> None:
    """For senders in -AD, Saudi Arabia opens in an hour for an hour."""
    opens = (datetime.now(UTC) + timedelta(hours=1)).time()
    closes = (datetime.now(UTC) + timedelta(hours=2)).time()
    SendingRule.objects.update(opens=opens, closes=closes, time_zone="UTC")
    cache.reload()
    world.sender(customer, CLOSED_SENDER)


# ---------------------------------------------------------------- what it says


def test_of_one_message(api, carrier):
    assert estimate(api, GOOD) == {
        "to": PHONE,
        "country": "SA",
        "sender_id": SENDER,
        "accepted": True,
        "parts": 1,
        "encoding": "gsm7",
        "units": 5,
        "ucs2_characters": [],
        "credits": "1",
        "route": [carrier.slug],
        "scheduled_at": None,
        "problems": [],
        "balance": "100",
        "covered": True,
    }


def test_the_characters_that_cost_the_most(api):
    told = estimate(api, GOOD | {"message": "Track – it’s “here”: " + "x" * 100})
    assert (told["encoding"], told["parts"], told["credits"]) == ("ucs2", 2, "2")
    assert told["ucs2_characters"] == ["–", "’", "“", "”"]
    assert estimate(api, GOOD | {"message": "é€ñ"})["ucs2_characters"] == []


def test_every_reason_at_once(api, customer):
    body = {
        "to": "+201001234567",
        "message": "م" * 671,
        "sender_id": "Nobody",
        "scheduled_at": "2020-01-01T00:00:00Z",
    }
    told = estimate(api, body)
    assert codes(told) == [
        ("INVALID_SCHEDULE", "scheduled_at"),
        ("MESSAGE_TOO_LONG", "message"),
        ("INVALID_SENDER", "sender_id"),
        ("DESTINATION_BLOCKED", "to"),
    ]
    assert (told["accepted"], told["parts"], told["encoding"]) == (False, 11, "ucs2")
    assert (told["country"], told["sender_id"], told["credits"]) == ("EG", None, None)
    assert told["route"] == []


def test_what_is_no_number(api):
    told = estimate(api, GOOD | {"to": "call me", "message": " "})
    assert codes(told) == [("INVALID_PHONE", "to"), ("INVALID_REQUEST", "message")]
    assert (told["to"], told["country"], told["parts"]) == ("call me", None, None)


def test_what_the_balance_does_not_cover(world, carrier):
    poor = world.customer(credits=1)
    told = estimate(poor.api, GOOD | {"message": "م" * 71})
    assert (told["accepted"], told["covered"], told["balance"]) == (False, False, "1")
    assert codes(told) == [("INSUFFICIENT_CREDITS", None)]
    assert told["credits"] == "2"


def test_a_test_key_pays_nothing(test_api, world):
    sandbox = world.carrier(is_sandbox=True)
    told = estimate(test_api, GOOD)
    assert (told["accepted"], told["credits"], told["route"]) == (True, "0", [sandbox.slug])


def test_the_hours_of_a_country(api, closed):
    told = estimate(api, GOOD | {"sender_id": CLOSED_SENDER})
    opening = datetime.fromisoformat(told["scheduled_at"])
    assert abs(opening - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)
    assert told["accepted"]
    refused = estimate(api, GOOD | {"sender_id": CLOSED_SENDER, "outside_window": "refuse"})
    assert codes(refused) == [("INVALID_SCHEDULE", "scheduled_at")]
    later = GOOD | {"sender_id": CLOSED_SENDER, "scheduled_at": soon(hours=1.5)}
    assert estimate(api, later | {"outside_window": "refuse"})["accepted"]


def test_who_has_opted_out(api, customer):
    Suppression.objects.create(organization=customer.organization, number=PHONE, source="api")
    assert codes(estimate(api, GOOD)) == [("DESTINATION_BLOCKED", "to")]


def test_of_a_bulk_call(api, customer):
    rows = [
        {"to": PHONE, "message": "Hello"},
        {"to": "nobody", "message": "Hello"},
        {"to": "+966501234568", "message": "م" * 71},
    ]
    told = estimate(api, {"messages": rows})
    assert {name: told[name] for name in told if name != "messages"} == {
        "accepted": 2,
        "rejected": 1,
        "parts": 3,
        "credits": "3",
        "balance": "100",
        "covered": True,
    }
    assert [row["accepted"] for row in told["messages"]] == [True, False, True]
    single = estimate(api, {"to": PHONE, "message": "Hello"})
    assert told["messages"][0] == {
        name: single[name] for name in single if name not in ("balance", "covered")
    }


def test_a_bulk_call_that_is_not_covered_is_refused_as_a_whole(world, carrier):
    poor = world.customer(credits=1)
    told = estimate(poor.api, {"messages": [GOOD, GOOD | {"to": "x"}, GOOD]})
    assert (told["accepted"], told["rejected"], told["credits"]) == (0, 3, "2")
    assert [codes(row)[-1][0] for row in told["messages"]] == [
        "INSUFFICIENT_CREDITS",
        "INVALID_PHONE",
        "INSUFFICIENT_CREDITS",
    ]


def test_a_bulk_call_with_a_bad_schedule(api):
    told = estimate(api, {"messages": [GOOD, GOOD], "scheduled_at": "soon"})
    assert (told["accepted"], told["rejected"], told["credits"]) == (0, 2, "0")
    assert {codes(row)[0] for row in told["messages"]} == {("INVALID_SCHEDULE", "scheduled_at")}


def test_the_balance_is_for_keys_that_may_read_it(customer, carrier):
    for scopes, balance in (([Scope.SMS_SEND], None), ([Scope.SMS_SEND, Scope.BALANCE], "100")):
        _, secret = create_key(customer.organization, "k", test=False, scopes=scopes)
        told = estimate(Api(secret), GOOD)
        assert (told["balance"], told["covered"]) == (balance, True)
        assert estimate(Api(secret), {"messages": [GOOD]})["balance"] == balance


# ---------------------------------------------------------------- nothing happens


@pytest.mark.parametrize("body", [GOOD, {"messages": [GOOD, GOOD]}], ids=["one", "bulk"])
def test_nothing_is_stored_charged_or_told(api, customer, world, body, wakes):
    world.endpoint(customer)
    before = customer.stored()
    estimate(api, body)
    assert (customer.stored(), wakes) == (before, [])


# ---------------------------------------------------------------- it agrees with the send


NUMBERS = [PHONE, "00966 50 123 4568", "+201001234567", "966501234567", "", OPTED_OUT, "+96650"]
TEXTS = ["Hello", "a" * 161, "م" * 71, "م" * 671, "€" * 80, "😀" * 36, "", "  ", "a\0b", "a" * 1531]
SENDERS = [SENDER, CLOSED_SENDER, "Nobody", "No[body]", "+966 50", "", None]


def draft() -> st.SearchStrategy[dict[str, Any]]:
    sender: Any = st.one_of(
        st.just({}), st.fixed_dictionaries({"sender_id": st.sampled_from(SENDERS)})
    )
    return st.builds(
        lambda to, message, named: {"to": to, "message": message} | named,
        st.sampled_from(NUMBERS),
        st.one_of(st.sampled_from(TEXTS), st.text(max_size=200)),
        sender,
    )


def shared() -> st.SearchStrategy[dict[str, Any]]:
    times: Any = st.sampled_from([{"hours": 1.5}, {"hours": 30}, {"days": 91}, {"minutes": -2}])
    return st.fixed_dictionaries(
        {},
        optional={
            "scheduled_at": st.one_of(times.map(lambda span: soon(**span)), st.just("soon")),
            "outside_window": st.sampled_from(["hold", "refuse"]),
            "validity": st.sampled_from([10, 3600, 0]),
        },
    )


@pytest.fixture
def sending(customer, closed, world) -> Customer:
    """A customer of whom many things are refused, but never for want of credits."""
    ledger.adjust(customer.organization, 100_000 * MICRO, reason="paid", actor=None)
    Suppression.objects.create(
        organization=customer.organization, number=OPTED_OUT, source="dashboard"
    )
    world.sender(customer, "Other", is_default=True)
    world.carrier(is_sandbox=True)
    return customer


COMMON = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def same(told: dict[str, Any], sent: dict[str, Any]) -> bool:
    """Return whether an accepted message is as it was estimated."""
    names = ("to", "sender_id", "parts", "encoding", "credits", "scheduled_at")
    return all(told[name] == sent[name] for name in names)


@COMMON
@given(body=draft(), more=shared(), test=st.booleans())
def test_a_send_does_as_estimated(sending, body, more, test):
    api = sending.test_api if test else sending.api
    told, sent = api.post(URL, body | more), api.post("/v1/sms/send", body | more)
    if told.status_code != 200:
        refused = [answer.json()["error"] for answer in (told, sent)]
        assert (told.status_code, refused[0]) == (sent.status_code, refused[1])
        return
    estimated, answer = told.json(), sent.json()
    assert estimated["accepted"] is (sent.status_code == 202)
    if sent.status_code == 202:
        assert same(estimated, answer)
    else:
        assert estimated["problems"][0] == {
            name: answer["error"][name] for name in ("code", "message", "field")
        }


@COMMON
@given(rows=st.lists(draft(), min_size=1, max_size=4), more=shared(), test=st.booleans())
def test_a_bulk_call_does_as_estimated(sending, rows, more, test):
    api = sending.test_api if test else sending.api
    body = {"messages": rows} | more
    told, sent = api.post(URL, body), api.post("/v1/sms/bulk", body)
    if told.status_code != 200:
        assert told.status_code == sent.status_code
        return
    estimated, answer = told.json(), sent.json()
    if sent.status_code != 202:
        assert estimated["accepted"] == 0
        assert answer["error"]["code"] in {
            row["problems"][0]["code"] for row in estimated["messages"]
        }
        return
    for name in ("accepted", "rejected", "credits"):
        assert estimated[name] == answer[name]
    for one, other in zip(estimated["messages"], answer["messages"], strict=True):
        if one["accepted"]:
            assert same(one, other)
        else:
            assert one["problems"][0] == other["error"]


def test_a_send_is_refused_as_estimated_when_the_balance_ends(committed_world):
    committed_world.serve()
    poor = committed_world.customer(credits=3)
    outcomes = []
    for text in ("a", "a" * 161, "a", "a"):
        told = estimate(poor.api, GOOD | {"message": text})
        sent = poor.api.post("/v1/sms/send", GOOD | {"message": text})
        assert told["accepted"] is (sent.status_code == 202)
        outcomes.append(sent.status_code)
    assert outcomes == [202, 202, 402, 402]
    assert poor.balance() == 0


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "to"),
        ({"to": PHONE}, "message"),
        (GOOD | {"extra": 1}, "extra"),
        (GOOD | {"to": 966501234567}, "to"),
        (GOOD | {"validity": 9}, "validity"),
        (GOOD | {"outside_window": "wait"}, "outside_window"),
        ({"messages": []}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": [GOOD | {"scheduled_at": None}]}, "messages[0].scheduled_at"),
        ({"messages": [{"to": PHONE}]}, "messages[0].message"),
        ({"messages": [GOOD], "to": PHONE}, "to"),
        ([], None),
        (None, None),
    ],
    ids=str,
)
def test_what_is_no_body_of_a_send(api, body, field):
    answer = api.post(URL, body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "INVALID_REQUEST")
    assert error["field"] == field


def test_more_than_a_bulk_call_takes(api, settings):
    settings.BULK_MAX_MESSAGES = 2
    answer = api.post(URL, {"messages": [GOOD] * 3})
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "messages")
