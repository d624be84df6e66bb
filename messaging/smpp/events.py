"""The events that a Session reports to its caller."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from messaging.smpp.pdus import Bind, BindResp, Request, Response


class CloseReason(Enum):
    """Why a session has ended."""

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
    """SMSC: the peer wants to bind. Answer with accept_bind or refuse_bind, now or later."""

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
    """A request to be answered with `respond` (outbind and alert_notification have no answer)."""

    pdu: Request


@dataclass(slots=True)
class ResponseReceived:
    """The answer to a request: its own response or generic_nack, so look at `pdu.status`."""

    pdu: Response
    context: Any


@dataclass(slots=True)
class ResponseTimedOut:
    """No answer in time: the outcome is unknown. An answer that still comes is unexpected."""

    context: Any


@dataclass(slots=True)
class UnexpectedResponse:
    """An answer that nothing waits for; it changes nothing."""

    pdu: Response


@dataclass(slots=True)
class PeerUnbinding:
    """The peer unbinds: nothing may be sent any more; answers are still passed both ways."""


@dataclass(slots=True)
class RemoteProtocolError:
    """The peer broke the protocol. Whatever answer that calls for has been queued.

    With ESME_ROK nothing was refused: the PDU itself is reported beside this.
    """

    status: int
    command_id: int
    sequence: int
    reason: str


@dataclass(slots=True)
class Closed:
    """The end, reported once. `unanswered` holds the contexts whose outcome is unknown."""

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
