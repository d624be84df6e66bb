"""POST /v1/otp/send: the documented example, the message that is sent, and every refusal."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.keys.api_keys import create_key
from accounts.models import MICRO, Organization
from imissive.core import ids
from messaging.models import Carrier, SendingRule, Suppression
from messaging.routing import cache
from messaging.states import Status
from otp.models import OtpSettings, Verification
from tests.support import otps
from tests.support.factories import (
    PHONE,
    Api,
    Customer,
    World,
)
from tests.support.otps import SEND, refused, send

# The documentation's body, without its comments.
SEED_BODY = """{
"phone": "+966501234567",
"length": 6,
"expiry": 300,
"template": "Your verification code is: {code}"
}"""
OTHER = "+966501234568"


@pytest.fixture
def sandbox(world: World) -> Carrier:
    """The carrier of test keys' messages."""
    return world.carrier(is_sandbox=True)


def stored(customer: Customer) -> dict[str, Any]:
    """Return everything that a refused request must leave unchanged."""
    verifications = Verification.objects.filter(organization=customer.id).order_by("id").values()
    return customer.stored() | {"otp": list(verifications), "sends": otps.sends(customer)}


# ---------------------------------------------------------------- accepted requests


def test_the_documented_example_is_accepted_as_printed(api: Api, customer: Customer) -> None:
    response = api.post(SEND, raw=SEED_BODY)
    assert response.status_code == 202
    [message] = customer.messages()
    assert re.fullmatch(r"Your verification code is: \d{6}", message.text)
    assert message.masked_text == "Your verification code is: ••••••"
    assert message.text.endswith(otps.code_of(response.json()["otp_id"]))
    assert customer.balance() == 99 * MICRO


def test_the_response_has_exactly_the_contracts_fields(api: Api, customer: Customer) -> None:
    before = datetime.now(UTC)
    response = send(api)
    assert ids.parse_id("otp", response["otp_id"])
    expires = datetime.fromisoformat(response["expires_at"])
    assert abs(expires - before - timedelta(seconds=300)) < timedelta(seconds=20)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", response["expires_at"])
    assert response == {
        "otp_id": response["otp_id"],
        "phone": PHONE,
        "status": "pending",
        "expires_at": response["expires_at"],
        "message_id": customer.messages()[0].public_id,
    }


def test_the_message_is_urgent_and_expires_with_the_code(
    api: Api, customer: Customer, wakes: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        response = send(api, expiry=45)
    message = otps.message(response["message_id"])
    assert (message.source, message.urgent, message.status) == ("otp", True, Status.QUEUED)
    assert message.expires_at - message.created_at == timedelta(seconds=45)
    assert message.api_key_id is not None
    assert [(queue, arguments) for _, queue, arguments in wakes] == [
        (f"carrier.{message.carrier.slug}.urgent", ("urgent",))
    ]


@pytest.mark.parametrize("length", [4, 5, 6, 7, 8])
def test_the_code_has_the_requested_length(api: Api, length: int) -> None:
    response = send(api, length=length)
    code = otps.code_of(response["otp_id"])
    assert re.fullmatch(rf"\d{{{length}}}", code)
    message = otps.message(response["message_id"])
    assert code in message.text
    assert code not in message.masked_text
    assert len(message.masked_text) == len(message.text)


def test_codes_differ(api: Api, customer: Customer) -> None:
    numbers = [f"+96650123{n:04d}" for n in range(12)]
    found = {otps.code_of(send(api, phone=number, length=8)["otp_id"]) for number in numbers}
    assert len(found) == len(numbers)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, r"Your verification code is \d{6}\. Do not share it with anyone\."),
        ({"locale": "en"}, r"Your verification code is \d{6}\. Do not share it with anyone\."),
        ({"locale": "ar"}, r"رمز التحقق الخاص بك هو \d{6}\. لا تشاركه مع أحد\."),
        ({"template": "{code}"}, r"\d{6}"),
        ({"template": None, "locale": "en"}, r"Your verification code is .*"),
        ({"template": "رمزك {code}", "locale": "en"}, r"رمزك \d{6}"),
        (
            {"template": "Shop: {code}", "origin": "example.com"},
            r"Shop: (\d{6})\n@example\.com #\1",
        ),
        (
            {"template": "{code}", "origin": "Login.Example.COM"},
            r"(\d{6})\n@login\.example\.com #\1",
        ),
        ({"template": "Shop: {code}", "app_hash": "FA+9qCX9VSu"}, r"Shop: \d{6}\nFA\+9qCX9VSu"),
        ({"locale": "ar", "origin": "xn--mgba3a4fra.example"}, r"رمز .*\n@xn--\S+ #\d{6}"),
    ],
    ids=str,
)
def test_the_text(api: Api, fields: dict[str, Any], text: str) -> None:
    response = send(api, **fields)
    message = otps.message(response["message_id"])
    assert re.fullmatch(text, message.text, re.S), message.text
    assert not re.search(r"\d{6}", message.masked_text)
    assert "{" not in message.text


