"""Modes of the API: a key reads and changes the objects of its own mode, live or test, only.

Every operation is called on objects of both modes with both kinds of keys. The routes come from the
URL resolver (`tests.support.api_calls`): a new one has to be of one of the kinds below, or fails.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.core import serializers
from django.db import connection

from accounts.models import MICRO
from messaging.models import Carrier
from tests.support.api_calls import GOOD, Scene, ask, calls
from tests.support.factories import PHONE, Customer, World

CALLS = calls()
BY_ID = sorted({call for call in CALLS if "<" in call[1]} | {("POST", "otp/verify")})
LISTS = {
    ("GET", "sms"): ("sms/<str:message_id>", "message_id"),
    ("GET", "webhooks"): ("webhooks/<str:webhook_id>", "id"),
    ("GET", "suppressions"): ("suppressions/<str:number>", "number"),
    ("GET", "sender-ids"): ("sender-ids/<str:sender_id>", "id"),
}
"""Lists, with the route that creates what they list and the name of its id."""
CREATE = {
    ("POST", "sms/send"),
    ("POST", "sms/bulk"),
    ("POST", "otp/send"),
    ("POST", "sender-ids"),
    ("POST", "suppressions"),
    ("POST", "webhooks"),
}
FIGURES = {("GET", "balance"), ("GET", "usage"), ("POST", "sms/estimate")}
# What changes whenever a key is used, and what belongs to a key.
OF_THE_KEY = {"accounts.apikey", "accounts.idempotencyrecord", "accounts.auditentry"}
MODES_OF = (False, True)
MODES = pytest.mark.parametrize("test", [False, True], ids=["live", "test"])


@pytest.fixture
def scenes(world: World, customer: Customer, carrier: Carrier) -> dict[bool, Scene]:
    """Return the customer's scene of each mode, by whether it is the test mode."""
    return {
        False: Scene(world, customer, carrier),
        True: Scene(world, customer, world.carrier(is_sandbox=True), test=True),
    }


def objects(customer: Customer) -> list[Any]:
    """Return every row of the database that may change, as it is stored."""
    rows = []
    for model in apps.get_models():
        if not model._meta.managed or model._meta.label_lower in OF_THE_KEY:
            continue
        if model._meta.app_label in {"accounts", "messaging", "webhooks", "otp"}:
            rows += json.loads(serializers.serialize("json", model._base_manager.all()))
    return sorted(rows, key=str)


def test_every_operation_is_of_one_kind() -> None:
    assert sorted([*BY_ID, *LISTS, *CREATE, *FIGURES]) == sorted(CALLS)


@MODES
@pytest.mark.parametrize(("method", "pattern"), BY_ID)
def test_an_object_of_the_other_mode_is_not_found_and_stays_as_it_is(
    scenes: dict[bool, Scene], method: str, pattern: str, test: bool
) -> None:
    good = GOOD[method, pattern]
    path, body = good.make(scenes[test])
    before = objects(scenes[test].customer)
    response = ask(scenes[not test].api.secret, method, path, body)
    assert (response.status_code, response.json()["error"]["code"]) == (404, "NOT_FOUND")
    assert objects(scenes[test].customer) == before
    response = ask(scenes[test].api.secret, method, path, body)
    assert response.status_code == good.status, response.content


@MODES
@pytest.mark.parametrize(("method", "pattern"), sorted(LISTS))
def test_a_list_has_the_objects_of_its_mode(
    scenes: dict[bool, Scene], method: str, pattern: str, test: bool
) -> None:
    about, name = LISTS[method, pattern]
    mine, theirs = (
        GOOD["GET", about].make(scenes[mode])[0].rpartition("/")[2] for mode in (test, not test)
    )
    listed = ask(scenes[test].api.secret, method, f"/v1/{pattern}?limit=100").json()["data"]
    ids = [row[name] for row in listed]
    assert mine in ids
    assert theirs not in ids


@MODES
@pytest.mark.parametrize(("method", "pattern"), sorted(CREATE))
def test_what_a_key_creates_is_of_its_mode(
    scenes: dict[bool, Scene], method: str, pattern: str, test: bool
) -> None:
    good = GOOD[method, pattern]
    path, body = good.make(scenes[test])
    response = ask(scenes[test].api.secret, method, path, body)
    assert response.status_code in {201, 202}, response.content
    created = {
        "sms/send": "messaging_message",
        "sms/bulk": "messaging_batch",
        "otp/send": "otp_verification",
        "sender-ids": "messaging_senderid",
        "suppressions": "messaging_suppression",
        "webhooks": "webhooks_endpoint",
    }[pattern]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT test FROM {created} WHERE organization_id = %s ORDER BY id DESC LIMIT 1",
            [scenes[test].customer.id],
        )
        assert cursor.fetchone() == (test,)


