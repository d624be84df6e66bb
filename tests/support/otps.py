"""One-time passwords for tests: sent through the front door, with the clock moved by SQL."""

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
    """The answer to an accepted send."""
    response = api.post(SEND, {"phone": PHONE} | fields)
    assert response.status_code == 202, response.content
    answer: dict[str, Any] = response.json()
    return answer


def check(api: Api, otp_id: str, code: str) -> dict[str, Any]:
    """The answer to a check that was made."""
    response = api.post(VERIFY, {"otp_id": otp_id, "code": code})
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = response.json()
    return answer


def row(otp_id: str) -> Verification:
    found = ids.parse_id(ids.OTP, otp_id)
    assert found is not None
    return Verification.objects.get(id=found)


def code_of(otp_id: str) -> str:
    """The right code of a pending verification."""
    found = row(otp_id)
    return codes.code_of(found.id, found.length, found.secret)


def wrong(otp_id: str) -> str:
    """A code of the right length that is not the right one."""
    code = code_of(otp_id)
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"


def message(message_id: str) -> Message:
    found = ids.parse_id(ids.MESSAGE, message_id)
    assert found is not None
    return Message.objects.get(id=found)


def pass_by(customer: Customer, seconds: float) -> None:
    """Let that much time pass for a customer's codes: all that happened is so much longer ago."""
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
    """The error of a refusal, after its status, code and field were compared."""
    error: dict[str, Any] = response.json()["error"]
    assert (response.status_code, error["code"], error["field"]) == (status, code, field), error
    return error


def waits(customer: Customer, ask: Any, code: str) -> int:
    """A refusal's Retry-After, proved: a second earlier it is refused still, then it is not."""
    response = ask()
    refused(response, 429, code, "phone")
    seconds = int(response["Retry-After"])
    assert seconds >= 1
    pass_by(customer, seconds - 1.5)
    refused(ask(), 429, code, "phone")
    pass_by(customer, 1.5)
    assert ask().status_code in (200, 202)
    return seconds


@contextlib.contextmanager
def without_redis(settings: Any) -> Iterator[None]:
    """Nobody answers where Redis should be."""
    before, settings.REDIS_URL = settings.REDIS_URL, "redis://127.0.0.1:1"
    rate_limits._breaker = rate_limits.new_breaker()
    yield
    settings.REDIS_URL = before
    rate_limits._breaker = rate_limits.new_breaker()


def live(customer: Customer) -> list[Verification]:
    return list(Verification.objects.filter(organization=customer.id, status="pending"))


def sends(customer: Customer) -> int:
    return CodeSend.objects.filter(organization=customer.id).count()
