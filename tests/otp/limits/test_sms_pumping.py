"""SMS pumping protection: a prefix with low conversion is recorded, or held with a notice."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend

from accounts.models import AuditEntry
from accounts.roles import Role
from imissive.core.errors import ApiError
from messaging.models import Carrier
from messaging.numbers.e164 import parse
from messaging.states import Status
from otp import tasks
from otp.limits import notices, sms_pumping
from otp.models import HeldPrefix, OtpSettings, Verification
from tests.support import otps
from tests.support.factories import (
    PHONE,
    Api,
    Customer,
    World,
)
from tests.support.otps import SEND, refused, send
from tests.support.people import member, operator

PREFIX = "+9665012"
"""The prefix of PHONE: its calling code and four digits."""


@pytest.fixture(autouse=True)
def _rules(settings: Any) -> None:
    settings.OTP_PUMPING, settings.OTP_PUMPING_WINDOW = "enforce", 60
    settings.OTP_PUMPING_MINIMUM, settings.OTP_PUMPING_SHARE = 10, 20
    settings.OTP_PUMPING_DIGITS = 4


class Traffic:
    """Codes that a customer sent earlier, each to a different number."""

    def __init__(self, world: World, customer: Customer, carrier: Carrier) -> None:
        self.world, self.customer, self.carrier = world, customer, carrier
        self.count = 0

    def add(
        self,
        codes: int,
        status: str = "expired",
        *,
        minutes_ago: float = 10,
        prefix: str = PREFIX,
        message: str = Status.SENT,
        **fields: Any,
    ) -> None:
        at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
        pending = status == "pending"
        for _ in range(codes):
            self.count += 1
            sent_at = None if message == Status.QUEUED else at
            carried = self.world.message(
                self.customer, self.carrier, status=message, sent_at=sent_at, final_at=sent_at
            )
            reasons = {"expired": "expired", "failed": "too_many_attempts"}
            created = {
                "organization": self.customer.organization,
                "phone": f"{prefix}{self.count:05d}",
                "country": "SA",
                "prefix": prefix,
                "length": 6,
                "expiry": 300,
                "text": "{code}",
                "seed": b"s" if pending else b"",
                "digest": b"d" if pending else b"",
                "key_id": "",
                "status": status,
                "reason": reasons.get(status, ""),
                "message_id": carried.id,
                "created_at": at,
                "expires_at": at + timedelta(minutes=5),
                "ended_at": None if pending else at + timedelta(minutes=5),
            } | fields
            Verification.objects.create(**created)


@pytest.fixture
def traffic(world: World, customer: Customer, carrier: Carrier) -> Traffic:
    return Traffic(world, customer, carrier)


def found(customer: Customer) -> list[tuple[str, bool, int, int]]:
    """Run the detection; return (prefix, held, codes, verified) of the customer's prefixes."""
    sms_pumping.watch()
    rows = HeldPrefix.objects.filter(organization=customer.organization).order_by("id")
    return list(rows.values_list("prefix", "enforced", "sent", "verified"))


# ---------------------------------------------------------------- detection


@pytest.mark.parametrize(
    ("number", "digits", "prefix"),
    [
        (PHONE, 4, "+9665012"),
        (PHONE, 2, "+96650"),
        (PHONE, 0, "+966"),
        ("+971501234567", 4, "+9715012"),
        ("+12025550123", 4, "+12025"),
        ("+201001234567", 3, "+20100"),
    ],
)
def test_prefixes(settings: Any, number: str, digits: int, prefix: str) -> None:
    settings.OTP_PUMPING_DIGITS = digits
    assert sms_pumping.prefix_of(parse(number)) == prefix


def test_a_send_stores_its_prefix(api: Api) -> None:
    assert otps.row(send(api)["otp_id"]).prefix == PREFIX


def test_too_few_verified(traffic: Traffic, customer: Customer) -> None:
    traffic.add(9)
    traffic.add(1, "verified")
    assert found(customer) == [(PREFIX, True, 10, 1)]
    held = HeldPrefix.objects.get(organization=customer.organization)
    assert held.until - held.created_at == timedelta(hours=12)
    entry = AuditEntry.objects.get(organization=customer.organization)
    assert (entry.action, entry.target, entry.actor) == ("otp.prefix_held", PREFIX, None)
    assert (entry.detail["sent"], entry.detail["verified"]) == (10, 1)


