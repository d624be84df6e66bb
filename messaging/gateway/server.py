"""The server: it listens, lets customers bind, and keeps what all its binds share going."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog

from imissive.core import clock
from messaging.gateway import history, receipt_queue, sessions
from messaging.gateway.account_session import Customer
from messaging.gateway.bind_auth import Denied, Gate, is_open
from messaging.gateway.connections import Connection, Threads
from messaging.gateway.notifications import Notifications
from messaging.smpp.constants import Status
from messaging.smpp.events import RemoteProtocolError
from messaging.smpp.handlers import Handlers, LinkConfig, log_protocol_error
from messaging.smpp.link import Link, serve_smsc

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from ssl import SSLContext

    from messaging.gateway.sessions import Newcomer
    from messaging.models.smpp_accounts import SmppAccount
    from messaging.smpp.events import Closed, UnexpectedResponse
    from messaging.smpp.pdus import Bind, Request

log = structlog.get_logger(__name__)

SYSTEM_ID: Final = "imissive"
REPORT_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 1.0
"""The interval at which queued receipts are looked for without a wake-up."""
BINDS_REFUSED: Final = 3
"""Refused binds after which a connection is closed."""
MOST_ADMISSIONS: Final = 200
"""Binds that may wait for their password to be checked."""
REFUSING_SECONDS: Final = 2.0
"""The time that a connection over the limit has for its bind, which will be refused."""


@dataclass(frozen=True, slots=True)
class Options:
    """The server's options. `tls_port` needs `tls`; a port of 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 2775
    tls_port: int | None = None
    tls: SSLContext | None = None
    max_connections: int = 2000
    reuse_port: bool = False
    threads: int = 8
    link: LinkConfig = field(
        default_factory=lambda: LinkConfig(
            session_init_timeout=10.0,
            enquire_link_interval=30.0,
            response_timeout=30.0,
            inactivity_timeout=None,
        )
    )


