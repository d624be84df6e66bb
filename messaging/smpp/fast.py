"""Hand-written encoders and decoders for the PDUs that every message needs.

They handle only PDUs that are clearly valid. For anything doubtful they return None, and the
general path in codec.py accepts it or reports what is wrong. So the limits are repeated here in
the form that is fastest to check, and the tests keep both paths equal.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from struct import error as StructError
from typing import Any, Final

from messaging.smpp.constants import CommandId, Tag
from messaging.smpp.pdus import (
    DeliverSm,
    DeliverSmResp,
    EnquireLink,
    EnquireLinkResp,
    Pdu,
    ShortMessage,
    SubmitSm,
    SubmitSmResp,
    Tlvs,
)
from messaging.smpp.tlv import read_tlvs, write_tlvs

_pack_header = Struct(">IIII").pack
_MAX_BODY: Final = 65_520

# The exceptions that a value of the wrong type, or a frame that ends too early, raises below.
_DOUBT: Final = (ValueError, IndexError, TypeError, AttributeError, OverflowError, StructError)

Encoder = Callable[[Any], bytes | None]
Decoder = Callable[[bytes, int, int], Pdu | None]  # frame, command_status, sequence_number


# -- encode ----------------------------------------------------------------------------------


def _encode_short_message(pdu: ShortMessage) -> bytes | None:
    message = pdu.short_message
    tlvs = pdu.tlvs
    try:
        service_type = pdu.service_type.encode("latin-1")
        source = pdu.source_addr.encode("latin-1")
        destination = pdu.destination_addr.encode("latin-1")
        schedule = pdu.schedule_delivery_time.encode("latin-1")
        validity = pdu.validity_period.encode("latin-1")
        if (
            len(service_type) > 5
            or len(source) > 20
            or len(destination) > 20
            or (schedule and len(schedule) != 16)
            or (validity and len(validity) != 16)
            or len(message) > 254
            or b"\0" in b"".join((service_type, source, destination, schedule, validity))
        ):
            return None
        body = b"%b\0%c%c%b\0%c%c%b\0%c%c%c%b\0%b\0%c%c%c%c%c%b" % (
            service_type,
            pdu.source_addr_ton,
            pdu.source_addr_npi,
            source,
            pdu.dest_addr_ton,
            pdu.dest_addr_npi,
            destination,
            pdu.esm_class,
            pdu.protocol_id,
            pdu.priority_flag,
            schedule,
            validity,
            pdu.registered_delivery,
            pdu.replace_if_present_flag,
            pdu.data_coding,
            pdu.sm_default_msg_id,
            len(message),
            message,
        )
        if tlvs:
            if message and Tag.MESSAGE_PAYLOAD in tlvs:
                return None
            body += write_tlvs(tlvs)
            if len(body) > _MAX_BODY:
                return None
        return _pack_header(16 + len(body), pdu.command_id, 0, pdu.sequence) + body
    except _DOUBT:
        return None


def _encode_submit_sm_resp(pdu: SubmitSmResp) -> bytes | None:
    if pdu.status:
        return None  # such a response may have no body
    return _encode_message_id(pdu, CommandId.SUBMIT_SM_RESP)


def _encode_deliver_sm_resp(pdu: DeliverSmResp) -> bytes | None:
    return _encode_message_id(pdu, CommandId.DELIVER_SM_RESP)


def _encode_message_id(pdu: SubmitSmResp | DeliverSmResp, command_id: int) -> bytes | None:
    try:
        message_id = pdu.message_id.encode("latin-1")
        if len(message_id) > 64 or b"\0" in message_id or pdu.tlvs:
            return None
        header = _pack_header(17 + len(message_id), command_id, pdu.status, pdu.sequence)
        return header + message_id + b"\0"
    except _DOUBT:
        return None


def _encode_enquire_link(pdu: EnquireLink) -> bytes | None:
    try:
        return _pack_header(16, CommandId.ENQUIRE_LINK, 0, pdu.sequence)
    except _DOUBT:
        return None


def _encode_enquire_link_resp(pdu: EnquireLinkResp) -> bytes | None:
    try:
        return _pack_header(16, CommandId.ENQUIRE_LINK_RESP, pdu.status, pdu.sequence)
    except _DOUBT:
        return None


# -- decode ----------------------------------------------------------------------------------


def _short_message_decoder(pdu_type: type[SubmitSm] | type[DeliverSm]) -> Decoder:
    def decode_short_message(frame: bytes, status: int, sequence: int) -> Pdu | None:
        try:
            return pdu_type(*_short_message_fields(frame), sequence=sequence)
        except _DOUBT:
            return None

    return decode_short_message


def _short_message_fields(frame: bytes) -> tuple[Any, ...]:
    """Return the fields in ShortMessage's order. Raise one of _DOUBT if the frame is unusual."""
    service_end = frame.index(0, 16, 22)
    source = service_end + 3
    source_end = frame.index(0, source, source + 21)
    destination = source_end + 3
    destination_end = frame.index(0, destination, destination + 21)
    esm_class, protocol_id, priority_flag = frame[destination_end + 1 : destination_end + 4]
    schedule = destination_end + 4
    schedule_end = frame.index(0, schedule, schedule + 17)
    validity = schedule_end + 1
    validity_end = frame.index(0, validity, validity + 17)
    registered_delivery, replace_if_present_flag, data_coding, default_id, sm_length = frame[
        validity_end + 1 : validity_end + 6
    ]
    message = validity_end + 6
    end = message + sm_length
    if sm_length > 254 or end > len(frame):
        raise ValueError
    tlvs: Tlvs = {}
    if end < len(frame):
        tlvs, end_of_tlvs = read_tlvs(frame, end)
        if end_of_tlvs < len(frame):
            raise ValueError
    return (
        frame[16:service_end].decode("latin-1"),
        frame[service_end + 1],
        frame[service_end + 2],
        frame[source:source_end].decode("latin-1"),
        frame[source_end + 1],
        frame[source_end + 2],
        frame[destination:destination_end].decode("latin-1"),
        esm_class,
        protocol_id,
        priority_flag,
        frame[schedule:schedule_end].decode("latin-1") if schedule_end > schedule else "",
        frame[validity:validity_end].decode("latin-1") if validity_end > validity else "",
        registered_delivery,
        replace_if_present_flag,
        data_coding,
        default_id,
        frame[message:end],
        tlvs,
    )


