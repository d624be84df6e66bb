"""Showcase data: an organization after some weeks of use, for screenshots and browser tests."""

import random
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from accounts.audit import trail
from accounts.credits import ledger
from accounts.keys.api_keys import create_key, revoke_key, rotate_key
from accounts.members.people import vouch_for_address
from accounts.models import (
    MICRO,
    ApiKey,
    Invitation,
    LedgerEntry,
    Member,
    Organization,
    StoredFile,
    User,
)
from accounts.roles import Role
from accounts.ui import stored_files
from imissive.core import ids
from messaging.carriers import traffic
from messaging.carriers.traffic import Tally
from messaging.contacts import imports
from messaging.models import (
    Attempt,
    Batch,
    Campaign,
    Carrier,
    CarrierBind,
    Composition,
    Contact,
    ContactList,
    Export,
    ListEntry,
    Message,
    MessagePart,
    NumberRange,
    Price,
    Route,
    SenderId,
    Suppression,
    TextTemplate,
)
from messaging.senders import approval, documents
from messaging.states import Status
from otp.models import HeldPrefix, Verification
from otp.verification import codes
from tests.support import showcase_campaigns, showcase_smpp
from tests.support.factories import PDF
from webhooks.events import outbox as events
from webhooks.models import Delivery, Endpoint, Event, FailedAttempt

PASSWORD = "correct horse battery"
ORGANIZATIONS = ("Najd Logistics", "Hala Clinics", "Reem Bakery")
EMAILS = (
    "sara@najd.example", "it@hala.example", "operator@imissive.example", "reem@bakery.example",
    "noor@najd.example", "fahad@najd.example", "layla@najd.example",
)  # fmt: skip
PRICED = {
    "966": 500_000, "971": 2_000_000, "965": 2_200_000, "20": 1_750_000, "1242": 3_000_000,
    "44": 1_900_000, "": 4_000_000,
}  # fmt: skip
_DELIVERED_TEXT = (
    "عزيزنا العميل، شحنتك رقم 10482 خرجت للتسليم اليوم بين الساعة 4 و 8 مساءً. "
    "لتغيير الموعد: https://najd.example/t/10482"
)
_FAILED_TEXT = "Your parcel 10517 arrives today. Track it: https://najd.example/t/10517"


@dataclass(frozen=True)
class Showcase:
    """The showcase's objects that tests use."""

    organization: Organization
    owner: User
    operator: User
    delivered: Message
    failed: Message
    endpoint: Endpoint
    carrier: Carrier
    fresh: Organization
    newcomer: User
    code: Verification


