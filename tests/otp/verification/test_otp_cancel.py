"""POST /v1/otp/{otp_id}/cancel: afterwards no code is accepted."""

import json
from functools import partial
from typing import Any

import pytest

from accounts.keys.api_keys import create_key
from accounts.models import MICRO
from messaging.models import Message
from messaging.states import Status
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
)


def cancel(api: Api, otp_id: str, body: Any = None) -> Any:
    return api.post(f"/v1/otp/{otp_id}/cancel", body)


def test_cancel(api: Api, customer: Customer, world: World) -> None:
    world.endpoint(customer, "otp.failed", "otp.verified")
    sent = send(api)
    otp_id = sent["otp_id"]
    code = code_of(otp_id)
    response = cancel(api, otp_id)
    assert response.status_code == 200
    body = response.json()
    assert body == {
        "otp_id": otp_id,
        "phone": PHONE,
        "status": "failed",
        "reason": "canceled",
        "attempts_left": 0,
        "created_at": body["created_at"],
        "expires_at": sent["expires_at"],
        "verified_at": None,
        "message_id": sent["message_id"],
        "test": False,
    }
    assert check(api, otp_id, code)["verified"] is False
    [event] = customer.event_rows()
    assert json.loads(event.body)["data"]["reason"] == "canceled"


def test_an_unsent_message_is_canceled_and_refunded(api: Api, customer: Customer) -> None:
    sent = send(api)
    assert customer.balance() == 99 * MICRO
    cancel(api, sent["otp_id"])
    assert otps.message(sent["message_id"]).status == Status.CANCELED
    assert customer.balance() == 100 * MICRO


def test_a_sent_message_stays_charged(api: Api, customer: Customer) -> None:
    sent = send(api)
    advance(Message.objects.filter(organization=customer.id), Status.SENT)
    assert cancel(api, sent["otp_id"]).status_code == 200
    assert otps.message(sent["message_id"]).status == Status.SENT
    assert customer.balance() == 99 * MICRO


def test_a_verified_verification_is_refused(api: Api) -> None:
    otp_id = send(api)["otp_id"]
    check(api, otp_id, code_of(otp_id))
    refused(cancel(api, otp_id), 409, "ALREADY_VERIFIED")
    assert otps.row(otp_id).status == "verified"


@pytest.mark.parametrize("how", ["canceled", "expired"])
def test_a_completed_verification_is_refused(api: Api, customer: Customer, how: str) -> None:
    otp_id = send(api)["otp_id"]
    if how == "canceled":
        cancel(api, otp_id)
    else:
        otps.pass_by(customer, 300)
    before = otps.row(otp_id).reason
    refused(cancel(api, otp_id), 409, "NOT_CANCELABLE")
    assert otps.row(otp_id).reason == before


@pytest.mark.parametrize("otp_id", ["otp_1", "otp_" + "0" * 26, "msg_" + "0" * 26])
def test_ids_that_are_not_found(api: Api, otp_id: str) -> None:
    refused(cancel(api, otp_id), 404, "NOT_FOUND")


def test_another_organizations_and_another_kind_of_keys_are_not_found(
    api: Api, test_api: Api, outsider: Customer
) -> None:
    otp_id = send(api)["otp_id"]
    refused(cancel(outsider.api, otp_id), 404, "NOT_FOUND")
    refused(cancel(test_api, otp_id), 404, "NOT_FOUND")
    assert otps.row(otp_id).status == "pending"


@pytest.mark.parametrize("body", [{"reason": "x"}, [], 5])
def test_invalid_bodies(api: Api, body: Any) -> None:
    otp_id = send(api)["otp_id"]
    field = "reason" if isinstance(body, dict) else None
    refused(cancel(api, otp_id, body), 400, "INVALID_REQUEST", field)
    assert otps.row(otp_id).status == "pending"


def test_permissions(customer: Customer) -> None:
    otp_id = send(customer.api)["otp_id"]
    key = partial(create_key, customer.organization, "k", test=False)
    assert cancel(Api(""), otp_id).status_code == 401
    assert cancel(Api(key(scopes=["sms:send"])[1]), otp_id).status_code == 403
    assert otps.row(otp_id).status == "pending"
    assert cancel(Api(key(scopes=["otp"])[1]), otp_id).status_code == 200
