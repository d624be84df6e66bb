"""Approval of sender IDs: valid names, and every transition from a request to a decision."""

from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import AuditEntry, User
from imissive.core.errors import ApiError
from messaging.models import Carrier, SenderId
from messaging.senders import approval
from messaging.senders.reasons import SenderReason
from tests.support.factories import PHONE, Customer, World, in_threads
from tests.support.people import operator

ALPHANUMERIC, NUMERIC = SenderId.Kind.ALPHANUMERIC, SenderId.Kind.NUMERIC
PENDING, APPROVED, REJECTED, REVOKED, WITHDRAWN = SenderId.Status


@pytest.mark.parametrize(
    ("typed", "stored", "kind"),
    [
        ("MyCompany", "MyCompany", ALPHANUMERIC),
        ("A", "A", ALPHANUMERIC),
        ("ABCDEFGHIJK", "ABCDEFGHIJK", ALPHANUMERIC),
        ("  My Shop ", "My Shop", ALPHANUMERIC),
        ("A-B.C_D&E'F!", None, None),
        ("A-B.C_D&E", "A-B.C_D&E", ALPHANUMERIC),
        ("1stBank", "1stBank", ALPHANUMERIC),
        ("Café", "Café", ALPHANUMERIC),
        ("+966500000000", "+966500000000", NUMERIC),
        ("+966 50-000-0000", "+966500000000", NUMERIC),
        ("+1234567", "+1234567", NUMERIC),
        ("+123456789012345", "+123456789012345", NUMERIC),
        ("123", "123", NUMERIC),
        ("12345678", "12345678", NUMERIC),
        ("", None, None),
        ("   ", None, None),
        ("ABCDEFGHIJKL", None, None),
        ("شركتي", None, None),
        ("My\nShop", None, None),
        ("My\0Shop", None, None),
        ("My[Shop]", None, None),
        ("Cash€", None, None),
        ("Shop😀", None, None),
        ("-.-", None, None),
        ("12 34", None, None),
        ("12", None, None),
        ("123456789", None, None),
        ("966500000000", None, None),
        ("١٢٣٤", None, None),
        ("+123456", None, None),
        ("+1234567890123456", None, None),
        ("+0123456789", None, None),
        ("+96650000000a", None, None),
        ("+", None, None),
    ],
)
def test_valid_sender_ids(typed: str, stored: str | None, kind: str | None) -> None:
    if stored is None:
        with pytest.raises(ApiError) as caught:
            approval.normalize(typed)
        assert (caught.value.problem.code, caught.value.problem.field) == (
            "INVALID_REQUEST",
            "name",
        )
    else:
        assert approval.normalize(typed) == (stored, kind)