@pytest.mark.parametrize(
    "codes",
    [
        [{"codes": 9}],
        [{"codes": 8}, {"codes": 2, "status": "verified"}],
        [{"codes": 9}, {"codes": 5, "prefix": "+9665013"}],
        [{"codes": 9}, {"codes": 5, "status": "pending"}],
        [{"codes": 9}, {"codes": 5, "minutes_ago": 66}],
        [{"codes": 9}, {"codes": 5, "test": True}],
        [{"codes": 9}, {"codes": 5, "status": "failed", "reason": "canceled"}],
        # An outage is not SMS pumping: nobody could verify these codes.
        [{"codes": 9}, {"codes": 5, "message": Status.FAILED}],
        [{"codes": 9}, {"codes": 5, "message": Status.QUEUED}],
    ],
    ids=[
        "below the minimum",
        "enough verified",
        "other prefix",
        "not ended",
        "long ago",
        "test keys'",
        "canceled",
        "undelivered",
        "never sent",
    ],
)
def test_traffic_without_suspicion(
    traffic: Traffic, customer: Customer, codes: list[dict[str, Any]]
) -> None:
    for some in codes:
        traffic.add(**some)
    assert found(customer) == []


def test_organizations_are_counted_separately(
    traffic: Traffic, world: World, customer: Customer, outsider: Customer, carrier: Carrier
) -> None:
    traffic.add(9)
    Traffic(world, outsider, carrier).add(10)
    assert found(customer) == []
    assert found(outsider) == [(PREFIX, True, 10, 0)]


def test_a_prefix_is_detected_once(traffic: Traffic, customer: Customer) -> None:
    traffic.add(10)
    assert found(customer) == found(customer)
    assert len(found(customer)) == 1


def test_modes_off_and_record(
    traffic: Traffic, customer: Customer, api: Api, settings: Any
) -> None:
    settings.OTP_PUMPING = "off"
    traffic.add(10)
    assert found(customer) == []
    settings.OTP_PUMPING = "record"
    assert found(customer) == [(PREFIX, False, 10, 0)]
    assert found(customer) == [(PREFIX, False, 10, 0)]
    send(api)
    settings.OTP_PUMPING = "enforce"
    otps.pass_by(customer, 61)
    send(api)
    assert found(customer)[-1] == (PREFIX, True, 10, 0)
    otps.pass_by(customer, 61)
    refused(api.post(SEND, {"phone": PHONE}), 403, "DESTINATION_BLOCKED", "phone")


def test_an_organizations_own_rules(traffic: Traffic, customer: Customer) -> None:
    own = OtpSettings.objects.create(
        organization=customer.organization,
        pumping_minutes=5,
        pumping_minimum=3,
        pumping_share=50,
    )
    traffic.add(2, minutes_ago=6)
    traffic.add(1, "verified", minutes_ago=6)
    assert found(customer) == [(PREFIX, True, 3, 1)]
    HeldPrefix.objects.all().delete()
    own.pumping = "off"
    own.save()
    assert found(customer) == []


# ---------------------------------------------------------------- holds


@pytest.fixture
def held(traffic: Traffic, customer: Customer) -> HeldPrefix:
    traffic.add(10)
    [created] = sms_pumping.watch()
    return created


def test_codes_to_a_held_prefix_are_refused(api: Api, customer: Customer, held: HeldPrefix) -> None:
    before = customer.stored()
    error = refused(api.post(SEND, {"phone": PHONE}), 403, "DESTINATION_BLOCKED", "phone")
    assert PREFIX in error["message"]
    assert customer.stored() == before
    send(api, phone="+966512345678")


def test_resends_to_a_held_prefix_are_refused(
    api: Api, traffic: Traffic, customer: Customer
) -> None:
    otp_id = send(api)["otp_id"]
    otps.pass_by(customer, 61)
    traffic.add(10)
    sms_pumping.watch()
    response = api.post(f"/v1/otp/{otp_id}/resend")
    refused(response, 403, "DESTINATION_BLOCKED", "phone")


