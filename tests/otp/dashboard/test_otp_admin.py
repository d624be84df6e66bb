"""Admin pages of one-time passwords: verifications, rules, and lifting a hold."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry
from otp.models import HeldPrefix, OtpSettings
from tests.support import otps
from tests.support.factories import PHONE, Api, Customer
from tests.support.otps import SEND, refused, send
from tests.support.people import (
    PLAIN_STATIC,
    browser,
    operator,
    person,
)


@pytest.fixture(autouse=True)
def _plain_static(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def admin(db: None) -> Client:
    return browser(operator())


@pytest.fixture
def held(customer: Customer, settings) -> HeldPrefix:
    settings.OTP_PUMPING = "enforce"
    now = datetime.now(UTC)
    return HeldPrefix.objects.create(
        organization=customer.organization,
        prefix="+9665012",
        enforced=True,
        sent=40,
        verified=1,
        created_at=now,
        until=now + timedelta(hours=12),
        notice_due_at=now,
    )


def _page(obj: object, act: str) -> str:
    return reverse(f"admin:otp_{type(obj).__name__.lower()}_{act}", args=(obj.pk,))  # type: ignore[attr-defined]


def page_text(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.parametrize("term", ["id", PHONE, "00966 50 123 4567"])
def test_a_verification_is_found(admin: Client, api: Api, term: str) -> None:
    sent, other = send(api), send(api, phone="+966501234568")
    if term == "id":
        term = sent["otp_id"]
    page = admin.get("/admin/otp/verification/", {"q": term}).content.decode()
    assert sent["otp_id"] in page
    assert other["otp_id"] not in page


def test_a_repeated_code_is_found_once(admin: Client, api: Api, customer: Customer) -> None:
    otp_id = send(api)["otp_id"]
    otps.pass_by(customer, 61)
    api.post(f"/v1/otp/{otp_id}/resend")
    response = admin.get("/admin/otp/verification/", {"q": PHONE})
    assert [row.public_id for row in response.context["cl"].result_list] == [otp_id]


def test_searches_without_a_result(admin: Client, api: Api) -> None:
    otp_id = send(api)["otp_id"]
    assert otp_id not in admin.get("/admin/otp/verification/", {"q": "hello"}).content.decode()


def test_a_verification_is_read_only(admin: Client, api: Api) -> None:
    verification = otps.row(send(api)["otp_id"])
    page = page_text(admin, _page(verification, "change"))
    for text in (verification.public_id, PHONE, "do not share"):
        assert text.lower() in page.lower()
    assert admin.get("/admin/otp/verification/add/").status_code == 403
    assert admin.post(_page(verification, "change"), {"attempts": 0}).status_code == 403
    assert admin.post(_page(verification, "delete"), {"post": "yes"}).status_code == 403
    assert otps.row(verification.public_id).attempts == 0


def test_rules_are_created_changed_and_audited(admin: Client, api: Api, customer: Customer) -> None:
    fields = {
        "organization": customer.id,
        "cooldown": 5,
        "ten_minutes": 1,
        "countries": "SA,AE",
        "pumping": "enforce",
    }
    assert admin.post("/admin/otp/otpsettings/add/", fields).status_code == 302
    rules = OtpSettings.objects.get(organization=customer.organization)
    assert (rules.cooldown, rules.ten_minutes, rules.day) == (5, 1, None)
    assert rules.countries == ["SA", "AE"]
    send(api)
    refused(api.post(SEND, {"phone": PHONE}), 429, "TOO_MANY_ATTEMPTS", "phone")
    fields |= {"ten_minutes": 3, "cooldown": 0, "initial-countries": "SA,AE"}
    assert admin.post(_page(rules, "change"), fields).status_code == 302
    send(api)
    entries = AuditEntry.objects.filter(organization=customer.organization).order_by("id")
    assert [entry.action for entry in entries] == ["otpsettings.added", "otpsettings.changed"]
    assert entries[1].detail["values"] == {"ten_minutes": [1, 3], "cooldown": [5, 0]}


@pytest.mark.parametrize(
    "fields",
    [
        {"cooldown": 3601},
        {"cooldown": -1},
        {"ten_minutes": 0},
        {"day": 0},
        {"countries": "Saudi"},
        {"countries": "sa"},
        {"pumping": "sometimes"},
        {"pumping_minutes": 4},
        {"pumping_minutes": 1441},
        {"pumping_minimum": 0},
        {"pumping_share": 0},
        {"pumping_share": 101},
    ],
    ids=str,
)
def test_invalid_rules(admin: Client, customer: Customer, fields: dict[str, Any]) -> None:
    response = admin.post("/admin/otp/otpsettings/add/", {"organization": customer.id, **fields})
    assert response.status_code == 200
    assert set(response.context["adminform"].form.errors) == set(fields)
    assert not OtpSettings.objects.exists()


def test_the_organization_of_rules_does_not_change(
    admin: Client, customer: Customer, outsider: Customer
) -> None:
    rules = OtpSettings.objects.create(organization=customer.organization)
    fields = {"organization": outsider.id, "cooldown": 7}
    assert admin.post(_page(rules, "change"), fields).status_code == 302
    [kept] = OtpSettings.objects.all()
    assert (kept.organization_id, kept.cooldown) == (customer.id, 7)


def test_a_hold_is_counted_in_the_menu_and_lifted(
    admin: Client, api: Api, customer: Customer, held: HeldPrefix
) -> None:
    refused(api.post(SEND, {"phone": PHONE}), 403, "DESTINATION_BLOCKED", "phone")
    assert "+9665012" in page_text(admin, "/admin/otp/heldprefix/?state=open")
    asked = page_text(admin, _page(held, "lift"))
    assert "counted anew" in asked
    held.refresh_from_db()
    assert held.lifted_at is None, "a GET does not lift the hold"
    response = admin.post(_page(held, "lift"), follow=True)
    assert "was lifted" in response.content.decode()
    lifted = HeldPrefix.objects.get(pk=held.pk)
    assert lifted.lifted_at is not None
    assert lifted.notice_due_at is None
    send(api)
    entry = AuditEntry.objects.filter(organization=customer.organization).latest("id")
    assert (entry.action, entry.target, entry.address) == (
        "otp.prefix_lifted",
        "+9665012",
        "127.0.0.1",
    )
    assert "+9665012" not in page_text(admin, "/admin/otp/heldprefix/?state=open")
    again = admin.post(_page(held, "lift"))
    assert "over already" in again.content.decode()


@pytest.mark.parametrize("term", ["+9665012", "96650", "name"])
def test_a_hold_is_found(admin: Client, held: HeldPrefix, term: str) -> None:
    term = held.organization.name if term == "name" else term
    page = admin.get("/admin/otp/heldprefix/", {"q": term}).content.decode()
    assert _page(held, "change") in page


def test_an_operator_without_the_permission_only_reads(held: HeldPrefix) -> None:
    looker = person(is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_heldprefix"))
    client = browser(looker)
    assert _page(held, "lift") not in page_text(client, _page(held, "change"))
    assert client.post(_page(held, "lift")).status_code == 403
    held.refresh_from_db()
    assert held.lifted_at is None
    assert client.get("/admin/otp/verification/").status_code == 403


@pytest.mark.parametrize("page", ["verification", "otpsettings", "heldprefix"])
def test_pages_in_arabic(admin: Client, held: HeldPrefix, page: str) -> None:
    response = admin.get(f"/admin/otp/{page}/", headers={"Accept-Language": "ar"})
    assert "كلمات المرور لمرة واحدة" in response.content.decode()
