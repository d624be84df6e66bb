"""POST /v1/otp/verify: right and wrong codes, completion, and at most five checks, raced."""

import json
import threading
import time
import unicodedata
from functools import partial
from typing import Any

import pytest

from accounts.keys.api_keys import create_key
from imissive.core import ids
from messaging.models import Carrier
from otp.models import CodeSend, Verification
from otp.verification import (
    codes,
    completion,
    verify,
)
from otp.verification import (
    send as sending,
)
from tests.otp.verification.test_otp_codes import PASTED
from tests.support import otps
from tests.support.factories import (
    PHONE,
    Api,
    Customer,
    World,
    in_threads,
)
from tests.support.otps import (
    VERIFY,
    check,
    code_of,
    refused,
    send,
    wrong,
)


def events(customer: Customer) -> list[dict[str, Any]]:
    """Return the bodies of the organization's events, oldest first."""
    return [json.loads(event.body) for event in customer.event_rows()]


# ---------------------------------------------------------------- right and wrong


def test_the_right_code(api: Api, customer: Customer, world: World) -> None:
    world.endpoint(customer)
    sent = send(api)
    assert check(api, sent["otp_id"], code_of(sent["otp_id"])) == {
        "otp_id": sent["otp_id"],
        "verified": True,
        "status": "verified",
        "attempts_left": 0,
    }
    event = events(customer)[-1]
    assert event == {
        "event": "otp.verified",
        "message_id": sent["message_id"],
        "timestamp": event["timestamp"],
        "data": {
            "otp_id": sent["otp_id"],
            "phone": PHONE,
            "status": "verified",
            "verified_at": event["timestamp"],
        },
    }


def _spelled(pattern: str, code: str) -> str:
    """Return the pattern with the code's digits, in their script, for its own."""
    digits = iter(code)
    return "".join(
        chr(ord(each) - unicodedata.decimal(each) + int(next(digits)))
        if unicodedata.decimal(each, None) is not None
        else each
        for each in pattern
    )


@pytest.mark.parametrize("pasted", PASTED, ids=ascii)
def test_a_code_as_it_is_pasted(api: Api, pasted: str) -> None:
    sent = send(api)
    code = code_of(sent["otp_id"])
    assert check(api, sent["otp_id"], _spelled(pasted, code))["verified"] is True


def test_a_code_in_parts_and_in_other_digits(api: Api) -> None:
    for between in (" ", "\u2013", "-", "\u00a0"):
        sent = send(api)
        code = code_of(sent["otp_id"])
        assert check(api, sent["otp_id"], code[:3] + between + code[3:])["verified"] is True
    sent = send(api)
    wide = code_of(sent["otp_id"]).translate(str.maketrans("0123456789", "０１２３４５６７８９"))
    assert check(api, sent["otp_id"], wide)["verified"] is True


def test_a_wrong_code_is_one_of_five_however_it_is_written(api: Api) -> None:
    sent = send(api)
    bad = wrong(sent["otp_id"])
    for left, spelled in enumerate(("{}\n", "{}.", "\u2068{}\u2069", " {}", "{}\u200b"), 1):
        answer = check(api, sent["otp_id"], spelled.format(bad))
        assert (answer["verified"], answer["attempts_left"]) == (False, 5 - left)
    assert check(api, sent["otp_id"], code_of(sent["otp_id"]))["verified"] is False


def test_the_documented_body(api: Api) -> None:
    """Its id does not exist, which is refused like every id that is not found."""
    body = '{\n"otp_id": "otp_abc123",\n"code": "123456"\n}'
    refused(api.post(VERIFY, raw=body), 404, "NOT_FOUND")


def test_a_wrong_code_is_not_an_error(api: Api) -> None:
    sent = send(api)
    otp_id = sent["otp_id"]
    response = check(api, otp_id, wrong(otp_id))
    assert response == {
        "otp_id": otp_id,
        "verified": False,
        "status": "pending",
        "attempts_left": 4,
    }
    assert check(api, otp_id, code_of(otp_id))["verified"] is True


@pytest.mark.parametrize("other", ["12345", "1234567", "0000"])
def test_a_code_of_another_length_is_wrong(api: Api, other: str) -> None:
    otp_id = send(api)["otp_id"]
    assert check(api, otp_id, other)["attempts_left"] == 4


def test_the_right_code_within_more_digits_is_wrong(api: Api) -> None:
    """Only the whole code is right, leading zeros included."""
    otp_id = send(api, length=6)["otp_id"]
    assert check(api, otp_id, "0" + code_of(otp_id))["verified"] is False


