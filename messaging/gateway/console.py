"""A bind's last PDUs and errors for the live console, with texts and numbers masked."""

import re
from collections import deque
from typing import Any, Final, Literal

from imissive.core import clock
from messaging.smpp.constants import ESM_UDHI, Tag, command_name, status_name
from messaging.smpp.events import RemoteProtocolError
from messaging.smpp.pdus import (
    Bind,
    DataSm,
    DeliverSm,
    Pdu,
    QuerySmResp,
    Response,
    ShortMessage,
    SubmitMulti,
)
from messaging.smpp.receipt import parse_receipt
from messaging.text import encoding

KEPT: Final = 20
ERRORS_KEPT: Final = 10
NOT_ANSWERED: Final = "no answer in time"
_DIGITS: Final = re.compile(r"\d{7,}")
_CODINGS: Final = {1: "ASCII", 3: "Latin-1", 8: "UCS-2"}

# "<" from the customer, ">" to the customer.
Direction = Literal["<", ">"]
Entry = tuple[float, Direction, str, int, str, Pdu | str]
"""Time (seconds since 1970), direction, command, sequence number, status, and the PDU or a summary.
A PDU is summarized only when it is displayed."""


class Console:
    """The last PDUs and the last errors of one bind."""

    __slots__ = ("errors", "noted")

    def __init__(self) -> None:
        self.noted: deque[Entry] = deque(maxlen=KEPT)
        self.errors: deque[Entry] = deque(maxlen=ERRORS_KEPT)

    def note(self, direction: Direction, pdu: Pdu) -> None:
        """Add a PDU."""
        status = short_status(pdu.status) if isinstance(pdu, Response) else ""
        row: Entry = (
            clock.seconds(),
            direction,
            command_name(pdu.command_id),
            pdu.sequence,
            status,
            _stored(direction, pdu),
        )
        self.noted.append(row)
        if isinstance(pdu, Response) and pdu.status:
            self.errors.append(row)

    def note_response(self, request: Pdu, status: int, message_id: str = "") -> None:
        """Add the response to a request of the customer."""
        name = f"{command_name(request.command_id)}_resp"
        tail = f"message_id={message_id}" if message_id else ""
        now, text = clock.seconds(), short_status(status)
        self.noted.append((now, ">", name, request.sequence, text, tail))
        if status:
            # An error is listed with its request.
            row: Entry = (now, ">", name, request.sequence, text, _stored("<", request))
            self.errors.append(row)

    def note_silence(self, request: Pdu) -> None:
        """Add a request of the server that the customer did not respond to."""
        name = command_name(request.command_id)
        self.errors.append((clock.seconds(), ">", name, request.sequence, "", NOT_ANSWERED))

    def note_fault(self, fault: RemoteProtocolError) -> None:
        """Add a malformed or forbidden PDU of the customer."""
        name, status = command_name(fault.command_id), short_status(fault.status)
        row: Entry = (clock.seconds(), "<", name, fault.sequence, status, fault.reason)
        self.noted.append(row)
        self.errors.append(row)

    def lines(self) -> list[dict[str, Any]]:
        """Return the last PDUs in stored form, oldest first."""
        return [_line(row) for row in self.noted]

    def error_lines(self) -> list[dict[str, Any]]:
        """Return the last errors in stored form, oldest first."""
        return [_line(row) for row in self.errors]


def _stored(direction: Direction, pdu: Pdu) -> Pdu | str:
    """Return the PDU, or its summary where it has a password or up to 64 KiB of TLVs."""
    whole = direction == ">" or not (isinstance(pdu, Bind) or getattr(pdu, "tlvs", None))
    return pdu if whole else summary(pdu)


def _line(row: Entry) -> dict[str, Any]:
    at, way, command, sequence, status, rest = row
    return {
        "at": round(at, 3),
        "way": way,
        "command": command,
        "sequence": sequence,
        "status": status,
        "told": rest if isinstance(rest, str) else summary(rest),
    }


def short_status(status: int) -> str:
    """Return a status by its name, or as a number if it has none."""
    return status_name(status).partition(" ")[0]


def masked_address(written: str) -> str:
    """Return an address for display, with only the first and last digits of a number."""
    return _DIGITS.sub(lambda match: f"{match[0][:5]}…{match[0][-2:]}", written)


def summary(pdu: Pdu) -> str:
    """Return a PDU's fields for display."""
    if isinstance(pdu, Bind):
        version = f"interface_version=0x{pdu.interface_version:02X}"
        return f"{version} system_type={pdu.system_type}" if pdu.system_type else version
    if isinstance(pdu, DeliverSm) and (receipt := _receipt_summary(pdu)):
        return receipt
    words = [
        f"{name}={masked_address(written)}"
        for name in ("message_id", "source_addr", "destination_addr")
        if (written := getattr(pdu, name, ""))
    ]
    if isinstance(pdu, SubmitMulti):
        words.append(f"number_of_dests={len(pdu.dest_address)}")
    if isinstance(pdu, QuerySmResp):
        words.append(f"message_state={pdu.message_state}")
    if isinstance(pdu, ShortMessage | SubmitMulti | DataSm):
        words += _message_fields(pdu)
    return " ".join(words)


def _message_fields(pdu: ShortMessage | SubmitMulti | DataSm) -> list[str]:
    coding = pdu.data_coding
    words = [f"data_coding={coding} ({_CODINGS[coding]})" if coding in _CODINGS else ""]
    if coding and coding not in _CODINGS:
        words.append(f"data_coding={coding}")
    if pdu.registered_delivery:
        words.append(f"registered_delivery={pdu.registered_delivery}")
    for name in ("schedule_delivery_time", "validity_period"):
        if written := getattr(pdu, name, ""):
            words.append(f"{name}={written}")
    content: bytes = getattr(pdu, "short_message", b"") or pdu.tlvs.get(Tag.MESSAGE_PAYLOAD, b"")
    concat = encoding.parse_concat_udh(content) if pdu.esm_class & ESM_UDHI else None
    if concat is not None:
        words.append(f"part={concat.index}/{concat.total} (reference {concat.reference})")
    elif pdu.tlv_int(Tag.SAR_TOTAL_SEGMENTS):
        number, total = pdu.tlv_int(Tag.SAR_SEGMENT_SEQNUM), pdu.tlv_int(Tag.SAR_TOTAL_SEGMENTS)
        words.append(f"part={number}/{total} (reference {pdu.tlv_int(Tag.SAR_MSG_REF_NUM)})")
    if pdu.esm_class:
        words.append(f"esm_class=0x{pdu.esm_class:02X}")
    words.append(f"text=•••• ({len(content)} octets)")
    return [word for word in words if word]


def _receipt_summary(pdu: DeliverSm) -> str:
    receipt = parse_receipt(pdu.short_message, pdu.tlvs, pdu.data_coding)
    if receipt is None:
        return ""
    to = masked_address(pdu.source_addr)
    return f"id={receipt.message_id} stat={receipt.raw_state} for={to}"
