"""What customers are told: message ids in their form, receipts, states. Pure."""

import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from imissive import ids
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
from messaging.smpp.server.reading import PACKED, Address, Dialect, coding_of, encode_text
from messaging.states import Status as MessageStatus

PUBLIC, UUID, HEX, DECIMAL = "public", "uuid", "hex", "decimal"
_OCTET: Final = 0xFF
_LARGEST_CODE: Final = 0xFFFF  # of network_error_code, SMPP 3.4, 5.3.2.31
_REFUSED: Final = ("ESME_", "0x")  # how the code of a message begins that a carrier refused
_NUMBERED: Final = re.compile(r"0x[0-9A-F]{8}")  # a command_status that has no name
_LONGEST_ADDRESS: Final = 20
_LARGEST_ID: Final = 1 << 128

# The words of Appendix B and the codes of 5.2.28 for a message's states; failures tell by their
# code whether a carrier took the message at all.
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
    """A message's state as Appendix B's word and as message_state."""
    if status != MessageStatus.FAILED:
        return _STATES[status]
    if error_code.startswith(_REFUSED):
        return _FAILURES["REJECTD"]
    return _FAILURES.get(error_code, _UNDELIVERED)


def id_text(value: uuid.UUID, form: str) -> str:
    """A message id as the account wants it."""
    if form == HEX:
        return value.hex
    if form == DECIMAL:
        return str(value.int)
    return str(value) if form == UUID else ids.public_id(ids.MESSAGE, value)


def parse_id_text(text: str, form: str) -> uuid.UUID | None:
    """The id behind what `id_text` wrote, or None."""
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
    """The number that says why a message failed, of whichever kind; the empty one says nothing."""

    number: str = ""
    network: int = NETWORK_GSM


def error_of(code: str, part_code: str) -> Error:
    """Return the error number of a failed message, whole, as its carrier gave it.

    `part_code` is what a carrier's receipt said, `UNDELIV 027` or, by a TLV, `UNDELIV 3:1027`;
    `code` the message's own: a carrier that refused the submit said it by its command_status.
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
class Owed:
    """A receipt to be sent. `status` is the message's, `error` why it failed."""

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
    owed: Owed, dialect: Dialect, *, id_form: str, receipt_format: str, version: int
) -> DeliverSm:
    """The deliver_sm (SMPP 3.4, 4.6.1, Appendix B) for a peer of that interface_version.

    An older peer than 3.4 gets no TLVs, whatever the account's format.
    """
    data_coding = _data_coding(id_form, dialect)
    word, _ = state_of(owed.status, owed.error_code)
    short_message, tlvs = format_receipt(
        id_text(owed.submit_id, id_form),
        word,
        owed.submitted_at,
        owed.at,
        error_code=_three_digits(owed.error),
        text=owed.text,
        alphabet=partial(encode_text, coding_of(data_coding, dialect)),
    )
    tlvs |= _more_tlvs(owed)
    if version < VERSION_3_4 or receipt_format == "text":
        tlvs = {}
    elif receipt_format == "tlv":
        short_message = b""
    return DeliverSm(
        source_addr_ton=owed.destination.ton,
        source_addr_npi=owed.destination.npi,
        source_addr=_short(owed.destination.written),
        dest_addr_ton=owed.source.ton,
        dest_addr_npi=owed.source.npi,
        destination_addr=_short(owed.source.written),
        data_coding=data_coding,
        esm_class=ESM_INTERMEDIATE if owed.status == MessageStatus.SENT else ESM_DELIVERY_RECEIPT,
        short_message=short_message,
        tlvs=tlvs,
    )


def _data_coding(id_form: str, dialect: Dialect) -> DataCoding:
    """Return the data_coding of a receipt: 0, except where that would not do."""
    # GSM's default alphabet has another code than ASCII's for the underscore of `msg_…`, and few
    # clients unpack a receipt.
    if id_form == PUBLIC or dialect.default_coding == PACKED:
        return DataCoding.IA5
    return DataCoding.DEFAULT


def _short(written: str) -> str:
    """An address that fits: a data_sm's may be longer than a deliver_sm's (SMPP 3.4, 4.7.1)."""
    if len(written) <= _LONGEST_ADDRESS:
        return written
    return "".join(filter(str.isalnum, written))[:_LONGEST_ADDRESS]


def _three_digits(error: Error) -> str:
    """Return an error number as Appendix B has room for it: its last three characters."""
    return error.number.zfill(3)[-3:]


def _more_tlvs(owed: Owed) -> Tlvs:
    tlvs: Tlvs = {}
    number = owed.error.number
    if number.isascii() and number.isdigit() and 0 < int(number) <= _LARGEST_CODE:
        code = int(number).to_bytes(2, "big")
        tlvs[Tag.NETWORK_ERROR_CODE] = bytes((owed.error.network,)) + code
    elif number.strip("0"):
        # Letters, or a number that is too large: no other parameter has room for it.
        tlvs[Tag.ADDITIONAL_STATUS_INFO_TEXT] = number.encode("ascii", "replace") + b"\0"
    if owed.reference is not None:
        tlvs[Tag.USER_MESSAGE_REFERENCE] = owed.reference.to_bytes(2, "big")
    return tlvs
