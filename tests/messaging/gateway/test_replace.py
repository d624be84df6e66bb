"""replace_sm: a new text for a message that is not submitted yet, under the same id."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache

from accounts.models import MICRO
from messaging.gateway import replace
from messaging.models import Message, SmppReceipt, SmppSubmit
from messaging.smpp import pdus
from messaging.smpp.constants import MessageState, Status, Tag
from messaging.smpp.times import format_time
from tests.messaging.gateway.test_submits import LONG, parts_of
from tests.support.factories import advance
from tests.support.smpp_servers import (
    QUICK_HASHERS,
    Member,
    RunningServer,
    running_server,
    submit,
)


@pytest.fixture
def member(committed_world, settings):
    settings.PASSWORD_HASHERS = QUICK_HASHERS
    cache.clear()
    committed_world.serve()
    created = Member(committed_world)
    yield created
    created.close()


@pytest.fixture(scope="module")
def server(test_database, django_db_blocker):
    with django_db_blocker.unblock(), running_server() as running:
        yield running


@pytest.fixture
def esme(server: RunningServer, member):
    with member.bound(server.port) as bound:
        yield bound


def scheduled(**fields) -> pdus.SubmitSm:
    """Submit a message scheduled in two hours."""
    at = datetime.now(UTC) + timedelta(hours=2)
    return submit(schedule_delivery_time=format_time(at), **fields)


def replacement(known: str, text: bytes = b"another text", **fields) -> pdus.ReplaceSm:
    return pdus.ReplaceSm(known, 5, 0, "MyCompany", short_message=text, **fields)


def texts(member: Member) -> dict[str, str]:
    return {message.text: message.status for message in member.customer.messages()}


def test_text_and_charge_change_and_the_id_stays(esme, member) -> None:
    known = esme.request(scheduled(receipt=1)).message_id
    before = Message.objects.get()
    long = b"It takes two parts now. " * 10
    assert esme.request(replacement(known, long, registered_delivery=1)).status == 0
    assert texts(member) == {"hello": "canceled", long.decode(): "scheduled"}
    new = Message.objects.get(status="scheduled")
    assert (new.scheduled_at, new.to, new.sender) == (before.scheduled_at, before.to, before.sender)
    assert new.expires_at == before.expires_at
    assert (new.parts, member.customer.balance()) == (2, 98 * MICRO)
    response = esme.request(pdus.QuerySm(known, 5, 0, "MyCompany"))
    assert (response.status, response.message_state) == (0, MessageState.ENROUTE)
    # Only the new message has a receipt, under the id that the customer knows.
    assert not SmppReceipt.objects.exists()
    now = datetime.now(UTC)
    advance(Message.objects.filter(id=new.id), "delivered", sent_at=now, final_at=now)
    receipt = esme.receive()
    assert receipt.tlv_text(Tag.RECEIPTED_MESSAGE_ID) == known
    assert receipt.tlv_int(Tag.MESSAGE_STATE) == MessageState.DELIVERED
    esme.respond(receipt)


def test_replaced_message_may_be_replaced_again_and_canceled(esme, member) -> None:
    known = esme.request(scheduled()).message_id
    for text in (b"second", b"third"):
        assert esme.request(replacement(known, text)).status == 0
    assert texts(member) == {"hello": "canceled", "second": "canceled", "third": "scheduled"}
    assert member.customer.balance() == 99 * MICRO
    assert esme.request(pdus.CancelSm("", known, 5, 0, "MyCompany")).status == 0
    assert member.customer.balance() == 100 * MICRO


def test_given_times_are_replaced(esme, member) -> None:
    known = esme.request(scheduled()).message_id
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=5)
    wanted = replacement(
        known, schedule_delivery_time=format_time(at), validity_period="000000010000000R"
    )
    assert esme.request(wanted).status == 0
    new = Message.objects.get(status="scheduled")
    assert (new.scheduled_at, new.expires_at) == (at, at + timedelta(hours=1))


def test_queued_message_and_its_coding(esme, member) -> None:
    """A replace_sm has no data_coding: the submit's applies."""
    known = esme.request(submit("مرحبا".encode("utf-16-be"), data_coding=8)).message_id
    assert esme.request(replacement(known, "وداعا".encode("utf-16-be"))).status == 0
    assert texts(member) == {"مرحبا": "canceled", "وداعا": "queued"}


