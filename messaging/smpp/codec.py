"""Encoding and decoding of PDUs, without I/O: `encode`, `decode`, and `Framer` for a stream.

The PDUs that every message needs take the hand-written path of fast.py. All others, and those
that fast.py declines, take smpplib's engine behind the checks of layout.py. Bytes from a peer
never raise anything but DecodeError and FrameError.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from messaging.smpp import layout, multi, pdus
from messaging.smpp.constants import (
    HEADER_LENGTH,
    MAX_FRAME_LENGTH,
    RESPONSE_BIT,
    Status,
    Tag,
)
from messaging.smpp.engine import read_fields, write_fields
from messaging.smpp.errors import DecodeError, EncodeError, FrameError
from messaging.smpp.fast import DECODERS, ENCODERS
from messaging.smpp.tlv import is_cut_short, read_tlvs, write_tlvs

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DecodeError", "EncodeError", "FrameError", "Framer", "decode", "encode"]

_HEADER: Final = Struct(">IIII")
_unpack_header = _HEADER.unpack_from
_unpack_length = Struct(">I").unpack_from

PDU_TYPES: Final[dict[int, type[pdus.Pdu]]] = {
    int(pdu_type.command_id): pdu_type for pdu_type in layout.LAYOUTS
} | {
    int(pdus.SubmitMulti.command_id): pdus.SubmitMulti,
    int(pdus.SubmitMultiResp.command_id): pdus.SubmitMultiResp,
}

# Responses that go without a body when they report an error: SMPP 3.4, 4.1.2, 4.4.2, 4.5.2.
_BODILESS_ON_ERROR: Final = (pdus.BindResp, pdus.SubmitSmResp, pdus.SubmitMultiResp)

# The identifier that a response carries: of a message, or of the other side.
_NAMES: Final[dict[type[pdus.Response], str]] = {
    pdu_type: name
    for pdu_type in PDU_TYPES.values()
    for kind, name in ((pdus.MessageIdResp, "message_id"), (pdus.BindResp, "system_id"))
    if issubclass(pdu_type, kind)
}
# PDUs with a text that is passed on unchanged, and charged.
_TEXTS: Final = (pdus.SubmitSm, pdus.SubmitMulti, pdus.ReplaceSm)


# -- encode ----------------------------------------------------------------------------------


def encode(pdu: pdus.Pdu) -> bytes:
    """Return a PDU's octets. Raise EncodeError naming a field that cannot be sent unchanged."""
    encoder = ENCODERS.get(type(pdu))
    if encoder is not None:
        frame = encoder(pdu)
        if frame is not None:
            return frame
    return encode_with_smpplib(pdu)


def encode_with_smpplib(pdu: pdus.Pdu) -> bytes:
    """Encode any PDU, checked field by field: the general path of `encode`."""
    status = pdu.status if isinstance(pdu, pdus.Response) else 0
    body = b"" if _goes_without_body(pdu) else _body(pdu)
    length = HEADER_LENGTH + len(body)
    if length > MAX_FRAME_LENGTH:
        raise EncodeError("command_length", f"{length} octets, and {MAX_FRAME_LENGTH} are allowed")
    for name, value in (("status", status), ("sequence", pdu.sequence)):
        if not 0 <= value <= 0xFFFFFFFF:
            raise EncodeError(name, "must be four octets")
    return _HEADER.pack(length, pdu.command_id, status, pdu.sequence) + body


def _goes_without_body(pdu: pdus.Pdu) -> bool:
    if not isinstance(pdu, _BODILESS_ON_ERROR) or not pdu.status or pdu.tlvs:
        return False
    if isinstance(pdu, pdus.BindResp):
        return not pdu.system_id
    return not pdu.message_id and not getattr(pdu, "unsuccess_sme", ())


def _body(pdu: pdus.Pdu) -> bytes:
    if isinstance(pdu, pdus.SubmitMulti):
        mandatory = multi.write_multi(pdu)
    elif isinstance(pdu, pdus.SubmitMultiResp):
        mandatory = multi.write_multi_resp(pdu)
    else:
        fields = layout.LAYOUTS.get(type(pdu))
        if fields is None:
            raise EncodeError("command_id", f"{type(pdu).__name__} is not a PDU")
        layout.check(fields, pdu)
        mandatory = write_fields(fields, pdu)
    tlvs: pdus.Tlvs = getattr(pdu, "tlvs", {})
    if Tag.MESSAGE_PAYLOAD in tlvs and getattr(pdu, "short_message", None):
        raise EncodeError("short_message", "must be empty where message_payload is used")
    return mandatory + write_tlvs(tlvs)


# -- decode ----------------------------------------------------------------------------------


def decode(frame: bytes) -> pdus.Pdu:
    """Return the PDU in a complete frame. Raise nothing but DecodeError, whatever the bytes."""
    if len(frame) < HEADER_LENGTH:
        raise DecodeError(Status.ESME_RINVCMDLEN, "shorter than a header")
    length, command_id, status, sequence = _unpack_header(frame)
    if length == len(frame):
        decoder = DECODERS.get(command_id)
        if decoder is not None:
            pdu = decoder(frame, status, sequence)
            if pdu is not None:
                return pdu
    return decode_with_smpplib(frame)


