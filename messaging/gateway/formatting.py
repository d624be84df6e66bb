"""Formatting for customers: message ids, delivery receipts (DLR), message states. Pure."""

import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from imissive.core import ids
from messaging.gateway.submit_parser import (
    PACKED,
    Address,
    Dialect,
    coding_of,
    encode_text,
)
from messaging.smpp.constants import (
    ESM_DELIVERY_RECEIPT,
    ESM_INTERMEDIATE,
    NETWORK_GSM,
    NETWORK_SMPP,
    VERSION_3_4,
    DataCoding,
    MessageState,
    Status,
    Tag,
)
from messaging.smpp.pdus import DeliverSm, Tlvs
from messaging.smpp.receipt import RAW_STATES, format_receipt
from messaging.states import Status as MessageStatus

PUBLIC, UUID, HEX, DECIMAL = "public", "uuid", "hex", "decimal"
_OCTET: Final = 0xFF
_LARGEST_CODE: Final = 0xFFFF  # of network_error_code, SMPP 3.4, 5.3.2.31
_REFUSED: Final = ("ESME_", "0x")  # prefixes of the codes of messages that a carrier refused
_NUMBERED: Final = re.compile(r"0x[0-9A-F]{8}")  # a command_status without a name
_LONGEST_ADDRESS: Final = 20
_LARGEST_ID: Final = 1 << 128

# The words of Appendix B and the codes of 5.2.28 for a message's states. The code of a failure
# shows whether a carrier accepted the message.
_STATES: Final[dict[str, tuple[str, MessageState]]] = {
    MessageStatus.SCHEDULED: (RAW_STATES["enroute"], MessageState.ENROUTE),
    MessageStatus.QUEUED: (RAW_STATES["enroute"], MessageState.ENROUTE),
    MessageStatus.SENDING: (RAW_STATES["enroute"], MessageState.ENROUTE),
    MessageStatus.SENT: (RAW_STATES["enroute"], MessageState.ENROUTE),
    MessageStatus.DELIVERED: (RAW_STATES["delivered"], MessageState.DELIVERED),
    MessageStatus.EXPIRED: (RAW_STATES["expired"], MessageState.EXPIRED),
    MessageStatus.CANCELED: ("DELETED", MessageState.DELETED),
    MessageStatus.FAILED: (RAW_STATES["failed"], MessageState.UNDELIVERABLE),
}
_UNDELIVERED: Final = _STATES[MessageStatus.FAILED]
_FAILURES: Final = {
    "DELETED": _STATES[MessageStatus.CANCELED],
    "REJECTD": ("REJECTD", MessageState.REJECTED),
    "REJECTED": ("REJECTD", MessageState.REJECTED),
    "SKIPPED": ("REJECTD", MessageState.REJECTED),
    "NOT_ENCODABLE": ("REJECTD", MessageState.REJECTED),
    "GENERIC_NACK": ("REJECTD", MessageState.REJECTED),
}


def state_of(status: str, error_code: str = "") -> tuple[str, MessageState]:
    """Return a message's state as Appendix B's word and as message_state."""
    if status != MessageStatus.FAILED:
        return _STATES[status]
    if error_code.startswith(_REFUSED):
        return _FAILURES["REJECTD"]
    return _FAILURES.get(error_code, _UNDELIVERED)


def id_text(value: uuid.UUID, form: str) -> str:
    """Return a message id in the account's format."""
    if form == HEX:
        return value.hex
    if form == DECIMAL:
        return str(value.int)
    return str(value) if form == UUID else ids.public_id(ids.MESSAGE, value)


