"""The submit_sm PDUs of a message, in a carrier's format. Pure."""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from messaging.smpp.pdus import SubmitSm
from messaging.text import encoding as text
from messaging.text import source_addresses

ESM_UDHI = 0x40  # user data starts with a header (SMPP 3.4, 5.2.12)
DEFAULT_ALPHABET, LATIN1, UCS2 = 0x00, 0x03, 0x08  # data_coding (SMPP 3.4, 5.2.19)
REQUEST_RECEIPT = 0x01  # registered_delivery (SMPP 3.4, 5.2.17)
SHORT_CODE_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Ton:
    """A type of number and a numbering plan (SMPP 3.4, 5.2.5 and 5.2.6)."""

    ton: int
    npi: int


@dataclass(frozen=True, slots=True)
class WireFormat:
    """A carrier's format of addresses and texts."""

    alphanumeric: Ton = Ton(5, 0)
    numeric: Ton = Ton(1, 1)
    short_code: Ton = Ton(3, 0)
    destination: Ton = Ton(1, 1)
    destination_plus: bool = False
    gsm_encoding: str = "unpacked"
    source_coding: str = source_addresses.LATIN_1
    service_type: str = ""
    send_validity: bool = True


def submit_pdus(
    format: WireFormat,
    *,
    message_id: uuid.UUID,
    sender: str,
    to: str,
    body: str,
    validity: timedelta | None,
) -> list[SubmitSm]:
    """Return one submit_sm for each part, in order. `to` in E.164 with '+'."""
    segments = text.split(body)
    source, ton = _source(format, sender)
    total = len(segments.parts)
    # The last octet of the id is random, so two texts to one handset rarely share a reference, and
    # a part that is submitted again has the reference of the other parts.
    reference = message_id.int & 0xFF
    pdus = []
    for index, part in enumerate(segments.parts, start=1):
        header = text.concat_udh(reference, total, index) if total > 1 else b""
        data_coding, user_data = _user_data(format, segments.encoding, part, header)
        pdus.append(
            SubmitSm(
                service_type=format.service_type,
                source_addr_ton=ton.ton,
                source_addr_npi=ton.npi,
                source_addr=source,
                dest_addr_ton=format.destination.ton,
                dest_addr_npi=format.destination.npi,
                destination_addr=to if format.destination_plus else to[1:],
                esm_class=ESM_UDHI if header else 0,
                validity_period=relative_time(validity)
                if format.send_validity and validity is not None
                else "",
                registered_delivery=REQUEST_RECEIPT,
                data_coding=data_coding,
                short_message=header + user_data,
            )
        )
    return pdus


def _source(format: WireFormat, sender: str) -> tuple[str, Ton]:
    digits = sender.removeprefix("+")
    if not digits.isdecimal():
        source = source_addresses.written(sender, format.source_coding)
        if source is None:
            raise ValueError(f"the sender ID cannot be written as {format.source_coding}")
        return source, format.alphanumeric
    if sender.startswith("+") or len(digits) > SHORT_CODE_DIGITS:
        return digits, format.numeric
    return digits, format.short_code


def _user_data(
    format: WireFormat, encoding: text.Encoding, part: bytes, header: bytes
) -> tuple[int, bytes]:
    if encoding == "ucs2":
        return UCS2, part
    if format.gsm_encoding == "packed":
        fill = text.udh_fill_bits(header) if header else 0
        return DEFAULT_ALPHABET, text.pack_septets(part, fill, pad_cr=True)
    if format.gsm_encoding == "latin1":
        latin = text.gsm_to_latin1(part)
        if latin is not None:
            return LATIN1, latin
        # Latin-1 lacks the euro sign and Greek capitals; the default alphabet has them.
    return DEFAULT_ALPHABET, part


def relative_time(span: timedelta) -> str:
    """Return a duration as an SMPP relative time, `YYMMDDhhmmss000R` (SMPP 3.4, 7.1.1.2).

    It is limited to one minute up to 63 days, the range that mobile networks support.
    """
    seconds = int(min(max(span.total_seconds(), 60), 63 * 86_400))
    days, rest = divmod(seconds, 86_400)
    months, days = divmod(days, 30)
    hours, rest = divmod(rest, 3600)
    return f"00{months:02}{days:02}{hours:02}{rest // 60:02}{rest % 60:02}000R"
