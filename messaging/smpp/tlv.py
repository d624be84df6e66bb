"""Encoding and decoding of TLVs, known or unknown (SMPP 3.4, 3.2.4)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from messaging.smpp.constants import Tag
from messaging.smpp.errors import EncodeError

if TYPE_CHECKING:
    from messaging.smpp.pdus import Tlvs

_HEADER = Struct(">HH")  # tag, length
_TAGS = frozenset(int(tag) for tag in Tag)
# The vendors' range (0x1400 to 0x3FFF: SMPP 3.4, 5.3.1) without tags that look like letters.
_VENDORS = range(0x1400, 0x2000)


def write_tlvs(tlvs: Tlvs) -> bytes:
    """Return the octets of TLVs in the dict's order."""
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


def read_tlvs(frame: bytes, pos: int) -> tuple[Tlvs, int]:
    """Return the TLVs from `pos`, and their end: the frame's end if all can be read.

    The last of a repeated tag counts.
    """
    end = len(frame)
    tlvs: Tlvs = {}
    while pos + 4 <= end:
        tag, length = _HEADER.unpack_from(frame, pos)
        if pos + 4 + length > end:
            break
        pos += 4 + length
        tlvs[tag] = frame[pos - length : pos]
    return tlvs, pos


def is_cut_short(frame: bytes, pos: int) -> bool:
    """Return whether the octets may be a truncated TLV, or a few stray octets.

    Only one text in a million starts like those tags.
    """
    if len(frame) - pos < _HEADER.size:
        return True
    tag, _ = _HEADER.unpack_from(frame, pos)
    return tag in _TAGS or tag in _VENDORS
