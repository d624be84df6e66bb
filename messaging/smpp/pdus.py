"""The PDUs of SMPP 3.4 (chapter 4) as typed records.

Strings are C-Octet Strings without their NUL, read and written as Latin-1 so that any octet
survives. Times are the 16-character strings of 7.1.1, or empty. Integers are one octet
unless noted. TLVs are octets by tag, known or not; the last of a repeated tag counts.

A PDU's repr shows no password, text or number, because it may end up in a log.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from messaging.smpp.constants import (
    ESM_DELIVERY_RECEIPT,
    ESM_MESSAGE_TYPE_MASK,
    VERSION_3_4,
    CommandId,
    Tag,
)

Tlvs = dict[int, bytes]


@dataclass(slots=True)
class Pdu:
    """The base of every PDU: a sequence number (SMPP 3.4, 5.1.4), set by the session that sends it.

    `unread` is the number of octets at the end of a received PDU that could not be read.
    """

    command_id: ClassVar[int]

    sequence: int = field(default=0, kw_only=True)
    unread: int = field(default=0, kw_only=True, repr=False, compare=False)

    def tlv_int(self, tag: int) -> int | None:
        """Return a TLV as a big-endian integer; None if it is missing or empty."""
        value = self._tlvs().get(tag)
        return int.from_bytes(value, "big") if value else None

    def tlv_text(self, tag: int) -> str | None:
        """Return a TLV as a C-Octet String without its NUL, which some peers omit."""
        value = self._tlvs().get(tag)
        return None if value is None else value.partition(b"\0")[0].decode("latin-1")

    def _tlvs(self) -> Tlvs:
        tlvs: Tlvs = getattr(self, "tlvs", {})
        return tlvs


@dataclass(slots=True)
class Request(Pdu):
    """A request. `response_type` is None where the specification has no response to it."""

    response_type: ClassVar[type[Response] | None] = None


@dataclass(slots=True)
class Response(Pdu):
    """A response, with its command_status (SMPP 3.4, 5.1.3; four octets)."""

    status: int = field(default=0, kw_only=True)


# -- session ---------------------------------------------------------------------------------


@dataclass(slots=True)
class Bind(Request):
    """The base of the three binds (SMPP 3.4, 4.1)."""

    system_id: str = ""
    password: str = field(default="", repr=False)
    system_type: str = ""
    interface_version: int = VERSION_3_4
    addr_ton: int = 0
    addr_npi: int = 0
    address_range: str = ""


@dataclass(slots=True)
class BindResp(Response):
    """The base of the three bind responses; sc_interface_version is a TLV."""

    system_id: str = ""
    tlvs: Tlvs = field(default_factory=dict, repr=False)

    @property
    def sc_interface_version(self) -> int | None:
        """The SMSC's version (SMPP 3.4, 5.3.2.25); None where it sent none."""
        return self.tlv_int(Tag.SC_INTERFACE_VERSION)


@dataclass(slots=True)
class BindTransmitterResp(BindResp):
    """SMPP 3.4, 4.1.2."""

    command_id = CommandId.BIND_TRANSMITTER_RESP


@dataclass(slots=True)
class BindReceiverResp(BindResp):
    """SMPP 3.4, 4.1.4."""

    command_id = CommandId.BIND_RECEIVER_RESP


@dataclass(slots=True)
class BindTransceiverResp(BindResp):
    """SMPP 3.4, 4.1.6."""

    command_id = CommandId.BIND_TRANSCEIVER_RESP


@dataclass(slots=True)
class BindTransmitter(Bind):
    """SMPP 3.4, 4.1.1."""

    command_id = CommandId.BIND_TRANSMITTER
    response_type = BindTransmitterResp


@dataclass(slots=True)
class BindReceiver(Bind):
    """SMPP 3.4, 4.1.3."""

    command_id = CommandId.BIND_RECEIVER
    response_type = BindReceiverResp


@dataclass(slots=True)
class BindTransceiver(Bind):
    """SMPP 3.4, 4.1.5."""

    command_id = CommandId.BIND_TRANSCEIVER
    response_type = BindTransceiverResp


