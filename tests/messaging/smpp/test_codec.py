"""Encoding and decoding of SMPP PDUs: tables of bytes, limits, and bytes from Hypothesis."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import smpplib.smpp
from hypothesis import given, settings
from hypothesis import strategies as st

from messaging.smpp import pdus
from messaging.smpp.codec import (
    PDU_TYPES,
    DecodeError,
    EncodeError,
    FrameError,
    Framer,
    decode,
    decode_with_smpplib,
    encode,
    encode_with_smpplib,
)
from messaging.smpp.constants import (
    CommandId,
    Status,
    Tag,
    command_name,
    status_name,
    status_text,
)
from messaging.smpp.fast import DECODERS, ENCODERS

if TYPE_CHECKING:
    from collections.abc import Callable


def frame(command_id: int, body: bytes = b"", status: int = 0, sequence: int = 1) -> bytes:
    header = b"".join(
        number.to_bytes(4, "big") for number in (16 + len(body), command_id, status, sequence)
    )
    return header + body


def read(octets: bytes) -> Any:
    """Decode a PDU as Any, for tests that know its type."""
    return decode(octets)


def outcome(decoder: Callable[[bytes], pdus.Pdu], octets: bytes) -> pdus.Pdu | DecodeError:
    try:
        return decoder(octets)
    except DecodeError as problem:
        return problem


# Written by hand, field by field, in the order of chapter 4.
WIRE = [
    pytest.param(
        pdus.BindTransmitter(
            "SMPP3TEST", "secret08", "SUBMIT1", addr_ton=1, addr_npi=1, sequence=1
        ),
        "0000002F 00000002 00000000 00000001"
        "534D50503354455354 00  7365637265743038 00  5355424D495431 00  34 01 01  00",
        id="bind_transmitter",
    ),
    pytest.param(
        pdus.BindTransceiver("a", "b", address_range="^96", interface_version=0x33, sequence=9),
        "0000001C 00000009 00000000 00000009  61 00  62 00  00  33 00 00  5E3936 00",
        id="bind_transceiver",
    ),
    pytest.param(
        pdus.BindReceiver(sequence=2),
        "00000017 00000001 00000000 00000002  00 00 00 34 00 00 00",
        id="bind_receiver, everything empty",
    ),
    pytest.param(
        pdus.BindTransceiverResp("SMSC", {Tag.SC_INTERFACE_VERSION: b"\x34"}, sequence=9),
        "0000001A 80000009 00000000 00000009  534D5343 00  0210 0001 34",
        id="bind_transceiver_resp with sc_interface_version",
    ),
    pytest.param(
        pdus.BindTransmitterResp(status=Status.ESME_RINVPASWD, sequence=1),
        "00000010 80000002 0000000E 00000001",
        id="bind_transmitter_resp that refuses has no body",
    ),
    pytest.param(
        pdus.BindReceiverResp("S", sequence=2),
        "00000012 80000001 00000000 00000002  53 00",
        id="bind_receiver_resp",
    ),
    pytest.param(
        pdus.Outbind("SMSC", "pw", sequence=3),
        "00000018 0000000B 00000000 00000003  534D5343 00  7077 00",
        id="outbind",
    ),
    pytest.param(pdus.Unbind(sequence=4), "00000010 00000006 00000000 00000004", id="unbind"),
    pytest.param(
        pdus.UnbindResp(sequence=4), "00000010 80000006 00000000 00000004", id="unbind_resp"
    ),
    pytest.param(
        pdus.EnquireLink(sequence=5), "00000010 00000015 00000000 00000005", id="enquire_link"
    ),
    pytest.param(
        pdus.EnquireLinkResp(sequence=5),
        "00000010 80000015 00000000 00000005",
        id="enquire_link_resp",
    ),
    pytest.param(
        pdus.GenericNack(status=Status.ESME_RINVCMDID, sequence=6),
        "00000010 80000000 00000003 00000006",
        id="generic_nack",
    ),
    pytest.param(
        pdus.SubmitSm(
            source_addr_ton=5,
            source_addr="ACME",
            dest_addr_ton=1,
            dest_addr_npi=1,
            destination_addr="966500000001",
            registered_delivery=1,
            short_message=b"Hi",
            sequence=7,
        ),
        "00000033 00000004 00000000 00000007  00  05 00 41434D45 00"
        "01 01 393636353030303030303031 00  00 00 00  00  00  01 00 00 00  02 4869",
        id="submit_sm",
    ),
    pytest.param(
        pdus.SubmitSm(
            service_type="CMT",
            source_addr="1",
            destination_addr="2",
            esm_class=0x40,
            protocol_id=0x41,
            priority_flag=3,
            schedule_delivery_time="261231235959000+",
            validity_period="000001000000000R",
            registered_delivery=1,
            replace_if_present_flag=1,
            data_coding=8,
            sm_default_msg_id=2,
            short_message=bytes.fromhex("050003CC0201 0645"),
            tlvs={0x1400: b"\x01\x02", Tag.SOURCE_PORT: b"\x23\x45"},
            sequence=0x7FFFFFFF,
        ),
        "0000005A"
        " 00000004 00000000 7FFFFFFF  434D54 00  00 00 31 00  00 00 32 00  40 41 03"
        "32363132333132333539353930303 02B 00  303030303031303030303030303030 52 00"
        "01 01 08 02  08 050003CC02010645  1400 0002 0102  020A 0002 2345",
        id="submit_sm with every field and an unknown TLV",
    ),
    pytest.param(
        pdus.SubmitSmResp("1a2b", sequence=7),
        "00000015 80000004 00000000 00000007  31613262 00",
        id="submit_sm_resp",
    ),
    pytest.param(
        pdus.SubmitSmResp(status=Status.ESME_RTHROTTLED, sequence=7),
        "00000010 80000004 00000058 00000007",
        id="submit_sm_resp that refuses has no body",
    ),
    pytest.param(
        pdus.DeliverSm(
            source_addr="2",
            destination_addr="1",
            esm_class=4,
            tlvs={Tag.RECEIPTED_MESSAGE_ID: b"1a\0", Tag.MESSAGE_STATE: b"\x02"},
            sequence=8,
        ),
        "0000002F 00000005 00000000 00000008  00  00 00 32 00  00 00 31 00  04 00 00"
        "00  00  00 00 00 00  00  001E 0003 316100  0427 0001 02",
        id="deliver_sm that is a receipt by TLVs",
    ),
    pytest.param(
        pdus.DeliverSmResp(sequence=8),
        "00000011 80000005 00000000 00000008  00",
        id="deliver_sm_resp",
    ),
    pytest.param(
        pdus.DeliverSmResp(status=Status.ESME_RX_T_APPN, sequence=8),
        "00000011 80000005 00000064 00000008  00",
        id="deliver_sm_resp that refuses has its empty message_id",
    ),
    pytest.param(
        pdus.DataSm(
            source_addr="x" * 64,
            destination_addr="2",
            data_coding=4,
            tlvs={Tag.MESSAGE_PAYLOAD: b"\x00\x01"},
            sequence=10,
        ),
        "00000061 00000103 00000000 0000000A  00  00 00" + "78" * 64 + "00  00 00 32 00"
        "00 00 04  0424 0002 0001",
        id="data_sm, whose addresses are longer",
    ),
    pytest.param(
        pdus.DataSmResp("9", {Tag.DELIVERY_FAILURE_REASON: b"\x01"}, status=0xFE, sequence=10),
        "00000017 80000103 000000FE 0000000A  39 00  0425 0001 01",
        id="data_sm_resp with an error and a TLV",
    ),
    pytest.param(
        pdus.SubmitMulti(
            source_addr="1",
            dest_address=[pdus.SmeAddress(1, 1, "966"), pdus.DistributionList("all")],
            short_message=b"!",
            sequence=11,
        ),
        "0000002D 00000021 00000000 0000000B  00  00 00 31 00  02"
        "01 01 01 393636 00  02 616C6C 00  00 00 00  00  00  00 00 00 00  01 21",
        id="submit_multi",
    ),
    pytest.param(
        pdus.SubmitMultiResp(
            "5",
            unsuccess_sme=[pdus.UnsuccessfulSme(1, 1, "966", Status.ESME_RINVDSTADR)],
            sequence=11,
        ),
        "0000001D 80000021 00000000 0000000B  35 00  01  01 01 393636 00  0000000B",
        id="submit_multi_resp",
    ),
    pytest.param(
        pdus.QuerySm("1a", 5, 0, "ACME", sequence=12),
        "0000001A 00000003 00000000 0000000C  3161 00  05 00 41434D45 00",
        id="query_sm",
    ),
    pytest.param(
        pdus.QuerySmResp("1a", "261231235959000+", 2, 0, sequence=12),
        "00000026 80000003 00000000 0000000C  3161 00  32363132333132333539353930303 02B 00  02 00",
        id="query_sm_resp",
    ),
    pytest.param(
        pdus.CancelSm("CMT", "1a", 5, 0, "A", 1, 1, "966", sequence=13),
        "00000021 00000008 00000000 0000000D  434D54 00  3161 00  05 00 41 00  01 01 393636 00",
        id="cancel_sm",
    ),
    pytest.param(
        pdus.CancelSmResp(sequence=13), "00000010 80000008 00000000 0000000D", id="cancel_sm_resp"
    ),
    pytest.param(
        pdus.ReplaceSm("1a", 5, 0, "A", registered_delivery=1, short_message=b"!", sequence=14),
        "0000001D 00000007 00000000 0000000E  3161 00  05 00 41 00  00  00  01 00  01 21",
        id="replace_sm",
    ),
    pytest.param(
        pdus.ReplaceSmResp(sequence=14),
        "00000010 80000007 00000000 0000000E",
        id="replace_sm_resp",
    ),
    pytest.param(
        pdus.AlertNotification(
            1, 1, "966", 0, 0, "E", {Tag.MS_AVAILABILITY_STATUS: b"\0"}, sequence=15
        ),
        "0000001F 00000102 00000000 0000000F  01 01 393636 00  00 00 45 00  0422 0001 00",
        id="alert_notification",
    ),
]


@pytest.mark.parametrize(("pdu", "octets"), WIRE)
def test_pdus_encode_to_octets_and_back(pdu, octets):
    octets = bytes.fromhex(octets.replace(" ", ""))
    assert encode(pdu) == octets
    assert decode(octets) == pdu
    assert encode_with_smpplib(pdu) == octets
    assert decode_with_smpplib(octets) == pdu


def test_every_command_is_in_the_table():
    assert {type(case.values[0]) for case in WIRE} == set(PDU_TYPES.values())
    assert set(PDU_TYPES) == set(CommandId)


@pytest.mark.parametrize(("pdu", "octets"), WIRE)
def test_every_truncation_is_refused_with_its_sequence(pdu, octets):
    octets = bytes.fromhex(octets.replace(" ", ""))
    for length in range(len(octets)):
        with pytest.raises(DecodeError) as refused:
            decode(octets[:length])
        assert refused.value.status == Status.ESME_RINVCMDLEN
        assert refused.value.sequence == (pdu.sequence if length >= 16 else 0)


@pytest.mark.parametrize(("pdu", "octets"), WIRE)
def test_every_truncation_with_a_correct_length_is_read_or_refused(pdu, octets):
    body = bytes.fromhex(octets.replace(" ", ""))[16:]
    for length in range(len(body)):
        found = outcome(decode, frame(pdu.command_id, body[:length], sequence=77))
        # A PDU that is read was cut before a TLV, or is a response without its body.
        assert isinstance(found, DecodeError | type(pdu))
        assert (found.command_id, found.sequence) == (pdu.command_id, 77)


# -- values of fields ------------------------------------------------------------------------

OVER_THE_LIMIT = [
    (pdus.BindTransceiver("x" * 16, "pw"), "system_id"),
    (pdus.BindTransceiver("me", "x" * 9), "password"),
    (pdus.BindTransceiver("me", "pw", "x" * 13), "system_type"),
    (pdus.BindTransceiver("me", "pw", address_range="x" * 41), "address_range"),
    (pdus.BindTransceiver("me", "pw", interface_version=256), "interface_version"),
    (pdus.SubmitSm(service_type="x" * 6), "service_type"),
    (pdus.SubmitSm(source_addr="x" * 21), "source_addr"),
    (pdus.SubmitSm(destination_addr="1" * 21), "destination_addr"),
    (pdus.SubmitSm(source_addr="a\0b"), "source_addr"),
    (pdus.SubmitSm(source_addr="\u0645"), "source_addr"),
    (pdus.SubmitSm(source_addr=None), "source_addr"),  # type: ignore[arg-type]
    (pdus.SubmitSm(schedule_delivery_time="x" * 15), "schedule_delivery_time"),
    (pdus.SubmitSm(validity_period="x" * 17), "validity_period"),
    (pdus.SubmitSm(service_type="a\0b"), "service_type"),
    (pdus.SubmitSm(destination_addr="\0"), "destination_addr"),
    (pdus.SubmitSm(schedule_delivery_time="x" * 15 + "\0"), "schedule_delivery_time"),
    (pdus.SubmitSm(validity_period="\0" + "x" * 15), "validity_period"),
    (pdus.SubmitSm(data_coding=-1), "data_coding"),
    (pdus.SubmitSm(esm_class=256), "esm_class"),
    (pdus.SubmitSm(short_message=b"x" * 255), "short_message"),
    (pdus.SubmitSm(short_message="text"), "short_message"),  # type: ignore[arg-type]
    (pdus.SubmitSm(short_message=b"x", tlvs={Tag.MESSAGE_PAYLOAD: b"y"}), "short_message"),
    (pdus.SubmitSm(tlvs={0x10000: b""}), "tlvs"),
    (pdus.SubmitSm(tlvs={1: "text"}), "tlvs"),  # type: ignore[dict-item]
    (pdus.SubmitSm(tlvs={1: b"x" * 65_536}), "tlvs"),
    (pdus.SubmitSm(tlvs={1: b"x" * 65_535}), "command_length"),
    (pdus.SubmitSm(sequence=1 << 32), "sequence"),
    (pdus.EnquireLink(sequence=-1), "sequence"),
    (pdus.EnquireLinkResp(status=1 << 32), "status"),
    (pdus.SubmitSmResp("x" * 65), "message_id"),
    (pdus.SubmitSmResp("x" * 65, status=8), "message_id"),
    (pdus.DeliverSmResp("x" * 65), "message_id"),
    (pdus.QuerySmResp(final_date="2026"), "final_date"),
    (pdus.SubmitMulti(), "dest_address"),
    (pdus.SubmitMulti(dest_address=[pdus.DistributionList("x")] * 255), "dest_address"),
    (pdus.SubmitMulti(dest_address=[pdus.DistributionList("x" * 21)]), "dl_name"),
    (pdus.SubmitMultiResp(unsuccess_sme=[pdus.UnsuccessfulSme()] * 256), "unsuccess_sme"),
    (
        pdus.SubmitMultiResp(unsuccess_sme=[pdus.UnsuccessfulSme(error_status_code=-1)]),
        "error_status_code",
    ),
    (pdus.Request(), "command_id"),
]


@pytest.mark.parametrize(
    ("pdu", "field"), OVER_THE_LIMIT, ids=[f"{type(p).__name__}-{f}" for p, f in OVER_THE_LIMIT]
)
def test_nothing_is_truncated_to_fit(pdu, field):
    with pytest.raises(EncodeError) as refused:
        encode(pdu)
    assert refused.value.field == field


def test_the_longest_values_fit():
    encode(pdus.BindTransceiver("x" * 15, "x" * 8, "x" * 12, address_range="x" * 40))
    encode(pdus.SubmitSm("x" * 5, 255, 255, "x" * 20, 255, 255, "1" * 20, short_message=b"x" * 254))
    encode(pdus.SubmitSm(tlvs={Tag.MESSAGE_PAYLOAD: b"x" * (65_536 - 33 - 4)}))
    encode(pdus.SubmitSmResp("x" * 64))


# -- invalid frames --------------------------------------------------------------------------

_BEFORE_MESSAGE = b"\0" + b"\0\0" + b"1\0" + b"\0\0" + b"2\0" + bytes(3) + b"\0\0" + bytes(4)


def short_message_with(**texts: bytes) -> bytes:
    """Return the body of submit_sm, with texts of any length."""
    names = ("service_type", "source_addr", "destination_addr", "schedule", "validity")
    service, source, destination, schedule, validity = (
        texts.get(name, b"") + b"\0" for name in names
    )
    addresses = service + b"\1\1" + source + b"\1\1" + destination
    return addresses + bytes(3) + schedule + validity + bytes(4) + b"\1x"


TOO_LONG = [
    ("service_type", 6, Status.ESME_RINVSERTYP),
    ("source_addr", 21, Status.ESME_RINVSRCADR),
    ("destination_addr", 21, Status.ESME_RINVDSTADR),
    ("schedule", 17, Status.ESME_RINVSCHED),
    ("validity", 17, Status.ESME_RINVEXPIRY),
]


@pytest.mark.parametrize(("name", "length", "status"), TOO_LONG)
def test_a_text_one_octet_too_long(name, length, status):
    command_id = CommandId.SUBMIT_SM
    assert read(frame(command_id, short_message_with(**{name: b"1" * (length - 1)})))
    with pytest.raises(DecodeError) as refused:
        decode(frame(command_id, short_message_with(**{name: b"1" * length})))
    assert refused.value.status == status


@pytest.mark.parametrize("length", [6, 17, 21, 25, 65, 300])
@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("service_type", "service_type"),
        ("source_addr", "source_addr"),
        ("destination_addr", "destination_addr"),
        ("schedule", "schedule_delivery_time"),
        ("validity", "validity_period"),
    ],
)
def test_deliveries_are_read_with_overlong_texts(name, field, length):
    """A receipt that we refuse is lost for good."""
    delivered = read(frame(CommandId.DELIVER_SM, short_message_with(**{name: b"1" * length})))
    assert getattr(delivered, field) == "1" * length
    assert delivered.short_message == b"x"


def test_a_delivery_may_have_255_octets():
    body = _BEFORE_MESSAGE + b"\xff" + b"x" * 255 + b"\x00\x1e\0\x021\0"
    delivered = read(frame(CommandId.DELIVER_SM, body))
    assert delivered.short_message == b"x" * 255
    assert delivered.tlvs == {Tag.RECEIPTED_MESSAGE_ID: b"1\0"}
    with pytest.raises(EncodeError):
        encode(delivered)
    data = (
        b"longer than six\0" + b"\1\1" + b"9" * 80 + b"\0" + b"\1\1" + b"9" * 80 + b"\0" + b"\4\0\0"
    )
    assert read(frame(CommandId.DATA_SM, data)).source_addr == "9" * 80


WRONG = [
    pytest.param(frame(0x99), Status.ESME_RINVCMDID, id="unknown command"),
    pytest.param(frame(0x80000099), Status.ESME_RINVCMDID, id="unknown response"),
    pytest.param(frame(0), Status.ESME_RINVCMDID, id="command 0"),
    pytest.param(frame(CommandId.SUBMIT_SM), Status.ESME_RINVCMDLEN, id="submit_sm, no body"),
    pytest.param(
        frame(CommandId.SUBMIT_SM, b"CMT"), Status.ESME_RINVCMDLEN, id="ends within a text"
    ),
    pytest.param(
        frame(CommandId.SUBMIT_SM, b"abcdefgh\0"), Status.ESME_RINVSERTYP, id="service_type"
    ),
    pytest.param(
        frame(CommandId.SUBMIT_SM, b"\0\0\0" + b"1" * 21 + b"\0"),
        Status.ESME_RINVSRCADR,
        id="source_addr",
    ),
    pytest.param(
        frame(CommandId.SUBMIT_SM, b"\0\0\0\0\0\0" + b"1" * 21 + b"\0"),
        Status.ESME_RINVDSTADR,
        id="destination_addr",
    ),
    pytest.param(
        frame(CommandId.BIND_TRANSCEIVER, b"x" * 16 + b"\0"), Status.ESME_RINVSYSID, id="system_id"
    ),
    pytest.param(
        frame(CommandId.BIND_TRANSCEIVER, b"me\0" + b"x" * 9 + b"\0"),
        Status.ESME_RINVPASWD,
        id="password",
    ),
    pytest.param(
        frame(CommandId.SUBMIT_SM, _BEFORE_MESSAGE), Status.ESME_RINVCMDLEN, id="no sm_length"
    ),
    pytest.param(
        frame(CommandId.SUBMIT_SM, _BEFORE_MESSAGE + b"\x05abcd"),
        Status.ESME_RINVMSGLEN,
        id="sm_length over what is there",
    ),
    pytest.param(
        frame(CommandId.SUBMIT_SM, _BEFORE_MESSAGE + b"\xff" + b"x" * 255),
        Status.ESME_RINVMSGLEN,
        id="sm_length 255",
    ),
    pytest.param(
        frame(CommandId.SUBMIT_SM, _BEFORE_MESSAGE + b"\x03the rest of the text"),
        Status.ESME_RINVOPTPARSTREAM,
        id="sm_length under what is there",
    ),
    pytest.param(
        frame(CommandId.SUBMIT_SM, _BEFORE_MESSAGE + b"\x03the 12 34 56"),
        Status.ESME_RINVOPTPARSTREAM,
        id="sm_length under what is there, digits",
    ),
    pytest.param(
        frame(CommandId.SUBMIT_SM, _BEFORE_MESSAGE + b"\x02" + "مرحبا".encode("utf-16-be")),
        Status.ESME_RINVOPTPARSTREAM,
        id="sm_length under what is there, Arabic",
    ),
    pytest.param(
        frame(
            CommandId.REPLACE_SM,
            b"1\0\0\0\0" + b"\0\0" + b"\0\0" + b"\x03the rest of the text",
        ),
        Status.ESME_RINVOPTPARSTREAM,
        id="replace_sm, sm_length under what is there",
    ),
    pytest.param(
        frame(CommandId.SUBMIT_MULTI, b"\0\0\0\0\x01\x03"),
        Status.ESME_RINVDESTFLAG,
        id="dest_flag 3",
    ),
    pytest.param(
        frame(CommandId.SUBMIT_MULTI, b"\0\0\0\0\xff"),
        Status.ESME_RINVCMDLEN,
        id="fewer destinations than said",
    ),
    pytest.param(
        frame(CommandId.SUBMIT_MULTI, b"\0\0\0\0\0" + bytes(3) + b"\0\0" + bytes(4) + b"\x01x"),
        Status.ESME_RINVNUMDESTS,
        id="no destination",
    ),
    pytest.param(
        frame(
            CommandId.SUBMIT_MULTI,
            b"\0\0\0\0\xff" + b"\x02a\0" * 255 + bytes(3) + b"\0\0" + bytes(4) + b"\x01x",
        ),
        Status.ESME_RINVNUMDESTS,
        id="255 destinations",
    ),
    pytest.param(b"", Status.ESME_RINVCMDLEN, id="nothing"),
    pytest.param(frame(CommandId.UNBIND)[:15], Status.ESME_RINVCMDLEN, id="15 octets"),
    pytest.param(frame(CommandId.UNBIND) + b"\0", Status.ESME_RINVCMDLEN, id="not its length"),
]


@pytest.mark.parametrize(("octets", "status"), WRONG)
def test_invalid_frames_and_their_status(octets, status):
    with pytest.raises(DecodeError) as refused:
        decode(octets)
    assert refused.value.status == status
    if len(octets) >= 16:
        assert refused.value.sequence == 1
        assert refused.value.command_id == int.from_bytes(octets[4:8], "big")


# Unreadable octets behind a readable mandatory part.
TAILS = [
    b"\0",
    b"\0\0\0",
    b"abc",
    b"\xff\xff\xff",
    b"\x02\x04\x00",  # ends within a TLV's header
    b"\x02\x04\xff\xff\x01",  # a TLV longer than the frame
    b"\x02\x04\0\x02\0\x07\x04\x24\x00\x09short",  # a readable TLV, and a truncated one
]
_SUBMIT = pdus.SubmitSm("", 5, 0, "A", 1, 1, "966", short_message=b"text", sequence=1)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize(
    "pdu",
    [
        _SUBMIT,
        pdus.DeliverSm(source_addr="966", esm_class=4, short_message=b"id:1", sequence=1),
        pdus.DataSm(destination_addr="966", sequence=1),
        pdus.SubmitMulti(
            dest_address=[pdus.SmeAddress(1, 1, "966")], short_message=b"text", sequence=1
        ),
        pdus.QuerySm("1", sequence=1),
        pdus.CancelSm(message_id="1", sequence=1),
        pdus.ReplaceSm("1", short_message=b"x", sequence=1),
        pdus.BindTransceiver("me", "pw", sequence=1),
        pdus.Outbind("me", "pw", sequence=1),
        pdus.EnquireLink(sequence=1),
        pdus.Unbind(sequence=1),
        pdus.SubmitSmResp("1", sequence=1),
        pdus.DeliverSmResp(sequence=1),
        pdus.BindTransceiverResp("smsc", sequence=1),
        pdus.UnbindResp(sequence=1),
    ],
    ids=lambda pdu: type(pdu).__name__,
)
def test_a_readable_pdu_may_have_an_unreadable_tail(pdu, tail):
    octets = frame(pdu.command_id, encode(pdu)[16:] + tail)
    decoded: Any
    for decoded in (read(octets), decode_with_smpplib(octets)):
        tlvs = {0x0204: b"\0\7"} if tail.startswith(b"\x02\x04\0\x02\0") else {}
        if not isinstance(pdu, pdus.Response) and hasattr(pdu, "tlvs"):
            assert decoded.tlvs == tlvs
            assert decoded.unread == len(tail) - (6 if tlvs else 0)
            decoded.tlvs = {}
        elif tlvs and hasattr(pdu, "tlvs"):
            decoded.tlvs = {}
        assert decoded == pdu


def test_a_delivery_may_have_any_tail():
    """A receipt is not passed on, so half a text is never sent."""
    pdu = pdus.DeliverSm(source_addr="966", esm_class=4, short_message=b"id:1", sequence=1)
    decoded = read(frame(pdu.command_id, encode(pdu)[16:] + b" and then some text"))
    assert (decoded, decoded.unread) == (pdu, 19)


def test_a_complete_pdu_has_no_tail():
    assert read(encode(_SUBMIT)).unread == 0
    assert read(encode(replace(_SUBMIT, tlvs={0x1234: b"any"}))).unread == 0


ODD_IDS = [
    (b"id\0\0", "id"),
    (b"id", "id"),
    (b"x" * 65 + b"\0", "x" * 65),
    (b"x" * 65, "x" * 65),
    (b"id  \0", "id  "),
    (b"id" + b"\0" * 63, "id"),
    (b"\0", ""),
    (b"\0\0\0", ""),
    (b"", ""),
]


@pytest.mark.parametrize(("body", "message_id"), ODD_IDS)
@pytest.mark.parametrize(
    "command_id", [CommandId.SUBMIT_SM_RESP, CommandId.DELIVER_SM_RESP, CommandId.DATA_SM_RESP]
)
def test_as_much_of_an_id_as_possible_is_read(command_id, body, message_id):
    response = read(frame(command_id, body))
    assert (response.status, response.message_id) == (0, message_id)


@pytest.mark.parametrize("command_id", [c for c in CommandId if c & 0x80000000])
def test_a_response_is_read_with_any_body(command_id):
    for body in (b"\xff" * 70, b"\0" * 70, b"x", b"\x01\x02\x03"):
        assert read(frame(command_id, body)).status == 0


@pytest.mark.parametrize("command_id", [c for c in CommandId if c & 0x80000000])
def test_responses_without_a_body_are_read(command_id):
    response = read(frame(command_id, status=Status.ESME_RSYSERR, sequence=3))
    assert (response.status, response.sequence) == (Status.ESME_RSYSERR, 3)
    assert read(frame(command_id)).status == 0


@pytest.mark.parametrize("command_id", [c for c in CommandId if c & 0x80000000])
def test_an_error_response_is_read_with_any_body(command_id):
    response = read(frame(command_id, b"\xff" * 70, status=Status.ESME_RTHROTTLED))
    assert response.status == Status.ESME_RTHROTTLED


def test_a_request_with_a_status_is_still_a_request():
    assert decode(frame(CommandId.ENQUIRE_LINK, status=5, sequence=2)) == pdus.EnquireLink(
        sequence=2
    )


def test_the_last_of_a_repeated_tlv_counts():
    body = b"1\0" + b"\x04\x25\0\x01\x01" + b"\x04\x25\0\x01\x02"
    assert read(frame(CommandId.DATA_SM_RESP, body)).tlvs == {0x0425: b"\x02"}


# -- both paths, and any bytes ---------------------------------------------------------------


def texts(limit: int) -> st.SearchStrategy[str]:
    return st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=limit)


octet = st.integers(0, 255)
times = st.just("") | st.text(
    st.characters(min_codepoint=1, max_codepoint=255), min_size=16, max_size=16
)
sequences = st.integers(0, 0xFFFFFFFF)
tlv_dicts = st.dictionaries(st.integers(0, 0xFFFF), st.binary(max_size=20), max_size=4)
# TLVs that smpplib's own classes write as integers, in their order.
SMPPLIB_TLVS = {
    "user_message_reference": (0x0204, 2),
    "source_port": (0x020A, 2),
    "destination_port": (0x020B, 2),
    "sar_msg_ref_num": (0x020C, 2),
    "sar_total_segments": (0x020E, 1),
    "sar_segment_seqnum": (0x020F, 1),
}

MANDATORY = {
    "service_type": texts(5),
    "source_addr_ton": octet,
    "source_addr_npi": octet,
    "source_addr": texts(20),
    "dest_addr_ton": octet,
    "dest_addr_npi": octet,
    "destination_addr": texts(20),
    "esm_class": octet,
    "protocol_id": octet,
    "priority_flag": octet,
    "schedule_delivery_time": times,
    "validity_period": times,
    "registered_delivery": octet,
    "replace_if_present_flag": octet,
    "data_coding": octet,
    "sm_default_msg_id": octet,
    "short_message": st.binary(max_size=254),
}
hot_pdus = st.one_of(
    st.builds(pdus.SubmitSm, **MANDATORY, tlvs=tlv_dicts, sequence=sequences),
    st.builds(pdus.DeliverSm, **MANDATORY, tlvs=tlv_dicts, sequence=sequences),
    st.builds(pdus.SubmitSmResp, texts(64), status=sequences, sequence=sequences),
    st.builds(pdus.DeliverSmResp, texts(64), status=sequences, sequence=sequences),
    st.builds(pdus.EnquireLink, sequence=sequences),
    st.builds(pdus.EnquireLinkResp, status=sequences, sequence=sequences),
)


@given(
    name=st.sampled_from(["submit_sm", "deliver_sm"]),
    values=st.fixed_dictionaries(MANDATORY),
    numbers=st.fixed_dictionaries({}, optional=dict.fromkeys(SMPPLIB_TLVS, octet)),
    sequence=sequences,
)
def test_the_fast_path_encodes_the_same_octets_as_smpplib(name, values, numbers, sequence):
    theirs = smpplib.smpp.make_pdu(name, sequence=0, **values, **numbers)
    theirs.sequence = sequence
    pdu_type = pdus.SubmitSm if name == "submit_sm" else pdus.DeliverSm
    ours = pdu_type(**values, sequence=sequence)
    for tlv, (tag, size) in SMPPLIB_TLVS.items():
        if tlv in numbers:
            ours.tlvs[tag] = numbers[tlv].to_bytes(size, "big")

    octets = ENCODERS[pdu_type](ours)

    assert octets == theirs.generate()
    their_reading = smpplib.smpp.parse_pdu(octets, sequence=0)
    for field, value in values.items():
        text = value.encode("latin-1") if isinstance(value, str) else value
        # smpplib leaves the last field unset if it is empty and nothing follows
        assert (getattr(their_reading, field) or text) == text


@given(name=st.sampled_from(["submit_sm_resp", "deliver_sm_resp"]), message_id=texts(64))
def test_the_fast_path_encodes_the_same_responses_as_smpplib(name, message_id):
    theirs = smpplib.smpp.make_pdu(name, sequence=0, message_id=message_id)
    theirs.sequence = 5
    pdu_type = pdus.SubmitSmResp if name == "submit_sm_resp" else pdus.DeliverSmResp
    assert ENCODERS[pdu_type](pdu_type(message_id, sequence=5)) == theirs.generate()


@given(hot_pdus)
def test_both_paths_agree(pdu):
    octets = encode_with_smpplib(pdu) if not _payload_twice(pdu) else None
    if octets is None:
        with pytest.raises(EncodeError):
            encode(pdu)
        return
    assert encode(pdu) == octets
    assert ENCODERS[type(pdu)](pdu) in (octets, None)
    assert decode(octets) == decode_with_smpplib(octets) == pdu
    status = getattr(pdu, "status", 0)
    assert DECODERS[pdu.command_id](octets, status, pdu.sequence) in (pdu, None)


def _payload_twice(pdu):
    short_message = getattr(pdu, "short_message", b"")
    return short_message and Tag.MESSAGE_PAYLOAD in getattr(pdu, "tlvs", {})


def test_the_fast_path_handles_ordinary_pdus():
    submit = pdus.SubmitSm(source_addr="A", destination_addr="1", short_message=b"x", tlvs={5: b""})
    for pdu in (submit, pdus.SubmitSmResp("1"), pdus.DeliverSm(), pdus.DeliverSmResp()):
        octets = ENCODERS[type(pdu)](pdu)
        assert octets is not None
        assert DECODERS[pdu.command_id](octets, 0, 0) == pdu


def _bodies_of(command_id: int) -> st.SearchStrategy[bytes]:
    """Return frames of a command with any body, including nearly valid bodies."""
    near = st.lists(
        st.sampled_from([b"\0", b"1\0", b"\x01", b"\x02\x04\0\x01", b"abc", b"\x05", b"x" * 20])
    ).map(b"".join)
    return (st.binary(max_size=120) | near).map(lambda body: frame(command_id, body))


@given(st.sampled_from([*CommandId, 0x99]).flatmap(_bodies_of))
@settings(max_examples=500)
def test_both_paths_read_or_refuse_any_body_alike(octets):
    expected, found = outcome(decode_with_smpplib, octets), outcome(decode, octets)
    if isinstance(expected, DecodeError):
        assert isinstance(found, DecodeError)
        assert found.status == expected.status
    else:
        assert found == expected


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(octets):
    assert outcome(decode, octets) is not None


# -- frames ----------------------------------------------------------------------------------


def feed_all(framer: Framer, chunks: list[bytes]) -> list[bytes]:
    return [whole for chunk in chunks for whole in framer.feed(chunk)]


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 9))
def test_frames_do_not_depend_on_the_chunks_of_the_stream(bodies, size):
    frames = [frame(CommandId.SUBMIT_SM, body) for body in bodies]
    stream = b"".join(frames)
    chunks = [stream[i : i + size] for i in range(0, len(stream), size)]
    framer = Framer()
    assert feed_all(framer, chunks) == frames
    assert framer.buffered == 0


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_the_framer_stays_within_its_bound_for_any_stream(chunks):
    framer = Framer(max_frame_length=64)
    try:
        for chunk in chunks:
            for whole in framer.feed(chunk):
                assert 16 <= len(whole) <= 64
            assert framer.buffered < 64
    except FrameError:
        return


@pytest.mark.parametrize("length", [0, 1, 15, 65_537, 2_147_483_648, 0xFFFFFFFF])
def test_an_impossible_length_is_refused_at_its_fourth_octet(length):
    framer = Framer()
    octets = length.to_bytes(4, "big")
    assert feed_all(framer, [octets[:3]]) == []
    with pytest.raises(FrameError):
        feed_all(framer, [octets[3:]])
    with pytest.raises(FrameError):
        feed_all(framer, [b"and so on"])


def test_frames_before_an_impossible_length_are_yielded():
    good = frame(CommandId.UNBIND)
    frames = Framer().feed(good + b"\0\0\0\0")
    assert next(frames) == good
    with pytest.raises(FrameError):
        next(frames)


def test_a_caller_may_stop_iterating_and_continue():
    one, two = frame(CommandId.UNBIND), frame(CommandId.ENQUIRE_LINK)
    framer = Framer()
    assert next(framer.feed(one + two)) == one
    assert framer.buffered == 16
    assert list(framer.feed(b"")) == [two]


# -- the rest --------------------------------------------------------------------------------


def test_a_repr_shows_no_secret_text_or_number():
    shown = repr(
        [
            pdus.BindTransceiver("me", "s3cret"),
            pdus.SubmitSm(source_addr="5550001", destination_addr="5550002", short_message=b"code"),
            pdus.DeliverSm(tlvs={Tag.MESSAGE_PAYLOAD: b"code"}),
            pdus.SubmitMulti(dest_address=[pdus.SmeAddress(destination_addr="5550003")]),
        ]
    )
    for secret in ("s3cret", "555000", "code"):
        assert secret not in shown


def test_an_error_quotes_nothing_of_the_frame():
    with pytest.raises(DecodeError) as refused:
        decode(frame(CommandId.BIND_TRANSCEIVER, b"me\0" + b"s3cret-s3cret\0"))
    assert "s3cret" not in str(refused.value)


def test_tlvs_as_integers_and_texts():
    receipt = pdus.DeliverSm(
        esm_class=0x04,
        tlvs={Tag.RECEIPTED_MESSAGE_ID: b"ab\0", Tag.MESSAGE_STATE: b"\x02", Tag.SOURCE_PORT: b""},
    )
    assert receipt.is_receipt
    assert not pdus.DeliverSm(esm_class=0x40).is_receipt
    assert receipt.tlv_text(Tag.RECEIPTED_MESSAGE_ID) == "ab"
    assert receipt.tlv_int(Tag.MESSAGE_STATE) == 2
    assert receipt.tlv_int(Tag.SOURCE_PORT) is None
    assert receipt.tlv_text(Tag.CALLBACK_NUM) is None
    assert pdus.EnquireLink().tlv_int(Tag.MESSAGE_STATE) is None


def test_content_is_found_in_either_field():
    payload = {int(Tag.MESSAGE_PAYLOAD): b"long"}
    assert pdus.SubmitSm(short_message=b"short").content == b"short"
    assert pdus.SubmitSm(tlvs=payload).content == b"long"
    assert pdus.SubmitSm(tlvs=payload).message_payload == b"long"
    assert pdus.DataSm(tlvs=payload).content == b"long"
    assert pdus.SubmitSm().content == b""


def test_readable_names():
    assert status_name(0x58) == "ESME_RTHROTTLED (0x00000058)"
    assert status_name(0x400) == "0x00000400"
    assert status_text(0x0E) == "ESME_RINVPASWD (0x0000000E): invalid password"
    assert status_text(0x400) == "0x00000400"
    assert command_name(4) == "submit_sm"
    assert command_name(0x99) == "0x00000099"
    assert all(status_text(status) != status_name(status) for status in Status)