@pytest.mark.parametrize("locale", ["en", "ar"])
def test_the_default_texts_cost_one_part_with_the_longest_code(api: Api, locale: str) -> None:
    response = send(api, locale=locale, length=8)
    assert otps.message(response["message_id"]).parts == 1


@pytest.mark.parametrize("written", ["00966501234567", "+966 50 123 4567", "+٩٦٦٥٠١٢٣٤٥٦٧"])
def test_numbers_are_normalized(api: Api, written: str) -> None:
    assert send(api, phone=written)["phone"] == PHONE


def test_the_sender_is_the_requested_one(api: Api, customer: Customer, world: World) -> None:
    world.sender(customer, "Second", is_default=False)
    response = send(api, sender_id="Second")
    assert otps.message(response["message_id"]).sender == "Second"


# ---------------------------------------------------------------- refused requests


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"phone": None}, "phone"),
        ({"phone": 966501234567}, "phone"),
        ({"length": 3}, "length"),
        ({"length": 9}, "length"),
        ({"length": "6"}, "length"),
        ({"length": 6.5}, "length"),
        ({"length": True}, "length"),
        ({"length": None}, "length"),
        ({"expiry": 29}, "expiry"),
        ({"expiry": 3601}, "expiry"),
        ({"expiry": 60.5}, "expiry"),
        ({"template": 5}, "template"),
        ({"template": "{code}" + "x" * 2000}, "template"),
        ({"sender_id": 5}, "sender_id"),
        ({"sender_id": "x" * 51}, "sender_id"),
        ({"sender_id": "a\0b"}, "sender_id"),
        ({"locale": "fr"}, "locale"),
        ({"locale": None}, "locale"),
        ({"app_hash": "FA+9qCX9VS"}, "app_hash"),
        ({"app_hash": "FA+9qCX9VSuu"}, "app_hash"),
        ({"app_hash": "FA+9qCX9VS_"}, "app_hash"),
        ({"app_hash": "FA+9qCX9VSu\n"}, "app_hash"),
        ({"app_hash": "FA+9qCX9VSu", "origin": "example.com"}, "app_hash"),
        ({"origin": ""}, "origin"),
        ({"origin": "example"}, "origin"),
        ({"origin": "localhost"}, "origin"),
        ({"origin": "https://example.com"}, "origin"),
        ({"origin": "example.com/"}, "origin"),
        ({"origin": "example.com:443"}, "origin"),
        ({"origin": "example.com."}, "origin"),
        ({"origin": "exa mple.com"}, "origin"),
        ({"origin": "example.com\n"}, "origin"),
        ({"origin": "-example.com"}, "origin"),
        ({"origin": "example-.com"}, "origin"),
        ({"origin": "ex_ample.com"}, "origin"),
        ({"origin": "127.0.0.1"}, "origin"),
        ({"origin": "مثال.com"}, "origin"),
        ({"origin": ".".join(["a" * 63] * 4) + ".com"}, "origin"),
        ({"code": "123456"}, "code"),
        ({"to": PHONE}, "to"),
    ],
    ids=str,
)
def test_invalid_bodies(api: Api, customer: Customer, fields: dict[str, Any], field: str) -> None:
    before = stored(customer)
    error = refused(api.post(SEND, {"phone": PHONE} | fields), 400, "INVALID_REQUEST", field)
    assert error["message"]
    assert stored(customer) == before


