"""A balance that falls below its threshold sends one `balance.low` event and one email."""

import json
import smtplib
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends import locmem
from django.utils import timezone

from accounts.credits import ledger
from accounts.models import MICRO, Organization, User
from accounts.roles import Role
from messaging import tasks
from messaging.billing import low_balance
from tests.support.factories import (
    PHONE,
    Customer,
    World,
    in_threads,
)
from tests.support.people import member


def threshold(customer: Customer, credits: float) -> None:
    Organization.objects.filter(id=customer.id).update(low_balance_threshold=int(credits * MICRO))


def adjust(customer: Customer, credits: int) -> None:
    ledger.adjust(customer.organization, credits * MICRO, reason="test", actor=None)


def events(customer: Customer) -> list[dict[str, Any]]:
    """Return the data of every balance.low event."""
    rows = [json.loads(row.body) for row in customer.event_rows() if row.type == "balance.low"]
    return [row["data"] for row in rows]


def organization(customer: Customer) -> Organization:
    return Organization.objects.get(id=customer.id)


@pytest.fixture
def listening(world: World, customer: Customer) -> Customer:
    """Return a customer with 100 credits, a threshold of 99, and an endpoint for every event."""
    world.endpoint(customer)
    threshold(customer, 99)
    return customer


# ---------------------------------------------------------------- the event


def test_there_is_one_event_when_a_send_makes_it_fall(listening: Customer) -> None:
    low_balance.watch()
    assert events(listening) == []
    body = {"to": PHONE, "message": "Hello"}
    assert listening.api.post("/v1/sms/send", body).status_code == 202
    assert low_balance.watch() == 0, "99 is not below 99"
    assert listening.api.post("/v1/sms/send", body).status_code == 202
    for _ in range(3):
        low_balance.watch()
    assert events(listening) == [{"credits": "98", "low_balance_threshold": "99"}]
    [event] = [row for row in listening.event_rows() if row.type == "balance.low"]
    assert set(json.loads(event.body)) == {"event", "timestamp", "data"}
    assert event.deliveries.count() == 1


def test_each_fall_has_an_event(listening: Customer) -> None:
    for change in (-50, +49, +1, -2, -10, +60, -61):
        adjust(listening, change)
        low_balance.watch()
    falls = [data["credits"] for data in events(listening)]
    # 50 | 99: covered again | 100 | 98 | 88 | 148 | 87
    assert falls == ["50", "98", "87"]


def test_a_threshold_that_is_raised_above_the_balance_is_a_fall_too(listening: Customer) -> None:
    threshold(listening, 100.000001)
    low_balance.watch()
    assert events(listening) == [{"credits": "100", "low_balance_threshold": "100.000001"}]
    threshold(listening, 50)
    low_balance.watch()
    assert organization(listening).low_balance_told_at is None


def test_without_a_threshold_there_is_no_event(listening: Customer) -> None:
    threshold(listening, 0)
    adjust(listening, -100)
    low_balance.watch()
    assert events(listening) == []


def test_a_suspended_organization_gets_no_event(listening: Customer) -> None:
    adjust(listening, -50)
    Organization.objects.filter(id=listening.id).update(status="suspended")
    assert low_balance.watch() == 0
    Organization.objects.filter(id=listening.id).update(status="active")
    assert low_balance.watch() == 1


def test_only_fallen_balances_have_an_event(listening: Customer, outsider: Customer) -> None:
    adjust(listening, -50)
    low_balance.watch()
    assert events(outsider) == []
    assert organization(outsider).low_balance_told_at is None


def test_two_beats_send_one_event(committed_world: World) -> None:
    customer = committed_world.customer()
    committed_world.endpoint(customer)
    threshold(customer, 200)
    assert sum(in_threads([low_balance.watch] * 8)) == 1
    assert len(events(customer)) == 1
    threshold(customer, 0)


def test_reading_first_and_marking_later_would_send_several_events(committed_world: World) -> None:
    """It proves the race that the compare-and-swap prevents."""
    customer = committed_world.customer()
    threshold(customer, 200)
    all_have_read = threading.Barrier(8)

    def watch() -> int:
        found = Organization.objects.get(id=customer.id)
        if found.low_balance_told_at is not None:
            return 0
        all_have_read.wait(30)
        found.low_balance_told_at = timezone.now()
        found.save(update_fields=["low_balance_told_at"])
        return 1

    assert sum(in_threads([watch] * 8)) == 8
    threshold(customer, 0)


