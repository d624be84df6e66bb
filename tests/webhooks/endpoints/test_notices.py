"""The mail about a disabled endpoint: recipients, languages, and that it is never lost."""

import smtplib
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends import locmem
from django.utils import timezone

from accounts.models import Member, User
from accounts.roles import Role
from tests.support.factories import Customer, World
from tests.support.people import member
from tests.support.webhook_calls import call_json
from webhooks import tasks
from webhooks.endpoints import disable as endpoint_disable
from webhooks.endpoints import notices
from webhooks.models import Endpoint

SECRET_URL = "https://hooks.example.com/services/T0/s3cret-in-the-path?token=abc"


@pytest.fixture
def endpoint(world: World, customer: Customer) -> Endpoint:
    """An endpoint that has failed for six days."""
    new = world.endpoint(customer)
    new.url, new.description = SECRET_URL, "Orders <b>"
    new.failing_since = timezone.now() - timedelta(days=6)
    new.save()
    return new


def disable(endpoint: Endpoint) -> None:
    assert endpoint_disable.disable_failing(endpoint.id)


def people(customer: Customer) -> dict[Role, User]:
    return {role: member(customer.organization, role) for role in Role}


def mail_due(endpoint: Endpoint) -> bool:
    return Endpoint.objects.get(id=endpoint.id).notice_due_at is not None


def test_owners_and_admins_get_the_email(
    customer: Customer, outsider: Customer, endpoint: Endpoint
) -> None:
    mine, theirs = people(customer), people(outsider)
    former = member(customer.organization, Role.ADMIN)
    User.objects.filter(id=former.id).update(is_active=False)
    # An owner of another organization is a viewer here.
    Member.objects.create(
        organization=customer.organization, user=theirs[Role.OWNER], role=Role.VIEWER
    )
    disable(endpoint)
    tasks.send_notice(endpoint.id.hex)
    got = {recipient for one in mail.outbox for recipient in one.to}
    assert got == {mine[Role.OWNER].email, mine[Role.ADMIN].email}
    assert all(len(one.recipients()) == 1 for one in mail.outbox)
    assert not mail_due(endpoint)


def sent(
    customer: Customer, endpoint: Endpoint, language: str
) -> tuple[EmailMultiAlternatives, str]:
    """Return the mail to an owner with that language, and its HTML."""
    owner = member(customer.organization)
    User.objects.filter(id=owner.id).update(language=language, name="Nora & Sons")
    disable(endpoint)
    notices.send_notice(endpoint.id)
    [one] = mail.outbox
    assert isinstance(one, EmailMultiAlternatives)
    [(html, kind)] = one.alternatives
    assert kind == "text/html"
    return one, str(html)


def test_in_english(customer: Customer, endpoint: Endpoint, settings: Any) -> None:
    settings.PUBLIC_URL = "https://sms.example.com"
    one, html = sent(customer, endpoint, "en")
    text = str(one.body)
    assert one.subject == (
        f"{customer.organization.name}: webhook endpoint https://hooks.example.com was disabled"
    )
    assert "Hello Nora & Sons," in text
    assert "Hello Nora &amp; Sons," in html
    assert 'dir="ltr"' in html
    for body in (text, html):
        assert customer.organization.name in body
        assert "Every post to the receiver failed for five days." in body
        assert f"https://sms.example.com/v1/webhooks/{endpoint.public_id}" in body
    assert "Orders <b>" in text
    assert "Orders &lt;b&gt;" in html


def test_in_arabic(customer: Customer, endpoint: Endpoint) -> None:
    one, html = sent(customer, endpoint, "ar")
    assert '<html lang="ar" dir="rtl">' in html
    for body in (one.subject, str(one.body), html):
        assert "عُطّل" in body
        assert "disabled" not in body
    for body in (str(one.body), html):
        assert "Every post" not in body
        assert endpoint.public_id in body


def test_the_email_has_no_secret(customer: Customer, endpoint: Endpoint) -> None:
    """Customers put secrets into the paths of their URLs."""
    one, html = sent(customer, endpoint, "en")
    for body in (one.subject, str(one.body), html):
        assert "s3cret" not in body
        assert "token=abc" not in body
        assert endpoint.secret not in body


def test_line_breaks_in_a_name_do_not_reach_the_subject(
    customer: Customer, endpoint: Endpoint
) -> None:
    customer.organization.name = "Evil\r\nBcc: everybody@example.com"
    customer.organization.save()
    one, _ = sent(customer, endpoint, "en")
    assert "\n" not in one.subject
    assert one.recipients() == one.to


def test_the_email_is_sent_once(customer: Customer, endpoint: Endpoint) -> None:
    people(customer)
    disable(endpoint)
    for _ in range(2):
        tasks.send_notice(endpoint.id.hex)
    tasks.clean_up()
    assert len(mail.outbox) == 2


def test_the_clean_up_sends_the_email_of_a_lost_wake_up(
    customer: Customer, endpoint: Endpoint
) -> None:
    people(customer)
    disable(endpoint)
    tasks.clean_up()
    assert len(mail.outbox) == 2


def test_without_recipients_the_email_is_no_longer_due(endpoint: Endpoint) -> None:
    disable(endpoint)
    tasks.clean_up()
    assert mail.outbox == []
    assert not mail_due(endpoint)


@pytest.mark.parametrize("failure", [ConnectionRefusedError(), smtplib.SMTPServerDisconnected()])
def test_the_email_stays_due_while_the_mail_server_is_down(
    customer: Customer, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, failure: OSError
) -> None:
    people(customer)
    disable(endpoint)

    def fail(*_: Any) -> None:
        raise failure

    with monkeypatch.context() as patched:
        patched.setattr(locmem.EmailBackend, "send_messages", fail)
        tasks.send_notice(endpoint.id.hex)
    assert mail.outbox == []
    assert mail_due(endpoint)
    tasks.clean_up()  # not yet
    assert mail.outbox == []
    Endpoint.objects.filter(id=endpoint.id).update(notice_due_at=timezone.now())
    tasks.clean_up()
    assert len(mail.outbox) == 2


def test_a_refused_address_does_not_affect_other_recipients(
    customer: Customer, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = people(customer)[Role.OWNER].email
    disable(endpoint)
    send = locmem.EmailBackend.send_messages

    def refuse_one(self: Any, messages: Any) -> int:
        if messages[0].to == [refused]:
            raise smtplib.SMTPRecipientsRefused({refused: (550, b"no such mailbox")})
        return int(send(self, messages))

    monkeypatch.setattr(locmem.EmailBackend, "send_messages", refuse_one)
    tasks.send_notice(endpoint.id.hex)
    assert [one.to for one in mail.outbox] != [[refused]]
    assert len(mail.outbox) == 1
    assert not mail_due(endpoint)


@pytest.mark.parametrize("change", ["enabled again", "deleted"])
def test_an_enabled_or_deleted_endpoint_sends_no_email(
    customer: Customer, endpoint: Endpoint, change: str
) -> None:
    people(customer)
    disable(endpoint)
    path = f"/v1/webhooks/{endpoint.public_id}"
    if change == "deleted":
        call_json(customer.api, "DELETE", path, status=204)
    else:
        call_json(customer.api, "PATCH", path, {"enabled": True})
    tasks.send_notice(endpoint.id.hex)
    tasks.clean_up()
    assert mail.outbox == []