@pytest.mark.parametrize("written", ["{} ", " {}", "{0[0]} {0[1]}", "{0[0]}-{0[1]}", "\u200e{}"])
def test_typed_forms_of_a_code(api: Api, written: str) -> None:
    otp_id = send(api)["otp_id"]
    code = code_of(otp_id)
    text = written.format(code) if "[" not in written else written.format((code[:3], code[3:]))
    assert check(api, otp_id, text)["verified"] is True


def test_arabic_digits(api: Api) -> None:
    otp_id = send(api)["otp_id"]
    arabic = code_of(otp_id).translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩"))
    assert check(api, otp_id, arabic)["verified"] is True


def test_five_wrong_codes_fail_the_verification(api: Api, customer: Customer, world: World) -> None:
    world.endpoint(customer, "otp.failed", "otp.verified")
    otp_id = send(api)["otp_id"]
    code, bad = code_of(otp_id), wrong(otp_id)
    responses = [check(api, otp_id, bad) for _ in range(5)]
    assert [response["attempts_left"] for response in responses] == [4, 3, 2, 1, 0]
    assert [response["status"] for response in responses] == ["pending"] * 4 + ["failed"]
    after = check(api, otp_id, code)
    assert (after["verified"], after["status"], after["attempts_left"]) == (False, "failed", 0)
    [event] = events(customer)
    assert event["event"] == "otp.failed"
    data = event["data"]
    assert (data["status"], data["reason"]) == ("failed", "too_many_attempts")
    assert data["failed_at"] == event["timestamp"]
    assert set(data) == {"otp_id", "phone", "status", "failed_at", "reason"}


def test_the_fifth_check_may_be_the_right_one(api: Api) -> None:
    otp_id = send(api)["otp_id"]
    code, bad = code_of(otp_id), wrong(otp_id)
    for _ in range(4):
        check(api, otp_id, bad)
    assert check(api, otp_id, code)["verified"] is True


@pytest.mark.parametrize("right", [True, False])
def test_checks_after_verification_are_refused(
    api: Api, customer: Customer, world: World, right: bool
) -> None:
    world.endpoint(customer, "otp.failed", "otp.verified")
    otp_id = send(api)["otp_id"]
    code, bad = code_of(otp_id), wrong(otp_id)
    check(api, otp_id, code)
    body = {"otp_id": otp_id, "code": code if right else bad}
    refused(api.post(VERIFY, body), 409, "ALREADY_VERIFIED")
    assert [event["event"] for event in events(customer)] == ["otp.verified"]


def test_it_expires(api: Api, customer: Customer, world: World) -> None:
    world.endpoint(customer, "otp.failed", "otp.verified")
    otp_id = send(api, expiry=30)["otp_id"]
    code = code_of(otp_id)
    otps.pass_by(customer, 29)
    assert check(api, otp_id, wrong(otp_id))["status"] == "pending"
    otps.pass_by(customer, 1.01)
    late = check(api, otp_id, code)
    assert (late["verified"], late["status"], late["attempts_left"]) == (False, "expired", 0)
    assert completion.expire_due() == 0
    assert [event["data"]["reason"] for event in events(customer)] == ["expired"]


def test_completion_deletes_the_secret(api: Api) -> None:
    otp_id = send(api)["otp_id"]
    check(api, otp_id, code_of(otp_id))
    completed = otps.row(otp_id)
    assert (bytes(completed.seed), bytes(completed.digest)) == (b"", b"")


# ---------------------------------------------------------------- refused requests


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"otp_id": None}, "otp_id"),
        ({"otp_id": 5}, "otp_id"),
        ({"code": None}, "code"),
        ({"code": 123456}, "code"),
        ({"code": ""}, "code"),
        ({"code": "123"}, "code"),
        ({"code": "123456789"}, "code"),
        ({"code": "12345a"}, "code"),
        ({"code": "123456\0"}, "code"),
        ({"code": "１２３"}, "code"),
        ({"code": "1" * 65}, "code"),
        ({"code": ["123456"]}, "code"),
        ({"phone": PHONE}, "phone"),
    ],
    ids=str,
)
def test_invalid_bodies_do_not_count(api: Api, fields: dict[str, Any], field: str) -> None:
    otp_id = send(api)["otp_id"]
    body = {"otp_id": otp_id, "code": code_of(otp_id)} | fields
    refused(api.post(VERIFY, body), 400, "INVALID_REQUEST", field)
    found = otps.row(otp_id)
    assert (found.status, found.attempts) == ("pending", 0)


@pytest.mark.parametrize("name", ["otp_id", "code"])
def test_missing_fields(api: Api, name: str) -> None:
    body = {"otp_id": send(api)["otp_id"], "code": "123456"}
    del body[name]
    refused(api.post(VERIFY, body), 400, "INVALID_REQUEST", name)