def _decode_submit_sm_resp(frame: bytes, status: int, sequence: int) -> Pdu | None:
    if not 17 <= len(frame) <= 81 or frame.find(0, 16) != len(frame) - 1:
        return None
    return SubmitSmResp(frame[16:-1].decode("latin-1"), {}, status=status, sequence=sequence)


def _decode_deliver_sm_resp(frame: bytes, status: int, sequence: int) -> Pdu | None:
    if not 17 <= len(frame) <= 81 or frame.find(0, 16) != len(frame) - 1:
        return None
    return DeliverSmResp(frame[16:-1].decode("latin-1"), {}, status=status, sequence=sequence)


def _decode_enquire_link(frame: bytes, status: int, sequence: int) -> Pdu | None:
    return EnquireLink(sequence=sequence) if len(frame) == 16 else None


def _decode_enquire_link_resp(frame: bytes, status: int, sequence: int) -> Pdu | None:
    return EnquireLinkResp(status=status, sequence=sequence)


ENCODERS: Final[dict[type[Pdu], Encoder]] = {
    SubmitSm: _encode_short_message,
    SubmitSmResp: _encode_submit_sm_resp,
    DeliverSm: _encode_short_message,
    DeliverSmResp: _encode_deliver_sm_resp,
    EnquireLink: _encode_enquire_link,
    EnquireLinkResp: _encode_enquire_link_resp,
}

DECODERS: Final[dict[int, Decoder]] = {
    CommandId.SUBMIT_SM: _short_message_decoder(SubmitSm),
    CommandId.SUBMIT_SM_RESP: _decode_submit_sm_resp,
    CommandId.DELIVER_SM: _short_message_decoder(DeliverSm),
    CommandId.DELIVER_SM_RESP: _decode_deliver_sm_resp,
    CommandId.ENQUIRE_LINK: _decode_enquire_link,
    CommandId.ENQUIRE_LINK_RESP: _decode_enquire_link_resp,
}
