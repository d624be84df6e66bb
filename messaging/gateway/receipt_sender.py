"""Receipts on their way to one account: out in a window over its receiving binds, and settled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog

from messaging.gateway import receipt_queue
from messaging.gateway.formatting import receipt_pdu
from messaging.smpp.constants import CommandId, Status
from messaging.smpp.outcomes import (
    LinkClosed,
    LinkError,
    NotSent,
    ResponseTimeout,
)
from messaging.smpp.round_robin import Turns

if TYPE_CHECKING:
    from uuid import UUID

    from messaging.gateway.connections import Connection, Threads
    from messaging.gateway.console import Direction
    from messaging.gateway.formatting import Owed
    from messaging.models.smpp_accounts import SmppAccount
    from messaging.smpp.link import Link
    from messaging.smpp.pdus import Pdu, Response

log = structlog.get_logger(__name__)

AT_MOST: Final = 500
"""Receipts claimed at once."""
SILENT_TIMEOUTS: Final = 5
"""Unanswered deliver_sm in a row after which a bind is dropped: its peer does not listen."""
FAILED_PAUSE: Final = 1.0
_DELIVER_SM: Final = int(CommandId.DELIVER_SM)
_GOOD: Final = frozenset({Status.ESME_ROK})
# The customer will never want it: SMPP 3.4, 5.1.3.
_FINAL: Final = frozenset({Status.ESME_RX_P_APPN, Status.ESME_RX_R_APPN})


class ReceiptSender:
    """Brings one account its receipts, for as long as it has a bind here that receives."""

    def __init__(self, server_id: UUID, account: SmppAccount, threads: Threads) -> None:
        self.account = account
        self.links: list[Link] = []
        self._server_id = server_id
        self._threads = threads
        self._turns = Turns()
        self._done: list[int] = []
        self._again: list[tuple[int, int]] = []
        self._wakeup = asyncio.Event()
        self._more = False
        self._task: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Return whether everything is settled and no bind receives."""
        return self._task is None

    def add(self, link: Link) -> None:
        """A bind that receives."""
        self.links.append(link)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        self.wake()

    def remove(self, link: Link) -> None:
        """A bind is gone; what it had under way has come back already."""
        if link in self.links:
            self.links.remove(link)
        self._wakeup.set()

    def wake(self) -> None:
        """There may be receipts."""
        self._more = True
        self._wakeup.set()

    async def finished(self) -> None:
        """Wait until everything is settled, once the last bind is gone."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _run(self) -> None:
        try:
            while self.links or self._done or self._again:
                await self._wakeup.wait()
                self._wakeup.clear()
                await self._step()
        finally:
            self._task = None

    async def _step(self) -> None:
        """Settle what came back, claim what the windows have room for, send it."""
        done, self._done = self._done, []
        again, self._again = self._again, []
        room = self._room() if self._more else 0
        if room:
            self._more = False
        if not (done or again or room):
            return
        try:
            claimed = await self._threads.run(self._exchange, done, again, room)
        except Exception as error:
            log.warning("smpp_receipts_failed", account=str(self.account), error=str(error))
            self._done += done
            self._again += again
            self._more = True
            asyncio.get_running_loop().call_later(FAILED_PAUSE, self._wakeup.set)
            return
        if room and len(claimed) == room:
            self.wake()
        for receipt in claimed:
            self._send(receipt)

    def _exchange(self, done: list[int], again: list[tuple[int, int]], room: int) -> list[Owed]:
        if done or again:
            receipt_queue.settle(self._server_id, done, again)
        return receipt_queue.claim(self._server_id, self.account.id, room)

    def _room(self) -> int:
        window = self.account.receipt_window
        free = sum(
            max(0, window - link.outstanding) for link in self.links if link.may_send(_DELIVER_SM)
        )
        return min(free, AT_MOST)

    def _send(self, receipt: Owed) -> None:
        link = self._turns.next(self.links, self.account.receipt_window, _DELIVER_SM)
        if link is None:
            self._put_back(receipt, 0)
            return
        try:
            pdu = receipt_pdu(
                receipt,
                self.account,
                id_form=self.account.id_format,
                receipt_format=self.account.receipt_format,
                version=link.interface_version or 0,
            )
            link.send(pdu, self._answered, (receipt, link, pdu))
        except NotSent:
            self._put_back(receipt, 0)
        except Exception:
            # It would fail each time, and those that were claimed with it wait behind it.
            log.exception("smpp_receipt_unsendable", receipt=receipt.id)
            self._settled(receipt)
        else:
            _show(link, ">", pdu)

    def _answered(self, context: Any, outcome: Response | LinkError) -> None:
        receipt, link, pdu = context
        connection = _connection(link)
        # What becomes of the receipt comes first: nothing that is shown or counted may cost it.
        if isinstance(outcome, NotSent | LinkClosed):
            self._put_back(receipt, 0)
            return
        if isinstance(outcome, LinkError):
            self._put_back(receipt, receipt_queue.retry_seconds(receipt.attempts))
            connection.console.note_silence(pdu)
            self._count_silence(link, outcome)
            return
        connection.silent = 0
        if outcome.status in _GOOD:
            connection.receipts += 1
            self._settled(receipt)
        elif outcome.status in _FINAL:
            log.info("smpp_receipt_rejected", account=str(self.account), status=outcome.status)
            self._settled(receipt)
        else:
            self._put_back(receipt, receipt_queue.retry_seconds(receipt.attempts))
        # Its place in the window is free.
        self._wakeup.set()
        _show(link, "<", outcome)

    def _count_silence(self, link: Link, outcome: LinkError) -> None:
        connection = _connection(link)
        if isinstance(outcome, ResponseTimeout):
            connection.silent += 1
            if connection.silent == SILENT_TIMEOUTS:
                link.abort("does not answer deliver_sm")

    def _settled(self, receipt: Owed) -> None:
        self._done.append(receipt.id)
        self._more = True
        self._wakeup.set()

    def _put_back(self, receipt: Owed, seconds: int) -> None:
        self._again.append((receipt.id, seconds))
        self._more = True
        self._wakeup.set()


def _show(link: Link, direction: Direction, pdu: Pdu) -> None:
    """Note a PDU for the console; whatever that raises ends no courier."""
    try:
        _connection(link).console.note(direction, pdu)
    except Exception:
        log.exception("smpp_console_failed", peer=link.peer)


def _connection(link: Link) -> Connection:
    connection: Connection = link.owner
    return connection