def test_long_text_by_the_id_of_any_part(esme, member) -> None:
    responses = [esme.request(pdu) for pdu in parts_of(LONG, "8")]
    assert esme.request(replacement(responses[1].message_id, b"short now")).status == 0
    assert texts(member) == {LONG: "canceled", "short now": "queued"}
    new = Message.objects.get(status="queued")
    assert {row.message_id for row in SmppSubmit.objects.all()} == {new.id}
    assert member.customer.balance() == 99 * MICRO


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"message_id": "msg_01m83snsnqejksy2gg3rs2a7gd"}, Status.ESME_RINVMSGID),
        ({"source_addr": "Other"}, Status.ESME_RINVMSGID),
        ({"short_message": b""}, Status.ESME_RINVMSGLEN),
        ({"short_message": b"\x80"}, Status.ESME_RSUBMITFAIL),
        ({"sm_default_msg_id": 1}, Status.ESME_RINVDFTMSGID),
        ({"registered_delivery": 0x20}, Status.ESME_RINVREGDLVFLG),
        ({"schedule_delivery_time": "2607311200000000"}, Status.ESME_RINVSCHED),
        ({"validity_period": "200101000000000+"}, Status.ESME_RINVEXPIRY),
    ],
)
def test_refused_replacement_changes_nothing(esme, member, fields, status) -> None:
    known = esme.request(scheduled()).message_id
    wanted = replacement(known)
    for name, value in fields.items():
        setattr(wanted, name, value)
    assert esme.request(wanted).status == status
    assert texts(member) == {"hello": "scheduled"}
    assert member.customer.balance() == 99 * MICRO


@pytest.mark.parametrize("status", ["sending", "sent", "delivered", "canceled"])
def test_submitted_message_is_not_replaced(esme, member, status) -> None:
    known = esme.request(submit()).message_id
    advance(Message.objects.all(), status)
    assert esme.request(replacement(known)).status == Status.ESME_RREPLACEFAIL
    assert texts(member) == {"hello": status}


def test_incomplete_text_is_not_replaced(esme, member) -> None:
    known = esme.request(parts_of(LONG, "8")[0]).message_id
    assert esme.request(replacement(known)).status == Status.ESME_RREPLACEFAIL


def test_balance_that_does_not_cover_the_new_text_changes_nothing(
    server, committed_world, member
) -> None:
    poor = Member(committed_world, "poor", customer={"credits": 1})
    try:
        with poor.bound(server.port) as esme:
            known = esme.request(scheduled(receipt=1)).message_id
            response = esme.request(replacement(known, b"x" * 200))
            assert response.status == Status.ESME_RSUBMITFAIL
            # The refund of the old text counts: a text as long is covered.
            assert esme.request(replacement(known, b"as short")).status == 0
        assert texts(poor) == {"hello": "canceled", "as short": "scheduled"}
        assert poor.customer.balance() == 0
        assert not SmppReceipt.objects.filter(account=poor.account).exists()
    finally:
        poor.close()


def test_concurrent_claim_of_a_carrier_worker_wins(esme, member, monkeypatch) -> None:
    known = esme.request(submit()).message_id
    exchange = replace._exchange

    def late(message, *arguments) -> None:
        Message.objects.filter(id=message.id).update(status="sending")
        exchange(message, *arguments)

    monkeypatch.setattr(replace, "_exchange", late)
    assert esme.request(replacement(known)).status == Status.ESME_RREPLACEFAIL
    # The test's own update was rolled back, too.
    assert texts(member) == {"hello": "queued"}
    assert {row.message_id for row in SmppSubmit.objects.all()} == {Message.objects.get().id}


def test_replacement_counts_as_a_submit(server, member) -> None:
    member.set(throughput=1)
    with member.bound(server.port) as esme:
        known = esme.request(scheduled()).message_id
        statuses = {esme.request(replacement(known, b"%d" % n)).status for n in range(3)}
    assert Status.ESME_RTHROTTLED in statuses
