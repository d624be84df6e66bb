"""The SMPP server: it listens, authenticates binds, and runs the work that all binds share."""

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

    from messaging.gateway.sessions import BindInfo
    from messaging.models.smpp_accounts import SmppAccount
    from messaging.smpp.events import Closed, UnexpectedResponse
    from messaging.smpp.pdus import Bind, Request

log = structlog.get_logger(__name__)

SYSTEM_ID: Final = "imissive"
REPORT_SECONDS: Final = 2.0
POLL_SECONDS: Final = 1.0
"""The interval of polling for receipts, besides notifications."""
BINDS_REFUSED: Final = 3
"""Refused binds after which a connection is closed."""
MOST_ADMISSIONS: Final = 200
"""The limit of binds that wait for the check of their password."""
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
    """An SMSC for customers. Belongs to one event loop."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.port = self.tls_port = 0  # once it listens
        self.server_id = UUID(int=0)
        self.connections: set[Connection] = set()
        self.customers: dict[UUID, Customer] = {}
        self.draining = False
        self._started_at = clock.now()
        self._threads = Threads(options.threads)
        # Slow hashes have their own threads, so that they never delay submits.
        self._hashing = Threads(2)
        self._gate: Gate | None = None
        self._admissions = 0
        self._servers: list[asyncio.Server] = []
        self._loops: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._notifications = Notifications(self._notified)

    # -- start and stop ----------------------------------------------------------------------

    async def start(self) -> None:
        """Listen. Raise OSError if a port is unavailable, DatabaseError without a database."""
        self.server_id = await self._threads.run(sessions.open_server)
        self._gate = await self._hashing.run(Gate, self.server_id)
        options = self.options
        self.port = await self._listen(options.port, None)
        if options.tls is not None and options.tls_port is not None:
            self.tls_port = await self._listen(options.tls_port, options.tls)
        for loop in (self._report_periodically, self._poll_periodically, self._notifications.run):
            self._loops.append(asyncio.create_task(loop()))
        log.info("smpp_server_listens", port=self.port, tls_port=self.tls_port or None)

    async def stop(self, seconds: float = 10.0) -> None:
        """Stop accepting binds, respond to pending requests, unbind all, and settle receipts."""
        self.draining = True
        for server in self._servers:
            server.close()
        bound = [c for c in self.connections if c.session_id is not None]
        for unbound in self.connections - set(bound):
            unbound.link.close("the server ends")
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
        connection = link.owner = Connection(link, tls=tls)
        self.connections.add(connection)
        most = self.options.max_connections
        if len(self.connections) > 2 * most:
            link.abort("far too many connections")
        elif self.draining or len(self.connections) > most:
            connection.refusing = True
            link.adopt(replace(link.config, session_init_timeout=REFUSING_SECONDS))

    def _on_bind(self, link: Link, pdu: Bind) -> None:
        connection: Connection = link.owner
        if connection.refusing or self.draining or self._admissions >= MOST_ADMISSIONS:
            link.refuse_bind(pdu, Status.ESME_RBINDFAIL)
            link.close("there are too many connections")
            return
        self._admissions += 1
        self._start(self._admit(connection, pdu))

    async def _admit(self, connection: Connection, pdu: Bind) -> None:
        link = connection.link
        assert self._gate is not None  # noqa: S101 - created before anything listens
        info = connection.describe(pdu)
        try:
            account, session_id = await self._hashing.run(
                self._gate.admit, pdu.system_id, pdu.password, info
            )
        except Denied as denied:
            self._refuse(connection, pdu, denied.status)
            return
        except Exception as error:
            log.error("smpp_bind_failed", address=info.address, error=str(error).strip())
            self._refuse(connection, pdu, Status.ESME_RSYSERR)
            return
        finally:
            self._admissions -= 1
        if self.draining or not link.accept_bind(pdu, SYSTEM_ID):
            link.close("the server ends")
            await self._release(session_id, account.id, info, "it was gone before it was let in")
            return
        connection.info, connection.bound_at = info, clock.now()
        connection.session_id = session_id
        connection.console.note("<", pdu)
        self._customer(account).add(connection)
        log.info("smpp_bound", system_id=account.system_id, kind=info.kind, peer=link.peer)

    def _refuse(self, connection: Connection, pdu: Bind, status: int) -> None:
        connection.binds_refused += 1
        connection.link.refuse_bind(pdu, status)
        if connection.binds_refused >= BINDS_REFUSED:
            connection.link.close("too many refused binds")

    def _customer(self, account: SmppAccount) -> Customer:
        customer = self.customers.get(account.id)
        if customer is None:
            customer = Customer(self.server_id, account, self._threads)
            self.customers[account.id] = customer
        else:
            customer.adopt(account)  # as read for this bind
        return customer

    def _on_request(self, link: Link, pdu: Request) -> None:
        connection: Connection = link.owner
        if connection.customer is not None:
            connection.customer.on_request(connection, pdu)

    def _on_closed(self, link: Link, reason: Closed, _: object) -> None:
        closed: Connection = link.owner
        self.connections.discard(closed)
        if closed.customer is None or closed.session_id is None or closed.info is None:
            return
        closed.customer.remove(closed)
        account, info = closed.customer.account, closed.info
        text = closed.ended_by or str(reason)
        log.info(
            "smpp_gone", system_id=account.system_id, kind=info.kind, peer=link.peer, reason=text
        )
        self._start(self._release(closed.session_id, account.id, info, text))

    def _on_protocol_error(
        self, link: Link, event: RemoteProtocolError | UnexpectedResponse
    ) -> None:
        log_protocol_error(link, event)
        if not isinstance(event, RemoteProtocolError):
            return
        connection: Connection = link.owner
        if event.status == Status.ESME_ROK:
            connection.tails += 1
            if connection.tails > 1:
                return  # the client does it with each PDU, which would hide other errors
        connection.console.note_fault(event)

    async def _release(
        self, session_id: UUID, account_id: UUID, info: BindInfo, reason: str
    ) -> None:
        try:
            await self._threads.run(sessions.release, [session_id])
            await self._threads.run(history.ended, account_id, info, reason)
        except Exception as error:
            # The row is deleted with the server's, at the latest.
            log.warning("smpp_session_not_released", error=str(error).strip())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- periodic work -----------------------------------------------------------------------

    async def _report_periodically(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            await self._guarded("report", self._report)

    async def _poll_periodically(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self._guarded("poll", self._poll)

    async def _guarded(self, name: str, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await step()
        except Exception as error:
            log.warning("smpp_server_step_failed", step=name, error=str(error).strip())

    async def _report(self) -> None:
        """Report the server and its binds, and apply changed accounts."""
        reports = [row for each in self.connections if (row := each.report()) is not None]
        forgotten = await self._threads.run(
            sessions.report, self.server_id, self._started_at, reports
        )
        current = {connection.session_id for connection in self.connections}
        if closed := [row.id for row in reports if row.id not in current]:
            # Released during the report, which may have inserted it again.
            await self._threads.run(sessions.release, closed)
        if forgotten:
            for connection in self.connections:
                connection.forget_report()
        known = dict(self.customers)  # without those whose first bind arrives meanwhile
        fresh = await self._threads.run(sessions.accounts_of, list(known))
        for account_id, customer in known.items():
            account = fresh.get(account_id)
            if account is not None and is_open(account):
                customer.adopt(account)
            else:
                self._unbind_all(customer)
            if customer.idle:
                del self.customers[account_id]
        await self._end_asked()

    async def _end_asked(self) -> None:
        """Unbind the binds that operators asked to end."""
        asked = await self._threads.run(sessions.asked_to_end, self.server_id)
        for connection in list(self.connections):
            if connection.session_id in asked and not connection.ended_by:
                connection.ended_by = history.OPERATOR
                self._unbind(connection)

    def _unbind_all(self, customer: Customer) -> None:
        for connection in list(customer.connections):
            self._unbind(connection)

    def _unbind(self, connection: Connection) -> None:
        if not connection.link.unbinding:
            self._start(connection.link.unbind(self.options.link.response_timeout))

    async def _poll(self) -> None:
        """Send due receipts without a notification, and release those of dead servers."""
        await self._threads.run(receipt_queue.reclaim)
        receiving = [
            key for key, customer in self.customers.items() if customer.receipt_sender.links
        ]
        if receiving:
            for account_id in await self._threads.run(receipt_queue.due, receiving):
                self._notified(account_id)

    def _notified(self, account_id: UUID | None) -> None:
        """Wake the sender of that account's receipts; all senders for None."""
        if account_id is None:
            for customer in self.customers.values():
                customer.receipt_sender.wake()
        elif account_id in self.customers:
            self.customers[account_id].receipt_sender.wake()