@pytest.fixture
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read routes and carriers without the cache of a second."""
    monkeypatch.setattr("messaging.routing.cache.MAX_AGE_SECONDS", 0.0)


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize(
    ("name", "codings", "may_be"),
    [
        ("ΔELTA", [], True),  # there is no carrier yet
        ("ΔELTA", ["latin1"], False),
        ("ΔELTA", ["ascii", "latin1"], False),
        ("ΔELTA", ["latin1", "gsm"], True),
        ("Café", ["ascii"], False),
        ("Café", ["latin1"], True),
        ("Café", ["gsm"], True),
        ("A@B", ["gsm"], False),
        ("A@B", ["ascii"], True),
        ("MyShop", ["ascii"], True),
        ("+966500000000", ["gsm"], True),
    ],
)
def test_a_name_that_no_carrier_can_send_is_refused_when_requested(
    world: World, customer: Customer, carrier: Carrier, name: str, codings: list[str], may_be: bool
) -> None:
    for row in world.routes:
        row.delete()
    world.routes.clear()
    if codings:
        world.route("966", *(world.carrier(source_coding=coding) for coding in codings))
    # A carrier without a route: it serves nobody.
    world.carrier(source_coding="gsm")
    if may_be:
        sender = approval.request_sender(customer.organization, name)
        approval.approve(sender, operator())
        return
    with pytest.raises(ApiError) as caught:
        approval.request_sender(customer.organization, name)
    problem = caught.value.problem
    assert (problem.reason, problem.field) == (SenderReason.CANNOT_BE_SENT, "name")
    assert not SenderId.objects.filter(name=name).exists()


@pytest.mark.usefixtures("_fresh")
def test_a_name_that_no_carrier_can_send_any_more_is_not_approved(
    customer: Customer, carrier: Carrier
) -> None:
    sender = approval.request_sender(customer.organization, "Café")
    Carrier.objects.update(source_coding="ascii")
    with pytest.raises(ApiError) as caught:
        approval.approve(sender, operator())
    assert caught.value.problem.reason is SenderReason.CANNOT_BE_SENT
    sender.refresh_from_db()
    assert sender.status == PENDING


@pytest.mark.usefixtures("_fresh")
def test_message_goes_to_the_carrier_that_can_write_its_sender(
    world: World, customer: Customer
) -> None:
    """Where no carrier of its route can, it is refused, not accepted, charged and never sent."""
    latin, gsm = world.carrier(source_coding="latin1"), world.carrier(source_coding="gsm")
    world.route("9665", latin, gsm)
    world.route("9715", latin)
    world.price("", 1)
    world.sender(customer, "ΔELTA")
    body = {"to": PHONE, "message": "Hello", "sender_id": "ΔELTA"}
    sent = customer.api.post("/v1/sms/send", body)
    assert sent.status_code == 202, sent.content
    assert [message.carrier for message in customer.messages()] == [gsm]
    before = customer.stored()
    refused = customer.api.post("/v1/sms/send", body | {"to": "+971501234567"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "INVALID_SENDER")
    assert customer.stored() == before


def _request(customer: Customer, name: str = "NewName") -> SenderId:
    return approval.request_sender(customer.organization, name, "Orders", "Your order is here")


def test_a_request_waits_and_is_audited(customer: Customer) -> None:
    sender = _request(customer, " NewName ")
    assert (sender.name, sender.status, sender.kind) == ("NewName", PENDING, ALPHANUMERIC)
    entry = AuditEntry.objects.get(organization=customer.organization)
    assert entry.action == "sender_id.requested"
    assert sender.public_id in entry.target


@pytest.mark.parametrize("status", [PENDING, APPROVED])
def test_an_existing_sender_is_not_requested_again(
    world: World, customer: Customer, status: str
) -> None:
    world.sender(customer, "Again", status=status)
    with pytest.raises(ApiError) as caught:
        _request(customer, "Again")
    assert caught.value.problem.code == "CONFLICT"


@pytest.mark.parametrize("status", [REJECTED, REVOKED, WITHDRAWN])
def test_a_refused_sender_may_be_requested_again(
    world: World, customer: Customer, status: str
) -> None:
    before = world.sender(customer, "Again", status=status, reason="Not yours")
    after = _request(customer, "Again")
    assert (after.pk, after.status, after.purpose) == (before.pk, PENDING, "Orders")


def test_two_organizations_may_request_one_name(customer: Customer, outsider: Customer) -> None:
    assert _request(customer).pk != _request(outsider).pk


@pytest.mark.parametrize(
    ("field", "value"), [("purpose", "x" * 201), ("purpose", "a\0b"), ("sample", "x" * 2001)]
)
def test_purpose_and_sample_fit_the_database(customer: Customer, field: str, value: str) -> None:
    purpose, sample = (value, "") if field == "purpose" else ("", value)
    with pytest.raises(ApiError) as caught:
        approval.request_sender(customer.organization, "NewName", purpose, sample)
    assert caught.value.problem.field == field


_DECISIONS: dict[str, Callable[[SenderId, User], None]] = {
    APPROVED: lambda sender, actor: approval.approve(sender, actor),
    REJECTED: lambda sender, actor: approval.reject(sender, actor, "Not yours"),
    REVOKED: lambda sender, actor: approval.revoke(sender, actor, "Complaints"),
    WITHDRAWN: lambda sender, actor: approval.withdraw(sender, actor),
}
_ALLOWED = {
    (PENDING, APPROVED),
    (PENDING, REJECTED),
    (PENDING, WITHDRAWN),
    (APPROVED, REVOKED),
}


@pytest.mark.parametrize("before", list(SenderId.Status))
@pytest.mark.parametrize("after", list(_DECISIONS))
def test_every_decision_from_every_status(
    world: World, customer: Customer, before: str, after: str
) -> None:
    world.endpoint(customer)
    actor = operator()
    reason = "Before" if before in (REJECTED, REVOKED) else ""
    sender = world.sender(customer, "Name", status=before, reason=reason)
    if (before, after) in _ALLOWED:
        _DECISIONS[after](sender, actor)
        assert (sender.status, sender.decided_by) == (after, actor)
        assert bool(sender.reason) == (after in (REJECTED, REVOKED))
        assert AuditEntry.objects.get(organization=customer.organization).actor == actor
        step = sender.steps.get()
        assert (step.status, step.actor, step.reason) == (after, actor, sender.reason)
        assert (step.mail_due_at is None) == (after == WITHDRAWN)
    else:
        with pytest.raises(ApiError) as caught:
            _DECISIONS[after](sender, actor)
        assert caught.value.problem.code == "CONFLICT"
        assert SenderId.objects.get(pk=sender.pk).status == before
        assert not AuditEntry.objects.filter(organization=customer.organization).exists()
        assert customer.event_rows() == []


def test_the_customer_is_notified_by_webhook(
    world: World, customer: Customer, wakes: list[Any], django_capture_on_commit_callbacks
) -> None:
    endpoint = world.endpoint(customer)
    with django_capture_on_commit_callbacks(execute=True):
        approval.reject(_request(customer, "One"), operator(), "Not yours")
        approval.approve(_request(customer, "Two"), operator())
    rejected, approved = customer.event_rows()
    assert rejected.type == "sender_id.rejected"
    assert '"sender_id":"One"' in rejected.body
    assert '"reason":"Not yours"' in rejected.body
    assert approved.type == "sender_id.approved"
    assert '"status":"approved"' in approved.body
    assert [wake[2] for wake in wakes] == [(endpoint.id.hex,)] * 2


@pytest.mark.parametrize("decide", [approval.reject, approval.revoke])
@pytest.mark.parametrize("reason", ["", "  \n"])
def test_a_refusal_needs_a_reason(customer: Customer, decide, reason: str) -> None:
    sender = _request(customer)
    with pytest.raises(ApiError) as caught:
        decide(sender, operator(), reason)
    assert caught.value.problem.field == "reason"


def test_an_approved_sender_can_be_used_and_a_revoked_one_not(customer: Customer) -> None:
    body = {"to": "+966501234567", "message": "Hello", "sender_id": "NewName"}
    sender = _request(customer)
    assert customer.api.post("/v1/sms/send", body).status_code == 403
    approval.approve(sender, operator())
    assert customer.api.post("/v1/sms/send", body).status_code == 202
    approval.revoke(sender, operator(), "Complaints")
    assert customer.api.post("/v1/sms/send", body).status_code == 403


def test_at_most_one_default_and_only_an_approved_one(world: World, customer: Customer) -> None:
    first, second = (world.sender(customer, name) for name in ("First", "Second"))
    approval.make_default(first, operator())
    approval.make_default(second, operator())
    defaults = SenderId.objects.filter(organization=customer.organization, is_default=True)
    assert defaults.get().name == "Second"
    approval.revoke(second, operator(), "Complaints")
    assert not defaults.exists()
    with pytest.raises(ApiError):
        approval.make_default(second, operator())


def test_only_one_of_two_concurrent_operators_decides(committed_world: World) -> None:
    customer = committed_world.customer()
    actor = operator()
    sender = _request(customer)

    def decide(after: str) -> str:
        mine = SenderId.objects.get(pk=sender.pk)
        try:
            _DECISIONS[after](mine, actor)
        except ApiError as error:
            return error.problem.code
        return after

    results = in_threads([lambda: decide(APPROVED), lambda: decide(REJECTED)])
    (loser,) = [index for index, response in enumerate(results) if response == "CONFLICT"]
    assert SenderId.objects.get(pk=sender.pk).status == results[1 - loser]
