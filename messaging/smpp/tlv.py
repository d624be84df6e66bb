"""Optional parameters (TLVs) to octets and back, known or unknown (SMPP 3.4, 3.2.4)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from messaging.smpp.constants import Status
from messaging.smpp.errors import DecodeError, EncodeError

if TYPE_CHECKING:
    from messaging.smpp.pdus import Tlvs

_HEADER = Struct(">HH")  # tag, length


def write_tlvs(tlvs: Tlvs) -> bytes:
    """Octets of TLVs in the dict's order."""
    parts: list[bytes] = []
    for tag, value in tlvs.items():
        if not 0 <= tag <= 0xFFFF:
            raise EncodeError("tlvs", f"tag {tag} is not within 0 and 65535")
        if not isinstance(value, bytes):
            raise EncodeError("tlvs", f"the value of tag 0x{tag:04X} must be bytes")
        if len(value) > 0xFFFF:
            raise EncodeError("tlvs", f"the value of tag 0x{tag:04X} is over 65535 octets")
        parts.append(_HEADER.pack(tag, len(value)))
        parts.append(value)
    return b"".join(parts)


def read_tlvs(frame: bytes, pos: int) -> Tlvs:
    """TLVs from `pos` to the end of the frame; of a repeated tag the last stands."""
    end = len(frame)
    tlvs: Tlvs = {}
    while pos < end:
        if pos + 4 > end:
            raise DecodeError(Status.ESME_RINVOPTPARSTREAM, "ends within a TLV's header")
        tag, length = _HEADER.unpack_from(frame, pos)
        pos += 4 + length
        if pos > end:
            raise DecodeError(Status.ESME_RINVOPTPARSTREAM, f"TLV 0x{tag:04X} is longer than it")
        tlvs[tag] = frame[pos - length : pos]
    return tlvs
