"""One-time passwords for tests: sent through the API, with times moved by SQL."""

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.db import connection

from accounts.api import rate_limits
from imissive.core import ids
from messaging.models import Message
from otp.models import CodeSend, Verification
from otp.verification import codes
from tests.support.factories import PHONE, Api, Customer

SEND, VERIFY = "/v1/otp/send", "/v1/otp/verify"


def send(api: Api, **fields: Any) -> dict[str, Any]:
    """Send a one-time password and return the body of the accepted response."""
    response = api.post(SEND, {"phone": PHONE} | fields)
    assert response.status_code == 202, response.content
    body: dict[str, Any] = response.json()
    return body


def check(api: Api, otp_id: str, code: str) -> dict[str, Any]:
    """Check a code and return the body of the successful response."""
    response = api.post(VERIFY, {"otp_id": otp_id, "code": code})
    assert response.status_code == 200, response.content
    body: dict[str, Any] = response.json()
    return body


def row(otp_id: str) -> Verification:
    """Return the verification with that public id."""
    found = ids.parse_id(ids.OTP, otp_id)
    assert found is not None
    return Verification.objects.get(id=found)


def code_of(otp_id: str) -> str:
    """Return the right code of a pending verification."""
    found = row(otp_id)
    return codes.code_of(found.id, found.length, found.secret)


def wrong(otp_id: str) -> str:
    """Return a wrong code of the right length."""
    code = code_of(otp_id)
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"


def message(message_id: str) -> Message:
    """Return the message with that public id."""
    found = ids.parse_id(ids.MESSAGE, message_id)
    assert found is not None
    return Message.objects.get(id=found)


def pass_by(customer: Customer, seconds: float) -> None:
    """Let time pass for a customer's codes, by moving all their times into the past."""
    parameters: dict[str, Any] = {
        "span": timedelta(seconds=seconds),
        "organization": customer.id,
    }
    with connection.cursor() as cursor:
        for table, columns in (
            ("otp_verification", ("created_at", "expires_at", "ended_at")),
            ("otp_codesend", ("at",)),
            ("otp_heldprefix", ("created_at", "until", "lifted_at")),
        ):
            sets = ", ".join(f"{column} = {column} - %(span)s" for column in columns)
            cursor.execute(
                f"UPDATE {table} SET {sets} WHERE organization_id = %(organization)s",
                parameters,
            )


def refused(response: Any, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    """Check the status, code and field of a refusal, and return its error."""
    error: dict[str, Any] = response.json()["error"]
    assert (response.status_code, error["code"], error["field"]) == (status, code, field), error
    return error


def verified_retry_after(customer: Customer, call: Any, code: str) -> int:
    """Return the Retry-After of a refusal, and prove it: refused a second earlier, accepted then.

    `call` makes the request; `code` is the expected error code.
    """
    response = call()
    refused(response, 429, code, "phone")
    seconds = int(response["Retry-After"])
    assert seconds >= 1
    pass_by(customer, seconds - 1.5)
    refused(call(), 429, code, "phone")
    pass_by(customer, 1.5)
    assert call().status_code in (200, 202)
    return seconds


@contextlib.contextmanager
def without_redis(settings: Any) -> Iterator[None]:
    """Run with a REDIS_URL at which there is no server."""
    before, settings.REDIS_URL = settings.REDIS_URL, "redis://127.0.0.1:1"
    rate_limits._breaker = rate_limits.new_breaker()
    yield
    settings.REDIS_URL = before
    rate_limits._breaker = rate_limits.new_breaker()


def live(customer: Customer) -> list[Verification]:
    """Return the customer's pending verifications."""
    return list(Verification.objects.filter(organization=customer.id, status="pending"))


def sends(customer: Customer) -> int:
    """Return the number of codes that were sent for the customer."""
    return CodeSend.objects.filter(organization=customer.id).count()