class CustomerServer:
    """An SMSC for customers. All of it belongs to one event loop."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.port = self.tls_port = 0  # once it listens
        self.server_id = UUID(int=0)
        self.connections: set[Connection] = set()
        self.customers: dict[UUID, Customer] = {}
        self.draining = False
        self._started_at = clock.now()
        self._threads = Threads(options.threads)
        # Slow hashes have threads of their own: they must not hold up submits.
        self._hashing = Threads(2)
        self._gate: Gate | None = None
        self._admissions = 0
        self._servers: list[asyncio.Server] = []
        self._loops: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._notifications = Notifications(self._notified)

    # -- from outside ------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen. Raises OSError where a port cannot be had, DatabaseError without a database."""
        self.server_id = await self._threads.run(sessions.open_server)
        self._gate = await self._hashing.run(Gate, self.server_id)
        options = self.options
        self.port = await self._listen(options.port, None)
        if options.tls is not None and options.tls_port is not None:
            self.tls_port = await self._listen(options.tls_port, options.tls)
        for loop in (self._report_on, self._look_on, self._notifications.run):
            self._loops.append(asyncio.create_task(loop()))
        log.info("smpp_server_listens", port=self.port, tls_port=self.tls_port or None)

    async def stop(self, seconds: float = 10.0) -> None:
        """Let nobody in any more, answer what was asked, unbind all, and settle the receipts."""
        self.draining = True
        for server in self._servers:
            server.close()
        bound = [c for c in self.connections if c.session_id is not None]
        for waiting in self.connections - set(bound):
            waiting.link.close("the server ends")
        log.info("smpp_server_drains", binds=len(bound))
        ends = [connection.link.unbind(seconds) for connection in bound]
        await asyncio.gather(*ends, return_exceptions=True)
        receipt_senders = [
            customer.receipt_sender.finished() for customer in self.customers.values()
        ]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*receipt_senders, *self._tasks, return_exceptions=True)
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        with contextlib.suppress(Exception):
            await self._threads.run(sessions.close_server, self.server_id)
        for threads in (self._threads, self._hashing):
            threads.close()

    async def _listen(self, port: int, tls: SSLContext | None) -> int:
        handlers = Handlers(
            on_request=self._on_request,
            on_bind=self._on_bind,
            on_closed=self._on_closed,
            on_protocol_error=self._on_protocol_error,
            on_connected=partial(self._on_connected, tls=tls is not None),
        )
        server = await serve_smsc(
            self.options.host,
            port,
            self.options.link,
            handlers,
            ssl=tls,
            reuse_port=self.options.reuse_port,
        )
        self._servers.append(server)
        number: int = server.sockets[0].getsockname()[1]
        return number

    # -- connections -------------------------------------------------------------------------

    def _on_connected(self, link: Link, *, tls: bool) -> None:
        made = link.owner = Connection(link, tls=tls)
        self.connections.add(made)
        most = self.options.max_connections
        if len(self.connections) > 2 * most:
            link.abort("far too many connections")
        elif self.draining or len(self.connections) > most:
            made.refusing = True
            link.adopt(replace(link.config, session_init_timeout=REFUSING_SECONDS))

    def _on_bind(self, link: Link, pdu: Bind) -> None:
        asking: Connection = link.owner
        if asking.refusing or self.draining or self._admissions >= MOST_ADMISSIONS:
            link.refuse_bind(pdu, Status.ESME_RBINDFAIL)
            link.close("there are too many connections")
            return
        self._admissions += 1
        self._start(self._admit(asking, pdu))

    async def _admit(self, asking: Connection, pdu: Bind) -> None:
        link = asking.link
        assert self._gate is not None  # noqa: S101 - made before anything listens
        who = asking.introduce(pdu)
        try:
            account, session_id = await self._hashing.run(
                self._gate.admit, pdu.system_id, pdu.password, who
            )
        except Denied as denied:
            self._refuse(asking, pdu, denied.status)
            return
        except Exception as error:
            log.error("smpp_bind_failed", address=who.address, error=str(error).strip())
            self._refuse(asking, pdu, Status.ESME_RSYSERR)
            return
        finally:
            self._admissions -= 1
        if self.draining or not link.accept_bind(pdu, SYSTEM_ID):
            link.close("the server ends")
            await self._release(session_id, account.id, who, "it was gone before it was let in")
            return
        asking.newcomer, asking.bound_at = who, clock.now()
        asking.session_id = session_id
        asking.console.note("<", pdu)
        self._customer(account).add(asking)
        log.info("smpp_bound", system_id=account.system_id, kind=who.kind, peer=link.peer)

    def _refuse(self, asking: Connection, pdu: Bind, status: int) -> None:
        asking.binds_refused += 1
        asking.link.refuse_bind(pdu, status)
        if asking.binds_refused >= BINDS_REFUSED:
            asking.link.close("too many refused binds")

    def _customer(self, account: SmppAccount) -> Customer:
        customer = self.customers.get(account.id)
        if customer is None:
            customer = Customer(self.server_id, account, self._threads)
            self.customers[account.id] = customer
        else:
            customer.adopt(account)  # as read for this bind
        return customer

    def _on_request(self, link: Link, pdu: Request) -> None:
        asking: Connection = link.owner
        if asking.customer is not None:
            asking.customer.on_request(asking, pdu)

    def _on_closed(self, link: Link, reason: Closed, _: object) -> None:
        gone: Connection = link.owner
        self.connections.discard(gone)
        if gone.customer is None or gone.session_id is None or gone.newcomer is None:
            return
        gone.customer.remove(gone)
        account, who = gone.customer.account, gone.newcomer
        why = gone.ended_by or str(reason)
        log.info(
            "smpp_gone", system_id=account.system_id, kind=who.kind, peer=link.peer, reason=why
        )
        self._start(self._release(gone.session_id, account.id, who, why))

    def _on_protocol_error(
        self, link: Link, event: RemoteProtocolError | UnexpectedResponse
    ) -> None:
        log_protocol_error(link, event)
        if not isinstance(event, RemoteProtocolError):
            return
        made: Connection = link.owner
        if event.status == Status.ESME_ROK:
            made.tails += 1
            if made.tails > 1:
                return  # a client that does it does it with each PDU: others would not be seen
        made.console.note_fault(event)

    async def _release(self, session_id: UUID, account_id: UUID, who: Newcomer, why: str) -> None:
        try:
            await self._threads.run(sessions.release, [session_id])
            await self._threads.run(history.ended, account_id, who, why)
        except Exception as error:
            # The next report says that the server lives; this row ends with the server.
            log.warning("smpp_session_not_released", error=str(error).strip())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- what goes on all the time -------------------------------------------------------------

    async def _report_on(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            await self._guarded("report", self._report)

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._guarded("look", self._look)

    async def _guarded(self, what: str, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await step()
        except Exception as error:
            log.warning("smpp_server_step_failed", step=what, error=str(error).strip())

    async def _report(self) -> None:
        """Say that we live and how the binds stand; take changed accounts over."""
        reports = [row for row in (made.report() for made in self.connections) if row is not None]
        forgotten = await self._threads.run(
            sessions.report, self.server_id, self._started_at, reports
        )
        held = {made.session_id for made in self.connections}
        if gone := [row.id for row in reports if row.id not in held]:
            # Given back while it was being reported, which may have entered it again.
            await self._threads.run(sessions.release, gone)
        if forgotten:
            for made in self.connections:
                made.forget_report()
        known = dict(self.customers)  # whose first bind comes meanwhile is not asked about
        fresh = await self._threads.run(sessions.accounts_of, list(known))
        for account_id, customer in known.items():
            account = fresh.get(account_id)
            if account is not None and is_open(account):
                customer.adopt(account)
            else:
                self._turn_out(customer)
            if customer.idle:
                del self.customers[account_id]
        await self._end_asked()

    async def _end_asked(self) -> None:
        """Unbind the binds that operators have told to end."""
        asked = await self._threads.run(sessions.asked_to_end, self.server_id)
        for made in list(self.connections):
            if made.session_id in asked and not made.ended_by:
                made.ended_by = history.OPERATOR
                self._unbind(made)

    def _turn_out(self, customer: Customer) -> None:
        for made in list(customer.connections):
            self._unbind(made)

    def _unbind(self, made: Connection) -> None:
        if not made.link.unbinding:
            self._start(made.link.unbind(self.options.link.response_timeout))

    async def _look(self) -> None:
        """Ring for receipts that nobody rang for, and take back those of dead servers."""
        await self._threads.run(receipt_queue.reclaim)
        listening = [
            key for key, customer in self.customers.items() if customer.receipt_sender.links
        ]
        if listening:
            for account_id in await self._threads.run(receipt_queue.due, listening):
                self._notified(account_id)

    def _notified(self, account_id: UUID | None) -> None:
        """There are receipts for that account, or None: perhaps for any."""
        if account_id is None:
            for customer in self.customers.values():
                customer.receipt_sender.wake()
        elif account_id in self.customers:
            self.customers[account_id].receipt_sender.wake()