def make(now: datetime | None = None) -> Showcase:
    """Create the showcase. It is random, but the same every time."""
    now = now or datetime.now(UTC).replace(microsecond=0)
    dice = random.Random(966)
    organization, owner = _organization(ORGANIZATIONS[0], EMAILS[0], "Sara Alharbi")
    other, _ = _organization(ORGANIZATIONS[1], EMAILS[1], "Huda")
    Member.objects.create(organization=other, user=owner, role=Role.VIEWER)
    operator = User.objects.create_superuser(email=EMAILS[2], password=PASSWORD, name="Operator")
    vouch_for_address(operator)
    ledger.adjust(organization, 100_000 * MICRO, reason="Invoice 2026-118", actor=operator)
    spent = ledger.Posting(organization.id, LedgerEntry.Kind.CHARGE, -10_687_500_000)
    ledger.post([spent])
    key, _ = create_key(organization, "Order service", test=False, created_by=owner)
    _senders(organization, other, now)
    _requests(organization, owner, operator)
    carrier = _carrier(now)
    endpoint = _endpoints(organization, now)
    Price.objects.create(organization=organization, prefix="966", micro=MICRO // 2)
    common = {"organization": organization, "carrier": carrier, "api_key": key}
    _month(dice, now, common)
    _traffic(dice, now, common)
    delivered = _delivered(now - timedelta(minutes=3), common, endpoint)
    failed = _failed(now - timedelta(minutes=2), common, endpoint)
    trail.record(
        "credits.adjusted", actor=operator, organization=organization, target=str(organization),
        detail={"credits": "100000"}, address="203.0.113.9",
    )  # fmt: skip
    _ledger_rows(organization, delivered, failed)
    _team(organization, owner, now)
    code = _codes(dice, organization, now)
    _exports(organization, owner, now)
    _audience(organization)
    showcase_campaigns.make(organization, owner, now)
    showcase_smpp.make(organization, now)
    fresh, newcomer = _organization(ORGANIZATIONS[2], EMAILS[3], "Reem Bakr")
    return Showcase(
        organization,
        owner,
        operator,
        delivered,
        failed,
        endpoint,
        carrier,
        fresh,
        newcomer,
        code,
    )


def _ledger_rows(organization: Organization, delivered: Message, failed: Message) -> None:
    """Create charges of single messages and of a batch, a refund, and prices of all kinds."""
    batch = Batch.objects.create(organization=organization)
    kinds = LedgerEntry.Kind
    for kind, micro, reference, reason in (
        (kinds.CHARGE, -1_250 * MICRO, batch.id, ""),
        (kinds.CHARGE, -MICRO, delivered.id, ""),
        (kinds.CHARGE, -MICRO // 2, failed.id, ""),
        (kinds.REFUND, MICRO // 2, failed.id, "not accepted"),
        (kinds.CORRECTION, -25 * MICRO, None, "Invoice 2026-118: rounding"),
    ):
        ledger.post([ledger.Posting(organization.id, kind, micro, reference, reason)])
    Price.objects.bulk_create(
        Price(prefix=prefix, micro=micro) for prefix, micro in PRICED.items() if prefix != "966"
    )
    Price.objects.create(prefix="96656", micro=450_000, organization=organization)


def _exports(organization: Organization, owner: User, now: datetime) -> None:
    """Create an export that is running, and a completed one."""
    file = stored_files.store(
        organization, name="messages.csv", content_type="text/csv", content=[b"x" * 1_482_113],
        expires_at=now + timedelta(days=6),
    )  # fmt: skip
    common = {"organization": organization, "requested_by": owner}
    Export.objects.create(
        **common, query="status=failed&since=2026-11-01", status=Export.Status.DONE, total=6_218,
        written=6_218, file=file, ended_at=now - timedelta(hours=3),
    )  # fmt: skip
    Export.objects.create(
        **common, status=Export.Status.RUNNING, total=181_204, written=66_000,
        due_at=now + timedelta(days=1),
    )  # fmt: skip


def _team(organization: Organization, owner: User, now: datetime) -> None:
    """Create members, an open invitation, and keys of each kind."""
    roles = {"Noor Saleh": Role.DEVELOPER, "Fahad Almutairi": Role.FINANCE, "Layla": Role.ADMIN}
    for email, (name, role) in zip(EMAILS[4:], roles.items(), strict=True):
        user = User.objects.create_user(email, PASSWORD, name=name)
        Member.objects.create(organization=organization, user=user, role=role)
    Invitation.objects.create(
        organization=organization, email="omar@najd.example", role=Role.VIEWER, digest=b"0" * 32,
        invited_by=owner, sent_at=now - timedelta(hours=5), expires_at=now + timedelta(days=6),
    )  # fmt: skip
    tests, _ = create_key(
        organization, "CI tests", test=True, scopes=["sms:send", "sms:read"],
        allowed=["203.0.113.0/24"], created_by=owner,
    )  # fmt: skip
    ApiKey.objects.filter(pk=tests.pk).update(
        last_used_at=now - timedelta(minutes=4), last_used_address="203.0.113.9"
    )
    warehouse, _ = create_key(organization, "Warehouse", test=False, created_by=owner)
    rotate_key(warehouse, actor=owner)
    old, _ = create_key(organization, "Old shop", test=False, created_by=owner)
    revoke_key(old, actor=owner)


TO_IMPORT = """Order,Mobile,الاسم,City
1000481,0501234567,Sara Alharbi,Riyadh
1000482,501234568,نورة القحطاني,جدة
1000483,,Omar,Riyadh
1000484,9.66501E+11,خالد,جدة
1000485,0112345678,Maha Alotaibi,Riyadh
1000486,+971501234567,Yousef,Dubai
1000487,07123456789,James,London
"""


def _audience(organization: Organization) -> None:
    """Create templates, contacts on two lists, and suppressions."""
    for name, text in (
        ("Out for delivery", "Hello {name}, order {order} is on its way to you."),
        ("تذكير بالموعد", "مرحبًا {name}، نذكّرك بموعدك غدًا الساعة {time}."),
    ):
        TextTemplate.objects.create(organization=organization, name=name, text=text)
    lists = [
        ContactList.objects.create(organization=organization, name=name)
        for name in ("Riyadh drivers", "عملاء جدة")
    ]
    people = ("Sara Alharbi", "نورة القحطاني", "Omar", "خالد", "Maha Alotaibi", "", "Yousef", "ريم")
    for index in range(14):
        contact = Contact.objects.create(
            organization=organization, number=f"+96655{index:07d}", name=people[index % 8],
            fields={"city": ("Riyadh", "جدة")[index % 2], "order": str(10480 + index)},
        )  # fmt: skip
        for contact_list in lists[: 1 + index % 2]:
            ListEntry.objects.create(contact_list=contact_list, contact=contact)
    imports.keep(organization, lambda: [TO_IMPORT.encode()])
    reading = imports.Reading(lambda: [TO_IMPORT.encode()], "SA", "SA")
    list(reading.contacts())
    imports.keep_rejected(organization, reading.rejected, reading.layout)
    NumberRange.objects.create(
        country="SA", prefix="96652", shortest=12, longest=12, note="https://www.cst.gov.sa/"
    )
    for index, reason in enumerate(("Replied STOP", "", "طلب عدم الإزعاج")):
        Suppression.objects.create(
            organization=organization, number=f"+96659{index:07d}", reason=reason,
            source="api" if index % 2 else "dashboard",
        )  # fmt: skip


def _organization(name: str, email: str, person: str) -> tuple[Organization, User]:
    organization = Organization.objects.create(name=name)
    user = User.objects.create_user(email, PASSWORD, name=person)
    vouch_for_address(user)
    Member.objects.create(organization=organization, user=user, role=Role.OWNER)
    return organization, user


def _senders(organization: Organization, other: Organization, now: datetime) -> None:
    alphanumeric = SenderId.Kind.ALPHANUMERIC
    SenderId.objects.create(
        organization=organization, name="NAJD", kind=alphanumeric, is_default=True,
        status=SenderId.Status.APPROVED, purpose="Shipment updates", decided_at=now,
    )  # fmt: skip
    SenderId.objects.create(
        organization=other, name="NajdCare", kind=alphanumeric, purpose="Home nursing",
        status=SenderId.Status.APPROVED, decided_at=now, use="transactional",
    )  # fmt: skip
    for owner, name, purpose in (
        (organization, "NAJD-Offers", "Monthly offers to customers who agreed"),
        (other, "HalaClinic", "Appointment reminders"),
    ):
        SenderId.objects.create(
            organization=owner, name=name, kind=alphanumeric, purpose=purpose,
            sample="Your appointment is tomorrow at 10:00.",
        )  # fmt: skip


def _requests(organization: Organization, owner: User, operator: User) -> None:
    """Create a pending request with documents, and a rejected one."""
    letter = documents.document("commercial-registration.pdf", PDF)
    approval.request_sender(
        organization, "NAJD-Care", "Answers of customer care to people who wrote to us",
        "Najd: your complaint 118 is settled. Thank you for your patience.", use="transactional",
        documents=[letter, documents.document("authorization.pdf", PDF)], actor=owner,
    )  # fmt: skip
    refused = approval.request_sender(
        organization, "NajdExpress", "Deliveries", "Your parcel arrives today.",
        use="transactional", actor=owner,
    )  # fmt: skip
    reason = "The commercial registration is for another company. Attach one that names yours."
    approval.reject(refused, operator, reason)


def _endpoints(organization: Organization, now: datetime) -> Endpoint:
    """Create an endpoint for all events, and one that is failing."""
    common = {"organization": organization, "secret": "whsec_c2VjcmV0"}
    endpoint = Endpoint.objects.create(
        url="https://api.najd.example/hooks/sms", description="Order service", **common
    )
    Endpoint.objects.create(
        url="https://erp.najd.example/in/sms", description="Accounting", **common,
        events=["balance.low", "otp.failed"], failing_since=now - timedelta(hours=7),
    )  # fmt: skip
    return endpoint


def _codes(dice: random.Random, organization: Organization, now: datetime) -> Verification:
    """Create a week of codes to three countries, a held prefix, and a pending test code."""
    countries = {"SA": "+9665", "AE": "+9715", "EG": "+2010"}
    rows = []
    for number in range(140):
        at = now - timedelta(hours=1 + number, seconds=dice.randrange(3000))
        country = dice.choices(list(countries), [80, 15, 8])[0]
        status = dice.choices(["verified", "expired"], [30 if country == "EG" else 88, 12])[0]
        rows.append(
            Verification(
                id=_id(at), organization=organization, country=country, length=6, expiry=300,
                phone=f"{countries[country]}{dice.randrange(10**8):08d}", text="{code}",
                prefix=f"{countries[country]}0", message_id=ids.new_uuid(), status=status,
                reason="" if status == "verified" else "expired", created_at=at, ended_at=at,
                attempts=int(status == "verified"), expires_at=at + timedelta(minutes=5),
            )
        )  # fmt: skip
    Verification.objects.bulk_create(rows)
    HeldPrefix.objects.create(
        organization=organization, prefix="+2010123", enforced=True, sent=64, verified=1,
        created_at=now - timedelta(hours=2), until=now + timedelta(hours=10),
    )  # fmt: skip
    id = _id(now)
    _code, secret = codes.create(id, 6)
    return Verification.objects.create(
        id=id,
        organization=organization,
        test=True,
        phone="+966500000001",
        country="SA",
        prefix="+96650",
        length=6,
        expiry=300,
        text="{code}",
        message_id=ids.new_uuid(),
        seed=secret.seed,
        key_id=secret.key_id,
        digest=secret.digest,
        created_at=now,
        expires_at=now + timedelta(hours=1),
    )


def _carrier(now: datetime) -> Carrier:
    carrier = Carrier.objects.create(
        slug="gulf", name="Gulf Carrier", host="smsc.gulf.example", system_id="imissive", binds=2,
        password="s3cret",
    )  # fmt: skip
    for number in (1, 2):
        CarrierBind.objects.create(
            carrier=carrier, worker="carrier-gulf@host", number=number, mode="trx",
            state=CarrierBind.State.BOUND, since=now - timedelta(hours=31), in_flight=7 * number,
            submitted=181_204 + number, receipts=180_990,
            updated_at=now + timedelta(hours=1),
        )  # fmt: skip
    for minutes in range(1, 300):
        answered = Tally(accepted=310 + minutes % 7 * 9, throttled=2, refused=1, delivered=290)
        answered.failed = 9
        traffic.record(carrier.pk, answered, now - timedelta(minutes=minutes))
    route = Route.objects.create(prefix="966")
    route.steps.create(carrier=carrier, position=0)
    Price.objects.create(prefix="966", micro=MICRO // 2)
    return carrier


def _message(at: datetime, **fields: Any) -> Message:
    fields = {
        "id": _id(at),
        "source": "api",
        "country": "SA",
        "sender": "NAJD",
        "encoding": "gsm7",
        "parts": 1,
        "price": MICRO // 2,
        "created_at": at,
        "queued_at": at,
        "expires_at": at + timedelta(days=1),
    } | fields
    return Message.objects.create(**fields)


def _traffic(dice: random.Random, now: datetime, common: dict[str, Any]) -> None:
    weights = {
        Status.DELIVERED: 181, Status.SENT: 9, Status.QUEUED: 4, Status.FAILED: 7,
        Status.EXPIRED: 3, Status.SCHEDULED: 2, Status.CANCELED: 1,
    }  # fmt: skip
    statuses = dice.choices(list(weights), list(weights.values()), k=210)
    batch = Batch.objects.create(organization=common["organization"])
    for index, status in enumerate(statuses):
        at = now - timedelta(seconds=400 + index * 380 + dice.randrange(300))
        final = status in (Status.DELIVERED, Status.FAILED, Status.EXPIRED, Status.CANCELED)
        _message(
            at,
            to=f"+9665{dice.randrange(10**8):08d}",
            text="Your order is on its way.",
            reference=f"order-{10480 - index}",
            status=status,
            test=index == 4,
            batch=batch if 20 <= index < 60 else None,
            final_at=at + timedelta(seconds=dice.randrange(2, 9)) if final else None,
            error_code="UNDELIV" if status is Status.FAILED else "",
            **common,
        )


def _month(dice: random.Random, now: datetime, common: dict[str, Any]) -> None:
    """Create thirty days of messages to four countries, more on working days."""
    countries = {"SA": "+9665", "AE": "+9715", "KW": "+9655", "EG": "+2010"}
    codes = ["UNDELIV", "UNDELIV", "REJECTD", "ESME_RINVDSTADR", "ESME_RTHROTTLED"]
    rows = []
    for day in range(1, 31):
        quiet = (now - timedelta(days=day)).weekday() in (4, 5)
        for _ in range(dice.randrange(8, 16) if quiet else dice.randrange(24, 48)):
            at = now - timedelta(days=day, seconds=dice.randrange(86_400))
            country = dice.choices(list(countries), [80, 9, 7, 4])[0]
            status = dice.choices([Status.DELIVERED, Status.FAILED, Status.EXPIRED], [94, 4, 2])[0]
            rows.append(
                Message(
                    id=_id(at), source="api", country=country, sender="NAJD", encoding="gsm7",
                    parts=1, price=MICRO // 2 if country == "SA" else 2 * MICRO, created_at=at,
                    queued_at=at, expires_at=at + timedelta(days=1), text="Your order is here.",
                    to=f"{countries[country]}{dice.randrange(10**7, 10**8):08d}", status=status,
                    sent_at=at, final_at=at + timedelta(seconds=1 + dice.expovariate(0.3)),
                    error_code={"failed": dice.choice(codes), "expired": "EXPIRED"}.get(status, ""),
                    **common,
                )
            )  # fmt: skip
    Message.objects.bulk_create(rows)


def _id(at: datetime) -> uuid.UUID:
    """Return an id of that time, because the log is ordered by ids."""
    return uuid.UUID(int=ids.first_id_at(at).int | uuid.uuid4().int & ((1 << 62) - 1))


def _delivered(at: datetime, common: dict[str, Any], endpoint: Endpoint) -> Message:
    second = timedelta(seconds=1)
    message = _message(
        at, to="+966501234567", text=_DELIVERED_TEXT, encoding="ucs2", parts=2, price=MICRO,
        reference="order-10482", status=Status.DELIVERED, sent_at=at + second,
        final_at=at + 4 * second, **common,
    )  # fmt: skip
    for number in (1, 2):
        MessagePart.objects.create(
            message=message, number=number, carrier=common["carrier"], status=Status.DELIVERED,
            carrier_message_id=f"7C41A90{number}", submitted_at=at + 0.4 * number * second,
            final_at=at + (3.1 + 0.4 * number) * second,
        )  # fmt: skip
    for kind, after in (("queued", 0.1), ("sent", 1.1), ("delivered", 4.1)):
        _hook(message, endpoint, f"message.{kind}", at + after * second)
    return message


def _failed(at: datetime, common: dict[str, Any], endpoint: Endpoint) -> Message:
    second = timedelta(seconds=1)
    message = _message(
        at, to="+966559876543", text=_FAILED_TEXT, reference="order-10517", status=Status.FAILED,
        sent_at=at + 6 * second, final_at=at + 9 * second, error_code="UNDELIV 001",
        error_message="The carrier reported that the message was not delivered.", **common,
    )  # fmt: skip
    attempt = Attempt.objects.create(
        message=message, carrier=common["carrier"], outcome="throttled", command_status=0x58
    )
    Attempt.objects.filter(pk=attempt.pk).update(at=at + second)
    MessagePart.objects.create(
        message=message, number=1, carrier=common["carrier"], status=Status.FAILED,
        carrier_message_id="7C41A977", error_code="UNDELIV 001", submitted_at=at + 6 * second,
        final_at=at + 9 * second,
    )  # fmt: skip
    _hook(message, endpoint, "message.sent", at + 6.2 * second)
    _hook(message, endpoint, "message.failed", at + 9.2 * second, Delivery.Status.PENDING)
    return message


def _hook(
    message: Message, endpoint: Endpoint, kind: str, at: datetime,
    status: Delivery.Status = Delivery.Status.DELIVERED,
) -> None:  # fmt: skip
    data = {"to": message.to, "status": kind.split(".")[1], "reference": message.reference}
    body = events.body_of(
        events.NewEvent(message.organization_id, kind, at, message.id, data, test=False)
    )
    event = Event.objects.create(
        id=_id(at), organization=message.organization, type=kind, message_id=message.id,
        body=body, created_at=at,
    )  # fmt: skip
    done = status == Delivery.Status.DELIVERED
    answer = {"response_status": 200 if done else 503, "duration_ms": 38 if done else 410,
              "response_body": '{"ok": true}' if done else "upstream unavailable"}  # fmt: skip
    delivery = Delivery.objects.create(
        id=_id(at), event=event, event_type=kind, endpoint=endpoint, status=status, attempts=1,
        created_at=at, attempted_at=at, signature="v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
        finished_at=at + timedelta(milliseconds=38) if done else None,
        next_attempt_at=None if done else at + timedelta(minutes=5), **answer,
    )  # fmt: skip
    if not done:
        FailedAttempt.objects.create(delivery=delivery, number=1, at=at, error="", **answer)


def organization_id(showcase: Showcase) -> str:
    """Return the public id of the showcase's organization."""
    return ids.public_id(ids.ORGANIZATION, showcase.organization.id)


def forget() -> None:
    """Delete the committed rows that can be deleted, and free the email addresses of the others."""
    showcase_smpp.forget(ORGANIZATIONS)
    Delivery.objects.filter(event__organization__name__in=ORGANIZATIONS).delete()
    Verification.objects.filter(organization__name__in=ORGANIZATIONS).delete()
    HeldPrefix.objects.filter(organization__name__in=ORGANIZATIONS).delete()
    for model in (Export, Event, Endpoint, Campaign, Composition, Message, Batch, SenderId,
                  StoredFile, ApiKey, Invitation, Member, TextTemplate, ContactList, Contact,
                  Suppression):  # fmt: skip
        model.objects.filter(organization__name__in=ORGANIZATIONS).delete()
    NumberRange.objects.filter(prefix="96652").delete()
    Route.objects.filter(carriers__slug="gulf").delete()
    Price.objects.filter(prefix__in=PRICED).delete()
    Carrier.objects.filter(slug="gulf").delete()
    for user in User.objects.filter(email__in=(*EMAILS, "reem@najd.example")):
        user.email = f"gone-{user.pk}@example.com"
        user.save()
        vouch_for_address(user)
    Organization.objects.filter(name__in=ORGANIZATIONS).update(name="Gone")
