"""submit_multi and its response, with the lists that smpplib lacks (SMPP 3.4, 4.5)."""

from __future__ import annotations

from struct import Struct
from typing import Final

from messaging.smpp import layout
from messaging.smpp.constants import Status
from messaging.smpp.engine import read_fields, write_fields
from messaging.smpp.errors import DecodeError, EncodeError
from messaging.smpp.pdus import (
    DistributionList,
    SmeAddress,
    SubmitMulti,
    SubmitMultiResp,
    UnsuccessfulSme,
)

_SME_FLAG: Final = 1  # dest_flag, SMPP 3.4, 5.2.25
_LIST_FLAG: Final = 2
_MAX_DESTINATIONS: Final = 254
_STATUS = Struct(">I")


def write_multi(pdu: SubmitMulti) -> bytes:
    """Return the body of submit_multi without TLVs."""
    layout.check(layout.MULTI_HEAD, pdu)
    layout.check(layout.MULTI_TAIL, pdu)
    if not 1 <= len(pdu.dest_address) <= _MAX_DESTINATIONS:
        raise EncodeError("dest_address", f"1 to {_MAX_DESTINATIONS} destinations are allowed")
    parts = [write_fields(layout.MULTI_HEAD, pdu), bytes((len(pdu.dest_address),))]
    for destination in pdu.dest_address:
        is_list = isinstance(destination, DistributionList)
        fields = layout.DISTRIBUTION_LIST if is_list else layout.SME_ADDRESS
        layout.check(fields, destination)
        parts.append(bytes((_LIST_FLAG if is_list else _SME_FLAG,)))
        parts.append(write_fields(fields, destination))
    parts.append(write_fields(layout.MULTI_TAIL, pdu))
    return b"".join(parts)


def read_multi(frame: bytes, pos: int) -> tuple[SubmitMulti, int]:
    """Return submit_multi from `pos`, and the end of its mandatory part."""
    end = layout.measure(layout.MULTI_HEAD, frame, pos)
    values = read_fields(layout.MULTI_HEAD, frame[pos:end])
    count, pos = _count(frame, end, "number_of_dests")
    destinations: list[SmeAddress | DistributionList] = []
    for _ in range(count):
        destination, pos = _read_destination(frame, pos)
        destinations.append(destination)
    if not 1 <= count <= _MAX_DESTINATIONS:
        raise DecodeError(Status.ESME_RINVNUMDESTS, f"number_of_dests {count}")
    end = layout.measure(layout.MULTI_TAIL, frame, pos)
    values |= read_fields(layout.MULTI_TAIL, frame[pos:end])
    return SubmitMulti(dest_address=destinations, **values), end


def _read_destination(frame: bytes, pos: int) -> tuple[SmeAddress | DistributionList, int]:
    flag, pos = _count(frame, pos, "dest_flag")
    if flag == _SME_FLAG:
        end = layout.measure(layout.SME_ADDRESS, frame, pos)
        return SmeAddress(**read_fields(layout.SME_ADDRESS, frame[pos:end])), end
    if flag == _LIST_FLAG:
        end = layout.measure(layout.DISTRIBUTION_LIST, frame, pos)
        return DistributionList(**read_fields(layout.DISTRIBUTION_LIST, frame[pos:end])), end
    raise DecodeError(Status.ESME_RINVDESTFLAG, f"dest_flag {flag}")


def write_multi_resp(pdu: SubmitMultiResp) -> bytes:
    """Return the body of submit_multi_resp without TLVs."""
    layout.check(layout.MULTI_RESP_HEAD, pdu)
    if len(pdu.unsuccess_sme) > 0xFF:
        raise EncodeError("unsuccess_sme", "at most 255 entries are allowed")
    parts = [write_fields(layout.MULTI_RESP_HEAD, pdu), bytes((len(pdu.unsuccess_sme),))]
    for sme in pdu.unsuccess_sme:
        layout.check(layout.SME_ADDRESS, sme)
        if not 0 <= sme.error_status_code <= 0xFFFFFFFF:
            raise EncodeError("error_status_code", "must be four octets")
        parts.append(write_fields(layout.SME_ADDRESS, sme))
        parts.append(_STATUS.pack(sme.error_status_code))
    return b"".join(parts)


def read_multi_resp(frame: bytes, pos: int) -> tuple[SubmitMultiResp, int]:
    """Return submit_multi_resp from `pos`, and the end of its mandatory part."""
    end = layout.measure(layout.MULTI_RESP_HEAD, frame, pos)
    values = read_fields(layout.MULTI_RESP_HEAD, frame[pos:end])
    count, pos = _count(frame, end, "no_unsuccess")
    unsuccessful: list[UnsuccessfulSme] = []
    for _ in range(count):
        end = layout.measure(layout.SME_ADDRESS, frame, pos)
        if end + _STATUS.size > len(frame):
            raise DecodeError(Status.ESME_RINVCMDLEN, "ends within unsuccess_sme")
        sme = UnsuccessfulSme(**read_fields(layout.SME_ADDRESS, frame[pos:end]))
        (sme.error_status_code,) = _STATUS.unpack_from(frame, end)
        unsuccessful.append(sme)
        pos = end + _STATUS.size
    return SubmitMultiResp(unsuccess_sme=unsuccessful, **values), pos


def _count(frame: bytes, pos: int, name: str) -> tuple[int, int]:
    if pos >= len(frame):
        raise DecodeError(Status.ESME_RINVCMDLEN, f"ends before {name}")
    return frame[pos], pos + 1
