"""A connection of the simulator: a Link with octets that can be altered when written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from messaging.smpp.codec import Framer, encode
from messaging.smpp.constants import MAX_SEQUENCE, CommandId
from messaging.smpp.link import Link
from messaging.smpp.pdus import Unbind
from messaging.smpp.states import Role

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from messaging.smpp.handlers import Handlers, LinkConfig
    from messaging.smpp.simulator.accounts import Account
    from messaging.smpp.simulator.options import AnswerBody, Options

# A command_length over every limit: a reader cannot read the stream any further.
GARBAGE: Final = b"\xde\xad\xbe\xefHTTP/1.1 400 Bad Request\r\n\r\n\x00\xff"

_ENQUIRE_LINK_RESP: Final = CommandId.ENQUIRE_LINK_RESP.to_bytes(4, "big")
_SUBMIT_SM_RESP: Final = CommandId.SUBMIT_SM_RESP.to_bytes(4, "big")
_DELIVER_SM: Final = CommandId.DELIVER_SM.to_bytes(4, "big")
_UNBIND_SEQUENCE: Final = MAX_SEQUENCE  # a number that this side's session never reaches
# Longer than the limits of SMPP 3.4, 5.2.11 and 5.2.8.
_LONG_SERVICE_TYPE: Final = b"REPORT"
_LONG_ADDRESS: Final = b"0000000000000"
_MAX_WRITE: Final = 1 << 30  # octets: longer than any frame of our own


class Line(Link):
    """One ESME's connection."""

    def __init__(self, config: LinkConfig, handlers: Handlers, options: Options) -> None:
        super().__init__(Role.SMSC, config, handlers)
        self.account: Account | None = None  # once bound
        self.submits = 0
        self._options = options
        self._wire: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Put a filter between the link and its transport."""
        self._wire = cast("asyncio.Transport", transport)
        super().connection_made(cast("asyncio.BaseTransport", _Tap(self._wire, self._options)))

    def inject(self, octets: bytes) -> None:
        """Send octets that are not part of the session."""
        if self._wire is not None and not self._wire.is_closing():
            self._wire.write(octets)

    def unbind_amid_traffic(self) -> None:
        """Send an unbind while responses and receipts continue until the ESME closes."""
        self.inject(encode(Unbind(sequence=_UNBIND_SEQUENCE)))


ANSWER_BODIES: Final[dict[AnswerBody, Callable[[bytes], bytes]]] = {
    "two-nuls": lambda message_id: message_id + b"\0\0",
    "no-nul": lambda message_id: message_id,
    "spaces": lambda message_id: message_id.ljust(64) + b"\0",
    "nuls": lambda message_id: message_id.ljust(65, b"\0"),
    "long": lambda message_id: message_id.rjust(65, b"0") + b"\0",
    "empty": lambda message_id: b"\0",
    "none": lambda message_id: b"",
}
"""Bodies of positive submit_sm responses as seen from real carriers."""


class _Tap:
    """A transport that changes the link's frames if the options say so."""

    def __init__(self, transport: asyncio.Transport, options: Options) -> None:
        self._transport = transport
        self._options = options

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write the link's octets, which are always complete frames."""
        if self._options.changes_frames:
            data = b"".join(map(self._changed, Framer(_MAX_WRITE).feed(data)))
        self._transport.write(data)

    def _changed(self, frame: bytes) -> bytes:
        """Return the octets to write instead of a frame."""
        options, command, body = self._options, frame[4:8], frame[16:]
        if command == _ENQUIRE_LINK_RESP and options.ignore_enquire_link:
            return b""
        if command == _DELIVER_SM:
            if options.receipt_long:
                _, _, tail = body.partition(b"\0")
                body = _LONG_SERVICE_TYPE + b"\0" + tail[:2] + _LONG_ADDRESS + tail[2:]
            body += options.receipt_tail
        elif command == _SUBMIT_SM_RESP and body and options.answer_body != "standard":
            body = ANSWER_BODIES[options.answer_body](body.rstrip(b"\0"))
        return (16 + len(body)).to_bytes(4, "big") + frame[4:16] + body