@dataclass(slots=True)
class Outbind(Request):
    """The SMSC asks the ESME to bind (SMPP 3.4, 4.1.7). It has no response; a bind follows."""

    command_id = CommandId.OUTBIND

    system_id: str = ""
    password: str = field(default="", repr=False)


@dataclass(slots=True)
class UnbindResp(Response):
    """SMPP 3.4, 4.2.2."""

    command_id = CommandId.UNBIND_RESP


@dataclass(slots=True)
class Unbind(Request):
    """SMPP 3.4, 4.2.1."""

    command_id = CommandId.UNBIND
    response_type = UnbindResp


@dataclass(slots=True)
class EnquireLinkResp(Response):
    """SMPP 3.4, 4.11.2."""

    command_id = CommandId.ENQUIRE_LINK_RESP


@dataclass(slots=True)
class EnquireLink(Request):
    """SMPP 3.4, 4.11.1."""

    command_id = CommandId.ENQUIRE_LINK
    response_type = EnquireLinkResp


@dataclass(slots=True)
class GenericNack(Response):
    """The response to a PDU that is unreadable or unknown (SMPP 3.4, 4.3.1)."""

    command_id = CommandId.GENERIC_NACK


# -- messages --------------------------------------------------------------------------------


@dataclass(slots=True)
class MessageIdResp(Response):
    """A response that carries a message_id (at most 64 characters) and TLVs."""

    message_id: str = ""
    tlvs: Tlvs = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class SubmitSmResp(MessageIdResp):
    """SMPP 3.4, 4.4.2. With an error status and no message_id it has no body."""

    command_id = CommandId.SUBMIT_SM_RESP


@dataclass(slots=True)
class DeliverSmResp(MessageIdResp):
    """SMPP 3.4, 4.6.2; message_id is unused and stays empty."""

    command_id = CommandId.DELIVER_SM_RESP


@dataclass(slots=True)
class DataSmResp(MessageIdResp):
    """SMPP 3.4, 4.7.2."""

    command_id = CommandId.DATA_SM_RESP


@dataclass(slots=True)
class ShortMessage(Request):
    """The fields that submit_sm and deliver_sm share. sm_length is short_message's length."""

    service_type: str = ""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = field(default="", repr=False)
    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    destination_addr: str = field(default="", repr=False)
    esm_class: int = 0
    protocol_id: int = 0
    priority_flag: int = 0
    schedule_delivery_time: str = ""
    validity_period: str = ""
    registered_delivery: int = 0
    replace_if_present_flag: int = 0
    data_coding: int = 0
    sm_default_msg_id: int = 0
    short_message: bytes = field(default=b"", repr=False)
    tlvs: Tlvs = field(default_factory=dict, repr=False)

    @property
    def message_payload(self) -> bytes | None:
        """The message_payload TLV (SMPP 3.4, 5.3.2.32)."""
        return self.tlvs.get(Tag.MESSAGE_PAYLOAD)

    @property
    def content(self) -> bytes:
        """The message's octets, from short_message or else from message_payload."""
        return self.short_message or self.tlvs.get(Tag.MESSAGE_PAYLOAD, b"")


@dataclass(slots=True)
class SubmitSm(ShortMessage):
    """SMPP 3.4, 4.4.1."""

    command_id = CommandId.SUBMIT_SM
    response_type = SubmitSmResp


@dataclass(slots=True)
class DeliverSm(ShortMessage):
    """SMPP 3.4, 4.6.1."""

    command_id = CommandId.DELIVER_SM
    response_type = DeliverSmResp

    @property
    def is_receipt(self) -> bool:
        """Return whether esm_class marks this as an SMSC delivery receipt (SMPP 3.4, 5.2.12)."""
        return self.esm_class & ESM_MESSAGE_TYPE_MASK == ESM_DELIVERY_RECEIPT


@dataclass(slots=True)
class DataSm(Request):
    """SMPP 3.4, 4.7.1. The message is in the message_payload TLV."""

    command_id = CommandId.DATA_SM
    response_type = DataSmResp

    service_type: str = ""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = field(default="", repr=False)
    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    destination_addr: str = field(default="", repr=False)
    esm_class: int = 0
    registered_delivery: int = 0
    data_coding: int = 0
    tlvs: Tlvs = field(default_factory=dict, repr=False)

    @property
    def content(self) -> bytes:
        """The message's octets."""
        return self.tlvs.get(Tag.MESSAGE_PAYLOAD, b"")


