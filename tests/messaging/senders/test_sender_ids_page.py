"""Pages of sender IDs: request with documents, notices of decisions, history, refusals."""

import smtplib
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from accounts.access.page_access import public_id
from accounts.models import AuditEntry, FileChunk, StoredFile
from accounts.roles import Role
from accounts.ui import mails
from messaging.models import SenderDocument, SenderId, SenderStep
from messaging.senders import approval, documents
from messaging.senders import mails as sender_mails
from tests.messaging.senders.test_documents import JPEG, PNG, SVG
from tests.support.factories import (
    PDF,
    PHONE,
    Customer,
    World,
)
from tests.support.people import (
    PLAIN_STATIC,
    browser,
    member,
    operator,
)


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def owner(customer: Customer) -> Client:
    return browser(member(customer.organization))


def _url(customer: Customer, path: str = "") -> str:
    return f"/dashboard/{public_id(customer.organization)}/sender-ids/{path}"


def _file(content: bytes = PDF, name: str = "cr.pdf") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content, "application/x-whatever")


def _fields(**changes: Any) -> dict[str, Any]:
    return {
        "name": "NajdShop",
        "use": "transactional",
        "purpose": "Orders",
        "sample": "Your order is here",
    } | changes


def _request(client: Client, customer: Customer, **changes: Any) -> str:
    response = client.post(_url(customer, "new/"), _fields(**changes), follow=True)
    assert response.status_code == 200
    return response.content.decode()


def _stored(customer: Customer, name: str = "NajdShop") -> SenderId:
    return SenderId.objects.get(organization=customer.organization, name=name)


def _status(sender: SenderId) -> str:
    return str(SenderId.objects.get(pk=sender.pk).status)


# ---------------------------------------------------------------- requests


def test_the_empty_list_says_what_to_do(world: World) -> None:
    customer = world.customer(sender=None)
    page = browser(member(customer.organization)).get(_url(customer)).content.decode()
    assert "The name that handsets show" in page
    assert _url(customer, "new/") in page
    looker = browser(member(customer.organization, Role.VIEWER)).get(_url(customer))
    assert _url(customer, "new/") not in looker.content.decode()


def test_a_request_with_documents(customer: Customer) -> None:
    user = member(customer.organization)
    files = [_file(), _file(PNG, "logo.png"), _file(JPEG, "stamp.jpg")]
    page = _request(browser(user), customer, documents=files)
    assert "NajdShop is requested" in page
    sender = _stored(customer)
    assert (sender.status, sender.use, sender.purpose) == ("pending", "transactional", "Orders")
    kept = SenderDocument.objects.filter(sender=sender).order_by("id")
    assert [(each.file.name, each.file.content_type) for each in kept] == [
        ("cr.pdf", "application/pdf"),
        ("logo.png", "image/png"),
        ("stamp.jpg", "image/jpeg"),
    ]
    step = SenderStep.objects.get(sender=sender)
    assert (step.status, step.actor, step.mail_due_at) == ("pending", user, None)
    entry = AuditEntry.objects.get(organization=customer.organization)
    assert (entry.action, entry.actor) == ("sender_id.requested", user)
    for name in ("cr.pdf", "logo.png", "stamp.jpg"):
        assert name in page


def test_a_second_click_requests_once(owner: Client, customer: Customer) -> None:
    _request(owner, customer, documents=[_file()])
    assert "NajdShop is requested" in _request(owner, customer, documents=[_file()])
    sender = _stored(customer)
    assert SenderStep.objects.filter(sender=sender).count() == 1
    assert SenderDocument.objects.filter(sender=sender).count() == 1
    # Another request for that name is not a second click.
    assert "You have the sender ID" in _request(owner, customer, purpose="Other things")
    assert _stored(customer).purpose == "Orders"


