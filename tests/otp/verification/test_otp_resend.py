"""POST /v1/otp/{otp_id}/resend: the same code is sent again after the cooldown."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from accounts.keys.api_keys import create_key
from accounts.models import MICRO
from messaging.models import Message, SenderId, Suppression
from messaging.states import Status
from otp.models import OtpSettings
from tests.support import otps
from tests.support.factories import (
    PHONE,
    Api,
    Customer,
    World,
    advance,
)
from tests.support.otps import (
    check,
    code_of,
    refused,
    send,
    wrong,
)


def resend(api: Api, otp_id: str, body: Any = None, **more: Any) -> Any:
    return api.post(f"/v1/otp/{otp_id}/resend", body, **more)


def test_the_same_code_is_sent_again(api: Api, customer: Customer) -> None:
    first = send(api, template="Shop: {code}", origin="example.com", length=8, expiry=120)
    older = otps.message(first["message_id"])
    otps.pass_by(customer, 61)
    response = resend(api, first["otp_id"])
    assert response.status_code == 200
    again = response.json()
    assert set(again) == {"otp_id", "phone", "status", "expires_at", "message_id"}
    assert (again["otp_id"], again["phone"], again["status"]) == (
        first["otp_id"],
        PHONE,
        "pending",
    )
    assert again["message_id"] != first["message_id"]
    assert len(customer.messages()) == 2
    newer = otps.message(again["message_id"])
    for field in ("to", "text", "masked_text", "sender", "urgent", "source", "price"):
        assert getattr(newer, field) == getattr(older, field), field
    assert newer.expires_at - newer.created_at == timedelta(seconds=120)
    assert check(api, first["otp_id"], code_of(first["otp_id"]))["verified"] is True


def test_the_expiry_starts_again(api: Api, customer: Customer) -> None:
    first = send(api, expiry=90)
    otps.pass_by(customer, 80)
    again = resend(api, first["otp_id"]).json()
    code = code_of(first["otp_id"])
    later = datetime.fromisoformat(again["expires_at"])
    assert later - datetime.fromisoformat(first["expires_at"]) < timedelta(seconds=20)
    otps.pass_by(customer, 80)
    assert check(api, first["otp_id"], code)["verified"] is True


def test_earlier_checks_still_count(api: Api, customer: Customer) -> None:
    otp_id = send(api)["otp_id"]
    check(api, otp_id, wrong(otp_id))
    otps.pass_by(customer, 61)
    assert resend(api, otp_id).status_code == 200
    assert check(api, otp_id, wrong(otp_id))["attempts_left"] == 3


def test_an_unsent_code_is_not_sent_twice(api: Api, customer: Customer) -> None:
    first = send(api)
    otps.pass_by(customer, 61)
    resend(api, first["otp_id"])
    assert otps.message(first["message_id"]).status == Status.CANCELED
    assert customer.balance() == 99 * MICRO


def test_each_sent_message_is_charged(api: Api, customer: Customer) -> None:
    first = send(api)
    advance(Message.objects.filter(organization=customer.id), Status.SENT)
    otps.pass_by(customer, 61)
    assert resend(api, first["otp_id"]).status_code == 200
    assert otps.message(first["message_id"]).status == Status.SENT
    assert customer.balance() == 98 * MICRO


def test_the_cooldown_and_its_exact_retry_after(api: Api, customer: Customer) -> None:
    otp_id = send(api)["otp_id"]
    assert (
        55 <= otps.verified_retry_after(customer, lambda: resend(api, otp_id), "OTP_COOLDOWN") <= 60
    )
    refused(resend(api, otp_id), 429, "OTP_COOLDOWN", "phone")
    assert otps.sends(customer) == 2


def test_the_limit_and_its_exact_retry_after(api: Api, customer: Customer) -> None:
    OtpSettings.objects.create(organization=customer.organization, ten_minutes=2)
    otp_id = send(api, expiry=3600)["otp_id"]
    otps.pass_by(customer, 61)
    assert resend(api, otp_id).status_code == 200
    assert (
        otps.verified_retry_after(customer, lambda: resend(api, otp_id), "TOO_MANY_ATTEMPTS") > 500
    )


def test_a_test_key_gets_the_code_again(test_api: Api, customer: Customer, world: World) -> None:
    world.carrier(is_sandbox=True)
    first = send(test_api)
    otps.pass_by(customer, 61)
    assert resend(test_api, first["otp_id"]).json()["test_code"] == first["test_code"]


@pytest.mark.parametrize("how", ["expired", "failed", "canceled", "superseded", "key lost"])
def test_a_completed_verification_is_refused(
    api: Api, customer: Customer, settings: Any, how: str
) -> None:
    otp_id = send(api, expiry=300)["otp_id"]
    if how == "expired":
        otps.pass_by(customer, 300)
    elif how == "failed":
        bad = wrong(otp_id)
        for _ in range(5):
            check(api, otp_id, bad)
    elif how == "canceled":
        api.post(f"/v1/otp/{otp_id}/cancel")
    elif how == "superseded":
        otps.pass_by(customer, 61)
        send(api)
    else:
        settings.FIELD_ENCRYPTION_KEYS = ["B" * 43 + "="]
    otps.pass_by(customer, 61)
    before = customer.stored()
    refused(resend(api, otp_id), 409, "CONFLICT")
    assert customer.stored() == before


def test_a_verified_verification_is_refused(api: Api, customer: Customer) -> None:
    otp_id = send(api)["otp_id"]
    check(api, otp_id, code_of(otp_id))
    otps.pass_by(customer, 61)
    refused(resend(api, otp_id), 409, "ALREADY_VERIFIED")


@pytest.mark.parametrize("why", ["sender", "suppressed", "credits", "country"])
def test_rules_that_now_refuse_it(api: Api, customer: Customer, why: str) -> None:
    otp_id = send(api, sender_id="MyCompany")["otp_id"]
    advance(Message.objects.filter(organization=customer.id), Status.SENT)
    expected = {
        "sender": (403, "INVALID_SENDER", "sender_id"),
        "suppressed": (403, "DESTINATION_BLOCKED", "phone"),
        "credits": (402, "INSUFFICIENT_CREDITS", None),
        "country": (403, "DESTINATION_BLOCKED", "phone"),
    }[why]
    if why == "sender":
        mine = SenderId.objects.filter(organization=customer.id)
        mine.update(status="revoked", reason="Complaints")
    elif why == "suppressed":
        Suppression.objects.create(organization=customer.organization, number=PHONE, source="api")
    elif why == "credits":
        api.post("/v1/sms/bulk", {"messages": [{"to": PHONE, "message": "All of it"}] * 99}).json()
    else:
        OtpSettings.objects.create(organization=customer.organization, countries=["AE"])
    otps.pass_by(customer, 61)
    before = customer.stored(), otps.row(otp_id), otps.sends(customer)
    expires_at = otps.row(otp_id).expires_at
    refused(resend(api, otp_id), *expected)
    assert (customer.stored(), otps.row(otp_id), otps.sends(customer)) == before
    assert otps.row(otp_id).expires_at == expires_at


@pytest.mark.parametrize("otp_id", ["otp_1", "otp_" + "0" * 26, "msg_" + "0" * 26])
def test_ids_that_are_not_found(api: Api, otp_id: str) -> None:
    refused(resend(api, otp_id), 404, "NOT_FOUND")


def test_another_organizations_and_another_kind_of_keys_are_not_found(
    api: Api, test_api: Api, customer: Customer, outsider: Customer
) -> None:
    otp_id = send(api)["otp_id"]
    otps.pass_by(customer, 61)
    refused(resend(outsider.api, otp_id), 404, "NOT_FOUND")
    refused(resend(test_api, otp_id), 404, "NOT_FOUND")
    assert len(customer.messages()) == 1


@pytest.mark.parametrize("body", [{"code": "123456"}, [], 5, "x"])
def test_invalid_bodies(api: Api, body: Any) -> None:
    otp_id = send(api)["otp_id"]
    field = "code" if isinstance(body, dict) else None
    refused(resend(api, otp_id, body), 400, "INVALID_REQUEST", field)


def test_an_empty_body_is_allowed(api: Api, customer: Customer) -> None:
    otp_id = send(api)["otp_id"]
    otps.pass_by(customer, 61)
    assert resend(api, otp_id, {}).status_code == 200


def test_permissions(customer: Customer) -> None:
    otp_id = send(customer.api)["otp_id"]
    otps.pass_by(customer, 61)
    assert resend(Api(""), otp_id).status_code == 401
    without = create_key(customer.organization, "k", test=False, scopes=["sms:send"])[1]
    assert resend(Api(without), otp_id).status_code == 403
    assert len(customer.messages()) == 1
    with_scope = create_key(customer.organization, "k", test=False, scopes=["otp"])[1]
    assert resend(Api(with_scope), otp_id).status_code == 200
