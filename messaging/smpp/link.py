"""One Session on one asyncio transport, TCP or TLS.

It is a Protocol because a message needs four PDUs, and streams would cost a task switch for each.
Everything sent in one iteration of the event loop is written together. A link belongs to one
event loop and is not thread-safe.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from messaging.smpp import events as ev
from messaging.smpp.codec import encode
from messaging.smpp.constants import Status
from messaging.smpp.events import Closed, CloseReason, RemoteProtocolError, UnexpectedResponse
from messaging.smpp.handlers import Handlers, LinkConfig, OnDone
from messaging.smpp.outcomes import (
    BindRefused,
    ConnectError,
    LinkClosed,
    LinkError,
    NotSent,
    ResponseTimeout,
)
from messaging.smpp.session import LocalProtocolError, Session
from messaging.smpp.states import Role, State
from messaging.smpp.waiters import Waiters

if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext

    from messaging.smpp.pdus import Bind, Request, Response

__all__ = [
    "BindRefused",
    "ConnectError",
    "Handlers",
    "Link",
    "LinkClosed",
    "LinkConfig",
    "LinkError",
    "NotSent",
    "OnDone",
    "ResponseTimeout",
    "connect_esme",
    "serve_smsc",
]

logger = logging.getLogger(__name__)
_NO_CONTEXT: Final = object()

RECEIPTS_WAITED_FOR: Final = 1.0
"""Seconds that an ESME has to respond to its receipts before we unbind it."""


class Link(asyncio.Protocol):
    """A connection to a peer, from `connect_esme` or in the handlers of `serve_smsc`."""

    def __init__(self, role: Role, config: LinkConfig, handlers: Handlers) -> None:
        self.config = config
        self.handlers = handlers
        self.owner: Any = None  # for the link's owner; not used here
        self.bind: Bind | None = None  # as ESME the bind that we sent, as SMSC the accepted one
        self.peer = "?"  # address and port, for logs and pages
        self.protocol_errors = 0
        self._loop = asyncio.get_running_loop()
        self._session = Session(role, config, self._loop.time())
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._flush_scheduled = False
        self._unwritten = 0  # requests queued since the last write: the newest of the unanswered
        self._reading = True
        self._stalled = False  # the session stopped reading: too many pending requests
        self._choked = False  # the peer leaves too much unread
        self._holding = False  # unbinding: no more requests of the peer are read
        self._draining = False
        self._write_paused = False
        self._writable = Waiters()
        self._changed = Waiters()
        self._binding: asyncio.Future[None] | None = None
        self._lost: asyncio.Future[None] = self._loop.create_future()

    def __repr__(self) -> str:
        return f"<Link {self._session.role.value} {self.peer} {self.state.value}>"

    # -- properties --------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The session's state."""
        return self._session.state

    @property
    def bound(self) -> bool:
        """Return whether the session is bound."""
        return self._session.bound

    @property
    def unbinding(self) -> bool:
        """Return whether we are about to unbind."""
        return self._draining

    @property
    def outstanding(self) -> int:
        """The number of our requests without a response."""
        return self._session.outstanding

    @property
    def inbound_pending(self) -> int:
        """The number of the peer's requests that we have not responded to."""
        return self._session.inbound_pending

    @property
    def interface_version(self) -> int | None:
        """The lower of both sides' versions (0x34 is 3.4), once bound."""
        return self._session.interface_version

    @property
    def silence(self) -> float:
        """Seconds since the peer last sent something."""
        return max(0.0, self._loop.time() - self._session.last_received)

    def adopt(self, config: LinkConfig) -> None:
        """Apply other timers and bounds, such as those of an account after its bind.

        `response_timeout`, `max_frame_length` and the settings of the connection stay unchanged.
        """
        self.config = self._session.config = config
        self._schedule_flush()

    def may_send(self, command_id: int) -> bool:
        """Return whether such a request may be sent now."""
        return not self._draining and self._session.may_send(command_id)

    # -- requests and responses --------------------------------------------------------------

    def send(self, pdu: Request, on_done: OnDone, context: Any = _NO_CONTEXT) -> int:
        """Queue a request and return its sequence number: the hot path, without a future or task.

        `on_done(context, outcome)` is called once, later, with the response (check its status; it
        may be a GenericNack) or with a LinkError. `context` is the PDU unless given. Raises NotSent
        if the link accepts no such request now, EncodeError if a field does not fit.
        """
        if self._draining:
            raise NotSent("the link is unbinding")
        waiting = (on_done, pdu if context is _NO_CONTEXT else context)
        try:
            sequence = self._session.send(pdu, waiting, self._loop.time())
        except LocalProtocolError as problem:
            raise NotSent(str(problem)) from None
        if pdu.response_type is not None:
            self._unwritten += 1
        if not self._flush_scheduled:
            self._schedule_flush()
        return sequence

    async def request(self, pdu: Request) -> Response:
        """Send a request, wait for its response and return it, whatever its status.

        Raises NotSent, LinkClosed or ResponseTimeout. If the waiting task is canceled, the request
        is still sent, and its outcome is not reported.
        """
        future: asyncio.Future[Response] = self._loop.create_future()
        self.send(pdu, partial(_settle, future))
        return await future

    def respond(self, request: Request, status: int = Status.ESME_ROK, **fields: Any) -> bool:
        """Respond to a request of the peer; `fields` are the response's, such as message_id.

        Return False if the session ended first. Raises LocalProtocolError if a response was sent
        before, EncodeError if a field does not fit.
        """
        answered = self._session.respond(request, status, **fields)
        if not self._flush_scheduled:
            self._schedule_flush()
        return answered

    def accept_bind(self, pdu: Bind, system_id: str) -> bool:
        """SMSC: accept a bind under our system_id. Return False if the session ended first."""
        accepted = self._session.accept_bind(pdu, system_id, self._loop.time())
        if accepted:
            self.bind = pdu
            self._schedule_flush()
        return accepted

    def refuse_bind(self, pdu: Bind, status: int) -> bool:
        """SMSC: refuse a bind. The peer may retry until session_init_timeout."""
        refused = self._session.refuse_bind(pdu, status)
        self._schedule_flush()
        return refused

    async def drain(self) -> None:
        """Wait until the transport's buffer is low again. Raises LinkClosed if the link ends."""
        self._flush()
        if self._session.over:
            raise LinkClosed("the link is closed")
        if self._write_paused:
            await self._writable.wait()

    # -- the end -----------------------------------------------------------------------------

    async def unbind(self, timeout: float = 10.0) -> None:  # noqa: ASYNC109 - it ends in a close
        """Send no new requests, respond to the pending ones, unbind and close.

        The peer has `timeout` seconds for its own responses and for the unbind; requests still
        without a response are reported as usual. As SMSC we may take another response_timeout: we
        respond to every request that we received before the connection closes. As ESME we need not,
        because an SMSC delivers again without a response, and that has no further effect.
        """
        self._draining = True
        try:
            async with asyncio.timeout(timeout):
                await self._await_answers(timeout)
                await self._answer_all()
                self._start_unbind()
                await self.wait_closed()
        except TimeoutError:
            self._start_unbind()
            if self._session.role is Role.SMSC:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.config.response_timeout):
                        await self._all_answered()
            self.close("not unbound in time")

    async def _await_answers(self, seconds: float) -> None:
        """Wait for the peer's pending responses, while it may still send requests."""
        session = self._session
        if session.role is Role.SMSC:
            # Receipts without a response are sent again. A submit must not be sent twice.
            seconds = min(seconds, RECEIPTS_WAITED_FOR)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while session.bound and session.outstanding:
                    await self._changed.wait()

    async def _answer_all(self) -> None:
        """Stop reading, and wait until every request that was read has its response."""
        self._holding = True  # or a busy peer would keep us responding for ever
        self._update_reading()
        try:
            await self._all_answered()
        finally:
            self._holding = False
            self._update_reading()

    async def _all_answered(self) -> None:
        while self._session.bound and self._session.inbound_pending:
            await self._changed.wait()

    def _start_unbind(self) -> None:
        try:
            self._session.unbind(self._loop.time())
        except LocalProtocolError:
            if not self._session.bound:
                self.close()
        self._flush()

    def close(self, detail: str = "") -> None:
        """End the session without unbinding; queued PDUs are still written."""
        self._dispatch(self._session.close(CloseReason.LOCAL, detail))

    def abort(self, detail: str = "aborted") -> None:
        """Drop the connection immediately."""
        self._dispatch(self._session.close(CloseReason.LOCAL, detail))
        if self._transport is not None:
            self._transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed."""
        await asyncio.shield(self._lost)

    # -- asyncio.Protocol --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start on a new connection (with TLS: after its handshake)."""
        self._transport = cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername")
        self.peer = f"{name[0]}:{name[1]}" if name else "?"
        self._call(self.handlers.on_connected)
        self._schedule_flush()

    def data_received(self, data: bytes) -> None:
        """Process octets from the peer."""
        self._receive(data)
        self._update_reading()
        self._schedule_flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the session: the connection is closed."""
        self._dispatch(self._session.close(CloseReason.CONNECTION_LOST, str(exc or "")))
        if self._timer is not None:
            self._timer.cancel()
        if not self._lost.done():
            self._lost.set_result(None)

    def pause_writing(self) -> None:
        """Note that the transport's buffer is full."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """Continue: the transport's buffer is low again."""
        self._write_paused = False
        self._choked = False
        self._update_reading()
        self._writable.wake()

    # -- internals ---------------------------------------------------------------------------

    def _schedule_flush(self) -> None:
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Finish an iteration of the event loop: write, continue reading, set the timer."""
        self._flush_scheduled = False
        session, transport = self._session, self._transport
        if transport is None or session.over:
            return
        self._write()
        if self._write_paused and transport.get_write_buffer_size() > self.config.max_unsent:
            self._choked = True
        if self._stalled and self._may_read():
            self._receive(b"")
            self._schedule_flush()
        self._update_reading()
        self._set_timer()
        self._changed.wake()

    def _write(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return  # PDUs still in the session will be reported as not sent
        data = self._session.data_to_send()
        self._unwritten = 0
        if data:
            transport.write(data)

    def _receive(self, data: bytes) -> None:
        session = self._session
        events = session.receive_data(data, self._loop.time())
        # Read before the handlers respond: the session may still have unread frames.
        self._stalled = not session.wants_read
        self._dispatch(events)

    def _may_read(self) -> bool:
        return self._session.wants_read and not self._choked and not self._holding

    def _update_reading(self) -> None:
        reading = self._may_read()
        transport = self._transport
        if reading == self._reading or transport is None or self._session.over:
            return
        self._reading = reading
        if reading:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def _set_timer(self) -> None:
        deadline = self._session.next_deadline()
        if deadline is None:
            return
        # A timer that fires too early does no harm, so an earlier one stays.
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._dispatch(self._session.tick(self._loop.time()))
        self._schedule_flush()

    def _dispatch(self, events: list[ev.Event]) -> None:
        for event in events:
            if isinstance(event, ev.ResponseReceived):
                self._finish(event.context, event.pdu)
            elif isinstance(event, ev.RequestReceived):
                self._handle_request(event.pdu)
            else:
                self._dispatch_other(event)

    def _dispatch_other(self, event: ev.Event) -> None:
        match event:
            case ev.BindRequested():
                self._call(self.handlers.on_bind, event.pdu)
            case ev.BindAccepted():
                self._settle_bind(None)
            case ev.BindRefused():
                self._settle_bind(BindRefused(event.status))
            case ev.ResponseTimedOut():
                seconds = self.config.response_timeout
                self._finish(event.context, ResponseTimeout(f"no answer in {seconds:g} s"))
            case ev.PeerUnbinding():
                self._call(self.handlers.on_peer_unbinding)
            case RemoteProtocolError() | UnexpectedResponse():
                self.protocol_errors += 1
                self._call(self.handlers.on_protocol_error, event)
            case Closed():
                self._end(event)

    def _handle_request(self, pdu: Request) -> None:
        try:
            self.handlers.on_request(self, pdu)
        except Exception:
            logger.exception("SMPP peer %s: handler failed", self.peer)
            try:
                self._session.respond(pdu, Status.ESME_RSYSERR)
            except LocalProtocolError:
                return  # the handler has responded, or the request has no response

    def _finish(self, waiting: tuple[OnDone, Any], outcome: Response | LinkError) -> None:
        on_done, context = waiting
        try:
            on_done(context, outcome)
        except Exception:
            logger.exception("SMPP peer %s: on_done failed", self.peer)

    def _call(self, handler: Callable[..., None], *arguments: Any) -> None:
        try:
            handler(self, *arguments)
        except Exception:
            logger.exception("SMPP peer %s: handler failed", self.peer)

    def _end(self, closed: Closed) -> None:
        """Report the requests without a response, then close the connection."""
        unanswered: list[tuple[OnDone, Any]] = closed.unanswered
        lost = closed.reason is CloseReason.CONNECTION_LOST
        written = len(unanswered) - (self._unwritten if lost else 0)
        closed.unanswered = [context for _, context in unanswered[:written]]
        for position, waiting in enumerate(unanswered):
            error = LinkClosed(str(closed)) if position < written else NotSent(str(closed))
            self._finish(waiting, error)
        self._settle_bind(ConnectError(str(closed)))
        self._call(self.handlers.on_closed, closed, closed.unanswered)
        self._writable.wake(LinkClosed(str(closed)))
        self._changed.wake()
        self._close_transport()

    def _close_transport(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._write()
        transport.close()
        if self._timer is not None:
            self._timer.cancel()
        # A peer that does not read would keep a closing transport for ever.
        self._timer = self._loop.call_later(self.config.linger, transport.abort)

    async def _bind_as_esme(self, pdu: Bind) -> None:
        self.bind = pdu
        self._binding = self._loop.create_future()
        self._session.bind(pdu, self._loop.time())
        self._schedule_flush()
        await self._binding

    def _settle_bind(self, error: LinkError | None) -> None:
        future, self._binding = self._binding, None
        if future is None or future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


def _settle(future: asyncio.Future[Response], _: Any, outcome: Response | LinkError) -> None:
    if future.done():
        return  # the waiting task was canceled
    if isinstance(outcome, LinkError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


async def connect_esme(
    host: str,
    port: int,
    bind_pdu: Bind,
    config: LinkConfig,
    *,
    handlers: Handlers,
    ssl: SSLContext | None = None,
) -> Link:
    """Connect to an SMSC and bind to it.

    Raises EncodeError if a field of the bind does not fit, ConnectError with a readable cause, or
    BindRefused with the SMSC's status.
    """
    encode(bind_pdu)  # before anything is connected
    loop = asyncio.get_running_loop()
    where = f"{host}:{port}"
    try:
        async with asyncio.timeout(config.connect_timeout):
            _, link = await loop.create_connection(
                lambda: Link(Role.ESME, config, handlers), host, port, ssl=ssl
            )
    except TimeoutError:
        raise ConnectError(f"{where}: no connection in {config.connect_timeout:g} s") from None
    except OSError as problem:
        raise ConnectError(f"{where}: {problem.strerror or problem}") from problem
    try:
        await link._bind_as_esme(bind_pdu)
    except ConnectError as problem:
        raise ConnectError(f"{where}: {problem}") from None
    except BaseException:
        link.close("not bound")
        raise
    return link


async def serve_smsc(
    host: str | None,
    port: int,
    config: LinkConfig,
    handlers: Handlers,
    *,
    ssl: SSLContext | None = None,
    reuse_port: bool = False,
) -> asyncio.Server:
    """Listen for ESMEs. Closing the server does not close its links, which belong to the owner.

    `reuse_port`: other processes may listen on the same port; the system distributes connections.
    """
    return await asyncio.get_running_loop().create_server(
        lambda: Link(Role.SMSC, config, handlers),
        host,
        port,
        ssl=ssl,
        ssl_handshake_timeout=config.connect_timeout if ssl else None,
        backlog=1024,
        reuse_port=reuse_port or None,
    )
