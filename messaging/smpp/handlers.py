"""The interface between a link and its owner: timers, limits, and callbacks."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from messaging.smpp.constants import Status, command_name, status_name
from messaging.smpp.events import Closed, RemoteProtocolError, UnexpectedResponse
from messaging.smpp.session import SessionConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from messaging.smpp.link import Link
    from messaging.smpp.outcomes import LinkError
    from messaging.smpp.pdus import Bind, Request, Response

logger = logging.getLogger(__name__)

# Called once with the request's context and its response, or the reason why there is none.
OnDone: TypeAlias = "Callable[[Any, Response | LinkError], None]"


@dataclass(frozen=True, slots=True)
class LinkConfig(SessionConfig):
    """A session's timers and bounds, and the connection's; seconds and octets."""

    connect_timeout: float = 10.0  # TCP and TLS together
    linger: float = 5.0  # how long the final writes may take before the connection is aborted
    max_unsent: int = 1_048_576  # octets that the peer leaves unread before we stop reading from it


def _refuse_bind(link: Link, pdu: Bind) -> None:
    link.refuse_bind(pdu, Status.ESME_RBINDFAIL)


def _ignore(link: Link) -> None:
    pass


def _ignore_closed(link: Link, reason: Closed, unanswered: list[Any]) -> None:
    pass


def log_protocol_error(link: Link, event: RemoteProtocolError | UnexpectedResponse) -> None:
    """Log the peer's protocol error: the default where the owner does not handle it."""
    # One warning per link, so that a peer cannot fill the log.
    level = logging.DEBUG if link.protocol_errors > 1 else logging.WARNING
    if isinstance(event, RemoteProtocolError):
        command, status = command_name(event.command_id), status_name(event.status)
        logger.log(level, "SMPP peer %s: %s: %s, %s", link.peer, command, event.reason, status)
    else:
        command = command_name(event.pdu.command_id)
        logger.log(level, "SMPP peer %s: unexpected %s", link.peer, command)


@dataclass(frozen=True, slots=True)
class Handlers:
    """A link's callbacks to its owner, called in the event loop; they must not block.

    `on_request` gets each request and responds by `link.respond`, now or later: reading stops while
    max_inbound_pending requests are pending. `on_bind` (SMSC) responds by `link.accept_bind` or
    `link.refuse_bind`, now or later. `on_closed` is called once, after the `on_done` of every
    unanswered request, with the contexts of those requests.
    """

    on_request: Callable[[Link, Request], None]
    on_bind: Callable[[Link, Bind], None] = _refuse_bind
    on_closed: Callable[[Link, Closed, list[Any]], None] = _ignore_closed
    on_connected: Callable[[Link], None] = _ignore
    on_peer_unbinding: Callable[[Link], None] = _ignore
    on_protocol_error: Callable[[Link, RemoteProtocolError | UnexpectedResponse], None] = (
        log_protocol_error
    )
