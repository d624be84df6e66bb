"""The parser of submits: it reads a message from each PDU. Pure.

It raises Refused with a code of command_statuses.py. Problems that any message can have (number,
sender, length) are found later, by the evaluation that all messages share.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Protocol

from messaging.numbers import e164
from messaging.sending.accept import MAX_VALIDITY, MIN_VALIDITY
from messaging.smpp.constants import ESM_MESSAGE_TYPE_MASK, ESM_UDHI, Tag, Ton
from messaging.smpp.pdus import DataSm, DistributionList, ReplaceSm, SubmitMulti, SubmitSm
from messaging.smpp.times import parse_time
from messaging.text import encoding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

_MODE_MASK: Final = 0x03  # esm_class, SMPP 3.4, 5.2.12
_MODES: Final = frozenset({0x00, 0x03})  # the default, and store and forward
_REPLY_PATH: Final = 0x80
_NPIS: Final = frozenset({0, 1, 6, 8, 9})
_REGISTERED: Final = 0x1F  # registered_delivery, SMPP 3.4, 5.2.17: the bits that mean something
_HIGHEST_PRIORITY: Final = 3
_LARGEST_REFERENCE: Final = 0xFFFF  # user_message_reference and sar_msg_ref_num
_LONG: Final = 10**8  # seconds: longer than any validity
_CLOCKS_DIFFER: Final = timedelta(minutes=1)
_FURTHEST_SCHEDULE: Final = timedelta(days=365)
_UDH_CONCAT: Final = frozenset({0x00, 0x08})  # 3GPP 23.040, 9.2.3.24
_NOT_OFFERED: Final = (Tag.SOURCE_PORT, Tag.DESTINATION_PORT, Tag.USSD_SERVICE_OP)

GSM, PACKED, LATIN_1, UTF_8, ASCII, UCS2 = "gsm", "packed", "latin1", "utf8", "ascii", "ucs2"
_CODECS: Final = {LATIN_1: "latin-1", UTF_8: "utf-8", ASCII: "ascii"}
_BIG_ENDIAN, _LITTLE_ENDIAN, _UTF_8_MARK = b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf"
_NO_WORD: Final = frozenset({b"", b" ", b"\n", b"\r", b"\0"})
# data_coding, SMPP 3.4, 5.2.19; 0 and 1 are the account's.
_CODINGS: Final = {0x03: LATIN_1, 0x08: UCS2}
# Octets for a program on the handset instead of a text: they cannot be sent unchanged.
_BINARY: Final = frozenset({0x02, 0x04})
# 3GPP 23.038, 4: the alphabet in bits 3 and 2 of the general group, in bit 2 of the last one.
_CONTROLS: Final = frozenset(map(chr, (*range(32), 127))) - frozenset("\t\n\f\r")
_GENERAL: Final = (GSM, None, UCS2, None)


class Refused(Exception):
    """An invalid submit. `code` is one of command_statuses.py."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Dialect(Protocol):
    """The settings of an account for reading its submits."""

    @property
    def default_coding(self) -> str: ...
    @property
    def ascii_coding(self) -> str: ...
    @property
    def home(self) -> str: ...
    @property
    def may_be_urgent(self) -> bool: ...
    @property
    def references_once(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Address:
    """An address in the customer's form."""

    ton: int
    npi: int
    written: str


@dataclass(frozen=True, slots=True)
class Part:
    """The position of a part in a concatenated text.

    `key` is the same for all its parts, and for another text only if the reference is reused.
    """

    key: bytes
    total: int
    number: int

    def of_bind(self, bind: UUID) -> Part:
        """Return the part as one of a separate text that only this bind sends."""
        key = blake2b(self.key + bind.bytes, digest_size=16).digest()
        return Part(key, self.total, self.number)


@dataclass(frozen=True, slots=True)
class ParsedSubmit:
    """A parsed submit. `content` is its user data in `coding`; `text` is None for a part.

    `fingerprint` identifies a repeated submit, if the account's settings ask for that.
    """

    source: Address
    destination: Address
    to: str
    sender: str | None
    data_coding: int
    coding: str
    content: bytes
    text: str | None
    part: Part | None
    registered_delivery: int
    scheduled_at: datetime | None
    validity: timedelta | None
    urgent: bool
    reference: int | None
    fingerprint: bytes | None


def read_submit(pdu: SubmitSm, dialect: Dialect, now: datetime) -> ParsedSubmit:
    """Parse a submit_sm (SMPP 3.4, 4.4.1). Raise Refused if it is invalid."""
    if pdu.replace_if_present_flag:
        raise Refused("REPLACE_NOT_OFFERED", "replace_if_present_flag is set")
    if pdu.sm_default_msg_id:
        raise Refused("PREDEFINED_NOT_OFFERED", "there are no predefined messages")
    if not 0 <= pdu.priority_flag <= _HIGHEST_PRIORITY:
        raise Refused("INVALID_PRIORITY", "priority_flag is 0 to 3")
    if pdu.short_message and Tag.MESSAGE_PAYLOAD in pdu.tlvs:
        raise Refused("PARAMETER_NOT_ALLOWED", "short_message and message_payload are both there")
    scheduled_at = schedule(pdu.schedule_delivery_time, now)
    return _read(
        pdu,
        Address(pdu.dest_addr_ton, pdu.dest_addr_npi, pdu.destination_addr),
        dialect,
        scheduled_at=scheduled_at,
        validity=validity(pdu.validity_period, scheduled_at or now, now),
        urgent=dialect.may_be_urgent and pdu.priority_flag > 0,
    )


def read_data(pdu: DataSm, dialect: Dialect, now: datetime) -> ParsedSubmit:
    """Parse a data_sm (SMPP 3.4, 4.7.1), with its validity in qos_time_to_live. Raise Refused."""
    if Tag.MESSAGE_PAYLOAD not in pdu.tlvs:
        raise Refused("MISSING_PARAMETER", "message_payload is missing")
    seconds = pdu.tlv_int(Tag.QOS_TIME_TO_LIVE)
    return _read(
        pdu,
        Address(pdu.dest_addr_ton, pdu.dest_addr_npi, pdu.destination_addr),
        dialect,
        scheduled_at=None,
        validity=_bounded(timedelta(seconds=min(seconds, _LONG))) if seconds else None,
        urgent=False,
    )


def _read(
    pdu: SubmitSm | DataSm,
    destination: Address,
    dialect: Dialect,
    *,
    scheduled_at: datetime | None,
    validity: timedelta | None,
    urgent: bool,
) -> ParsedSubmit:
    _check_classes(pdu)
    source = Address(pdu.source_addr_ton, pdu.source_addr_npi, pdu.source_addr)
    coding = coding_of(pdu.data_coding, dialect)
    concat, content, fill = _user_data(pdu, coding)
    if coding == PACKED:
        content, coding = _unpacked(content, fill), GSM
    else:
        is_end = concat is None or concat.index == concat.total
        content = _without_counted_nul(coding, content, is_end=is_end)
    if not content:
        raise Refused("EMPTY_MESSAGE", "the message is empty")
    part = None
    if concat is not None:
        part = Part(_key(source, destination, coding, concat), concat.total, concat.index)
    reference = pdu.tlv_int(Tag.USER_MESSAGE_REFERENCE)
    if reference is not None and reference > _LARGEST_REFERENCE:
        raise Refused("INVALID_PARAMETER", "user_message_reference has two octets")
    return ParsedSubmit(
        source=source,
        destination=destination,
        to=number_of(destination, dialect.home),
        sender=_sender(source),
        data_coding=pdu.data_coding,
        coding=coding,
        content=content,
        text=None if part else decode_text(coding, [content]),
        part=part,
        registered_delivery=pdu.registered_delivery,
        scheduled_at=scheduled_at,
        validity=validity,
        urgent=urgent,
        reference=reference,
        fingerprint=_fingerprint(reference, source, destination, pdu)
        if dialect.references_once and reference is not None
        else None,
    )


def _check_classes(pdu: SubmitSm | DataSm) -> None:
    if pdu.esm_class & _MODE_MASK not in _MODES:
        raise Refused("INVALID_ESM_CLASS", "only store and forward is offered")
    if pdu.esm_class & (ESM_MESSAGE_TYPE_MASK | _REPLY_PATH):
        raise Refused("INVALID_ESM_CLASS", "acknowledgements and reply path are not offered")
    if pdu.registered_delivery & ~_REGISTERED:
        raise Refused("INVALID_REGISTERED_DELIVERY", "a reserved bit is set")
    for tag in _NOT_OFFERED:
        if tag in pdu.tlvs:
            raise Refused("PARAMETER_NOT_ALLOWED", f"the TLV 0x{tag:04X} is not offered")


def destinations_of(pdu: SubmitMulti) -> list[Address]:
    """Return a submit_multi's numbers (SMPP 3.4, 4.5.1). Raise Refused for distribution lists."""
    addresses = []
    for destination in pdu.dest_address:
        if isinstance(destination, DistributionList):
            raise Refused("DISTRIBUTION_LIST_NOT_OFFERED", "there are no distribution lists")
        addresses.append(
            Address(
                destination.dest_addr_ton, destination.dest_addr_npi, destination.destination_addr
            )
        )
    return addresses


def single_of(pdu: SubmitMulti, destination: Address) -> SubmitSm:
    """Return the equivalent submit_sm for one destination of a submit_multi."""
    return SubmitSm(
        pdu.service_type,
        pdu.source_addr_ton,
        pdu.source_addr_npi,
        pdu.source_addr,
        destination.ton,
        destination.npi,
        destination.written,
        pdu.esm_class,
        pdu.protocol_id,
        pdu.priority_flag,
        pdu.schedule_delivery_time,
        pdu.validity_period,
        pdu.registered_delivery,
        pdu.replace_if_present_flag,
        pdu.data_coding,
        pdu.sm_default_msg_id,
        pdu.short_message,
        pdu.tlvs,
    )


# -- addresses -------------------------------------------------------------------------------


def number_of(address: Address, home: str) -> str:
    """Return the destination in the form for the evaluation. Raise Refused.

    `home` is the country of national numbers. Many clients send all numbers with TON 0, mostly with
    the calling code and without a plus.
    """
    if address.npi not in _NPIS:
        raise Refused("INVALID_DESTINATION_NPI", "this numbering plan is not served")
    written = address.written
    with_code = written if written.startswith(("+", "00")) else f"+{written}"
    if address.ton == Ton.INTERNATIONAL:
        return with_code
    if address.ton == Ton.UNKNOWN or (address.ton == Ton.NATIONAL and home):
        try:
            return e164.parse(written, home).e164
        except e164.InvalidNumber as error:
            with_a_code = written.startswith(("+", "00"))
            if address.ton == Ton.NATIONAL or (
                not with_a_code and e164.starts_like_national(written, home)
            ):
                raise Refused("INVALID_PHONE", error.reason.name) from None
            return with_code
    raise Refused("INVALID_DESTINATION_TON", "this type of number is not served")


def _sender(address: Address) -> str | None:
    """Return the sender ID of a source address; None for the organization's default."""
    if not address.written:
        return None
    if address.ton > Ton.ABBREVIATED:
        raise Refused("INVALID_SOURCE_TON", "there is no such type of number")
    if address.ton == Ton.INTERNATIONAL and address.written.isdigit():
        return f"+{address.written}"
    return address.written


# -- text ------------------------------------------------------------------------------------


def coding_of(data_coding: int, dialect: Dialect) -> str:
    """Return the coding of a text with that data_coding. Raise Refused if it is unsupported.

    A message class (3GPP 23.038, 4) only affects how a handset displays the text, and is ignored.
    """
    default = dialect.default_coding
    if data_coding == 0:
        return default
    if data_coding == 1:
        return dialect.ascii_coding
    coding = _CODINGS.get(data_coding)
    if coding is None and data_coding & 0xF0 == 0x10:
        coding = _GENERAL[data_coding >> 2 & 3]
    elif coding is None and data_coding & 0xF0 == 0xF0:
        coding = None if data_coding & 4 else GSM
    if coding is None:
        problem = "binary data" if _is_binary(data_coding) else "not read"
        raise Refused("INVALID_CODING", f"data_coding {data_coding} is {problem}")
    return default if coding == GSM and default == PACKED else coding


def _is_binary(data_coding: int) -> bool:
    if data_coding & 0xF0 in (0x10, 0xF0):
        return bool(data_coding & 4)
    return data_coding in _BINARY


def decode_text(coding: str, parts: Sequence[bytes]) -> str:
    """Return the text of one or all parts, in order. Raise Refused for invalid octets."""
    try:
        if coding == GSM:
            return encoding.join("gsm7", parts)
        if coding == UCS2:
            return encoding.join("ucs2", _big_endian(parts))
        octets = b"".join(parts)
        if coding == UTF_8:
            octets = octets.removeprefix(_UTF_8_MARK)
        if coding == ASCII and not _CONTROLS.isdisjoint(octets.decode("ascii")):
            # Most likely GSM's alphabet, which some clients send with data_coding 1.
            raise ValueError("there are control characters in it")
        return octets.decode(_CODECS[coding])
    except ValueError as error:
        raise Refused("INVALID_TEXT", f"the octets are no {coding} text: {error}") from None


def _big_endian(parts: Sequence[bytes]) -> list[bytes]:
    """Return UCS-2 parts in SMPP's byte order, without byte order marks.

    A part without a mark has the byte order of the first one.
    """
    little = parts[0].startswith(_LITTLE_ENDIAN)
    ordered = []
    for part in parts:
        swap = part.startswith(_LITTLE_ENDIAN) or (little and not part.startswith(_BIG_ENDIAN))
        if swap and len(part) % 2:
            raise ValueError("an odd number of octets")
        if swap:
            swapped = bytearray(part)
            swapped[::2], swapped[1::2] = part[1::2], part[::2]
            part = bytes(swapped)
        ordered.append(part.removeprefix(_BIG_ENDIAN))
    return ordered


def _without_counted_nul(coding: str, content: bytes, *, is_end: bool) -> bytes:
    """Return a text without the final NUL that some clients add and count.

    In GSM's alphabet that octet is also `@`. After a space, or alone, it is read as `@`; after a
    word it is not, since no word ends so. `is_end`: the end of the text, not of a part.
    """
    if not content.endswith(b"\0"):
        return content
    if coding == UCS2:
        if len(content) % 2:
            return content[:-1] if is_end else content
        return content.removesuffix(b"\0\0")
    if coding == GSM:
        ends_a_word = is_end and content[-2:-1] not in _NO_WORD
        return content[:-1] if ends_a_word else content
    return content[:-1]


def encode_text(coding: str, written: str) -> bytes:
    """Return a text as octets of that coding, with `?` for characters that it lacks."""
    if coding == GSM:
        return encoding.written_in_gsm(written)
    return written.encode(_CODECS[coding], "replace")


def read_replacement(pdu: ReplaceSm, data_coding: int, dialect: Dialect) -> str:
    """Return the text of a replace_sm (SMPP 3.4, 4.10.1), in the coding of the original."""
    if pdu.sm_default_msg_id:
        raise Refused("PREDEFINED_NOT_OFFERED", "there are no predefined messages")
    if pdu.registered_delivery & ~_REGISTERED:
        raise Refused("INVALID_REGISTERED_DELIVERY", "a reserved bit is set")
    content, coding = pdu.short_message, coding_of(data_coding, dialect)
    if coding == PACKED:
        content, coding = _unpacked(content, 0), GSM
    else:
        content = _without_counted_nul(coding, content, is_end=True)
    if not content:
        raise Refused("EMPTY_MESSAGE", "the message is empty")
    return decode_text(coding, [content])


def _unpacked(octets: bytes, fill_bits: int) -> bytes:
    try:
        return encoding.unpack_septets(octets, fill_bits)
    except ValueError as error:
        raise Refused("INVALID_TEXT", str(error)) from None


def _user_data(pdu: SubmitSm | DataSm, coding: str) -> tuple[encoding.Concat | None, bytes, int]:
    """Return the part's position, its octets without the header, and the fill bits after it."""
    content = pdu.content
    if not pdu.esm_class & ESM_UDHI:
        return _sar(pdu), content, 0
    concat = encoding.parse_concat_udh(content)
    if concat is None or not _only_concat(content[: concat.octets]):
        raise Refused("INVALID_HEADER", "the user data header holds more than a concatenation")
    fill = encoding.udh_fill_bits(content[: concat.octets]) if coding == PACKED else 0
    return concat if concat.total > 1 else None, content[concat.octets :], fill


def _only_concat(header: bytes) -> bool:
    position = 1
    while position + 1 < len(header):
        if header[position] not in _UDH_CONCAT:
            return False
        position += 2 + header[position + 1]
    return True


def _sar(pdu: SubmitSm | DataSm) -> encoding.Concat | None:
    """Return the part's position by its SAR TLVs (SMPP 3.4, 5.3.2.22 to 24), or None."""
    reference = pdu.tlv_int(Tag.SAR_MSG_REF_NUM)
    total = pdu.tlv_int(Tag.SAR_TOTAL_SEGMENTS)
    number = pdu.tlv_int(Tag.SAR_SEGMENT_SEQNUM)
    if reference is None and total is None and number is None:
        return None
    if reference is None or total is None or number is None:
        raise Refused("MISSING_PARAMETER", "one of the three SAR parameters is missing")
    if not (1 <= number <= total <= 255 and reference <= _LARGEST_REFERENCE):
        raise Refused("INVALID_PARAMETER", "there is no such part")
    return encoding.Concat(reference, total, number, 16, 0) if total > 1 else None


def _key(source: Address, destination: Address, coding: str, concat: encoding.Concat) -> bytes:
    # A part with SAR TLVs never belongs to a text with user data headers.
    kind = "sar" if concat.octets == 0 else str(concat.width)
    identity = (source, destination, coding, kind, concat.reference, concat.total)
    return blake2b(repr(identity).encode(), digest_size=16).digest()


def _fingerprint(
    reference: int, source: Address, destination: Address, pdu: SubmitSm | DataSm
) -> bytes:
    identity = (reference, source, destination, pdu.esm_class, pdu.data_coding, pdu.content)
    sar = tuple(pdu.tlvs.get(tag) for tag in (Tag.SAR_MSG_REF_NUM, Tag.SAR_SEGMENT_SEQNUM))
    return blake2b(repr((identity, sar)).encode(), digest_size=16).digest()


# -- times -----------------------------------------------------------------------------------


def schedule(written: str, now: datetime) -> datetime | None:
    """Return a schedule_delivery_time; None if empty or just passed. Raise Refused."""
    if not written:
        return None
    try:
        at = parse_time(written, now)
    except (ValueError, OverflowError) as error:
        raise Refused("INVALID_SCHEDULE", str(error)) from None
    if at > now + _FURTHEST_SCHEDULE or at < now - _CLOCKS_DIFFER:
        raise Refused("INVALID_SCHEDULE", "the time has passed, or is over a year away")
    return at if at > now else None


def validity(written: str, start: datetime, now: datetime) -> timedelta | None:
    """Return a validity_period, counted from `start`; None if empty. Raise Refused."""
    if not written:
        return None
    try:
        # A relative period counts from the start of the message (SMPP 3.4, 4.4.1).
        until = parse_time(written, start if written.endswith("R") else now)
    except (ValueError, OverflowError) as error:
        raise Refused("INVALID_VALIDITY", str(error)) from None
    return _bounded(until - start)


def _bounded(validity: timedelta) -> timedelta:
    """Limit a validity to the platform's maximum. Raise Refused if it is below the minimum."""
    if validity < MIN_VALIDITY:
        reason = f"shorter than {MIN_VALIDITY.total_seconds():g} s"
        raise Refused("INVALID_VALIDITY", reason)
    return min(validity, MAX_VALIDITY)
