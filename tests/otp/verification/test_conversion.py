"""Conversion: started and verified verifications, by day and country."""

from datetime import UTC, datetime, timedelta
from typing import Any

from otp.verification.conversion import conversion_by
from tests.otp.verification.test_otp_sweeps import old
from tests.support.factories import Api, Customer, World
from tests.support.otps import (
    check,
    code_of,
    pass_by,
    send,
)

DAY = timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC)


def by(customer: Customer, group: Any, start: Any = None, end: Any = None) -> Any:
    return conversion_by(customer.id, start or now() - DAY, end or now() + DAY, group)


def verify(api: Api, **fields: Any) -> None:
    otp_id = send(api, **fields)["otp_id"]
    assert check(api, otp_id, code_of(otp_id))["verified"]


def test_by_country(api: Api, customer: Customer, outsider: Customer, world: World) -> None:
    world.serve("971")
    assert by(customer, "country") == {}
    verify(api)
    send(api, phone="+966501234568")
    send(api, phone="+971501234567")
    verify(outsider.api)
    assert by(customer, "country") == {"AE": (1, 0), "SA": (2, 1)}


def test_by_day(api: Api, customer: Customer) -> None:
    verify(api)
    days_ago = [old(customer, days, status) for days, status in ((3, "verified"), (3, "pending"))]
    day = days_ago[0].created_at.date().isoformat()
    today = now().date().isoformat()
    start = now() - 10 * DAY
    assert by(customer, "day", start) == {day: (2, 1), today: (1, 1)}
    assert by(customer, "day", start, now() - 2 * DAY) == {day: (2, 1)}
    assert by(customer, "day", now() - 2 * DAY) == {today: (1, 1)}


def test_repeated_codes_count_once_and_test_keys_not_at_all(
    api: Api, test_api: Api, customer: Customer, world: World
) -> None:
    world.carrier(is_sandbox=True)
    otp_id = send(api)["otp_id"]
    pass_by(customer, 61)
    assert api.post(f"/v1/otp/{otp_id}/resend").status_code == 200
    verify(test_api)
    assert by(customer, "country") == {"SA": (1, 0)}


def test_the_end_is_excluded(customer: Customer) -> None:
    created_at = old(customer, 1).created_at
    moment = created_at.replace(microsecond=created_at.microsecond // 1000 * 1000)
    assert conversion_by(customer.id, moment, moment + DAY, "country") == {"SA": (1, 1)}
    assert conversion_by(customer.id, moment - DAY, moment, "country") == {}
