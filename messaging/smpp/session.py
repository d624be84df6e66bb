"""One SMPP session as a state machine, without I/O or a clock.

`receive_data` takes bytes from the peer and returns events; `data_to_send` returns bytes for the
peer. `now` is always monotonic seconds from one clock of the caller. After each call the caller
sends the octets of `data_to_send`, and calls `tick` at `next_deadline`. Misuse by our own side
raises LocalProtocolError; misuse by the peer is a RemoteProtocolError event.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from messaging.smpp import events as ev
from messaging.smpp.codec import Framer, decode, encode, response_type_of
from messaging.smpp.constants import (
    MAX_FRAME_LENGTH,
    RESPONSE_BIT,
    VERSION_3_3,
    VERSION_3_4,
    CommandId,
    Status,
    Tag,
    command_name,
)
from messaging.smpp.errors import DecodeError, FrameError
from messaging.smpp.events import CloseReason, Event
from messaging.smpp.outstanding import MISSING, Outstanding
from messaging.smpp.pdus import (
    Bind,
    BindResp,
    EnquireLink,
    EnquireLinkResp,
    GenericNack,
    Request,
    Response,
    Unbind,
    UnbindResp,
)
from messaging.smpp.states import ALLOWED, BOUND, STATE_OF_BIND, Role, State

_NOTHING: Final[frozenset[int]] = frozenset()
_ENQUIRE_LINK: Final = int(CommandId.ENQUIRE_LINK)
_WHILE_PEER_UNBINDS: Final = frozenset(
    {_ENQUIRE_LINK, int(CommandId.DELIVER_SM), int(CommandId.DATA_SM)}
)
_WHILE_WE_UNBIND: Final = frozenset({_ENQUIRE_LINK, int(CommandId.UNBIND)})
_AT_ONCE: Final = 0.0  # a deadline that has passed on every monotonic clock
_NEVER: Final = float("inf")


class LocalProtocolError(Exception):
    """An operation of our own side that the session's state does not allow."""


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """Timers in seconds (SMPP 3.4, 7.2) and bounds. None turns a timer off."""

    session_init_timeout: float | None = 10.0  # SMSC: the longest time without a bind
    enquire_link_interval: float | None = 30.0  # silence before we send enquire_link
    response_timeout: float = 30.0  # for each of our requests
    inactivity_timeout: float | None = None  # unbind after this time of nothing but enquire_link
    unbind_grace: float = 2.0  # ESME: how long an SMSC's unbind waits for its pending responses
    max_inbound_pending: int = 1000  # the peer's requests that may wait for our response
    max_frame_length: int = MAX_FRAME_LENGTH  # octets


class _Own(Enum):
    """The context of a request that the session sent itself."""

    BIND = auto()
    UNBIND = auto()
    ENQUIRE_LINK = auto()


