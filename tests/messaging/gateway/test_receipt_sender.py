"""Receipts to customers over SMPP: their recipients, formats, binds and repetitions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from django.core.cache import cache
from django.db import transaction

from messaging.carriers import sweeps
from messaging.gateway import formatting, receipt_queue, receipt_sender
from messaging.gateway.receipt_sender import SILENT_TIMEOUTS
from messaging.models import Message, SmppReceipt, SmppServer, SmppSubmit
from messaging.sending import cancel as cancellation
from messaging.smpp import pdus
from messaging.smpp.constants import MessageState, Status, Tag
from messaging.smpp.handlers import LinkConfig
from messaging.smpp.receipt import parse_receipt
from messaging.text import encoding
from tests.messaging.gateway.test_submits import LONG, parts_of
from tests.support.factories import advance
from tests.support.smpp_servers import (
    QUICK_HASHERS,
    Member,
    RunningServer,
    eventually,
    running_server,
    submit,
)

if TYPE_CHECKING:
    from tests.support.smpp_clients import RawEsme


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
    with (
        django_db_blocker.unblock(),
        running_server(link=LinkConfig(response_timeout=0.4)) as running,
    ):
        yield running


def accepted(esme: RawEsme, receipt: int = 1, **fields) -> str:
    """Submit, and return the message id of the response."""
    response = esme.request(submit(receipt=receipt, **fields))
    assert response.status == 0
    return str(response.message_id)


def ends(status: str = "delivered", code: str = "") -> None:
    """Set every message to that status by plain updates: any change of status queues a receipt."""
    now = datetime.now(UTC)
    advance(
        Message.objects.filter(final_at=None),
        status,
        error_code=code,
        sent_at=now,
        final_at=now,
        due_at=None,
    )


def received(esme: RawEsme, status: int = 0) -> pdus.DeliverSm:
    """Receive the next receipt, and respond with that status."""
    pdu = esme.receive()
    assert isinstance(pdu, pdus.DeliverSm), pdu
    esme.respond(pdu, status)
    return pdu


def nothing(esme: RawEsme, seconds: float = 0.3) -> None:
    with pytest.raises(TimeoutError):
        esme.receive(seconds)


def test_receipt_reports_the_outcome(server: RunningServer, member) -> None:
    with member.bound(server.port) as esme:
        message_id = accepted(esme)
        ends()
        pdu = received(esme)
        assert (pdu.esm_class, pdu.data_coding) == (0x04, 1)
        assert (pdu.source_addr, pdu.source_addr_ton, pdu.source_addr_npi) == ("966501234567", 1, 1)
        assert (pdu.destination_addr, pdu.dest_addr_ton) == ("MyCompany", 5)
        found = parse_receipt(pdu.short_message, {})
        assert found is not None
        assert (found.message_id, found.raw_state, found.error_code) == (
            message_id,
            "DELIVRD",
            "000",
        )
        assert b"sub:001 dlvrd:001" in pdu.short_message
        assert pdu.short_message.endswith(b"text:hello")
        assert pdu.tlv_text(Tag.RECEIPTED_MESSAGE_ID) == message_id
        assert pdu.tlv_int(Tag.MESSAGE_STATE) == MessageState.DELIVERED
        eventually(lambda: not SmppReceipt.objects.exists())
        nothing(esme)


@pytest.mark.parametrize(
    ("status", "code", "word", "state"),
    [
        ("failed", "UNDELIV", "UNDELIV", MessageState.UNDELIVERABLE),
        ("failed", "REJECTD", "REJECTD", MessageState.REJECTED),
        ("failed", "ESME_RINVDSTADR", "REJECTD", MessageState.REJECTED),
        ("failed", "0x00000400", "REJECTD", MessageState.REJECTED),
        ("failed", "NO_RESPONSE", "UNDELIV", MessageState.UNDELIVERABLE),
        ("expired", "EXPIRED", "EXPIRED", MessageState.EXPIRED),
        ("canceled", "", "DELETED", MessageState.DELETED),
    ],
)
def test_states(server, member, status, code, word, state) -> None:
    with member.bound(server.port) as esme:
        accepted(esme)
        ends(status, code)
        pdu = received(esme)
    assert f"dlvrd:000 submit date:{datetime.now(UTC):%y%m%d}".encode() in pdu.short_message
    assert f"stat:{word} ".encode() in pdu.short_message
    assert pdu.tlv_int(Tag.MESSAGE_STATE) == state


@pytest.mark.parametrize(
    ("part_code", "err", "network", "whole"),
    [
        ("UNDELIV 027", b"027", b"\x03\x00\x1b", None),
        ("UNDELIV 27", b"027", b"\x03\x00\x1b", None),
        ("UNDELIV 1027", b"027", b"\x03\x04\x03", None),
        ("UNDELIV 65535", b"535", b"\x03\xff\xff", None),
        ("UNDELIV 65536", b"536", None, "65536"),
        ("UNDELIV E21", b"E21", None, "E21"),
        ("UNDELIV 0x0B", b"x0B", None, "0x0B"),
        ("UNDELIV ABSENT_SUBSCRIBER_XY", b"_XY", None, "ABSENT_SUBSCRIBER_XY"),
        # Like in network_error_code, with the kind of network.
        ("UNDELIV 3:27", b"027", b"\x03\x00\x1b", None),
        ("UNDELIV 8:1027", b"027", b"\x08\x04\x03", None),
        ("UNDELIV 300:5", b"0:5", None, "300:5"),
        ("UNDELIV", b"000", None, None),
    ],
)
def test_carriers_error_number_is_passed_on_completely(
    server, member, committed_world, part_code, err, network, whole
) -> None:
    with member.bound(server.port) as esme:
        accepted(esme, tlvs={Tag.USER_MESSAGE_REFERENCE: b"\x01\x02"})
        (message,) = member.customer.messages()
        committed_world.part(message, "c1", status="failed", error_code=part_code)
        ends("failed", "UNDELIV")
        pdu = received(esme)
    assert b" err:" + err + b" text:" in pdu.short_message
    assert pdu.tlvs.get(Tag.NETWORK_ERROR_CODE) == network
    assert pdu.tlv_text(Tag.ADDITIONAL_STATUS_INFO_TEXT) == whole
    assert pdu.tlvs[Tag.USER_MESSAGE_REFERENCE] == b"\x01\x02"


@pytest.mark.parametrize(
    ("code", "err", "network", "whole"),
    [
        ("ESME_RINVDSTADR", b"011", b"\x07\x00\x0b", None),
        ("ESME_RTHROTTLED", b"088", b"\x07\x00\x58", None),
        ("0x00000400", b"024", b"\x07\x04\x00", None),
        ("0xFFFFFFFF", b"295", None, "4294967295"),
        ("NO_RESPONSE", b"000", None, None),
    ],
)
def test_command_status_of_a_refusal_is_passed_on(
    server, member, code, err, network, whole
) -> None:
    with member.bound(server.port) as esme:
        accepted(esme)
        ends("failed", code)
        pdu = received(esme)
    assert b" err:" + err + b" text:" in pdu.short_message
    assert pdu.tlvs.get(Tag.NETWORK_ERROR_CODE) == network
    assert pdu.tlv_text(Tag.ADDITIONAL_STATUS_INFO_TEXT) == whole


@pytest.mark.parametrize(
    ("registered", "statuses"),
    [
        (0x00, []),
        (0x01, ["delivered", "failed", "expired", "canceled"]),
        (0x02, ["failed", "expired", "canceled"]),
        (0x03, ["delivered"]),
        (0x10, ["sent"]),
        (0x11, ["sent", "delivered", "failed", "expired", "canceled"]),
        (0x0C, []),
    ],
)
def test_registered_delivery(server, member, registered, statuses) -> None:
    with member.bound(server.port, pdus.BindTransmitter) as esme:
        for status in ("sent", "delivered", "failed", "expired", "canceled"):
            accepted(esme, registered)
            ends(status)
    assert sorted(SmppReceipt.objects.values_list("status", flat=True)) == sorted(statuses)


def test_intermediate_notification_and_receipt(server, member) -> None:
    with member.bound(server.port) as esme:
        accepted(esme, 0x11)
        advance(Message.objects.all(), "sent", sent_at=datetime.now(UTC))
        first = received(esme)
        assert (first.esm_class, first.tlv_int(Tag.MESSAGE_STATE)) == (0x20, MessageState.ENROUTE)
        ends()
        assert received(esme).esm_class == 0x04


@pytest.mark.parametrize(
    ("receipt_format", "has_text", "has_tlvs"),
    [("both", True, True), ("text", True, False), ("tlv", False, True)],
)
def test_formats(server, member, receipt_format, has_text, has_tlvs) -> None:
    member.set(receipt_format=receipt_format)
    with member.bound(server.port) as esme:
        accepted(esme)
        ends()
        pdu = received(esme)
    assert (bool(pdu.short_message), bool(pdu.tlvs)) == (has_text, has_tlvs)


EXCERPT = "[a_b] @ $ é € مرحبا"


@pytest.mark.parametrize(
    ("fields", "data_coding", "excerpt"),
    [
        ({}, 0, encoding.written_in_gsm("[a_b] @ $ é € ?????")),
        ({"default_coding": "latin1"}, 0, "[a_b] @ $ é ? ?????".encode("latin-1")),
        ({"default_coding": "utf8"}, 0, EXCERPT.encode()),
        # Customers that pack their texts cannot read packed receipts.
        ({"default_coding": "packed"}, 1, b"[a_b] @ $ ? ? ?????"),
        ({"id_format": "public"}, 1, b"[a_b] @ $ ? ? ?????"),
        (
            {"id_format": "public", "ascii_coding": "gsm"},
            1,
            encoding.written_in_gsm("[a_b] @ $ é € ?????"),
        ),
    ],
)
def test_receipt_alphabet_matches_its_data_coding(
    server, member, fields, data_coding, excerpt
) -> None:
    member.set(**{"id_format": "hex"} | fields)
    with member.bound(server.port) as esme:
        response = esme.request(submit(EXCERPT.encode("utf-16-be"), receipt=1, data_coding=8))
        ends()
        pdu = received(esme)
    assert pdu.data_coding == data_coding
    assert pdu.short_message.rpartition(b" text:")[2] == excerpt
    assert pdu.tlv_text(Tag.RECEIPTED_MESSAGE_ID) == response.message_id
    written = encoding.written_in_gsm if fields.get("ascii_coding") == "gsm" else str.encode
    assert pdu.short_message.startswith(b"id:" + written(response.message_id) + b" sub:001")


def test_an_older_peer_gets_no_tlvs(server, member) -> None:
    member.set(receipt_format="tlv")
    with member.bound(server.port, interface_version=0x33) as esme:
        accepted(esme)
        ends()
        pdu = received(esme)
    assert pdu.short_message
    assert not pdu.tlvs


@pytest.mark.parametrize("id_format", ["public", "uuid", "hex", "decimal"])
def test_id_formats(server, member, id_format) -> None:
    member.set(id_format=id_format)
    with member.bound(server.port) as esme:
        message_id = accepted(esme)
        response = esme.request(pdus.QuerySm(message_id, 5, 0, "MyCompany"))
        assert (response.status, response.message_id) == (0, message_id)
        ends()
        assert received(esme).tlv_text(Tag.RECEIPTED_MESSAGE_ID) == message_id


def test_each_part_of_a_long_text_has_its_receipt(server, member) -> None:
    with member.bound(server.port) as esme:
        responses = [esme.request(pdu) for pdu in parts_of(LONG, "8", receipt=1)]
        ends()
        received_ids = {received(esme).tlv_text(Tag.RECEIPTED_MESSAGE_ID) for _ in responses}
    assert received_ids == {response.message_id for response in responses}


def test_receipt_of_submit_multi_has_the_id_of_its_response(server, member) -> None:
    numbers = [f"96650123456{n}" for n in range(3)]
    with member.bound(server.port) as esme:
        response = esme.request(
            pdus.SubmitMulti(
                "",
                5,
                0,
                "MyCompany",
                [pdus.SmeAddress(1, 1, number) for number in numbers],
                registered_delivery=1,
                short_message=b"to all",
            )
        )
        ends()
        receipts = [received(esme) for _ in numbers]
    assert {pdu.source_addr for pdu in receipts} == set(numbers)
    assert {pdu.tlv_text(Tag.RECEIPTED_MESSAGE_ID) for pdu in receipts} == {response.message_id}


def test_receipts_wait_for_a_receiving_bind(server, member) -> None:
    with member.bound(server.port, pdus.BindTransmitter) as sending:
        message_id = accepted(sending)
        ends()
        nothing(sending)
        with member.bound(server.port, pdus.BindReceiver) as receiving:
            received_ids = received(receiving).tlv_text(Tag.RECEIPTED_MESSAGE_ID)
    assert received_ids == message_id


def test_receipts_of_a_lost_bind_are_sent_on_the_next(server, member) -> None:
    with member.bound(server.port) as esme:
        wanted = {accepted(esme) for _ in range(5)}
        ends()
        first = received(esme)
        unanswered = [esme.receive() for _ in range(4)]
        assert len(unanswered) == 4
        eventually(lambda: SmppReceipt.objects.count() == 4)
    with member.bound(server.port, pdus.BindReceiver) as esme:
        again = {received(esme).tlv_text(Tag.RECEIPTED_MESSAGE_ID) for _ in range(4)}
        assert again == wanted - {first.tlv_text(Tag.RECEIPTED_MESSAGE_ID)}
        nothing(esme)
    eventually(lambda: not SmppReceipt.objects.exists())


def test_window_of_receipts(server, member) -> None:
    member.set(receipt_window=3)
    with member.bound(server.port) as esme:
        for _ in range(7):
            accepted(esme)
        ends()
        held = [esme.receive() for _ in range(3)]
        with pytest.raises(TimeoutError):
            esme.receive(0.15)
        for pdu in held:
            esme.respond(pdu)
        received_ids = {pdu.tlv_text(Tag.RECEIPTED_MESSAGE_ID) for pdu in held}
        received_ids |= {received(esme).tlv_text(Tag.RECEIPTED_MESSAGE_ID) for _ in range(4)}
    assert len(received_ids) == 7


@pytest.mark.parametrize(
    ("status", "comes_again"),
    [(Status.ESME_RX_T_APPN, True), (Status.ESME_RMSGQFUL, True), (Status.ESME_RSYSERR, True),
     (Status.ESME_RX_P_APPN, False), (Status.ESME_RX_R_APPN, False)],
)  # fmt: skip
def test_a_refused_receipt(server, member, status, comes_again, monkeypatch) -> None:
    monkeypatch.setattr(receipt_queue, "FIRST_RETRY_SECONDS", 0)
    with member.bound(server.port) as esme:
        accepted(esme)
        ends()
        received(esme, status)
        if comes_again:
            received(esme)
        eventually(lambda: not SmppReceipt.objects.exists())
        nothing(esme)


def test_receipt_that_cannot_be_encoded_does_not_block_others(
    server, member, monkeypatch, caplog
) -> None:
    was = formatting.receipt_pdu

    def receipt_pdu(receipt, *arguments, **named):
        if receipt.text == "bad":
            raise KeyError("made up")
        return was(receipt, *arguments, **named)

    monkeypatch.setattr(receipt_sender, "receipt_pdu", receipt_pdu)
    with member.bound(server.port) as esme:
        for text in (b"one", b"bad", b"two", b"three"):
            assert esme.request(submit(text, receipt=1)).status == 0
        ends()
        received_ids = {received(esme).short_message.rpartition(b"text:")[2] for _ in range(3)}
        nothing(esme)
        assert received_ids == {b"one", b"two", b"three"}
        eventually(lambda: not SmppReceipt.objects.exists())
    assert "smpp_receipt_unsendable" in caplog.text


def test_receipt_is_settled_even_if_the_console_fails(server, member, monkeypatch) -> None:
    def note(*_arguments):
        raise RuntimeError("made up")

    with member.bound(server.port) as esme:
        accepted(esme)
        monkeypatch.setattr("messaging.gateway.console.Console.note", note)
        ends()
        received(esme)
        eventually(lambda: not SmppReceipt.objects.exists())


def test_unresponsive_peer_is_dropped_and_others_are_served(server, member) -> None:
    with (
        member.bound(server.port, pdus.BindTransmitter) as sending,
        member.bound(server.port, pdus.BindReceiver) as silent,
    ):
        for _ in range(SILENT_TIMEOUTS):
            accepted(sending)
        ends()
        for _ in range(SILENT_TIMEOUTS):
            assert isinstance(silent.receive(), pdus.DeliverSm)
        assert silent.receive(2.0) is None
        assert sending.request(pdus.EnquireLink()).status == 0
    # Nothing is lost: they are due again after a delay.
    eventually(lambda: SmppReceipt.objects.filter(lease=None).count() == SILENT_TIMEOUTS)


def test_receipts_of_a_dead_server_are_taken_over(server, member) -> None:
    with member.bound(server.port, pdus.BindTransmitter) as esme:
        accepted(esme)
        ends()
    now = datetime.now(UTC)
    dead = SmppServer.objects.create(name="dead", started_at=now, seen_at=now)
    assert len(receipt_queue.claim(dead.id, member.account.id, 10)) == 1
    assert not receipt_queue.claim(dead.id, member.account.id, 10)
    # Not before: the server polls at any time for receipts of dead servers.
    SmppServer.objects.filter(id=dead.id).update(seen_at=now - timedelta(minutes=1))
    with member.bound(server.port, pdus.BindReceiver) as esme:
        received(esme)


def test_expired_receipts_are_dropped(server, member) -> None:
    with member.bound(server.port, pdus.BindTransmitter) as esme:
        accepted(esme)
        ends()
    SmppReceipt.objects.update(expires_at=datetime.now(UTC))
    assert not receipt_queue.claim(server.server.server_id, member.account.id, 10)
    assert receipt_queue.purge() >= 1
    assert not SmppReceipt.objects.exists()
    assert SmppSubmit.objects.exists()  # still known by its id


def test_a_change_that_is_rolled_back_queues_no_receipt(server, member) -> None:
    with member.bound(server.port) as esme:
        accepted(esme)
        with transaction.atomic():
            ends()
            assert SmppReceipt.objects.count() == 1
            transaction.set_rollback(True)
        assert not SmppReceipt.objects.exists()
        nothing(esme)


def test_messages_of_the_api_queue_no_receipts(server, member) -> None:
    response = member.customer.api.post("/v1/sms/send", {"to": "+966501234567", "message": "hello"})
    assert response.status_code == 202
    ends()
    assert not SmppReceipt.objects.exists()


def test_sweeps_and_cancels_queue_receipts_too(server, member) -> None:
    with member.bound(server.port, pdus.BindTransmitter) as esme:
        accepted(esme)
        Message.objects.update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
        assert sweeps.expire_queued() == 1
        accepted(esme)
        cancellation.cancel(member.customer.id, Message.objects.get(final_at=None).id, test=None)
    assert sorted(SmppReceipt.objects.values_list("status", flat=True)) == ["canceled", "expired"]


# -- query_sm, cancel_sm and unsupported operations -----------------------------------------------


@pytest.mark.parametrize(
    ("status", "state", "final"),
    [
        ("queued", MessageState.ENROUTE, False),
        ("sent", MessageState.ENROUTE, False),
        ("delivered", MessageState.DELIVERED, True),
        ("failed", MessageState.UNDELIVERABLE, True),
        ("expired", MessageState.EXPIRED, True),
        ("canceled", MessageState.DELETED, True),
    ],
)
def test_query(server, member, status, state, final) -> None:
    now = datetime.now(UTC)
    with member.bound(server.port, pdus.BindTransmitter) as esme:
        message_id = accepted(esme, 0)
        advance(Message.objects.all(), status, final_at=now if final else None)
        response = esme.request(pdus.QuerySm(message_id, 5, 0, "MyCompany"))
    assert (response.status, response.message_id, response.message_state) == (0, message_id, state)
    assert response.final_date == (f"{now:%y%m%d%H%M%S}000+" if final else "")


@pytest.mark.parametrize(
    ("message_id", "source"),
    [("", "MyCompany"), ("msg_x", "MyCompany"), (None, "Another"), (None, "")],
)
def test_query_for_an_unknown_message(server, member, message_id, source) -> None:
    with member.bound(server.port, pdus.BindTransmitter) as esme:
        known = accepted(esme)
        request = known if message_id is None else message_id
        response = esme.request(pdus.QuerySm(request, 5, 0, source))
    assert response.status == Status.ESME_RQUERYFAIL


def test_another_customer_s_message_is_not_found(server, member, committed_world) -> None:
    other = Member(committed_world, "other")
    try:
        with member.bound(server.port) as mine, other.bound(server.port) as theirs:
            known = accepted(mine)
            query = theirs.request(pdus.QuerySm(known, 5, 0, "MyCompany"))
            assert query.status == Status.ESME_RQUERYFAIL
            cancel = theirs.request(pdus.CancelSm("", known, 5, 0, "MyCompany"))
            assert cancel.status == Status.ESME_RINVMSGID
        assert Message.objects.get().status == "queued"
    finally:
        other.close()


def test_cancel_by_id_refunds_the_credits(server, member) -> None:
    with member.bound(server.port, pdus.BindTransmitter) as esme:
        known = accepted(esme)
        before = member.customer.balance()
        assert esme.request(pdus.CancelSm("", known, 5, 0, "MyCompany")).status == 0
        assert member.customer.balance() > before
        again = esme.request(pdus.CancelSm("", known, 5, 0, "MyCompany"))
        assert again.status == Status.ESME_RCANCELFAIL
    assert Message.objects.get().status == "canceled"


def test_cancel_by_addresses(server, member) -> None:
    with member.bound(server.port, pdus.BindTransmitter) as esme:
        for _ in range(3):
            accepted(esme)
        accepted(esme, to="966501234568")
        request = pdus.CancelSm("", "", 5, 0, "MyCompany", 1, 1, "966501234567")
        assert esme.request(request).status == 0
        assert esme.request(request).status == Status.ESME_RCANCELFAIL
    assert Message.objects.filter(status="canceled").count() == 3


def test_cancel_of_an_incomplete_text(server, member) -> None:
    before = member.customer.balance()
    with member.bound(server.port, pdus.BindTransmitter) as esme:
        known = esme.request(parts_of(LONG, "8")[0]).message_id
        state = esme.request(pdus.QuerySm(known, 5, 0, "MyCompany")).message_state
        assert state == MessageState.ENROUTE
        assert esme.request(pdus.CancelSm("", known, 5, 0, "MyCompany")).status == 0
    assert member.customer.balance() == before


def test_unsupported_operations_are_refused(server, member) -> None:
    with member.bound(server.port) as esme:
        listed = pdus.SubmitMulti(
            "", 5, 0, "MyCompany", [pdus.DistributionList("friends")], short_message=b"hi"
        )
        assert esme.request(listed).status == Status.ESME_RCNTSUBDL
        esme.send_raw(bytes.fromhex("00000010 00000112 00000000 00000063"))
        nack = esme.receive()
        assert isinstance(nack, pdus.GenericNack)
        assert (nack.status, nack.sequence) == (Status.ESME_RINVCMDID, 0x63)