def test_documents_of_an_invalid_form_are_not_read(
    owner: Client, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []
    kind_of = documents.kind_of

    def noting(content: bytes) -> str | None:
        read.append(content)
        return kind_of(content)

    monkeypatch.setattr(documents, "kind_of", noting)
    for wrong in ({"purpose": ""}, {"name": "?"}, {"use": "promotional"}, {"sample": "x" * 9999}):
        _request(owner, customer, documents=[_file()], **wrong)
    assert read == []
    _request(owner, customer, documents=[_file()])
    assert read == [PDF]
    assert _stored(customer).documents.count() == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": ""}, "This field is required"),
        ({"name": "TwelveLetter"}, "A sender ID has at most 11 characters."),
        ({"name": "شركتي"}, "cannot be in a sender ID: handsets show only Latin"),
        ({"name": "12"}, "A short code has 3 to 8 digits"),
        ({"name": "a\0b"}, "Null characters"),
        ({"name": "MyCompany"}, "already. Its status: Approved."),
        ({"use": ""}, "This field is required"),
        ({"use": "spam"}, "not one of the available choices"),
        ({"use": "promotional"}, "for example NajdShop-AD"),
        ({"name": "NajdShop-AD"}, "is a promotional one"),
        ({"name": "najd-ad"}, "is a promotional one"),
        ({"purpose": ""}, "This field is required"),
        ({"purpose": "x" * 201}, "at most 200"),
        ({"sample": ""}, "This field is required"),
        ({"sample": "x" * 2001}, "at most 2000"),
        ({"documents": [_file(SVG, "picture.png")]}, "picture.png is no PDF, PNG or JPEG"),
        ({"documents": [_file(b"MZ\x90", "invoice.pdf")]}, "invoice.pdf is no PDF"),
        ({"documents": [_file(), _file(PNG[:30], "half.png")]}, "half.png is no PDF"),
        ({"documents": [_file(b"", "empty.pdf")]}, "empty"),
        ({"documents": [_file(PDF + b" " * 5 * 1024 * 1024, "big.pdf")]}, "larger than 5 MB"),
        ({"documents": [_file() for _ in range(6)]}, "At most 5 files"),
    ],
)
def test_invalid_requests_are_refused(
    owner: Client, customer: Customer, changes: dict[str, Any], expected: str
) -> None:
    before = SenderId.objects.filter(organization=customer.organization).count()
    page = _request(owner, customer, **changes)
    assert expected in page
    assert SenderId.objects.filter(organization=customer.organization).count() == before
    assert not StoredFile.objects.filter(organization=customer.organization).exists()
    if "sample" not in changes:
        assert "Your order is here" in page, "what was typed is kept"


def test_a_promotional_sender(owner: Client, customer: Customer) -> None:
    assert "NajdShop-AD is requested" in _request(
        owner, customer, name="NajdShop-AD", use="promotional"
    )


def test_too_many_pending(owner: Client, customer: Customer, monkeypatch) -> None:
    monkeypatch.setattr(approval, "MOST_PENDING", 1)
    _request(owner, customer)
    assert "sender IDs are waiting for review already" in _request(owner, customer, name="Another")
    assert not SenderId.objects.filter(organization=customer.id, name="Another").exists()


# ---------------------------------------------------------------- documents


def test_a_document_is_saved_and_never_shown(owner: Client, customer: Customer) -> None:
    page = _request(owner, customer, documents=[_file(PNG, "logo.html")])
    document = SenderDocument.objects.get(sender=_stored(customer))
    path = _url(customer, f"{_stored(customer).public_id}/documents/{document.id}/")
    assert path in page
    response = owner.get(path)
    assert b"".join(response) == PNG
    assert response["Content-Type"] == "image/png"
    assert response["Content-Disposition"] == 'attachment; filename="logo.html.png"'
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response["Content-Security-Policy"]
    assert "no-store" in response["Cache-Control"]


def test_documents_need_the_permission(
    owner: Client, world: World, customer: Customer, outsider: Customer
) -> None:
    document = world.document(customer)
    other = world.document(outsider)
    mine = f"{document.sender.public_id}/documents/{document.id}/"
    assert owner.get(_url(customer, mine)).status_code == 200
    developer = browser(member(customer.organization, Role.DEVELOPER))
    assert developer.get(_url(customer, mine)).status_code == 403
    assert (
        document.file.name
        not in developer.get(_url(customer, f"{document.sender.public_id}/")).content.decode()
    )
    stranger = browser(member(outsider.organization))
    for path in (
        mine,
        f"{document.sender.public_id}/documents/{other.id}/",
        f"{other.sender.public_id}/documents/{other.id}/",
    ):
        assert stranger.get(_url(customer, path)).status_code == 404
    # A document belongs to its sender ID, whatever the rest of the URL is.
    wrong = f"{document.sender.public_id}/documents/{other.id}/"
    assert owner.get(_url(customer, wrong)).status_code == 404
    wrong = f"{world.document(customer).sender.public_id}/documents/{document.id}/"
    assert owner.get(_url(customer, wrong)).status_code == 404