@dataclass(slots=True)
class SmeAddress:
    """A destination of submit_multi that is one number (SMPP 3.4, 4.5.1.1, dest_flag 1)."""

    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    destination_addr: str = field(default="", repr=False)


@dataclass(slots=True)
class DistributionList:
    """A destination of submit_multi that is a list at the SMSC (4.5.1.1, dest_flag 2)."""

    dl_name: str = ""


@dataclass(slots=True)
class UnsuccessfulSme:
    """A destination that submit_multi could not serve (SMPP 3.4, 4.5.2.1)."""

    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    destination_addr: str = field(default="", repr=False)
    error_status_code: int = 0  # a command_status, four octets


@dataclass(slots=True)
class SubmitMultiResp(MessageIdResp):
    """SMPP 3.4, 4.5.2."""

    command_id = CommandId.SUBMIT_MULTI_RESP

    unsuccess_sme: list[UnsuccessfulSme] = field(default_factory=list)


@dataclass(slots=True)
class SubmitMulti(Request):
    """SMPP 3.4, 4.5.1: one message to 1 to 254 destinations."""

    command_id = CommandId.SUBMIT_MULTI
    response_type = SubmitMultiResp

    service_type: str = ""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = field(default="", repr=False)
    dest_address: list[SmeAddress | DistributionList] = field(default_factory=list)
    esm_class: int = 0
    protocol_id: int = 0
    priority_flag: int = 0
    schedule_delivery_time: str = ""
    validity_period: str = ""
    registered_delivery: int = 0
    replace_if_present_flag: int = 0
    data_coding: int = 0
    sm_default_msg_id: int = 0
    short_message: bytes = field(default=b"", repr=False)
    tlvs: Tlvs = field(default_factory=dict, repr=False)


# -- operations on an earlier message --------------------------------------------------------


@dataclass(slots=True)
class QuerySmResp(Response):
    """SMPP 3.4, 4.8.2. `message_state` is a MessageState."""

    command_id = CommandId.QUERY_SM_RESP

    message_id: str = ""
    final_date: str = ""
    message_state: int = 0
    error_code: int = 0


@dataclass(slots=True)
class QuerySm(Request):
    """SMPP 3.4, 4.8.1."""

    command_id = CommandId.QUERY_SM
    response_type = QuerySmResp

    message_id: str = ""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = field(default="", repr=False)


@dataclass(slots=True)
class CancelSmResp(Response):
    """SMPP 3.4, 4.9.2."""

    command_id = CommandId.CANCEL_SM_RESP


@dataclass(slots=True)
class CancelSm(Request):
    """SMPP 3.4, 4.9.1."""

    command_id = CommandId.CANCEL_SM
    response_type = CancelSmResp

    service_type: str = ""
    message_id: str = ""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = field(default="", repr=False)
    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    destination_addr: str = field(default="", repr=False)


@dataclass(slots=True)
class ReplaceSmResp(Response):
    """SMPP 3.4, 4.10.2."""

    command_id = CommandId.REPLACE_SM_RESP


@dataclass(slots=True)
class ReplaceSm(Request):
    """SMPP 3.4, 4.10.1."""

    command_id = CommandId.REPLACE_SM
    response_type = ReplaceSmResp

    message_id: str = ""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = field(default="", repr=False)
    schedule_delivery_time: str = ""
    validity_period: str = ""
    registered_delivery: int = 0
    sm_default_msg_id: int = 0
    short_message: bytes = field(default=b"", repr=False)


@dataclass(slots=True)
class AlertNotification(Request):
    """SMPP 3.4, 4.12.1: a subscriber is reachable again. It has no response."""

    command_id = CommandId.ALERT_NOTIFICATION

    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = field(default="", repr=False)
    esme_addr_ton: int = 0
    esme_addr_npi: int = 0
    esme_addr: str = ""
    tlvs: Tlvs = field(default_factory=dict, repr=False)