@pytest.mark.parametrize("raw", ["", "{", "[]", '"x"', b"\xff", '{"phone": "\\ud800"}'])
def test_bodies_that_are_not_json_objects(api: Api, customer: Customer, raw: str | bytes) -> None:
    before = stored(customer)
    refused(api.post(SEND, raw=raw), 400, "INVALID_REQUEST")
    assert stored(customer) == before


@pytest.mark.parametrize(
    "template",
    ["", "code", "{code} and {code}", "{Code}", "{ code }", "{{code}} {code}", "{code}\0"],
)
def test_a_template_has_the_code_exactly_once(api: Api, customer: Customer, template: str) -> None:
    before = stored(customer)
    body = {"phone": PHONE, "template": template}
    refused(api.post(SEND, body), 400, "INVALID_TEMPLATE", "template")
    assert stored(customer) == before


@pytest.mark.parametrize(
    "fields",
    [
        {"template": "x" * 1525 + "{code}"},
        {"template": "م" * 665 + "{code}"},
        # Android's SMS Retriever reads at most 140 bytes in one part.
        {"template": "x" * 123 + "{code}", "app_hash": "FA+9qCX9VSu"},
        {"template": "م" * 62 + "{code}", "app_hash": "FA+9qCX9VSu"},
        {"template": "x" * 60 + "م{code}", "app_hash": "FA+9qCX9VSu"},
    ],
    ids=["gsm", "arabic", "retriever", "retriever-arabic", "retriever-mixed"],
)
def test_too_long_texts(api: Api, customer: Customer, fields: dict[str, str]) -> None:
    before = stored(customer)
    refused(api.post(SEND, {"phone": PHONE} | fields), 400, "MESSAGE_TOO_LONG", "template")
    assert stored(customer) == before


@pytest.mark.parametrize(
    "fields",
    [
        {"template": "x" * 1524 + "{code}"},
        {"template": "م" * 664 + "{code}"},
        {"template": "x" * 122 + "{code}", "app_hash": "FA+9qCX9VSu"},
        {"template": "م" * 52 + "{code}", "app_hash": "FA+9qCX9VSu"},
    ],
    ids=["gsm", "arabic", "retriever", "retriever-arabic"],
)
def test_the_longest_texts(api: Api, fields: dict[str, str]) -> None:
    send(api, **fields)


@pytest.mark.parametrize(
    "phone",
    [
        "",
        "96650123456",
        "0401234567",
        "971501234567",
        "+96650123456",
        "+966112345678",
        "+1",
        "text",
    ],
)
def test_refused_numbers(api: Api, customer: Customer, phone: str) -> None:
    before = stored(customer)
    refused(api.post(SEND, {"phone": phone}), 400, "INVALID_PHONE", "phone")
    assert stored(customer) == before


def test_an_unapproved_sender(api: Api, customer: Customer) -> None:
    before = stored(customer)
    body = {"phone": PHONE, "sender_id": "Stranger"}
    refused(api.post(SEND, body), 403, "INVALID_SENDER", "sender_id")
    assert stored(customer) == before


def test_a_test_key_may_use_any_sender(customer: Customer, world: World) -> None:
    world.carrier(is_sandbox=True)
    sent = send(customer.test_api, sender_id="Stranger")
    assert otps.message(sent["message_id"]).sender == "Stranger"


