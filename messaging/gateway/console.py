"""A bind's last PDUs and errors for people, texts and numbers masked."""

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

# From the customer, to the customer.
Direction = Literal["<", ">"]
Noted = tuple[float, Direction, str, int, str, Pdu | str]
"""When (seconds since 1970), which way, command, sequence number, status, and what else of it: a
PDU is put into words only where somebody is told."""


class Console:
    """The last PDUs and the last errors of one bind."""

    __slots__ = ("errors", "noted")

    def __init__(self) -> None:
        self.noted: deque[Noted] = deque(maxlen=KEPT)
        self.errors: deque[Noted] = deque(maxlen=ERRORS_KEPT)

    def note(self, direction: Direction, pdu: Pdu) -> None:
        """Keep what may be shown of a PDU."""
        status = short_status(pdu.status) if isinstance(pdu, Response) else ""
        row: Noted = (
            clock.seconds(),
            direction,
            command_name(pdu.command_id),
            pdu.sequence,
            status,
            _kept(direction, pdu),
        )
        self.noted.append(row)
        if isinstance(pdu, Response) and pdu.status:
            self.errors.append(row)

    def note_answer(self, request: Pdu, status: int, message_id: str = "") -> None:
        """Keep what a request of the customer's was answered with."""
        name = f"{command_name(request.command_id)}_resp"
        tail = f"message_id={message_id}" if message_id else ""
        now, evaluation = clock.seconds(), short_status(status)
        self.noted.append((now, ">", name, request.sequence, evaluation, tail))
        if status:
            # An error says by itself what was asked.
            self.errors.append((now, ">", name, request.sequence, evaluation, _kept("<", request)))

    def note_silence(self, request: Pdu) -> None:
        """A request of ours that the customer did not answer."""
        name = command_name(request.command_id)
        self.errors.append((clock.seconds(), ">", name, request.sequence, "", NOT_ANSWERED))

    def note_fault(self, fault: RemoteProtocolError) -> None:
        """Note what the customer sent that is malformed or not allowed."""
        name, status = command_name(fault.command_id), short_status(fault.status)
        row: Noted = (clock.seconds(), "<", name, fault.sequence, status, fault.reason)
        self.noted.append(row)
        self.errors.append(row)

    def lines(self) -> list[dict[str, Any]]:
        """The last PDUs as they are stored, oldest first."""
        return [_line(row) for row in self.noted]

    def error_lines(self) -> list[dict[str, Any]]:
        """The last errors as they are stored, oldest first."""
        return [_line(row) for row in self.errors]


def _kept(direction: Direction, pdu: Pdu) -> Pdu | str:
    """The PDU itself, but for a password and for what may be 64 KiB of the customer's."""
    whole = direction == ">" or not (isinstance(pdu, Bind) or getattr(pdu, "tlvs", None))
    return pdu if whole else told(pdu)


def _line(row: Noted) -> dict[str, Any]:
    at, way, command, sequence, status, rest = row
    return {
        "at": round(at, 3),
        "way": way,
        "command": command,
        "sequence": sequence,
        "status": status,
        "told": rest if isinstance(rest, str) else told(rest),
    }


def short_status(status: int) -> str:
    """A status by its name, or as a number where it has none."""
    return status_name(status).partition(" ")[0]


def masked_address(written: str) -> str:
    """An address as it may be shown: of a number its beginning and its last two digits."""
    return _DIGITS.sub(lambda found: f"{found[0][:5]}…{found[0][-2:]}", written)


def told(pdu: Pdu) -> str:
    """Return what may be shown of a PDU's fields."""
    if isinstance(pdu, Bind):
        version = f"interface_version=0x{pdu.interface_version:02X}"
        return f"{version} system_type={pdu.system_type}" if pdu.system_type else version
    if isinstance(pdu, DeliverSm) and (receipt := _receipt_told(pdu)):
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
        words += _message_told(pdu)
    return " ".join(words)


def _message_told(pdu: ShortMessage | SubmitMulti | DataSm) -> list[str]:
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


def _receipt_told(pdu: DeliverSm) -> str:
    receipt = parse_receipt(pdu.short_message, pdu.tlvs, pdu.data_coding)
    if receipt is None:
        return ""
    to = masked_address(pdu.source_addr)
    return f"id={receipt.message_id} stat={receipt.raw_state} for={to}"