def test_a_hold_does_not_affect_other_organizations_and_test_keys(
    test_api: Api, outsider: Customer, held: HeldPrefix, world: World
) -> None:
    world.carrier(is_sandbox=True)
    send(outsider.api)
    send(test_api)


def test_a_hold_does_not_affect_other_messages(api: Api, held: HeldPrefix) -> None:
    assert api.post("/v1/sms/send", {"to": PHONE, "message": "Hello"}).status_code == 202


def test_a_hold_ends_after_twelve_hours(api: Api, customer: Customer, held: HeldPrefix) -> None:
    otps.pass_by(customer, 12 * 3600 - 60)
    refused(api.post(SEND, {"phone": PHONE}), 403, "DESTINATION_BLOCKED", "phone")
    otps.pass_by(customer, 61)
    send(api)
    assert sms_pumping.watch() == []


def test_switching_the_protection_off_ends_holds_immediately(
    api: Api, customer: Customer, held: HeldPrefix
) -> None:
    OtpSettings.objects.create(organization=customer.organization, pumping="off")
    send(api)


def test_after_a_lift_codes_are_sent_and_counted_again(
    api: Api, customer: Customer, held: HeldPrefix, traffic: Traffic
) -> None:
    somebody = operator()
    sms_pumping.lift(held, somebody, address="192.0.2.1")
    send(api)
    assert sms_pumping.watch() == []
    entry = AuditEntry.objects.filter(organization=customer.organization).latest("id")
    assert (entry.action, entry.target, entry.actor) == ("otp.prefix_lifted", PREFIX, somebody)
    with pytest.raises(ApiError, match="HOLD_OVER"):
        sms_pumping.lift(held, somebody)
    traffic.add(10, minutes_ago=-0.01)
    assert len(sms_pumping.watch()) == 1


# ---------------------------------------------------------------- notices


@pytest.fixture
def people(customer: Customer) -> dict[str, str]:
    """Return the email addresses of the customer's members by role; the admin reads Arabic."""
    found = {}
    for role in Role:
        user = member(customer.organization, role)
        if role == Role.ADMIN:
            user.language = "ar"
            user.save()
        found[str(role)] = user.email
    return found


def test_owners_and_admins_get_a_mail_in_their_language(
    people: dict[str, str], traffic: Traffic, customer: Customer
) -> None:
    traffic.add(10)
    tasks.watch()
    tasks.watch()
    mails: dict[str, Any] = {sent.to[0]: sent for sent in mail.outbox}
    assert set(mails) == {people["owner"], people["admin"]}
    assert len(mail.outbox) == 2
    english, arabic = mails[people["owner"]], mails[people["admin"]]
    for sent in (english, arabic):
        html = str(sent.alternatives[0][0])
        for text in (str(sent.body), html):
            assert PREFIX in text
            assert str(customer.organization) in text
        assert PREFIX in sent.subject
    assert "10 one-time passwords" in english.body
    assert 'dir="rtl"' in str(arabic.alternatives[0][0])
    assert "one-time passwords" not in arabic.body
    assert notices.due() == []


def test_a_recorded_prefix_sends_no_notice(
    people: dict[str, str], traffic: Traffic, settings: Any
) -> None:
    settings.OTP_PUMPING = "record"
    traffic.add(10)
    tasks.watch()
    assert mail.outbox == []


def test_two_workers_send_the_notice_once(people: dict[str, str], held: HeldPrefix) -> None:
    """Both workers have read that the mail is due."""
    assert notices.due() == notices.due() == [held.pk]
    notices.send_notice(held.pk)
    notices.send_notice(held.pk)
    assert len(mail.outbox) == 2


def test_the_email_stays_due_while_the_mail_server_is_down(
    people: dict[str, str], held: HeldPrefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any) -> None:
        raise ConnectionRefusedError("no")

    with monkeypatch.context() as patch:
        patch.setattr(EmailBackend, "send_messages", fail)
        notices.send_notice(held.pk)
    assert mail.outbox == []
    held.refresh_from_db()
    assert held.notice_due_at is not None
    assert notices.due() == [], "not retried immediately"
    HeldPrefix.objects.update(notice_due_at=datetime.now(UTC))
    for held_id in notices.due():
        notices.send_notice(held_id)
    assert len(mail.outbox) == 2