class Session:
    """One side of one session. `now` is the time of the connection.

    `bound` is true from an accepted bind to the unbind; `over` once the session has ended and the
    connection can be closed, after `data_to_send` has been written.
    """

    def __init__(self, role: Role, config: SessionConfig, now: float) -> None:
        self.role = role
        self.config = config
        # The lower of both sides' versions once bound; a peer without one has 3.3 (SMPP 3.4, 4.1).
        self.interface_version: int | None = None
        self._framer = Framer(config.max_frame_length)
        self._out: list[bytes] = []
        self._events: list[Event] = []
        self._outstanding = Outstanding(config.response_timeout)
        self._own: set[_Own] = set()
        # The peer's pending requests by sequence; a count, because some peers repeat a sequence.
        self._pending: dict[int, int] = {}
        self._pending_count = 0
        self._full = False
        self._bind: Bind | None = None
        self._peer_unbind: Unbind | None = None
        self._peer_unbind_answered = False
        self._unbind_answered = False  # ours
        self._unbind_since = 0.0  # when the peer unbound, or responded to our unbind
        self._init_started = now
        self._last_received = now
        self._last_operation = now
        self._enquired = now
        self._enter(State.OPEN)

    # -- properties --------------------------------------------------------------------------

    @property
    def outstanding(self) -> int:
        """Return how many requests of the caller have no response yet."""
        return len(self._outstanding) - len(self._own)

    @property
    def inbound_pending(self) -> int:
        """Return how many of the peer's requests have no response yet."""
        return self._pending_count

    @property
    def last_received(self) -> float:
        """Return when the peer last sent something."""
        return self._last_received

    @property
    def wants_read(self) -> bool:
        """Return False from max_inbound_pending pending requests until only half of them are left.

        When it becomes true again, call `receive_data(b"", now)`: there may be unread frames.
        """
        return not self._full and not self.over

    def may_send(self, command_id: int) -> bool:
        """Return whether this side may send such a request now."""
        return command_id in self._may_send

    def data_to_send(self) -> bytes:
        """Return the octets queued for the peer, and clear the queue."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    # -- sending -----------------------------------------------------------------------------

    def bind(self, pdu: Bind, now: float) -> int:
        """ESME: send a bind (SMPP 3.4, 4.1). BindAccepted, BindRefused or Closed follows."""
        if _Own.BIND in self._own:
            raise LocalProtocolError("a bind is under way")
        sequence = self._send_own(pdu, _Own.BIND, now)
        self._bind = pdu
        return sequence

    def accept_bind(self, pdu: Bind, system_id: str, now: float) -> bool:
        """SMSC: accept a bind. Return False if the session has ended meanwhile."""
        tlvs: dict[int, bytes] = {}
        if pdu.interface_version >= VERSION_3_4:  # an older ESME may not be sent TLVs
            tlvs[Tag.SC_INTERFACE_VERSION] = bytes((VERSION_3_4,))
        if not self._answer_bind(pdu, Status.ESME_ROK, system_id=system_id, tlvs=tlvs):
            return False
        self._enter_bound(pdu, VERSION_3_4, now)
        return True

    def refuse_bind(self, pdu: Bind, status: int) -> bool:
        """SMSC: refuse a bind; the peer may retry until session_init_timeout."""
        return self._answer_bind(pdu, status)

    def send(self, request: Request, context: Any, now: float) -> int:
        """Queue a request and return its sequence number. Its outcome carries `context`.

        Raises LocalProtocolError or EncodeError, and then queues nothing.
        """
        if isinstance(request, Bind | Unbind):
            raise LocalProtocolError("binding and unbinding have methods of their own")
        return self._send(request, context, now)

    def respond(self, request: Request, status: int = Status.ESME_ROK, **fields: Any) -> bool:
        """Respond to a RequestReceived; `fields` are the response's, such as message_id.

        Return False if the session has ended meanwhile. Raises LocalProtocolError if a response was
        sent before, EncodeError if a field does not fit.
        """
        response_type = request.response_type
        if response_type is None or isinstance(request, Bind):
            raise LocalProtocolError(f"{command_name(request.command_id)} is not answered here")
        if not self.bound:
            return False
        sequence = request.sequence
        count = self._pending.get(sequence, 0)
        if not count:
            raise LocalProtocolError(f"request {sequence} is not waiting for an answer")
        self._out.append(encode(response_type(status=status, sequence=sequence, **fields)))
        if count == 1:
            del self._pending[sequence]
        else:
            self._pending[sequence] = count - 1
        self._pending_count -= 1
        if self._full:  # not at the first free place, or reading would stop and start all the time
            self._full = self._pending_count > self.config.max_inbound_pending // 2
        return True

    def unbind(self, now: float) -> None:
        """Send an unbind (SMPP 3.4, 4.2). No request may be sent after it; Closed follows.

        An SMSC accepts no requests from then on; an ESME still accepts the SMSC's deliveries.
        """
        self._send_own(Unbind(), _Own.UNBIND, now)
        self._may_send = _NOTHING
        if self.role is Role.SMSC:
            self._may_receive = _WHILE_WE_UNBIND

    def close(self, reason: CloseReason = CloseReason.LOCAL, detail: str = "") -> list[Event]:
        """End the session, or note that the connection was lost. Closed is reported once."""
        if reason is CloseReason.CONNECTION_LOST and not self.over:
            # The peer may close the connection right after the response to an unbind.
            if self._unbind_answered:
                reason, detail = CloseReason.UNBOUND, ""
            elif self._peer_unbind_answered:
                reason, detail = CloseReason.PEER_UNBOUND, ""
        self._close(reason, detail)
        self._enter(State.CLOSED)
        return self._take_events()

    # -- receiving ---------------------------------------------------------------------------

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """Process the peer's octets. Stop between two frames when wants_read becomes false."""
        if self.over:
            return []
        if data:
            self._last_received = now
        frames = self._framer.feed(data)
        try:
            while self.wants_read:
                frame = next(frames, None)
                if frame is None:
                    break
                self._receive_frame(frame, now)
        except FrameError as problem:
            self._out.append(encode(GenericNack(status=Status.ESME_RINVCMDLEN)))
            self._report_remote(Status.ESME_RINVCMDLEN, 0, 0, str(problem))
            self._close(CloseReason.FRAME_ERROR, str(problem))
        self._note_reading(now)
        self._finish_unbind(now)
        return self._take_events()

    def _receive_frame(self, frame: bytes, now: float) -> None:
        try:
            pdu = decode(frame)
        except DecodeError as problem:
            self._receive_malformed(problem)
            return
        if pdu.unread:
            reason = f"{pdu.unread} octets at its end were not read"
            self._report_remote(Status.ESME_ROK, pdu.command_id, pdu.sequence, reason)
        if isinstance(pdu, Response):
            self._receive_response(pdu, now)
        elif isinstance(pdu, Request):
            self._receive_request(pdu, now)

    def _receive_request(self, pdu: Request, now: float) -> None:
        command_id = pdu.command_id
        if command_id not in self._may_receive:
            self._refuse_in_this_state(pdu)
        elif command_id == _ENQUIRE_LINK:
            self._out.append(encode(EnquireLinkResp(sequence=pdu.sequence)))
        elif isinstance(pdu, Bind):
            self._receive_bind(pdu)
        elif isinstance(pdu, Unbind):
            self._receive_unbind(pdu, now)
        else:
            self._last_operation = now
            if pdu.response_type is not None:
                self._pending[pdu.sequence] = self._pending.get(pdu.sequence, 0) + 1
                self._pending_count += 1
                self._full = self._pending_count >= self.config.max_inbound_pending
            self._events.append(ev.RequestReceived(pdu))

    def _receive_bind(self, pdu: Bind) -> None:
        if self._bind is not None:
            self._refuse(pdu, Status.ESME_RALYBND, "a bind is under way")
            return
        self._bind = pdu
        self._events.append(ev.BindRequested(pdu))

    def _receive_unbind(self, pdu: Unbind, now: float) -> None:
        if self._we_unbind:  # both sides unbind: the response to ours ends the session
            self._out.append(encode(UnbindResp(sequence=pdu.sequence)))
            return
        self._peer_unbind = pdu
        self._unbind_since = now
        self._may_send = _NOTHING
        if self.role is Role.ESME:
            # A receipt that we refuse now would be lost: most SMSCs count it as delivered.
            self._may_receive &= _WHILE_PEER_UNBINDS
        else:
            self._may_receive = frozenset({_ENQUIRE_LINK})
        self._events.append(ev.PeerUnbinding())

    def _finish_unbind(self, now: float) -> None:
        """Respond to the peer's unbind, and end an unbound session, when either is due."""
        if self.over:
            return
        if now >= self._unbind_response_due() and self._peer_unbind is not None:
            self._out.append(encode(UnbindResp(sequence=self._peer_unbind.sequence)))
            self._peer_unbind_answered = True
        if now < self._end_due():
            return
        reason = CloseReason.UNBOUND if self._unbind_answered else CloseReason.PEER_UNBOUND
        self._close(reason, then=State.UNBOUND)

    def _unbind_response_due(self) -> float:
        """Return when to respond to the peer's unbind; _NEVER without one, or after the response.

        Our pending responses come first. An SMSC also waits for its pending responses to our
        submits, but not for long.
        """
        if self._peer_unbind is None or self._peer_unbind_answered:
            return _NEVER
        if not self._responses_pending():
            return _AT_ONCE
        grace = self.config.unbind_grace if self.role is Role.ESME else self.config.response_timeout
        return self._unbind_since + grace

    def _end_due(self) -> float:
        """Return when the session ends after an unbind; _NEVER without one."""
        if self._peer_unbind is None and not self._unbind_answered:
            return _NEVER
        if not self._responses_pending():
            return _AT_ONCE
        return self._unbind_since + self.config.response_timeout

    def _responses_pending(self) -> bool:
        """Return whether an unbound session waits for responses: for ours, and for an SMSC's.

        Without an SMSC's response we cannot know whether it accepted a submit. The session does not
        wait for an ESME's: its receipts are sent again.
        """
        theirs = self._peer_unbind is not None and self.role is Role.ESME and self.outstanding
        return bool(self._pending_count or theirs)

    def _receive_response(self, pdu: Response, now: float) -> None:
        context = self._outstanding.take(pdu.sequence, pdu.command_id)
        if context is MISSING:
            self._events.append(ev.UnexpectedResponse(pdu))
        elif type(context) is _Own:
            self._receive_own_response(context, pdu, now)
        else:
            self._last_operation = now
            self._events.append(ev.ResponseReceived(pdu, context))

    def _receive_own_response(self, kind: _Own, pdu: Response, now: float) -> None:
        self._own.discard(kind)
        if kind is _Own.UNBIND:
            self._unbind_answered = True
            self._unbind_since = now
            self._may_receive = _WHILE_WE_UNBIND
        elif kind is _Own.BIND and self._bind is not None:
            bind = self._bind
            if pdu.status == Status.ESME_ROK and isinstance(pdu, BindResp):
                self._enter_bound(bind, pdu.sc_interface_version or VERSION_3_3, now)
                self._events.append(ev.BindAccepted(pdu))
            else:
                self._bind = None
                self._events.append(ev.BindRefused(pdu.status))

    def _receive_malformed(self, problem: DecodeError) -> None:
        sequence, command_id = problem.sequence, problem.command_id
        self._report_remote(problem.status, command_id, sequence, problem.reason)
        # A response never gets a response: two peers could go on like that for ever.
        if not command_id & RESPONSE_BIT:
            answer = response_type_of(command_id) or GenericNack
            self._out.append(encode(answer(status=problem.status, sequence=sequence)))

    def _refuse_in_this_state(self, pdu: Request) -> None:
        if isinstance(pdu, Bind) and self.bound and self.role is Role.SMSC:
            self._refuse(pdu, Status.ESME_RALYBND, "already bound")
        elif self._is_too_late(pdu):
            # Not the peer's error: it has not read our unbind. It may retry over another session.
            self._answer_with(pdu, Status.ESME_RMSGQFUL)
        else:
            self._refuse(pdu, Status.ESME_RINVBNDSTS, f"not allowed in {self.state.value}")

    @property
    def _we_unbind(self) -> bool:
        return _Own.UNBIND in self._own or self._unbind_answered

    def _is_too_late(self, pdu: Request) -> bool:
        """Return whether only our unbind keeps us from accepting that request."""
        return self._we_unbind and pdu.command_id in ALLOWED[self.role.peer, self.state]

    def _refuse(self, pdu: Request, status: int, reason: str) -> None:
        self._answer_with(pdu, status)
        self._report_remote(status, pdu.command_id, pdu.sequence, reason)

    def _answer_with(self, pdu: Request, status: int) -> None:
        if pdu.response_type is not None:
            self._out.append(encode(pdu.response_type(status=status, sequence=pdu.sequence)))

    def _report_remote(self, status: int, command_id: int, sequence: int, reason: str) -> None:
        self._events.append(ev.RemoteProtocolError(status, command_id, sequence, reason))

    # -- time --------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """Return when `tick` is due, in the caller's monotonic seconds, possibly in the past."""
        if self.over:
            return None
        due = min(self._unbind_response_due(), self._end_due())
        if due == _AT_ONCE:
            return due
        config = self.config
        deadlines: list[float] = []
        if due != _NEVER:
            deadlines.append(due)
        elif not self.bound:
            if self._awaits_bind() and config.session_init_timeout is not None:
                deadlines.append(self._init_started + config.session_init_timeout)
        elif _Own.UNBIND not in self._own:
            if config.inactivity_timeout is not None:
                deadlines.append(self._last_operation + config.inactivity_timeout)
            if self._may_enquire() and config.enquire_link_interval is not None:
                deadlines.append(self._last_received + config.enquire_link_interval)
        first = self._outstanding.first_deadline()
        if first is not None:
            deadlines.append(first)
        return min(deadlines, default=None)

    def tick(self, now: float) -> list[Event]:
        """Do everything that is due: enquire_link, unbind, timeouts. Harmless if nothing is."""
        if self.over:
            return []
        self._expire_responses(now)
        self._finish_unbind(now)
        if self._end_due() == _NEVER:
            self._tick_timers(now)
        return self._take_events()

    def _tick_timers(self, now: float) -> None:
        config = self.config
        if not self.bound:
            init = config.session_init_timeout
            if init is not None and self._awaits_bind() and now - self._init_started >= init:
                self._close(CloseReason.SESSION_INIT_TIMEOUT)
            return
        if _Own.UNBIND in self._own:
            return
        inactivity, interval = config.inactivity_timeout, config.enquire_link_interval
        if inactivity is not None and now - self._last_operation >= inactivity:
            self.unbind(now)
        elif interval is not None and self._may_enquire() and now - self._last_received >= interval:
            self._send_own(EnquireLink(), _Own.ENQUIRE_LINK, now)
            self._enquired = now

    def _awaits_bind(self) -> bool:
        return self.role is Role.SMSC and self.state is State.OPEN and self._bind is None

    def _may_enquire(self) -> bool:
        return _Own.ENQUIRE_LINK not in self._own and not self._outstanding.paused

    def _note_reading(self, now: float) -> None:
        if not self.wants_read:
            if not self._outstanding.paused:
                self._outstanding.pause(now)
        elif self._outstanding.paused:
            self._outstanding.resume(now)
            self._last_received = now  # it was us who did not read

    def _expire_responses(self, now: float) -> None:
        own: list[_Own] = []
        for context in self._outstanding.take_expired(now):
            if type(context) is _Own:
                own.append(context)
            else:
                self._events.append(ev.ResponseTimedOut(context))
        for kind in own:  # last, because these may end the session
            self._expire_own(kind)

    def _expire_own(self, kind: _Own) -> None:
        self._own.discard(kind)
        if kind is _Own.BIND:
            self._close(CloseReason.BIND_TIMEOUT)
        elif kind is _Own.UNBIND:
            self._close(CloseReason.UNBIND_TIMEOUT)
        elif self._last_received <= self._enquired:
            # A peer that has sent anything since is alive, even if it ignores enquire_link.
            self._close(CloseReason.ENQUIRE_LINK_TIMEOUT)

    # -- internals ---------------------------------------------------------------------------

    def _send_own(self, request: Request, kind: _Own, now: float) -> int:
        sequence = self._send(request, kind, now)
        self._own.add(kind)
        return sequence

    def _send(self, request: Request, context: Any, now: float) -> int:
        if request.command_id not in self._may_send:
            unbinding = self._peer_unbind is not None or self._we_unbind
            where = "while unbinding" if unbinding else f"in {self.state.value}"
            raise LocalProtocolError(f"{command_name(request.command_id)} may not be sent {where}")
        sequence = request.sequence = self._outstanding.next_sequence()
        self._out.append(encode(request))
        if type(context) is not _Own:
            self._last_operation = now
        if request.response_type is not None:
            self._outstanding.add(sequence, request.command_id, context, now)
        else:
            self._outstanding.skip(sequence)
        return sequence

    def _answer_bind(self, pdu: Bind, status: int, **fields: Any) -> bool:
        if self.over:
            return False
        if pdu is not self._bind or self.role is not Role.SMSC or self.bound:
            raise LocalProtocolError("there is no such bind to answer")
        response_type = pdu.response_type
        assert response_type is not None  # noqa: S101 - every Bind has one
        self._out.append(encode(response_type(status=status, sequence=pdu.sequence, **fields)))
        self._bind = None
        return True

    def _enter_bound(self, bind: Bind, peer_version: int, now: float) -> None:
        self._enter(STATE_OF_BIND[bind.command_id])
        self.interface_version = min(bind.interface_version, peer_version)
        self._last_received = self._last_operation = now

    def _enter(self, state: State) -> None:
        self.state = state
        self.bound = state in BOUND
        self.over = state in (State.UNBOUND, State.CLOSED)
        self._may_send = ALLOWED[self.role, state]
        self._may_receive = ALLOWED[self.role.peer, state]

    def _close(self, reason: CloseReason, detail: str = "", then: State = State.CLOSED) -> None:
        if self.over:
            return
        self._enter(then)
        unanswered = [c for c in self._outstanding.take_all() if type(c) is not _Own]
        self._own.clear()
        self._pending.clear()
        self._pending_count = 0
        self._framer = Framer(self.config.max_frame_length)
        self._events.append(ev.Closed(reason, detail, unanswered))

    def _take_events(self) -> list[Event]:
        events = self._events
        self._events = []
        return events
