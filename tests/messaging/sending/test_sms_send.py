"""POST /v1/sms/send: the documented example, the answer's shape, and every refusal."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError

from accounts.keys.api_keys import create_key, revoke_key
from accounts.models import MICRO, Organization
from accounts.roles import Scope
from imissive.core import ids
from messaging.models import Message, SenderId
from messaging.sending import api as messaging_api
from messaging.states import Status
from tests.support.factories import (
    PHONE,
    SENDER,
    Api,
    client,
)

URL = "/v1/sms/send"
GOOD = {"to": PHONE, "message": "Hello from iMissive!", "sender_id": SENDER}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

# The body of "Quick Start" in the documentation that customers already integrate against.
SEED_BODY = """{
"to": "+966501234567",
"message": "Hello from iMissive!",
"sender_id": "MyCompany"
}"""


def soon(**span) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


def error_of(response) -> dict[str, Any]:
    """The answer's error, after its shape was checked."""
    assert response["Content-Type"] == "application/json"
    body = response.json()
    assert set(body) == {"error", "request_id"}
    assert body["request_id"] == response["X-Request-Id"]
    assert set(body["error"]) == {"code", "message", "field", "details", "docs"}
    assert body["error"]["docs"] == f"{settings.PUBLIC_URL}/docs#{body['error']['code']}"
    assert body["error"]["message"]
    error: dict[str, Any] = body["error"]
    return error


