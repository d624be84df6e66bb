"""Sweeps of verifications: expiry, exactly once, and deletion of old ones."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings

from accounts.models import MICRO
from imissive.core import ids
from messaging.models import Message
from otp import tasks
from otp.models import CodeSend, HeldPrefix, Verification
from otp.verification import completion, housekeeping
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
    send,
    wrong,
)


@pytest.fixture(autouse=True)
def _nobody_elses(db: None) -> None:
    """Delete what other tests have committed, because sweeps process all organizations."""
    CodeSend.objects.all().delete()
    Verification.objects.all().delete()


def events(customer: Customer) -> list[tuple[str, str, str]]:
    """Return (otp_id, event, reason) of each event, oldest first."""
    bodies = [json.loads(event.body) for event in customer.event_rows()]
    return [
        (body["data"]["otp_id"], body["event"], body["data"].get("reason", "")) for body in bodies
    ]


# ---------------------------------------------------------------- expiry


def test_an_overdue_verification_expires_with_one_event(
    api: Api, customer: Customer, world: World
) -> None:
    world.endpoint(customer, "otp.failed")
    over = send(api, expiry=30)["otp_id"]
    young = send(api, expiry=45, phone="+966501234568")["otp_id"]
    otps.pass_by(customer, 30)
    assert completion.expire_due() == 1
    assert completion.expire_due() == 0
    expired = otps.row(over)
    assert (expired.status, expired.reason) == ("expired", "expired")
    assert (bytes(expired.seed), bytes(expired.digest)) == (b"", b"")
    assert expired.ended_at is not None
    assert otps.row(young).status == "pending"
    assert events(customer) == [(over, "otp.failed", "expired")]
    [event] = customer.event_rows()
    data = json.loads(event.body)["data"]
    assert set(data) == {"otp_id", "phone", "status", "failed_at", "reason"}
    assert (data["phone"], data["status"]) == (PHONE, "expired")


def test_a_test_key_s_event_is_marked(customer: Customer, test_api: Api, world: World) -> None:
    world.carrier(is_sandbox=True)
    world.endpoint(customer, "otp.failed", test=True)
    send(test_api, expiry=30)
    otps.pass_by(customer, 30)
    tasks.expire()
    [event] = customer.event_rows()
    assert json.loads(event.body)["data"]["test"] is True


def test_an_endpoint_without_the_subscription_gets_no_event(api: Api, customer: Customer) -> None:
    send(api, expiry=30)
    otps.pass_by(customer, 30)
    assert completion.expire_due() == 1
    assert customer.event_rows() == []


def test_completed_verifications_do_not_expire(api: Api, customer: Customer, world: World) -> None:
    world.endpoint(customer, "otp.failed", "otp.verified")
    verified = send(api)["otp_id"]
    check(api, verified, code_of(verified))
    failed = send(api, phone="+966501234568")["otp_id"]
    bad = wrong(failed)
    for _ in range(5):
        check(api, failed, bad)
    otps.pass_by(customer, 3600)
    assert completion.expire_due() == 0
    assert events(customer) == [
        (verified, "otp.verified", ""),
        (failed, "otp.failed", "too_many_attempts"),
    ]


def test_an_expired_code_held_for_sending_hours_is_not_sent(api: Api, customer: Customer) -> None:
    """A message not submitted within the sending hours would be sent when they start again."""
    sent = send(api)
    message = otps.message(sent["message_id"])
    tomorrow = datetime.now(UTC) + timedelta(hours=12)
    Message.objects.filter(id=message.id).update(
        status="scheduled", due_at=tomorrow, scheduled_at=tomorrow, expires_at=tomorrow
    )
    otps.pass_by(customer, 300)
    assert completion.expire_due() == 1
    message.refresh_from_db()
    assert message.status == "canceled"
    assert customer.balance() == 100 * MICRO


def test_expiry_in_bounded_steps(api: Api, customer: Customer) -> None:
    for number in range(5):
        send(api, phone=f"+96650123456{number}", expiry=30)
    otps.pass_by(customer, 30)
    assert [completion.expire_due(2) for _ in range(4)] == [2, 2, 1, 0]


def test_beat_schedules_the_tasks() -> None:
    from imissive.celery import app

    app.loader.import_default_modules()
    for name in ("expire-otp", "watch-otp", "clean-otp"):
        assert django_settings.CELERY_BEAT_SCHEDULE[name]["task"] in app.tasks


# ---------------------------------------------------------------- housekeeping


def old(customer: Customer, days: float, status: str = "verified") -> Verification:
    """Create a verification that started so many days ago, with a send."""
    at = datetime.now(UTC) - timedelta(days=days)
    id = uuid.UUID(int=ids.first_id_at(at).int | uuid.uuid4().int >> 66)
    pending = status == "pending"
    verification = Verification.objects.create(
        id=id,
        organization=customer.organization,
        phone=f"+9665{id.int % 10**8:08d}",
        country="SA",
        prefix="+9665",
        length=6,
        expiry=300,
        text="{code}",
        seed=b"s" if pending else b"",
        digest=b"d" if pending else b"",
        key_id="",
        status=status,
        message_id=uuid.uuid4(),
        created_at=at,
        expires_at=at + timedelta(minutes=5),
        ended_at=None if pending else at,
    )
    CodeSend.objects.create(
        verification=verification,
        organization=customer.organization,
        test=False,
        phone=verification.phone,
        message_id=verification.message_id,
        at=at,
    )
    return verification


def test_old_verifications_are_deleted_with_their_sends(customer: Customer, settings: Any) -> None:
    old_ids = [old(customer, days) for days in (365, 91)]
    kept = [old(customer, days) for days in (89, 1)] + [old(customer, 100, "pending")]
    tasks.clean_up()
    left = set(Verification.objects.values_list("id", flat=True))
    assert left == {verification.id for verification in kept}
    assert set(CodeSend.objects.values_list("verification_id", flat=True)) == left
    settings.OTP_KEEP_DAYS = 2
    tasks.clean_up()
    assert Verification.objects.count() == 2
    assert not Verification.objects.filter(id__in=[each.id for each in old_ids]).exists()


def test_deletion_in_bounded_steps(customer: Customer) -> None:
    for _ in range(5):
        old(customer, 100)
    assert [housekeeping.purge(2) for _ in range(4)] == [2, 2, 1, 0]


def test_old_holds_are_deleted(customer: Customer) -> None:
    now = datetime.now(UTC)
    for days in (91, 89):
        HeldPrefix.objects.create(
            organization=customer.organization,
            prefix="+9665012",
            enforced=True,
            sent=50,
            verified=0,
            created_at=now - timedelta(days=days, hours=12),
            until=now - timedelta(days=days),
        )
    housekeeping.purge()
    assert HeldPrefix.objects.count() == 1