@pytest.mark.parametrize(
    "otp_id",
    ["", "otp_1", "otp_" + "0" * 26, "otp_" + "z" * 26, "msg_" + "0" * 26, "x" * 500, "\0"],
)
def test_ids_that_are_not_found(api: Api, otp_id: str) -> None:
    refused(api.post(VERIFY, {"otp_id": otp_id, "code": "123456"}), 404, "NOT_FOUND")


def test_another_organization_s_verification_is_not_found(api: Api, outsider: Customer) -> None:
    otp_id = send(api)["otp_id"]
    body = {"otp_id": otp_id, "code": code_of(otp_id)}
    refused(outsider.api.post(VERIFY, body), 404, "NOT_FOUND")
    assert otps.row(otp_id).attempts == 0


def test_live_and_test_keys_do_not_find_each_other_s_verifications(
    api: Api, test_api: Api, world: World
) -> None:
    """A code that never reached a phone proves nothing."""
    world.carrier(is_sandbox=True)
    tried, real = send(test_api), send(api)
    body = {"otp_id": tried["otp_id"], "code": tried["test_code"]}
    refused(api.post(VERIFY, body), 404, "NOT_FOUND")
    body = {"otp_id": real["otp_id"], "code": code_of(real["otp_id"])}
    refused(test_api.post(VERIFY, body), 404, "NOT_FOUND")


def test_permissions(customer: Customer) -> None:
    otp_id = send(customer.api)["otp_id"]
    body = {"otp_id": otp_id, "code": wrong(otp_id)}
    assert Api("").post(VERIFY, body).status_code == 401
    without = create_key(customer.organization, "k", test=False, scopes=["sms:send"])[1]
    assert Api(without).post(VERIFY, body).status_code == 403
    assert otps.row(otp_id).attempts == 0
    with_scope = create_key(customer.organization, "k", test=False, scopes=["otp"])[1]
    assert Api(with_scope).post(VERIFY, body).status_code == 200


def test_without_redis_nothing_is_checked(api: Api, settings: Any) -> None:
    """It fails closed, so that the rate limit cannot be bypassed by taking Redis down."""
    otp_id = send(api)["otp_id"]
    code = code_of(otp_id)
    with otps.without_redis(settings):
        response = api.post(VERIFY, {"otp_id": otp_id, "code": code})
        refused(response, 503, "UNAVAILABLE")
        assert int(response["Retry-After"]) >= 1
    assert otps.row(otp_id).attempts == 0
    assert check(api, otp_id, code)["verified"] is True


# ---------------------------------------------------------------- keys


def test_a_code_survives_a_new_first_key(api: Api, settings: Any) -> None:
    otp_id = send(api)["otp_id"]
    code = code_of(otp_id)
    settings.FIELD_ENCRYPTION_KEYS = ["B" * 43 + "=", *settings.FIELD_ENCRYPTION_KEYS]
    assert check(api, otp_id, code)["verified"] is True


def test_a_code_with_a_removed_key_has_expired(api: Api, settings: Any) -> None:
    otp_id = send(api)["otp_id"]
    code = code_of(otp_id)
    settings.FIELD_ENCRYPTION_KEYS = ["B" * 43 + "="]
    response = check(api, otp_id, code)
    assert (response["verified"], response["status"]) == (False, "expired")


def test_the_stored_hash_is_of_this_verification_alone(api: Api) -> None:
    """An attacker with write access to the database cannot copy it to another row."""
    first, second = send(api)["otp_id"], send(api, phone="+966501234568")["otp_id"]
    code, own = code_of(first), code_of(second)
    Verification.objects.filter(id=otps.row(second).id).update(digest=otps.row(first).digest)
    assert check(api, second, code)["verified"] is False
    assert check(api, second, own)["verified"] is False


# ---------------------------------------------------------------- races


@pytest.fixture
def racing(committed_world: World, carrier_966: Carrier) -> Any:
    """A customer whose codes several threads check concurrently."""
    customer = committed_world.customer()
    committed_world.endpoint(customer, "otp.failed", "otp.verified")
    yield customer
    mine = {"organization": customer.organization}
    CodeSend.objects.filter(**mine).delete()
    Verification.objects.filter(**mine).delete()


