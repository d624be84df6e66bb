"""Mandatory fields of each PDU in their order on the wire, with their limits.

smpplib silently truncates a text that is too long when it encodes, and reads past the end of a
short frame when it decodes. So the codec checks a PDU here before smpplib writes it, and measures
a frame here before smpplib reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from messaging.smpp import pdus
from messaging.smpp.constants import MAX_FRAME_LENGTH, MAX_SHORT_MESSAGE, Status
from messaging.smpp.errors import DecodeError, EncodeError


class Kind(Enum):
    """The wire format of a field."""

    INT = auto()  # one octet
    TEXT = auto()  # C-Octet String, at most `limit` octets with its NUL
    TIME = auto()  # C-Octet String of 1 or 17 octets with its NUL
    MESSAGE = auto()  # sm_length in one octet, then so many octets


@dataclass(frozen=True, slots=True)
class Field:
    """One mandatory field. `status` is the command_status for a value over the limit."""

    name: str
    kind: Kind
    limit: int = 1
    status: int = Status.ESME_RINVPARLEN


Layout = tuple[Field, ...]


def _text(name: str, limit: int, status: int = Status.ESME_RINVPARLEN) -> Field:
    return Field(name, Kind.TEXT, limit, status)


def _ints(*names: str) -> Layout:
    return tuple(Field(name, Kind.INT) for name in names)


def _address(prefix: str, name: str, limit: int, status: int) -> Layout:
    return (*_ints(f"{prefix}_ton", f"{prefix}_npi"), _text(name, limit, status))


_SERVICE_TYPE = _text("service_type", 6, Status.ESME_RINVSERTYP)
_MESSAGE_ID = _text("message_id", 65, Status.ESME_RINVMSGID)
_SYSTEM_ID = _text("system_id", 16, Status.ESME_RINVSYSID)
_PASSWORD = _text("password", 9, Status.ESME_RINVPASWD)
_SOURCE = _address("source_addr", "source_addr", 21, Status.ESME_RINVSRCADR)
_DESTINATION = _address("dest_addr", "destination_addr", 21, Status.ESME_RINVDSTADR)
# data_sm and alert_notification have longer addresses than the rest: SMPP 3.4, 4.7.1 and 4.12.1.
_LONG_SOURCE = _address("source_addr", "source_addr", 65, Status.ESME_RINVSRCADR)
_LONG_DESTINATION = _address("dest_addr", "destination_addr", 65, Status.ESME_RINVDSTADR)
_SCHEDULE = Field("schedule_delivery_time", Kind.TIME, 17, Status.ESME_RINVSCHED)
_VALIDITY = Field("validity_period", Kind.TIME, 17, Status.ESME_RINVEXPIRY)
_MESSAGE = Field("short_message", Kind.MESSAGE, MAX_SHORT_MESSAGE, Status.ESME_RINVMSGLEN)

_BIND: Final[Layout] = (
    _SYSTEM_ID,
    _PASSWORD,
    _text("system_type", 13, Status.ESME_RINVSYSTYP),
    *_ints("interface_version", "addr_ton", "addr_npi"),
    _text("address_range", 41),
)
_AFTER_ADDRESSES: Final[Layout] = (
    *_ints("esm_class", "protocol_id", "priority_flag"),
    _SCHEDULE,
    _VALIDITY,
    *_ints("registered_delivery", "replace_if_present_flag", "data_coding", "sm_default_msg_id"),
    _MESSAGE,
)
_SHORT_MESSAGE: Final[Layout] = (_SERVICE_TYPE, *_SOURCE, *_DESTINATION, *_AFTER_ADDRESSES)

# submit_multi's list of destinations is between two runs of ordinary fields.
MULTI_HEAD: Final[Layout] = (_SERVICE_TYPE, *_SOURCE)
MULTI_TAIL: Final[Layout] = _AFTER_ADDRESSES
MULTI_RESP_HEAD: Final[Layout] = (_MESSAGE_ID,)
SME_ADDRESS: Final[Layout] = _DESTINATION
DISTRIBUTION_LIST: Final[Layout] = (_text("dl_name", 21, Status.ESME_RINVDLNAME),)

LAYOUTS: Final[dict[type[pdus.Pdu], Layout]] = {
    pdus.BindTransmitter: _BIND,
    pdus.BindReceiver: _BIND,
    pdus.BindTransceiver: _BIND,
    pdus.BindTransmitterResp: (_SYSTEM_ID,),
    pdus.BindReceiverResp: (_SYSTEM_ID,),
    pdus.BindTransceiverResp: (_SYSTEM_ID,),
    pdus.Outbind: (_SYSTEM_ID, _PASSWORD),
    pdus.Unbind: (),
    pdus.UnbindResp: (),
    pdus.EnquireLink: (),
    pdus.EnquireLinkResp: (),
    pdus.GenericNack: (),
    pdus.SubmitSm: _SHORT_MESSAGE,
    pdus.SubmitSmResp: (_MESSAGE_ID,),
    pdus.DeliverSm: _SHORT_MESSAGE,
    pdus.DeliverSmResp: (_MESSAGE_ID,),
    pdus.DataSm: (
        _SERVICE_TYPE,
        *_LONG_SOURCE,
        *_LONG_DESTINATION,
        *_ints("esm_class", "registered_delivery", "data_coding"),
    ),
    pdus.DataSmResp: (_MESSAGE_ID,),
    pdus.QuerySm: (_MESSAGE_ID, *_SOURCE),
    pdus.QuerySmResp: (
        _MESSAGE_ID,
        Field("final_date", Kind.TIME, 17),
        *_ints("message_state", "error_code"),
    ),
    pdus.CancelSm: (_SERVICE_TYPE, _MESSAGE_ID, *_SOURCE, *_DESTINATION),
    pdus.CancelSmResp: (),
    pdus.ReplaceSm: (
        _MESSAGE_ID,
        *_SOURCE,
        _SCHEDULE,
        _VALIDITY,
        *_ints("registered_delivery", "sm_default_msg_id"),
        _MESSAGE,
    ),
    pdus.ReplaceSmResp: (),
    pdus.AlertNotification: (
        *_LONG_SOURCE,
        *_address("esme_addr", "esme_addr", 65, Status.ESME_RINVDSTADR),
    ),
}


def _wide(layout: Layout) -> Layout:
    return tuple(
        field if field.kind is Kind.INT else replace(field, limit=_WIDE[field.kind])
        for field in layout
    )


# Requests from a carrier are read leniently: the id and the state of a receipt matter, and would
# be lost for good because another field is one character too long. Our own PDUs keep the limits.
_WIDE: Final = {Kind.TEXT: MAX_FRAME_LENGTH, Kind.TIME: MAX_FRAME_LENGTH, Kind.MESSAGE: 0xFF}
READING: Final[dict[type[pdus.Pdu], Layout]] = LAYOUTS | {
    pdu_type: _wide(LAYOUTS[pdu_type]) for pdu_type in (pdus.DeliverSm, pdus.DataSm)
}


def check(layout: Layout, record: object) -> None:
    """Raise EncodeError with the name of the first field over its limit."""
    for field in layout:
        value = getattr(record, field.name)
        problem = _PROBLEMS[field.kind](value, field.limit)
        if problem:
            raise EncodeError(field.name, problem)


def _int_problem(value: object, limit: int) -> str | None:
    if isinstance(value, int) and 0 <= value <= 0xFF:
        return None
    return "must be an integer from 0 to 255"


def _text_problem(value: object, limit: int) -> str | None:
    if not isinstance(value, str):
        return "must be text"
    if len(value) >= limit:
        return f"{len(value)} characters, and at most {limit - 1} are allowed"
    if "\0" in value:
        return "must not contain a NUL"
    if any(character > "\xff" for character in value):
        return "must be ASCII or Latin-1"
    return None


def _time_problem(value: object, limit: int) -> str | None:
    if isinstance(value, str) and len(value) not in (0, limit - 1):
        return f"must be empty or {limit - 1} characters"
    return _text_problem(value, limit)


def _message_problem(value: object, limit: int) -> str | None:
    if not isinstance(value, bytes):
        return "must be bytes"
    if len(value) > limit:
        return f"{len(value)} octets, and at most {limit} are allowed"
    return None


_PROBLEMS: Final = {
    Kind.INT: _int_problem,
    Kind.TEXT: _text_problem,
    Kind.TIME: _time_problem,
    Kind.MESSAGE: _message_problem,
}


def measure(layout: Layout, frame: bytes, pos: int) -> int:
    """Return where the fields from `pos` end. Raise DecodeError if they do not fit the frame."""
    for field in layout:
        if field.kind is Kind.INT:
            pos += 1
        elif field.kind is Kind.MESSAGE:
            pos = _message_end(field, frame, pos)
        else:
            pos = _text_end(field, frame, pos)
        if pos > len(frame):
            raise DecodeError(Status.ESME_RINVCMDLEN, f"ends before {field.name}")
    return pos


def _text_end(field: Field, frame: bytes, pos: int) -> int:
    nul = frame.find(b"\0", pos, pos + field.limit)
    if nul >= 0:
        return nul + 1
    if len(frame) - pos >= field.limit:
        raise DecodeError(field.status, f"{field.name} is over {field.limit - 1} characters")
    raise DecodeError(Status.ESME_RINVCMDLEN, f"ends within {field.name}")


def _message_end(field: Field, frame: bytes, pos: int) -> int:
    if pos >= len(frame):
        raise DecodeError(Status.ESME_RINVCMDLEN, "ends before sm_length")
    length = frame[pos]
    if length > field.limit or pos + 1 + length > len(frame):
        raise DecodeError(field.status, f"sm_length {length} does not fit")
    return pos + 1 + length