def test_requesting_again_keeps_and_removes_documents(owner: Client, customer: Customer) -> None:
    _request(owner, customer, documents=[_file(name=f"{n}.pdf") for n in range(4)])
    sender = _stored(customer)
    approval.reject(sender, operator(), "The letter is missing")
    again = _url(customer, f"{sender.public_id}/again/")
    form = owner.get(again).content.decode()
    assert "The letter is missing" in form
    assert "Your order is here" in form
    too_many = _fields(documents=[_file(), _file()])
    assert "at most 5 documents" in owner.post(again, too_many).content.decode()
    assert _status(sender) == "rejected"
    removed = SenderDocument.objects.get(sender=sender, file__name="0.pdf")
    more = _fields(documents=[_file(name="letter.pdf")], without=[str(removed.id)], purpose="New")
    page = owner.post(again, more, follow=True).content.decode()
    assert "NajdShop is requested" in page
    names = SenderDocument.objects.filter(sender=sender).order_by("id")
    kept = [each.file.name for each in names]
    assert kept == ["1.pdf", "2.pdf", "3.pdf", "letter.pdf"]
    assert not FileChunk.objects.filter(file=removed.file_id).exists()
    sender.refresh_from_db()
    assert (sender.status, sender.purpose) == ("pending", "New")


def test_another_sender_s_documents_cannot_be_removed(
    owner: Client, world: World, customer: Customer, outsider: Customer
) -> None:
    other = world.document(outsider)
    document = world.document(customer)
    approval.reject(document.sender, operator(), "No")
    again = _url(customer, f"{document.sender.public_id}/again/")
    response = owner.post(again, _fields(without=[str(other.id)]))
    assert "errorlist" in response.content.decode()
    assert SenderDocument.objects.filter(pk=other.pk).exists()


# ---------------------------------------------------------------- history and actions


def test_the_history_names_members_and_no_operator(owner: Client, customer: Customer) -> None:
    _request(owner, customer)
    sender = _stored(customer)
    boss = operator()
    approval.reject(sender, boss, "No proof")
    owner.post(_url(customer, f"{sender.public_id}/again/"), _fields())
    approval.approve(sender, boss)
    approval.revoke(sender, boss, "Complaints")
    page = owner.get(_url(customer, f"{sender.public_id}/")).content.decode()
    history = page.split('id="history"')[1].split("</ol>")[0]
    titles = ("Revoked", "Approved", "Requested", "Rejected", "Requested")
    places = [history.index(titles[0])]
    for title in titles[1:]:
        places.append(history.index(title, places[-1] + 1))
    assert places == sorted(places)
    assert "No proof" in history
    assert "Complaints" in history
    assert history.count("by an operator") == 3
    assert boss.email not in page


@pytest.mark.parametrize("status", ["pending", "approved"])
def test_pending_and_approved_senders_are_not_requested_again(
    owner: Client, world: World, customer: Customer, status: str
) -> None:
    sender = world.sender(customer, "Busy", status=status)
    response = owner.post(
        _url(customer, f"{sender.public_id}/again/"), _fields(purpose="x"), follow=True
    )
    assert "or is approved already" in response.content.decode()
    assert SenderId.objects.get(pk=sender.pk).purpose == ""


def test_withdrawing(owner: Client, customer: Customer) -> None:
    _request(owner, customer)
    sender = _stored(customer)
    path = _url(customer, f"{sender.public_id}/withdraw/")
    assert "Withdraw the request for NajdShop?" in owner.get(path).content.decode()
    assert _status(sender) == "pending", "a GET changes nothing"
    assert "was withdrawn" in owner.post(path, follow=True).content.decode()
    assert _status(sender) == "withdrawn"
    assert "errorlist" not in owner.post(path, follow=True).content.decode()
    assert (
        AuditEntry.objects.filter(organization=customer.id, action="sender_id.withdrawn").count()
        == 1
    )
    assert not SenderStep.objects.filter(sender=sender, mail_due_at__isnull=False).exists()
    owner.post(_url(customer, f"{sender.public_id}/again/"), _fields())
    assert _status(sender) == "pending"


def test_too_late_to_withdraw(owner: Client, customer: Customer) -> None:
    _request(owner, customer)
    sender = _stored(customer)
    approval.approve(sender, operator())
    path = _url(customer, f"{sender.public_id}/withdraw/")
    assert "has changed to: Approved" in owner.post(path, follow=True).content.decode()
    assert _status(sender) == "approved"


