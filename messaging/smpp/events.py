"""The events that a Session reports to its caller."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from messaging.smpp.pdus import Bind, BindResp, Request, Response


class CloseReason(Enum):
    """The reason why a session ended."""

    LOCAL = "closed by us"
    UNBOUND = "unbound by us"
    PEER_UNBOUND = "unbound by the peer"
    CONNECTION_LOST = "connection lost"
    SESSION_INIT_TIMEOUT = "the peer did not bind in time"
    BIND_TIMEOUT = "no answer to the bind"
    UNBIND_TIMEOUT = "no answer to unbind"
    ENQUIRE_LINK_TIMEOUT = "no answer to enquire_link"
    FRAME_ERROR = "the peer's stream cannot be followed"


@dataclass(slots=True)
class BindRequested:
    """SMSC: the peer asks to bind. Respond by accept_bind or refuse_bind, now or later."""

    pdu: Bind


@dataclass(slots=True)
class BindAccepted:
    """ESME: bound."""

    pdu: BindResp


@dataclass(slots=True)
class BindRefused:
    """ESME: the bind was refused with this command_status. The session is still OPEN."""

    status: int


@dataclass(slots=True)
class RequestReceived:
    """A request for `respond` (outbind and alert_notification have no response)."""

    pdu: Request


@dataclass(slots=True)
class ResponseReceived:
    """The response to a request: its own type or generic_nack, so check `pdu.status`."""

    pdu: Response
    context: Any


@dataclass(slots=True)
class ResponseTimedOut:
    """No response before the timeout: the outcome is unknown. A late response is unexpected."""

    context: Any


@dataclass(slots=True)
class UnexpectedResponse:
    """A response without a pending request; it changes nothing."""

    pdu: Response


@dataclass(slots=True)
class PeerUnbinding:
    """The peer unbinds: no new request may be sent; responses still pass in both directions."""


@dataclass(slots=True)
class RemoteProtocolError:
    """The peer broke the protocol. The response, if one is due, has been queued.

    With ESME_ROK nothing was refused: the PDU itself is reported, too.
    """

    status: int
    command_id: int
    sequence: int
    reason: str


@dataclass(slots=True)
class Closed:
    """The session's end, reported once. `unanswered` has the contexts with unknown outcomes."""

    reason: CloseReason
    detail: str = ""
    unanswered: list[Any] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.reason.value}: {self.detail}" if self.detail else self.reason.value


Event = (
    BindRequested
    | BindAccepted
    | BindRefused
    | RequestReceived
    | ResponseReceived
    | ResponseTimedOut
    | UnexpectedResponse
    | PeerUnbinding
    | RemoteProtocolError
    | Closed
)