def test_a_sender_with_sending_hours(api: Api, customer: Customer, world: World) -> None:
    """A code cannot wait for the sending hours of the next morning."""
    world.sender(customer, "Shop-AD")
    now = datetime.now(UTC)
    SendingRule.objects.all().delete()
    SendingRule.objects.create(
        country="SA",
        sender_suffix="-AD",
        opens=(now + timedelta(hours=2)).time(),
        closes=(now + timedelta(hours=3)).time(),
        time_zone="UTC",
    )
    cache.reload()
    body = {"phone": PHONE, "sender_id": "Shop-AD"}
    refused(api.post(SEND, body), 400, "INVALID_SCHEDULE", "sender_id")
    assert otps.live(customer) == []


def test_a_country_without_a_price(api: Api, customer: Customer) -> None:
    before = stored(customer)
    body = {"phone": "+12025550123"}
    refused(api.post(SEND, body), 403, "DESTINATION_BLOCKED", "phone")
    assert stored(customer) == before


def test_a_number_that_has_opted_out(api: Api, customer: Customer) -> None:
    Suppression.objects.create(organization=customer.organization, number=PHONE, source="api")
    before = stored(customer)
    refused(api.post(SEND, {"phone": PHONE}), 403, "DESTINATION_BLOCKED", "phone")
    assert stored(customer) == before


def test_an_insufficient_balance(world: World, carrier: Any) -> None:
    poor = world.customer(credits=0)
    before = stored(poor)
    refused(poor.api.post(SEND, {"phone": PHONE}), 402, "INSUFFICIENT_CREDITS")
    assert stored(poor) == before


def test_a_refused_request_keeps_the_pending_code(api: Api, customer: Customer) -> None:
    first = send(api)
    otps.pass_by(customer, 61)
    before = stored(customer)
    body = {"phone": PHONE, "sender_id": "Stranger"}
    refused(api.post(SEND, body), 403, "INVALID_SENDER", "sender_id")
    assert stored(customer) == before
    code = otps.code_of(first["otp_id"])
    assert otps.check(api, first["otp_id"], code)["verified"] is True


def test_a_country_not_on_the_organization_s_list(
    api: Api, customer: Customer, world: World
) -> None:
    world.serve("971")
    OtpSettings.objects.create(organization=customer.organization, countries=["AE"])
    before = stored(customer)
    error = refused(api.post(SEND, {"phone": PHONE}), 403, "DESTINATION_BLOCKED", "phone")
    assert "SA" in error["message"]
    assert stored(customer) == before
    send(api, phone="+971501234567")


def test_the_installation_s_countries_apply_by_default(
    api: Api, customer: Customer, settings: Any
) -> None:
    settings.OTP_COUNTRIES = ["AE"]
    refused(api.post(SEND, {"phone": PHONE}), 403, "DESTINATION_BLOCKED", "phone")
    OtpSettings.objects.create(organization=customer.organization, countries=["SA"])
    send(api)


# ---------------------------------------------------------------- permissions


def test_permissions(customer: Customer, outsider: Customer) -> None:
    def status(secret: str) -> int:
        return int(Api(secret).post(SEND, {"phone": PHONE}).status_code)

    assert status("") == 401
    without = create_key(customer.organization, "k", test=False, scopes=["sms:send"])[1]
    assert status(without) == 403
    assert otps.live(customer) == []
    with_scope = create_key(customer.organization, "k", test=False, scopes=["otp"])[1]
    assert status(with_scope) == 202
    Organization.objects.filter(id=customer.id).update(status="suspended")
    assert status(with_scope) == 403
    # Another organization's code for the same number is independent.
    assert status(outsider.api.secret) == 202


# ---------------------------------------------------------------- one pending code, and limits