def test_the_default(owner: Client, world: World, customer: Customer) -> None:
    sender = world.sender(customer, "Second")
    path = _url(customer, f"{sender.public_id}/default/")
    page = owner.post(path, follow=True).content.decode()
    assert "Second is used where a message names no sender" in page
    assert customer.api.post("/v1/sms/send", {"to": PHONE, "message": "x"}).status_code == 202
    assert customer.messages()[0].sender == "Second"
    waits = world.sender(customer, "Third", status="pending")
    refused = owner.post(_url(customer, f"{waits.public_id}/default/"), follow=True)
    assert "Only an approved" in refused.content.decode()
    assert SenderId.objects.get(pk=sender.pk).is_default


# ---------------------------------------------------------------- notices and emails


def test_the_notice_until_somebody_dismisses_it(owner: Client, customer: Customer) -> None:
    _request(owner, customer)
    sender = _stored(customer)
    approval.reject(sender, operator(), "The letter is missing")
    home = f"/dashboard/{public_id(customer.organization)}/"
    for path in (home, _url(customer)):
        page = owner.get(path).content.decode()
        assert "was rejected" in page
        assert "The letter is missing" in page
    viewer = browser(member(customer.organization, Role.VIEWER))
    assert "was rejected" not in viewer.get(home).content.decode()
    step = SenderStep.objects.get(sender=sender, status="rejected")
    response = owner.post(_url(customer, f"notices/{step.pk}/dismiss/"), {"back": "overview"})
    assert (response.status_code, response["Location"]) == (302, home)
    assert "was rejected" not in owner.get(home).content.decode()


def test_another_organization_s_notice_is_not_dismissed(
    owner: Client, world: World, customer: Customer, outsider: Customer
) -> None:
    sender = world.document(outsider).sender
    approval.reject(sender, operator(), "No")
    step = SenderStep.objects.get(sender=sender, status="rejected")
    assert owner.post(_url(customer, f"notices/{step.pk}/dismiss/")).status_code == 404
    step.refresh_from_db()
    assert step.dismissed_at is None


def test_requesting_again_removes_the_notice(owner: Client, customer: Customer) -> None:
    _request(owner, customer)
    sender = _stored(customer)
    approval.reject(sender, operator(), "No")
    owner.post(_url(customer, f"{sender.public_id}/again/"), _fields())
    assert "was rejected" not in owner.get(_url(customer)).content.decode()


def _email_due(sender: SenderId) -> bool:
    return SenderStep.objects.filter(sender=sender, mail_due_at__isnull=False).exists()


@pytest.mark.parametrize(
    ("decide", "subject", "expected"),
    [
        (lambda s, by: approval.approve(s, by), "NajdShop is approved", "send with it at once"),
        (lambda s, by: approval.reject(s, by, "No proof"), "was rejected", "No proof"),
    ],
)
def test_the_email(
    owner: Client, customer: Customer, mailoutbox: list[Any], decide, subject: str, expected: str
) -> None:
    admin = member(customer.organization, Role.ADMIN)
    admin.language = "ar"
    admin.save()
    member(customer.organization, Role.DEVELOPER)
    _request(owner, customer)
    sender = _stored(customer)
    decide(sender, operator())
    sender_mails.send_mails()
    assert not _email_due(sender)
    sent = {mail.to[0]: mail for mail in mailoutbox}
    assert len(sent) == 2, "owners and admins"
    arabic = sent.pop(admin.email)
    assert "NajdShop" in arabic.subject
    assert "مرحبًا" in arabic.body
    (english,) = sent.values()
    assert subject in english.subject
    assert expected in english.body
    assert _url(customer, f"{sender.public_id}/") in english.body
    sender_mails.send_mails()
    assert len(mailoutbox) == 2, "once"


def test_the_email_stays_due_while_the_server_is_down(
    owner: Client, customer: Customer, monkeypatch, mailoutbox: list[Any]
) -> None:
    _request(owner, customer)
    sender = _stored(customer)
    approval.approve(sender, operator())

    def away(_mails: object) -> int:
        raise smtplib.SMTPServerDisconnected

    with monkeypatch.context() as patched:
        patched.setattr(mails, "send", away)
        sender_mails.send_mails()
    assert _email_due(sender)
    sender_mails.send_mails()
    assert mailoutbox == [], "not before the time"
    SenderStep.objects.filter(sender=sender, status="approved").update(mail_due_at=timezone.now())
    sender_mails.send_mails()
    assert len(mailoutbox) == 1
    assert not _email_due(sender)


def test_queries_do_not_grow_with_the_list(
    owner: Client, world: World, customer: Customer, django_assert_max_num_queries
) -> None:
    for number in range(12):
        world.sender(customer, f"Name {number}")
    owner.get(_url(customer))
    with django_assert_max_num_queries(8):
        owner.get(_url(customer))
