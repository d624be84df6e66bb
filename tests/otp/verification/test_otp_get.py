"""GET /v1/otp/{otp_id}: the state of a verification, never its code."""

from functools import partial
from typing import Any

import pytest

from accounts.keys.api_keys import create_key
from tests.support import otps
from tests.support.factories import (
    PHONE,
    Api,
    Customer,
    World,
)
from tests.support.otps import (
    check,
    code_of,
    refused,
    send,
    wrong,
)


def read(api: Api, otp_id: str) -> Any:
    response = api.get(f"/v1/otp/{otp_id}")
    assert response.status_code == 200, response.content
    return response.json()


def test_a_pending_verification(api: Api) -> None:
    sent = send(api)
    code = code_of(sent["otp_id"])
    response = api.get(f"/v1/otp/{sent['otp_id']}")
    assert response.json() == {
        "otp_id": sent["otp_id"],
        "phone": PHONE,
        "status": "pending",
        "reason": None,
        "attempts_left": 5,
        "created_at": response.json()["created_at"],
        "expires_at": sent["expires_at"],
        "verified_at": None,
        "message_id": sent["message_id"],
        "test": False,
    }
    assert code not in response.content.decode()


def test_a_checked_verification(api: Api) -> None:
    otp_id = send(api)["otp_id"]
    check(api, otp_id, wrong(otp_id))
    assert read(api, otp_id)["attempts_left"] == 4
    check(api, otp_id, code_of(otp_id))
    response = read(api, otp_id)
    assert (response["status"], response["reason"]) == ("verified", None)
    assert response["attempts_left"] == 0
    assert response["verified_at"] > response["created_at"]


def test_expiry_shows_before_the_sweep(api: Api, customer: Customer) -> None:
    otp_id = send(api, expiry=30)["otp_id"]
    otps.pass_by(customer, 30)
    response = read(api, otp_id)
    assert (response["status"], response["reason"], response["attempts_left"]) == (
        "expired",
        "expired",
        0,
    )
    assert otps.row(otp_id).status == "pending"


def test_a_resent_code_has_its_latest_message(api: Api, customer: Customer) -> None:
    otp_id = send(api)["otp_id"]
    otps.pass_by(customer, 61)
    again = api.post(f"/v1/otp/{otp_id}/resend").json()
    response = read(api, otp_id)
    assert response["message_id"] == again["message_id"]
    assert response["expires_at"] == again["expires_at"]


def test_a_test_key_s_verification(test_api: Api, world: World) -> None:
    world.carrier(is_sandbox=True)
    sent = send(test_api)
    response = test_api.get(f"/v1/otp/{sent['otp_id']}")
    assert response.json()["test"] is True
    assert sent["test_code"] not in response.content.decode()


@pytest.mark.parametrize("otp_id", ["otp_1", "otp_" + "0" * 26, "msg_" + "0" * 26, "x"])
def test_ids_that_are_not_found(api: Api, otp_id: str) -> None:
    refused(api.get(f"/v1/otp/{otp_id}"), 404, "NOT_FOUND")


def test_another_organizations_and_another_kind_of_keys_are_not_found(
    api: Api, test_api: Api, outsider: Customer
) -> None:
    otp_id = send(api)["otp_id"]
    refused(outsider.api.get(f"/v1/otp/{otp_id}"), 404, "NOT_FOUND")
    refused(test_api.get(f"/v1/otp/{otp_id}"), 404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["send", "verify"])
def test_the_other_paths_are_not_ids(api: Api, path: str) -> None:
    refused(api.get(f"/v1/otp/{path}"), 405, "METHOD_NOT_ALLOWED")


def test_permissions(customer: Customer) -> None:
    url = f"/v1/otp/{send(customer.api)['otp_id']}"
    key = partial(create_key, customer.organization, "k", test=False)
    assert Api("").get(url).status_code == 401
    assert Api(key(scopes=["sms:read"])[1]).get(url).status_code == 403
    assert Api(key(scopes=["otp"])[1]).get(url).status_code == 200