def test_a_second_code_is_refused_during_the_cooldown(api: Api, customer: Customer) -> None:
    send(api)
    before = stored(customer)
    response = api.post(SEND, {"phone": PHONE})
    error = refused(response, 429, "OTP_COOLDOWN", "phone")
    assert "60 seconds" in error["message"]
    assert 55 <= int(response["Retry-After"]) <= 60
    assert stored(customer) == before
    send(api, phone=OTHER)


def test_the_cooldown_s_retry_after_is_exact(api: Api, customer: Customer) -> None:
    send(api)
    assert (
        otps.verified_retry_after(
            customer, lambda: api.post(SEND, {"phone": PHONE}), "OTP_COOLDOWN"
        )
        > 55
    )


def test_a_new_code_supersedes_the_old_one(api: Api, customer: Customer, world: World) -> None:
    world.endpoint(customer, "otp.failed")
    first = send(api, length=8)
    code = otps.code_of(first["otp_id"])
    otps.pass_by(customer, 61)
    second = send(api, length=8)
    assert [found.public_id for found in otps.live(customer)] == [second["otp_id"]]
    old = otps.row(first["otp_id"])
    assert (old.status, old.reason) == ("expired", "superseded")
    assert otps.check(api, first["otp_id"], code) == {
        "otp_id": first["otp_id"],
        "verified": False,
        "status": "expired",
        "attempts_left": 0,
    }
    [event] = customer.event_rows()
    data = json.loads(event.body)["data"]
    assert (data["otp_id"], data["reason"]) == (first["otp_id"], "superseded")


def test_an_unsent_superseded_code_is_not_sent(api: Api, customer: Customer) -> None:
    first = send(api)
    otps.pass_by(customer, 61)
    second = send(api)
    assert otps.message(first["message_id"]).status == Status.CANCELED
    assert otps.message(second["message_id"]).status == Status.QUEUED
    assert customer.balance() == 99 * MICRO


def test_after_a_verification_there_is_no_cooldown(api: Api) -> None:
    first = send(api)
    assert otps.check(api, first["otp_id"], otps.code_of(first["otp_id"]))["verified"]
    send(api)


@pytest.mark.parametrize("how", ["canceled", "failed"])
def test_completing_a_verification_does_not_end_the_cooldown(api: Api, how: str) -> None:
    """Otherwise canceling or mistyping would allow messages to a phone without a pause."""
    first = send(api)
    if how == "canceled":
        assert api.post(f"/v1/otp/{first['otp_id']}/cancel").status_code == 200
    else:
        wrong = otps.wrong(first["otp_id"])
        for _ in range(5):
            otps.check(api, first["otp_id"], wrong)
    refused(api.post(SEND, {"phone": PHONE}), 429, "OTP_COOLDOWN", "phone")


def test_five_codes_in_ten_minutes(api: Api, customer: Customer) -> None:
    for _ in range(5):
        send(api)
        otps.pass_by(customer, 61)
    before = stored(customer)
    refused(api.post(SEND, {"phone": PHONE}), 429, "TOO_MANY_ATTEMPTS", "phone")
    assert stored(customer) == before
    send_again = lambda: api.post(SEND, {"phone": PHONE})  # noqa: E731
    # The first of the five was sent 305 seconds ago.
    assert 290 <= otps.verified_retry_after(customer, send_again, "TOO_MANY_ATTEMPTS") <= 295


def test_ten_codes_in_a_day(api: Api, customer: Customer) -> None:
    for _ in range(10):
        send(api)
        otps.pass_by(customer, 601)
    send_again = lambda: api.post(SEND, {"phone": PHONE})  # noqa: E731
    assert (
        80_000
        <= otps.verified_retry_after(customer, send_again, "TOO_MANY_ATTEMPTS")
        <= 86_400 - 6_010
    )


def test_retry_after_is_the_longer_wait_of_limit_and_cooldown(api: Api, customer: Customer) -> None:
    OtpSettings.objects.create(organization=customer.organization, ten_minutes=1)
    send(api)
    response = api.post(SEND, {"phone": PHONE})
    refused(response, 429, "TOO_MANY_ATTEMPTS", "phone")
    assert 595 <= int(response["Retry-After"]) <= 600