def parse_id_text(text: str, form: str) -> uuid.UUID | None:
    """Return the id of a text that `id_text` returned, or None."""
    if form == PUBLIC:
        return ids.parse_id(ids.MESSAGE, text)
    try:
        if form == DECIMAL:
            number = int(text) if text.isascii() and text.isdigit() and len(text) <= 39 else -1
            return uuid.UUID(int=number) if 0 <= number < _LARGEST_ID else None
        return uuid.UUID(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Error:
    """A failed message's error number, of a network or of SMPP; empty if unknown."""

    number: str = ""
    network: int = NETWORK_GSM


def error_of(code: str, part_code: str) -> Error:
    """Return the complete error number of a failed message, unchanged from its carrier.

    `part_code` is from the carrier's receipt, `UNDELIV 027` or, from a TLV, `UNDELIV 3:1027`;
    `code` is the message's own, with the command_status if the carrier refused the submit.
    """
    network, colon, number = part_code.partition(" ")[2].rpartition(":")
    if colon and network.isascii() and network.isdigit() and int(network) <= _OCTET:
        return Error(number, int(network))
    if number:
        return Error(network + colon + number)
    if code in Status.__members__:
        return Error(str(int(Status[code])), NETWORK_SMPP)
    return Error(str(int(code, 16)), NETWORK_SMPP) if _NUMBERED.fullmatch(code) else Error()


@dataclass(frozen=True, slots=True)
class DueReceipt:
    """A pending receipt. `status` is the message's, `error` the reason of a failure."""

    id: int
    submit_id: uuid.UUID
    status: str
    error_code: str
    error: Error
    at: datetime
    submitted_at: datetime
    text: str
    source: Address
    destination: Address
    reference: int | None
    attempts: int


def receipt_pdu(
    receipt: DueReceipt, dialect: Dialect, *, id_form: str, receipt_format: str, version: int
) -> DeliverSm:
    """Return the deliver_sm (SMPP 3.4, 4.6.1, Appendix B) for a peer of that interface_version.

    A peer older than 3.4 gets no TLVs, whatever the account's format.
    """
    data_coding = _data_coding(id_form, dialect)
    word, _ = state_of(receipt.status, receipt.error_code)
    short_message, tlvs = format_receipt(
        id_text(receipt.submit_id, id_form),
        word,
        receipt.submitted_at,
        receipt.at,
        error_code=_three_digits(receipt.error),
        text=receipt.text,
        alphabet=partial(encode_text, coding_of(data_coding, dialect)),
    )
    tlvs |= _more_tlvs(receipt)
    if version < VERSION_3_4 or receipt_format == "text":
        tlvs = {}
    elif receipt_format == "tlv":
        short_message = b""
    return DeliverSm(
        source_addr_ton=receipt.destination.ton,
        source_addr_npi=receipt.destination.npi,
        source_addr=_short(receipt.destination.written),
        dest_addr_ton=receipt.source.ton,
        dest_addr_npi=receipt.source.npi,
        destination_addr=_short(receipt.source.written),
        data_coding=data_coding,
        esm_class=ESM_INTERMEDIATE
        if receipt.status == MessageStatus.SENT
        else ESM_DELIVERY_RECEIPT,
        short_message=short_message,
        tlvs=tlvs,
    )


def _data_coding(id_form: str, dialect: Dialect) -> DataCoding:
    """Return the data_coding of a receipt: 0 unless that would not be readable."""
    # The underscore of `msg_…` has different codes in GSM's default alphabet and ASCII, and few
    # clients unpack receipts.
    if id_form == PUBLIC or dialect.default_coding == PACKED:
        return DataCoding.IA5
    return DataCoding.DEFAULT


def _short(written: str) -> str:
    """Return an address that fits a deliver_sm: a data_sm's may be longer (SMPP 3.4, 4.7.1)."""
    if len(written) <= _LONGEST_ADDRESS:
        return written
    return "".join(filter(str.isalnum, written))[:_LONGEST_ADDRESS]


def _three_digits(error: Error) -> str:
    """Return the last three characters of an error number, the length in Appendix B."""
    return error.number.zfill(3)[-3:]


def _more_tlvs(receipt: DueReceipt) -> Tlvs:
    tlvs: Tlvs = {}
    number = receipt.error.number
    if number.isascii() and number.isdigit() and 0 < int(number) <= _LARGEST_CODE:
        code = int(number).to_bytes(2, "big")
        tlvs[Tag.NETWORK_ERROR_CODE] = bytes((receipt.error.network,)) + code
    elif number.strip("0"):
        # Letters, or a number that is too large for any other parameter.
        tlvs[Tag.ADDITIONAL_STATUS_INFO_TEXT] = number.encode("ascii", "replace") + b"\0"
    if receipt.reference is not None:
        tlvs[Tag.USER_MESSAGE_REFERENCE] = receipt.reference.to_bytes(2, "big")
    return tlvs