def decode_with_smpplib(frame: bytes) -> pdus.Pdu:
    """Decode any frame of at least 16 octets, field by field: the general path of `decode`."""
    length, command_id, status, sequence = _unpack_header(frame)
    try:
        if length != len(frame):
            raise DecodeError(Status.ESME_RINVCMDLEN, f"{len(frame)} octets, not {length}")
        pdu_type = PDU_TYPES.get(command_id)
        if pdu_type is None:
            raise DecodeError(Status.ESME_RINVCMDID, "unknown command")
        pdu = _decode_body(pdu_type, frame, status)
    except DecodeError as problem:
        raise DecodeError(
            problem.status, problem.reason, command_id=command_id, sequence=sequence
        ) from None
    pdu.sequence = sequence
    if isinstance(pdu, pdus.Response):
        pdu.status = status
    return pdu


def _decode_body(pdu_type: type[pdus.Pdu], frame: bytes, status: int) -> pdus.Pdu:
    if not issubclass(pdu_type, pdus.Response):
        return _read_body(pdu_type, frame)
    if len(frame) == HEADER_LENGTH:
        return pdu_type()  # many peers leave out an empty body, with or without an error
    try:
        return _read_body(pdu_type, frame)
    except DecodeError:
        # The status was read, and an error response needs no more.
        return pdu_type() if status else _salvage(pdu_type, frame)


def _salvage(pdu_type: type[pdus.Response], frame: bytes) -> pdus.Response:
    """Return a positive response with a malformed body, with as much of its id as is readable."""
    name = _NAMES.get(pdu_type)
    if name is None:
        return pdu_type()
    written, _, rest = frame[HEADER_LENGTH:].partition(b"\0")
    salvaged: dict[str, Any] = {name: written.decode("latin-1"), "unread": len(rest)}
    return pdu_type(**salvaged)


def _read_body(pdu_type: type[pdus.Pdu], frame: bytes) -> pdus.Pdu:
    pdu: pdus.Pdu
    if pdu_type is pdus.SubmitMulti:
        pdu, end = multi.read_multi(frame, HEADER_LENGTH)
    elif pdu_type is pdus.SubmitMultiResp:
        pdu, end = multi.read_multi_resp(frame, HEADER_LENGTH)
    else:
        fields = layout.READING[pdu_type]
        end = layout.measure(fields, frame, HEADER_LENGTH)
        pdu = pdu_type(**read_fields(fields, frame[HEADER_LENGTH:end]))
    if end < len(frame):
        _read_rest(pdu, frame, end)
    return pdu


def _read_rest(pdu: pdus.Pdu, frame: bytes, end: int) -> None:
    """Read the TLVs behind the mandatory fields, and skip octets that cannot be read.

    Octets that may be text beyond a wrong sm_length are an error: half a text is never sent.
    """
    tlvs, pos = read_tlvs(frame, end)
    if isinstance(pdu, _TEXTS) and pos < len(frame) and not is_cut_short(frame, pos):
        reason = f"{len(frame) - pos} octets too many"
        raise DecodeError(Status.ESME_RINVOPTPARSTREAM, reason)
    if hasattr(pdu, "tlvs"):
        pdu.tlvs, end = tlvs, pos
    pdu.unread = len(frame) - end


# -- frames ----------------------------------------------------------------------------------


class Framer:
    """A splitter of a stream into frames. It buffers at most one incomplete frame.

    A command_length under 16 or over `max_frame_length` (octets) raises FrameError as soon as its
    four octets have arrived, after all earlier frames were yielded. The stream cannot be read any
    further then, and every call raises again.
    """

    __slots__ = ("_buffer", "_max_frame_length", "_pos")

    def __init__(self, max_frame_length: int = MAX_FRAME_LENGTH) -> None:
        self._max_frame_length = max_frame_length
        self._buffer = b""
        self._pos = 0

    @property
    def buffered(self) -> int:
        """The number of buffered octets."""
        return len(self._buffer) - self._pos

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Buffer octets and iterate over the complete frames.

        The caller may stop iterating: the next call, with data or without, yields the remaining
        frames. Until then it should feed no more, because everything it feeds is buffered.
        """
        if data:
            self._buffer = self._buffer[self._pos :] + data
            self._pos = 0
        return self._frames()

    def _frames(self) -> Iterator[bytes]:
        buffer = self._buffer
        size = len(buffer)
        while size - self._pos >= 4:
            (length,) = _unpack_length(buffer, self._pos)
            if not HEADER_LENGTH <= length <= self._max_frame_length:
                raise FrameError(length, self._max_frame_length)
            end = self._pos + length
            if end > size:
                return
            frame = buffer[self._pos : end]
            self._pos = end
            yield frame
        if self._pos == size:
            self._buffer = b""
            self._pos = 0


def response_type_of(command_id: int) -> type[pdus.Response] | None:
    """Return the response class of a command_id; None if it has no response or is unknown."""
    if command_id & RESPONSE_BIT:
        return None
    request_type = PDU_TYPES.get(command_id)
    if request_type is None or not issubclass(request_type, pdus.Request):
        return None
    return request_type.response_type