@MODES
def test_the_same_may_be_created_in_both_modes(scenes: dict[bool, Scene], test: bool) -> None:
    for pattern, body in (
        ("suppressions", {"numbers": [PHONE]}),
        ("sender-ids", {"name": "Bazaar"}),
        ("webhooks", {"url": "https://example.com/hook"}),
    ):
        for mode in (test, not test):
            response = ask(scenes[mode].api.secret, "POST", f"/v1/{pattern}", body)
            assert response.status_code == 201, response.content


# ---------------------------------------------------------------- what one mode does to the other


@MODES
def test_a_suppression_stops_messages_of_its_mode_and_cancels_them_only(
    scenes: dict[bool, Scene], test: bool
) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    later = {"to": PHONE, "message": "Hello", "scheduled_at": tomorrow}
    waiting = {
        mode: scenes[mode].api.post("/v1/sms/send", later).json()["message_id"] for mode in MODES_OF
    }
    added = scenes[test].api.post("/v1/suppressions", {"numbers": [PHONE]}).json()
    assert (added["added"], added["canceled"]) == (1, 1)
    for mode in MODES_OF:
        api = scenes[mode].api
        read = api.get(f"/v1/sms/{waiting[mode]}").json()
        assert read["status"] == ("canceled" if mode is test else "scheduled")
        sent = api.post("/v1/sms/send", {"to": PHONE, "message": "Hello"})
        assert sent.status_code == (403 if mode is test else 202)


@MODES
def test_an_event_goes_to_the_endpoints_of_its_mode(scenes: dict[bool, Scene], test: bool) -> None:
    endpoints = {
        mode: ask(
            scenes[mode].api.secret, "POST", "/v1/webhooks", {"url": "https://example.com/hook"}
        ).json()
        for mode in MODES_OF
    }
    assert [endpoints[mode]["test"] for mode in MODES_OF] == [False, True]
    assert scenes[test].api.post("/v1/sms/send", {"to": PHONE, "message": "Hi"}).status_code == 202
    logs = {
        mode: scenes[mode].api.get(f"/v1/webhooks/{endpoints[mode]['id']}/deliveries").json()
        for mode in MODES_OF
    }
    assert [row["event"] for row in logs[test]["data"]] == ["message.queued"]
    assert logs[not test]["data"] == []


def test_a_test_sender_id_is_approved_at_once_and_opens_nothing_live(
    scenes: dict[bool, Scene],
) -> None:
    requested = scenes[True].api.post("/v1/sender-ids", {"name": "Bazaar"}).json()
    assert requested["status"] == "approved"
    message = {"to": PHONE, "message": "Hello", "sender_id": "Bazaar"}
    refused = scenes[False].api.post("/v1/sms/send", message)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "INVALID_SENDER")
    assert scenes[True].api.post("/v1/sms/send", message).json()["sender_id"] == "Bazaar"


def test_a_test_key_reads_a_play_balance_and_test_usage(scenes: dict[bool, Scene]) -> None:
    live, play = scenes[False].api, scenes[True].api
    assert live.get("/v1/balance").json()["credits"] == "100"
    balance = {"credits": "1000000", "low_balance_threshold": "0", "test": True}
    assert play.get("/v1/balance").json() == balance
    body = {"to": PHONE, "message": "Hello"}
    assert play.post("/v1/sms/estimate", body).json()["balance"] == "1000000"
    assert live.post("/v1/sms/estimate", body).json()["balance"] == "100"
    live.post("/v1/sms/send", body)
    for _ in range(2):
        play.post("/v1/sms/send", body)
    for group in ("day", "status", "sender_id", "country"):
        used = [
            api.get(f"/v1/usage?group_by={group}").json()["total"]["messages"]
            for api in (live, play)
        ]
        assert used == [1, 2], group
    assert scenes[False].customer.balance() == 99 * MICRO
    assert play.get("/v1/balance").json() == balance


def test_test_calls_take_nothing_from_the_limit_of_live_ones(scenes: dict[bool, Scene]) -> None:
    left = [scenes[False].api.get("/v1/balance")["X-RateLimit-Remaining"]]
    for _ in range(3):
        assert scenes[True].api.get("/v1/balance").status_code == 200
    left.append(scenes[False].api.get("/v1/balance")["X-RateLimit-Remaining"])
    assert int(left[0]) - int(left[1]) <= 1