def assert_refused(response, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    error = error_of(response)
    assert error["field"] == field
    return error


# ---------------------------------------------------------------- what is accepted


def test_the_documented_example_is_accepted_as_printed(api, customer):
    response = api.post(URL, raw=SEED_BODY)
    assert response.status_code == 202
    [message] = customer.messages()
    assert response.json()["message_id"] == message.public_id
    assert (message.to, message.text, message.sender) == (
        "+966501234567",
        "Hello from iMissive!",
        "MyCompany",
    )
    assert message.status == Status.QUEUED
    assert customer.balance() == 99 * MICRO


def test_the_answer_has_exactly_the_contracts_fields(api):
    before = datetime.now(UTC)
    response = api.post(URL, GOOD | {"reference": "order 7"})
    body = response.json()
    created_at = body["created_at"]
    assert TIME.fullmatch(created_at)
    assert abs(datetime.fromisoformat(created_at) - before) < timedelta(seconds=30)
    assert ids.parse_id("msg", body["message_id"])
    assert body == {
        "message_id": body["message_id"],
        "to": "+966501234567",
        "sender_id": "MyCompany",
        "status": "queued",
        "parts": 1,
        "encoding": "gsm7",
        "credits": "1",
        "reference": "order 7",
        "batch_id": None,
        "test": False,
        "created_at": created_at,
        "scheduled_at": None,
        "queued_at": created_at,
        "sent_at": None,
        "delivered_at": None,
        "failed_at": None,
        "error": None,
    }


def test_the_answer_is_what_the_message_then_says_of_itself(api):
    sent = api.post(URL, GOOD | {"reference": "order 7"}).json()
    read = api.get(f"/v1/sms/{sent['message_id']}").json()
    assert {name: read[name] for name in sent} == sent


@pytest.mark.parametrize(
    ("text", "encoding", "parts"),
    [
        ("Hello", "gsm7", 1),
        ("a" * 160, "gsm7", 1),
        ("a" * 161, "gsm7", 2),
        ("€" * 80, "gsm7", 1),
        ("€" * 81, "gsm7", 2),
        ("رمز التحقق 1234", "ucs2", 1),
        ("م" * 70, "ucs2", 1),
        ("م" * 71, "ucs2", 2),
        ("😀" * 35, "ucs2", 1),
        ("😀" * 36, "ucs2", 2),
        ("a" * 1530, "gsm7", 10),
        ("م" * 670, "ucs2", 10),
    ],
    ids=lambda value: f"{value[:1]}x{len(value)}" if isinstance(value, str) else None,
)
def test_encoding_parts_and_price_follow_the_text(api, customer, text, encoding, parts):
    body = api.post(URL, GOOD | {"message": text}).json()
    assert (body["encoding"], body["parts"], body["credits"]) == (encoding, parts, str(parts))
    assert customer.balance() == (100 - parts) * MICRO
    assert customer.messages()[0].text == text


@pytest.mark.parametrize(
    "written", ["+966501234567", "00966501234567", "+966 50 123 4567", "00966-50-123-4567"]
)
def test_numbers_are_normalized(api, customer, written):
    assert api.post(URL, GOOD | {"to": written}).json()["to"] == "+966501234567"
    assert customer.messages()[0].to == "+966501234567"


def test_one_charge_in_the_ledger_bears_the_messages_id(api, customer):
    body = api.post(URL, GOOD | {"message": "م" * 71}).json()
    reference = ids.parse_id("msg", body["message_id"])
    assert customer.ledger() == [("charge", -2 * MICRO, reference)]


def test_it_is_due_at_once_on_the_lane_that_no_bulk_run_holds_up(
    api, customer, carrier, wakes, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        api.post(URL, GOOD)
    [message] = customer.messages()
    assert (message.carrier_id, message.urgent) == (carrier.id, True)
    assert message.due_at <= datetime.now(UTC)
    queue = f"carrier.{carrier.slug}.urgent"
    assert wakes == [("messaging.tasks.wake", queue, ("urgent",))]


def test_message_queued_is_recorded_for_the_endpoints_that_want_it(api, customer, world):
    world.endpoint(customer, "message.queued")
    world.endpoint(customer, "message.failed")
    body = api.post(URL, GOOD | {"reference": "order 7"}).json()
    [event] = customer.event_rows()
    assert event.deliveries.count() == 1
    told = json.loads(event.body)
    assert told == {
        "event": "message.queued",
        "message_id": body["message_id"],
        "timestamp": told["timestamp"],
        "data": {
            "to": "+966501234567",
            "status": "queued",
            "queued_at": told["timestamp"],
            "reference": "order 7",
        },
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", told["timestamp"])


def test_a_test_key_reaches_the_sandbox_and_costs_nothing(test_api, customer, world):
    sandbox = world.carrier(is_sandbox=True)
    body = test_api.post(URL, GOOD).json()
    assert (body["test"], body["credits"]) == (True, "0")
    [message] = customer.messages()
    assert (message.test, message.carrier, message.price) == (True, sandbox, 0)
    assert customer.ledger() == []


def test_a_test_key_needs_no_credits_and_no_route(world):
    world.carrier(is_sandbox=True)
    poor = world.customer(credits=0)
    assert poor.test_api.post(URL, GOOD | {"to": "+201001234567"}).status_code == 202


@pytest.mark.parametrize("sender", ["NewShop", "MYCOMPANY", "My Shop", "+966500000000", "1234"])
def test_a_test_key_names_any_sender_that_may_be_one(test_api, customer, world, sender):
    """The first example of the guide runs before an operator has approved anything."""
    world.carrier(is_sandbox=True)
    response = test_api.post(URL, GOOD | {"sender_id": sender})
    assert (response.status_code, response.json()["sender_id"]) == (202, sender)
    assert [(message.sender, message.test) for message in customer.messages()] == [(sender, True)]


@pytest.mark.parametrize(
    ("sender", "told"),
    [
        ("", "A sender ID needs at least one character."),
        ("TwelveLetter", "A sender ID has at most 11 characters."),
        ("شركتي", "The character 'ش' cannot be in a sender ID"),
        ("My[Shop]", "The character '[' cannot be in a sender ID"),
        ("12", "A short code has 3 to 8 digits"),
        (" MyShop", "Write the sender ID as it is sent: 'MyShop'."),
        ("+966 500000000", "Write the sender ID as it is sent: '+966500000000'."),
    ],
)
def test_a_test_key_names_no_sender_that_could_never_be_one(
    test_api, customer, world, sender, told
):
    world.carrier(is_sandbox=True)
    before = customer.stored()
    response = test_api.post(URL, GOOD | {"sender_id": sender})
    assert_refused(response, 403, "INVALID_SENDER", "sender_id")
    assert response.json()["error"]["message"].startswith(told)
    assert customer.stored() == before


def test_a_live_key_never_reaches_the_sandbox(api, customer, carrier, world):
    world.carrier(is_sandbox=True)
    api.post(URL, GOOD)
    assert customer.messages()[0].carrier == carrier


# ---------------------------------------------------------------- the optional fields


def test_a_scheduled_message_waits_and_is_charged_now(
    api, customer, world, wakes, django_capture_on_commit_callbacks
):
    world.endpoint(customer)
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)
    with django_capture_on_commit_callbacks(execute=True):
        body = api.post(URL, GOOD | {"scheduled_at": at.isoformat()}).json()
    assert body["status"] == "scheduled"
    assert datetime.fromisoformat(body["scheduled_at"]) == at
    assert body["queued_at"] is None
    [message] = customer.messages()
    assert (message.status, message.due_at, message.scheduled_at) == (Status.SCHEDULED, at, at)
    assert message.expires_at == at + timedelta(hours=48)
    assert customer.balance() == 99 * MICRO
    assert (wakes, customer.events()) == ([], [])


def test_a_schedule_may_be_written_in_any_zone(api):
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=5)
    riyadh = (at + timedelta(hours=3)).replace(tzinfo=None).isoformat() + "+03:00"
    body = api.post(URL, GOOD | {"scheduled_at": riyadh}).json()
    assert body["scheduled_at"] == at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_a_schedule_of_a_moment_ago_is_at_once(api):
    body = api.post(URL, GOOD | {"scheduled_at": soon(seconds=-30)}).json()
    assert (body["status"], body["scheduled_at"]) == ("queued", None)


@pytest.mark.parametrize("seconds", [10, 3600.0, 7 * 86_400])
def test_validity_ends_the_message(api, customer, seconds):
    assert api.post(URL, GOOD | {"validity": seconds}).status_code == 202
    [message] = customer.messages()
    assert message.expires_at - message.created_at == timedelta(seconds=seconds)


def test_validity_counts_from_the_schedule(api, customer):
    api.post(URL, GOOD | {"scheduled_at": soon(days=1), "validity": 60})
    [message] = customer.messages()
    assert message.expires_at - message.scheduled_at == timedelta(seconds=60)


def test_without_a_sender_the_only_approved_one_is_used(api, customer):
    body = api.post(URL, {"to": PHONE, "message": "Hi"}).json()
    assert body["sender_id"] == customer.messages()[0].sender == SENDER


def test_without_a_sender_the_default_of_several_is_used(api, customer, world):
    world.sender(customer, "Marked", is_default=True)
    assert api.post(URL, {"to": PHONE, "message": "Hi"}).json()["sender_id"] == "Marked"


def test_without_a_sender_and_a_default_of_several_it_is_refused(api, customer, world):
    world.sender(customer, "Second")
    response = api.post(URL, {"to": PHONE, "message": "Hi"})
    assert_refused(response, 403, "INVALID_SENDER", "sender_id")


def test_null_stands_for_an_optional_field_that_is_not_given(api):
    optional = dict.fromkeys(("sender_id", "scheduled_at", "validity", "reference"))
    assert api.post(URL, {"to": PHONE, "message": "Hi"} | optional).status_code == 202


# ---------------------------------------------------------------- what is refused

WRONG_BODIES = {
    "malformed JSON": ('{"to": "+966501234567",', "INVALID_REQUEST", None),
    "an empty body": ("", "INVALID_REQUEST", None),
    "no UTF-8": (b'{"to": "\xff"}', "INVALID_REQUEST", None),
    "comments": (SEED_BODY.replace('"sender_id"', '// no\n"sender_id"'), "INVALID_REQUEST", None),
    "NaN": ('{"to": NaN}', "INVALID_REQUEST", None),
    "JSON too deep": ("[" * 5000, "INVALID_REQUEST", None),
    "a list": ("[]", "INVALID_REQUEST", None),
    "a string": ('"hello"', "INVALID_REQUEST", None),
    "null": ("null", "INVALID_REQUEST", None),
    "no fields": ({}, "INVALID_REQUEST", "to"),
    "no number": ({"message": "Hi"}, "INVALID_REQUEST", "to"),
    "no message": ({"to": PHONE}, "INVALID_REQUEST", "message"),
    "null for a number": (GOOD | {"to": None}, "INVALID_REQUEST", "to"),
    "a number as integer": (GOOD | {"to": 966501234567}, "INVALID_REQUEST", "to"),
    "a list of numbers": (GOOD | {"to": [PHONE]}, "INVALID_REQUEST", "to"),
    "a message as integer": (GOOD | {"message": 7}, "INVALID_REQUEST", "message"),
    "a message as object": (GOOD | {"message": {}}, "INVALID_REQUEST", "message"),
    "a sender as integer": (GOOD | {"sender_id": 7}, "INVALID_REQUEST", "sender_id"),
    "a schedule as integer": (GOOD | {"scheduled_at": 1}, "INVALID_REQUEST", "scheduled_at"),
    "a validity as text": (GOOD | {"validity": "60"}, "INVALID_REQUEST", "validity"),
    "a validity as fraction": (GOOD | {"validity": 60.5}, "INVALID_REQUEST", "validity"),
    "a validity as boolean": (GOOD | {"validity": True}, "INVALID_REQUEST", "validity"),
    "a validity too short": (GOOD | {"validity": 9}, "INVALID_REQUEST", "validity"),
    "a validity too long": (GOOD | {"validity": 7 * 86_400 + 1}, "INVALID_REQUEST", "validity"),
    "a validity beyond 64 bits": (GOOD | {"validity": 10**30}, "INVALID_REQUEST", "validity"),
    "a reference as integer": (GOOD | {"reference": 7}, "INVALID_REQUEST", "reference"),
    "a reference too long": (GOOD | {"reference": "r" * 101}, "INVALID_REQUEST", "reference"),
    "NUL in the reference": (GOOD | {"reference": "a\0"}, "INVALID_REQUEST", "reference"),
    "an unknown field": (GOOD | {"sheduled_at": "x"}, "INVALID_REQUEST", "sheduled_at"),
    "an empty message": (GOOD | {"message": ""}, "INVALID_REQUEST", "message"),
    "a blank message": (GOOD | {"message": " \n\t"}, "INVALID_REQUEST", "message"),
    "NUL in the message": (GOOD | {"message": "a\0b"}, "INVALID_REQUEST", "message"),
    "a lone surrogate": (r'{"to":"+966501234567","message":"\ud800"}', "INVALID_REQUEST", None),
    "surrogates crossed": (
        r'{"to":"+966501234567","message":"\ude00\ud83d"}',
        "INVALID_REQUEST",
        None,
    ),
    "a surrogate in the number": (r'{"to":"\ud800","message":"Hi"}', "INVALID_REQUEST", None),
    "11 GSM parts": (GOOD | {"message": "a" * 1531}, "MESSAGE_TOO_LONG", "message"),
    "11 UCS-2 parts": (GOOD | {"message": "م" * 671}, "MESSAGE_TOO_LONG", "message"),
    "letters as number": (GOOD | {"to": "not a number"}, "INVALID_PHONE", "to"),
    "an empty number": (GOOD | {"to": ""}, "INVALID_PHONE", "to"),
    "NUL in the number": (GOOD | {"to": "+96650123\x004567"}, "INVALID_PHONE", "to"),
    "a number of no country": (GOOD | {"to": "0401234567"}, "INVALID_PHONE", "to"),
    "another country's number without +": (GOOD | {"to": "971501234567"}, "INVALID_PHONE", "to"),
    "a number too short": (GOOD | {"to": "+96650123"}, "INVALID_PHONE", "to"),
    "a number too long": (GOOD | {"to": "+9665012345678901"}, "INVALID_PHONE", "to"),
    "an endless number": (GOOD | {"to": "+" + "9" * 10_000}, "INVALID_PHONE", "to"),
    "an unknown country": (GOOD | {"to": "+999501234567"}, "INVALID_PHONE", "to"),
    "a landline": (GOOD | {"to": "+966112345678"}, "INVALID_PHONE", "to"),
    "a schedule that is no time": (GOOD | {"scheduled_at": "soon"}, "INVALID_SCHEDULE", None),
    "a schedule without offset": (
        GOOD | {"scheduled_at": "2099-01-15T10:00:00"},
        "INVALID_SCHEDULE",
        None,
    ),
    "a schedule without time": (GOOD | {"scheduled_at": "2099-01-15"}, "INVALID_SCHEDULE", None),
    "a schedule in the past": (
        GOOD | {"scheduled_at": "2024-01-15T10:00:00Z"},
        "INVALID_SCHEDULE",
        None,
    ),
    "a schedule before all time": (
        GOOD | {"scheduled_at": "0001-01-01T00:00:00+14:00"},
        "INVALID_SCHEDULE",
        None,
    ),
    "a schedule after all time": (
        GOOD | {"scheduled_at": "9999-12-31T23:59:59-14:00"},
        "INVALID_SCHEDULE",
        None,
    ),
}


@pytest.mark.parametrize("case", WRONG_BODIES)
def test_a_wrong_body_is_refused_and_leaves_nothing(api, customer, world, case):
    body, code, field = WRONG_BODIES[case]
    if code == "INVALID_SCHEDULE":
        field = "scheduled_at"
    world.endpoint(customer)
    before = customer.stored()
    response = api.post(URL, body) if isinstance(body, dict) else api.post(URL, raw=body)
    error = assert_refused(response, 400, code, field)
    if field and field not in ("to", "message"):
        assert field in error["message"] or code == "INVALID_SCHEDULE"
    assert customer.stored() == before


@pytest.mark.parametrize(
    ("seconds", "status"),
    [(-50, 202), (-70, 400), (90 * 86_400 - 60, 202), (90 * 86_400 + 60, 400)],
)
def test_a_schedule_lies_between_a_minute_ago_and_90_days_ahead(api, seconds, status):
    response = api.post(URL, GOOD | {"scheduled_at": soon(seconds=seconds)})
    assert response.status_code == status


def test_too_many_parts_are_told_with_their_count(api, customer):
    error = error_of(api.post(URL, GOOD | {"message": "a" * 1531}))
    assert error["message"] == "The message has 11 parts; at most 10 are allowed."
    Organization.objects.filter(id=customer.id).update(max_parts=2)
    error = error_of(api.post(URL, GOOD | {"message": "a" * 400}))
    assert error["message"] == "The message has 3 parts; at most 2 are allowed."


def test_an_unknown_field_is_told_by_its_name(api):
    error = error_of(api.post(URL, GOOD | {"sheduled_at": "x"}))
    assert error["message"] == "There is no field 'sheduled_at'."


def test_the_first_problem_is_told_and_the_others_are_its_details(api):
    response = api.post(URL, {"to": "x", "message": "", "sender_id": "Nobody"})
    error = assert_refused(response, 400, "INVALID_PHONE", "to")
    assert [(detail["code"], detail["field"]) for detail in error["details"]] == [
        ("INVALID_REQUEST", "message"),
        ("INVALID_SENDER", "sender_id"),
    ]


@pytest.mark.parametrize("sender", ["Outsider", "Nobody", "mycompany", "MyCompany ", "", "x" * 40])
def test_a_sender_that_is_not_approved_for_this_organization_is_refused(
    api, customer, outsider, sender
):
    before = customer.stored()
    response = api.post(URL, GOOD | {"sender_id": sender})
    assert_refused(response, 403, "INVALID_SENDER", "sender_id")
    assert customer.stored() == before


@pytest.mark.parametrize("status", ["pending", "rejected", "revoked"])
def test_a_sender_must_be_approved_now(api, customer, status):
    SenderId.objects.filter(organization=customer.organization).update(status=status, reason="r")
    before = customer.stored()
    assert_refused(api.post(URL, GOOD), 403, "INVALID_SENDER", "sender_id")
    assert customer.stored() == before


@pytest.mark.parametrize("missing", ["route", "price"])
def test_a_destination_without_route_or_price_is_refused(api, customer, world, missing):
    if missing == "route":
        world.price("20", MICRO)
    else:
        world.route("20", world.carriers[0])
    before = customer.stored()
    response = api.post(URL, GOOD | {"to": "+201001234567"})
    error = assert_refused(response, 403, "DESTINATION_BLOCKED", "to")
    assert "(EG)" in error["message"]
    assert customer.stored() == before


def test_a_test_key_without_a_sandbox_is_refused(test_api, customer):
    assert_refused(test_api.post(URL, GOOD), 403, "DESTINATION_BLOCKED", "to")
    assert customer.messages() == []


@pytest.mark.parametrize("has_endpoint", [False, True], ids=["no endpoint", "an endpoint"])
def test_without_enough_credits_nothing_is_sent(committed_world, has_endpoint):
    """Committed, because the database's refusal ends the transaction that a test would be in."""
    committed_world.serve()
    poor = committed_world.customer(credits=1)
    if has_endpoint:
        committed_world.endpoint(poor)
    before = poor.stored()
    assert_refused(poor.api.post(URL, GOOD | {"message": "م" * 71}), 402, "INSUFFICIENT_CREDITS")
    assert poor.stored() == before
    assert poor.api.post(URL, GOOD).status_code == 202
    assert poor.balance() == 0
    assert_refused(poor.api.post(URL, GOOD), 402, "INSUFFICIENT_CREDITS")
    assert len(poor.messages()) == 1


def test_the_last_credit_can_be_spent(customer, api, world):
    rich_in_nothing = world.customer(credits=10)
    assert rich_in_nothing.api.post(URL, GOOD | {"message": "a" * 1530}).status_code == 202
    assert rich_in_nothing.balance() == 0


# ---------------------------------------------------------------- who may not


def keys_that_are_no_keys(customer) -> dict[str, str]:
    """What may stand after `Bearer `, none of it a key that is valid now."""
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    expired = create_key(customer.organization, "old", test=False, expires_at=an_hour_ago)
    revoked = create_key(customer.organization, "revoked", test=False)
    revoke_key(revoked[0])
    good = customer.api.secret
    return {
        "unknown": f"imk_live_{'0' * 64}",
        "revoked": revoked[1],
        "expired": expired[1],
        "cut": good[:-1],
        "in another case": good.upper(),
        "of the other kind": good.replace("live", "test"),
        "its hint": customer.organization.api_keys.first().hint,
        "not one of ours": "sk_live_1234",
        "empty": "",
        "not ASCII": "imk_live_é",
        "NUL": "imk_live_\0",
        "endless": "imk_live_" + "0" * 100_000,
    }


def test_every_key_that_is_not_valid_is_answered_alike(customer):
    before = customer.stored()
    headers = {f"Bearer {key}": name for name, key in keys_that_are_no_keys(customer).items()}
    headers |= {f"Basic {customer.api.secret}": "Basic", customer.api.secret: "no scheme"}
    answers = set()
    for header in [None, *headers]:
        extra: Any = {} if header is None else {"HTTP_AUTHORIZATION": header}
        response = client.post(URL, json.dumps(GOOD), content_type="application/json", **extra)
        assert_refused(response, 401, "UNAUTHORIZED")
        body = response.json()
        body.pop("request_id")
        answers.add((json.dumps(body), response["WWW-Authenticate"]))
    assert len(answers) == 1
    assert customer.stored() == before


def test_who_has_no_key_learns_nothing_of_the_body(customer):
    assert_refused(Api("").post(URL, raw="{"), 401, "UNAUTHORIZED")


def test_a_key_without_the_scope_may_not_send(customer):
    before = customer.stored()
    _, secret = create_key(customer.organization, "k", test=False, scopes=[Scope.SMS_READ])
    error = assert_refused(Api(secret).post(URL, GOOD), 403, "FORBIDDEN")
    assert "sms:send" in error["message"]
    assert customer.stored() == before


def test_a_key_with_the_scope_may_send(customer):
    _, secret = create_key(customer.organization, "k", test=False, scopes=[Scope.SMS_SEND])
    assert Api(secret).post(URL, GOOD).status_code == 202


def test_a_suspended_organization_may_not_send(api, customer):
    Organization.objects.filter(id=customer.id).update(status=Organization.Status.SUSPENDED)
    before = customer.stored()
    assert_refused(api.post(URL, GOOD), 403, "FORBIDDEN")
    assert customer.stored() == before


# ---------------------------------------------------------------- HTTP


@pytest.mark.parametrize(
    "type", ["", "text/plain", "application/x-www-form-urlencoded", "text/json"]
)
def test_only_json_is_read(api, customer, type):
    before = customer.stored()
    response = api.post(URL, raw=json.dumps(GOOD), content_type=type)
    assert_refused(response, 415, "UNSUPPORTED_MEDIA_TYPE")
    assert customer.stored() == before


def test_a_charset_beside_the_type_is_fine(api):
    kind = "application/json; charset=utf-8"
    assert api.post(URL, raw=json.dumps(GOOD), content_type=kind).status_code == 202


def test_a_body_over_the_limit_is_not_read(api, customer, settings):
    settings.API_MAX_BODY_BYTES = 1000
    before = customer.stored()
    body = json.dumps(GOOD)
    fits, over = body + " " * (1000 - len(body)), body + " " * (1001 - len(body))
    assert_refused(api.post(URL, raw=over), 413, "PAYLOAD_TOO_LARGE")
    assert customer.stored() == before
    assert api.post(URL, raw=fits).status_code == 202


def test_the_limits_of_the_api_and_of_django_are_one():
    assert settings.API_MAX_BODY_BYTES == settings.DATA_UPLOAD_MAX_MEMORY_SIZE == 8 * 1024 * 1024


def test_djangos_own_limit_is_answered_alike(api, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert_refused(api.post(URL, GOOD), 413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "trace"])
def test_another_method_is_refused_and_told_which_is_right(api, method):
    response = getattr(client, method)(URL, HTTP_AUTHORIZATION=f"Bearer {api.secret}")
    assert_refused(response, 405, "METHOD_NOT_ALLOWED")
    assert "POST" in response["Allow"]


def test_who_accepts_no_json_gets_406_in_json(api, customer):
    response = api.post(URL, GOOD, HTTP_ACCEPT="text/html")
    assert_refused(response, 406, "NOT_ACCEPTABLE")
    assert customer.messages() == []


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html, */*;q=0.1"])
def test_who_accepts_json_gets_it(api, accept):
    assert api.post(URL, GOOD, HTTP_ACCEPT=accept).status_code == 202


def test_every_answer_has_a_request_id_of_its_own(api):
    answers = [
        api.post(URL, GOOD),
        api.post(URL, raw="{"),
        Api("").post(URL, GOOD),
        api.get(URL),
        api.get("/v1/nothing"),
    ]
    assert [answer.status_code for answer in answers] == [202, 400, 401, 405, 404]
    request_ids = [answer["X-Request-Id"] for answer in answers]
    assert all(ids.parse_id("req", request_id) for request_id in request_ids)
    assert len(set(request_ids)) == len(answers)
    assert all(answer["Cache-Control"] == "no-store" for answer in answers)


def test_a_bug_of_ours_is_a_json_answer_without_its_trace(api, customer, monkeypatch):
    def broken(*_args):
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(messaging_api, "accept", broken)
    response = api.post(URL, GOOD)
    error = assert_refused(response, 500, "SERVER_ERROR")
    assert "hunter2" not in json.dumps(error)
    assert customer.messages() == []


def test_a_lost_database_is_503_and_worth_another_try(api, monkeypatch):
    def lost(*_args, **_options):
        raise OperationalError("connection refused to 10.0.0.1")

    monkeypatch.setattr(messaging_api, "accept", lost)
    response = api.post(URL, GOOD)
    error = assert_refused(response, 503, "UNAVAILABLE")
    assert response["Retry-After"] == "5"
    assert "10.0.0.1" not in json.dumps(error)


def test_over_plain_http_the_api_is_refused_where_https_is_promised(api, customer, settings):
    settings.SECURE_SSL_REDIRECT = True
    assert_refused(api.post(URL, GOOD), 403, "FORBIDDEN")
    assert customer.messages() == []


def test_accepting_one_message_takes_few_statements(api, django_assert_max_num_queries):
    api.post(URL, GOOD)
    with django_assert_max_num_queries(4):
        api.post(URL, GOOD)


def test_it_all_happens_in_one_statement_or_not_at_all(committed_world, monkeypatch):
    """A message is never without its charge, nor a charge without its message."""
    committed_world.serve()
    customer = committed_world.customer()
    before = customer.stored()
    too_long = "x" * 20  # more than the column holds, as if a check before had failed
    monkeypatch.setattr(
        "messaging.sending.evaluation.e164.parse", lambda raw: _Number("+966" + too_long)
    )
    assert customer.api.post(URL, GOOD).status_code == 500
    assert customer.stored() == before
    assert not Message.objects.filter(organization=customer.organization).exists()


class _Number:
    country = "SA"

    def __init__(self, e164: str) -> None:
        self.e164 = e164