def test_beat_watches_every_few_seconds() -> None:
    [entry] = [
        entry
        for entry in django_settings.CELERY_BEAT_SCHEDULE.values()
        if entry["task"] == tasks.watch_balances.name
    ]
    assert entry["schedule"] == 5.0


# ---------------------------------------------------------------- the email


def html_of(one: Any) -> str:
    [part] = one.alternatives
    return str(part.content)


@pytest.fixture
def fallen(listening: Customer) -> Customer:
    adjust(listening, -50)
    return listening


def people(customer: Customer) -> dict[Role, User]:
    return {role: member(customer.organization, role) for role in Role}


def test_owners_admins_and_finance_get_it_once(fallen: Customer, outsider: Customer) -> None:
    mine = people(fallen)
    people(outsider)
    for _ in range(3):
        tasks.watch_balances()
    got = sorted(recipient for one in mail.outbox for recipient in one.recipients())
    assert got == sorted(mine[role].email for role in (Role.OWNER, Role.ADMIN, Role.FINANCE))
    assert organization(fallen).low_balance_mail_due_at is None


def test_the_email_s_text(fallen: Customer) -> None:
    member(fallen.organization)
    Organization.objects.filter(id=fallen.id).update(name="Najd & Sons\nLtd")
    tasks.watch_balances()
    [one] = mail.outbox
    assert isinstance(one, EmailMultiAlternatives)
    assert one.subject == "Najd & Sons Ltd: 50 credits are left"
    html = html_of(one)
    for text in (str(one.body), html):
        assert "50" in text
        assert "99" in text
        assert f"{django_settings.PUBLIC_URL}/dashboard/org_" in text
    assert "Najd & Sons" in str(one.body)
    assert "Najd &amp; Sons" in html


def test_in_the_readers_language(fallen: Customer) -> None:
    user = member(fallen.organization)
    User.objects.filter(id=user.id).update(language="ar")
    tasks.watch_balances()
    [one] = mail.outbox
    assert isinstance(one, EmailMultiAlternatives)
    html = html_of(one)
    assert 'lang="ar" dir="rtl"' in html
    assert "الرصيد" in str(one.body)
    assert "balance" not in str(one.body)


class _Away(locmem.EmailBackend):
    def open(self) -> bool:
        raise ConnectionRefusedError("no mail server")


class _Refuses(locmem.EmailBackend):
    def send_messages(self, messages: Any) -> int:
        raise smtplib.SMTPRecipientsRefused({})


def test_the_email_stays_due_while_the_mail_server_is_down(fallen: Customer, settings: Any) -> None:
    member(fallen.organization)
    works = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = f"{__name__}._Away"
    tasks.watch_balances()
    due = organization(fallen).low_balance_mail_due_at
    assert due is not None
    assert due > timezone.now() + timedelta(minutes=9)
    assert len(events(fallen)) == 1, "the event does not wait for it"
    settings.EMAIL_BACKEND = works
    tasks.watch_balances()
    assert mail.outbox == [], "not at once"
    Organization.objects.filter(id=fallen.id).update(low_balance_mail_due_at=timezone.now())
    tasks.watch_balances()
    assert len(mail.outbox) == 1
    assert organization(fallen).low_balance_mail_due_at is None


def test_a_refused_recipient_is_not_retried(fallen: Customer, settings: Any) -> None:
    member(fallen.organization)
    settings.EMAIL_BACKEND = f"{__name__}._Refuses"
    tasks.watch_balances()
    assert organization(fallen).low_balance_mail_due_at is None


def test_a_late_email_is_not_sent_after_the_balance_has_recovered(fallen: Customer) -> None:
    member(fallen.organization)
    low_balance.watch()
    adjust(fallen, +50)
    tasks.watch_balances()
    assert mail.outbox == []


def test_two_workers_send_it_once(committed_world: World, monkeypatch: Any) -> None:
    customer = committed_world.customer()
    user = member(customer.organization)
    threshold(customer, 200)
    low_balance.watch()
    in_threads([low_balance.send_mails] * 4)
    assert [one.to for one in mail.outbox] == [[user.email]]
    threshold(customer, 0)
    user.memberships.all().delete()
    user.delete()