@pytest.fixture
def carrier_966(committed_world: World) -> Carrier:
    return committed_world.serve()


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the codes that are compared with the right one, and slow the comparison down."""
    seen: list[str] = []
    matches = codes.matches

    def slowly(id: Any, secret: codes.Secret, code: str) -> bool:
        seen.append(code)
        time.sleep(0.02)
        return matches(id, secret, code)

    monkeypatch.setattr(codes, "matches", slowly)
    return seen


def guess(customer: Customer, otp_id: str, code: str) -> tuple[int, str]:
    response = customer.api.post(VERIFY, {"otp_id": otp_id, "code": code})
    body = response.json()
    return response.status_code, body.get("status") or body["error"]["code"]


def test_at_most_five_concurrent_guesses_are_compared(
    racing: Customer, compared: list[str]
) -> None:
    otp_id = send(racing.api)["otp_id"]
    bad = wrong(otp_id)
    responses = in_threads([partial(guess, racing, otp_id, bad)] * 10)
    assert len(compared) == 5
    assert sorted(responses) == [(200, "failed")] * 6 + [(200, "pending")] * 4
    assert otps.row(otp_id).attempts == 5
    assert [event["data"]["reason"] for event in events(racing)] == ["too_many_attempts"]


def test_without_the_lock_more_would_be_compared(
    racing: Customer, compared: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race is real."""
    find = verify.find
    monkeypatch.setattr(verify, "find", lambda caller, otp_id, lock=False: find(caller, otp_id))
    otp_id = send(racing.api)["otp_id"]
    in_threads([partial(guess, racing, otp_id, wrong(otp_id))] * 10)
    assert len(compared) > 5


def test_concurrent_right_codes_verify_once(racing: Customer, compared: list[str]) -> None:
    otp_id = send(racing.api)["otp_id"]
    responses = in_threads([partial(guess, racing, otp_id, code_of(otp_id))] * 8)
    assert sorted(responses) == [(200, "verified")] + [(409, "ALREADY_VERIFIED")] * 7
    assert [event["event"] for event in events(racing)] == ["otp.verified"]


def sweep() -> tuple[int, str]:
    return completion.expire_due(), "swept"


def test_a_concurrent_check_and_sweep_complete_it_once(racing: Customer) -> None:
    for _ in range(5):
        otp_id = send(racing.api, expiry=30)["otp_id"]
        code = code_of(otp_id)
        otps.pass_by(racing, 3600)
        in_threads([lambda: guess(racing, otp_id, code), sweep])  # noqa: B023
        assert otps.row(otp_id).status == "expired"
    assert [event["data"]["reason"] for event in events(racing)] == ["expired"] * 5


def try_to_send(customer: Customer) -> tuple[int, str]:
    response = customer.api.post(otps.SEND, {"phone": PHONE})
    body = response.json()
    return response.status_code, body.get("status") or body["error"]["code"]


def test_one_of_two_concurrent_sends_passes(racing: Customer) -> None:
    responses = in_threads([partial(try_to_send, racing)] * 6)
    assert sorted(responses) == [(202, "pending")] + [(429, "OTP_COOLDOWN")] * 5
    assert len(otps.live(racing)) == 1
    assert len(racing.messages()) == 1
    assert racing.balance() == 99_000_000


def test_without_the_lock_only_the_index_prevents_two_pending_codes(
    racing: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race is real: several pass the limits, and only the unique index keeps one pending."""
    admitted: list[str] = []
    all_are_admitted = threading.Barrier(4)
    admit = sending._check_rules

    def slowly(*arguments: Any) -> Any:
        now = admit(*arguments)
        admitted.append("one")
        all_are_admitted.wait(30)
        return now

    monkeypatch.setattr(sending, "lock_number", lambda phone: None)
    monkeypatch.setattr(sending, "_check_rules", slowly)
    in_threads([partial(try_to_send, racing)] * 4)
    assert len(admitted) == 4
    assert len(otps.live(racing)) == 1


def test_number_limits_hold_for_concurrent_organizations(
    racing: Customer, committed_world: World, settings: Any
) -> None:
    settings.OTP_NUMBER_LIMIT_DAY = 1
    others = [committed_world.customer() for _ in range(3)]
    try:
        responses = in_threads([partial(try_to_send, customer) for customer in (racing, *others)])
        assert sorted(responses) == [(202, "pending")] + [(429, "TOO_MANY_ATTEMPTS")] * 3
    finally:
        mine = {"organization__in": [customer.id for customer in others]}
        CodeSend.objects.filter(**mine).delete()
        Verification.objects.filter(**mine).delete()


def test_sending_a_new_code_and_checking_the_old_one_do_not_deadlock(racing: Customer) -> None:
    for _ in range(4):
        CodeSend.objects.filter(organization=racing.organization).delete()
        otp_id = send(racing.api)["otp_id"]
        code = code_of(otp_id)
        otps.pass_by(racing, 61)
        new, old = in_threads([partial(try_to_send, racing), partial(guess, racing, otp_id, code)])
        assert new == (202, "pending")
        assert old in [(200, "verified"), (200, "expired")]
        assert len(otps.live(racing)) == 1
        Verification.objects.filter(organization=racing.organization).delete()
    otp_ids = {event["data"]["otp_id"] for event in events(racing)}
    assert len(otp_ids) == len(events(racing)) == 4


def test_ids_of_other_kinds_are_not_found(api: Api) -> None:
    sent = send(api)
    assert ids.parse_id(ids.OTP, sent["otp_id"]) == otps.row(sent["otp_id"]).id
