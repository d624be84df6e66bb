"""One customer connection, and the threads for database work."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from django.db import connection

from imissive.core import clock
from imissive.core.sql import Fault, fault_of, forget_broken_connections
from messaging.gateway.console import Console
from messaging.gateway.sessions import BindInfo, Report
from messaging.smpp.constants import CommandId

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from datetime import datetime
    from uuid import UUID

    from messaging.gateway.account_session import Customer
    from messaging.smpp.link import Link
    from messaging.smpp.pdus import Bind

T = TypeVar("T")

HEARD_SECONDS: Final = 10.0
"""The shortest interval of reports for a bind that only sends enquire_link."""
KINDS: Final = {
    CommandId.BIND_TRANSMITTER: "tx",
    CommandId.BIND_RECEIVER: "rx",
    CommandId.BIND_TRANSCEIVER: "trx",
}


class Threads:
    """A pool of threads for blocking work, each with its own database connection."""

    def __init__(self, most: int) -> None:
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="smpp-server")
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run `work` in a thread and return what it returns; broken connections are dropped."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(_work, work, *arguments))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the coroutine in the background."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Stop accepting work, and return the database connections."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _work(work: Callable[..., T], *arguments: Any) -> T:
    try:
        return work(*arguments)
    except Exception as error:
        if fault_of(error) is Fault.DATABASE:
            forget_broken_connections(error)
        raise
    finally:
        # Return it to the pool: there may be more threads than connections.
        connection.close()


class Connection:
    """A connection, bound or not; it is its link's `owner`. Counters count since the bind."""

    __slots__ = (
        "_paced",
        "_reported",
        "binds_refused",
        "bound_at",
        "console",
        "customer",
        "ended_by",
        "info",
        "link",
        "receipts",
        "refused",
        "refusing",
        "session_id",
        "silent",
        "submits",
        "tails",
        "throttled",
        "tls",
    )

    def __init__(self, link: Link, *, tls: bool) -> None:
        self.link = link
        self.tls = tls
        self.refusing = False  # over the limit of connections: its bind will be refused
        self.binds_refused = 0
        self.customer: Customer | None = None
        self.session_id: UUID | None = None
        self.info: BindInfo | None = None
        self.bound_at: datetime | None = None
        self.submits = self.refused = self.throttled = self.receipts = 0
        self.tails = 0  # PDUs with unreadable octets at their end
        self.silent = 0  # consecutive deliver_sm without a response
        self.ended_by = ""  # the reason of the end, in history.py's words
        self.console = Console()
        self._paced = (time.monotonic(), 0)
        self._reported: tuple[int, ...] = ()

    @property
    def address(self) -> str:
        """The peer's address, without its port and an IPv6 address's zone."""
        return self.link.peer.rpartition(":")[0].partition("%")[0]

    def describe(self, pdu: Bind) -> BindInfo:
        """Return the details of a bind request."""
        port = self.link.peer.rpartition(":")[2]
        return BindInfo(
            kind=KINDS[CommandId(pdu.command_id)],
            address=self.address,
            port=int(port) if port.isdigit() else 0,
            tls=self.tls,
            interface_version=pdu.interface_version,
            system_type=pdu.system_type,
        )

    def forget_report(self) -> None:
        """Forget the last report, so that the next one is written."""
        self._reported = ()

    def report(self) -> Report | None:
        """Return the bind's report if it differs from the last one."""
        link = self.link
        now = time.monotonic()
        heard = now - link.silence
        marks = (
            int(heard / HEARD_SECONDS),
            self.submits,
            self.refused,
            self.throttled,
            self.receipts,
            link.inbound_pending,
            link.outstanding,
            link.protocol_errors,
        )
        since, before = self._paced
        pace = (self.submits - before) / max(now - since, 0.001)
        self._paced = (now, self.submits)
        if self.session_id is None or self.customer is None:
            return None
        if self.info is None or self.bound_at is None or (marks == self._reported and not pace):
            return None
        self._reported = marks if not pace else ()
        return Report(
            self.session_id,
            self.customer.account.id,
            self.info,
            self.bound_at,
            *marks[1:-1],
            round(pace, 1),
            clock.now() - timedelta(seconds=link.silence),
            self.console.lines(),
            self.console.error_lines(),
            link.protocol_errors,
        )