def test_resent_codes_count(api: Api, customer: Customer) -> None:
    first = send(api, expiry=3600)
    for _ in range(4):
        otps.pass_by(customer, 61)
        assert api.post(f"/v1/otp/{first['otp_id']}/resend").status_code == 200
    otps.pass_by(customer, 61)
    refused(api.post(SEND, {"phone": PHONE}), 429, "TOO_MANY_ATTEMPTS", "phone")


def test_operators_set_an_organizations_own_limits(api: Api, customer: Customer) -> None:
    OtpSettings.objects.create(
        organization=customer.organization, cooldown=0, ten_minutes=12, day=12
    )
    for _ in range(12):
        send(api)
    refused(api.post(SEND, {"phone": PHONE}), 429, "TOO_MANY_ATTEMPTS", "phone")


def test_the_limit_of_a_number_counts_all_organizations_together(
    api: Api, customer: Customer, outsider: Customer, settings: Any
) -> None:
    settings.OTP_NUMBER_LIMIT_DAY = 2
    send(api)
    send(outsider.api)
    otps.pass_by(customer, 3600)
    response = api.post(SEND, {"phone": PHONE})
    refused(response, 429, "TOO_MANY_ATTEMPTS", "phone")
    assert 82_700 <= int(response["Retry-After"]) <= 82_800
    send(api, phone=OTHER)


def test_limits_hold_without_redis(api: Api, settings: Any) -> None:
    """They count rows; only the account's rate limit needs Redis, and it passes sends without."""
    with otps.without_redis(settings):
        send(api)
        refused(api.post(SEND, {"phone": PHONE}), 429, "OTP_COOLDOWN", "phone")


def test_the_accounts_rate_limit_counts_it_as_a_single_message(
    api: Api, customer: Customer
) -> None:
    Organization.objects.filter(id=customer.id).update(send_per_minute=2)
    responses = [api.post(SEND, {"phone": f"+96650123456{n}"}) for n in range(3)]
    assert [response.status_code for response in responses] == [202, 202, 429]
    refused(responses[2], 429, "RATE_LIMITED")
    assert responses[0]["X-RateLimit-Limit"] == "2"


# ---------------------------------------------------------------- idempotency and test keys


def test_one_idempotency_key_sends_one_code(api: Api, customer: Customer) -> None:
    responses = [api.post(SEND, {"phone": PHONE}, HTTP_IDEMPOTENCY_KEY="k") for _ in range(2)]
    assert responses[0].json() == responses[1].json()
    assert responses[1]["Idempotent-Replayed"] == "true"
    assert len(customer.messages()) == 1


@pytest.mark.usefixtures("sandbox")
def test_a_test_key_gets_the_code_and_is_not_charged(test_api: Api, customer: Customer) -> None:
    response = send(test_api)
    code = response["test_code"]
    assert code == otps.code_of(response["otp_id"])
    message = otps.message(response["message_id"])
    assert (message.test, message.price) == (True, 0)
    assert customer.balance() == 100 * MICRO
    assert otps.check(test_api, response["otp_id"], code)["verified"] is True


def test_a_live_key_never_gets_the_code(api: Api) -> None:
    response = send(api)
    assert "test_code" not in response
    assert otps.code_of(response["otp_id"]) not in json.dumps(response)


@pytest.mark.usefixtures("sandbox")
def test_test_and_live_codes_count_separately(
    api: Api, test_api: Api, customer: Customer, settings: Any
) -> None:
    settings.OTP_NUMBER_LIMIT_DAY = 1
    send(test_api)
    send(api)
    refused(test_api.post(SEND, {"phone": PHONE}), 429, "OTP_COOLDOWN", "phone")
    assert len(otps.live(customer)) == 2
