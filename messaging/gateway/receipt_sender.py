"""Sending of delivery receipts to one account, in a window over its receiving binds."""

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
    from messaging.gateway.formatting import DueReceipt
    from messaging.models.smpp_accounts import SmppAccount
    from messaging.smpp.link import Link
    from messaging.smpp.pdus import Pdu, Response

log = structlog.get_logger(__name__)

AT_MOST: Final = 500
"""The limit of receipts in one claim."""
SILENT_TIMEOUTS: Final = 5
"""Consecutive deliver_sm without a response after which a bind is dropped."""
FAILED_PAUSE: Final = 1.0
_DELIVER_SM: Final = int(CommandId.DELIVER_SM)
_GOOD: Final = frozenset({Status.ESME_ROK})
# The customer rejects it permanently: SMPP 3.4, 5.1.3.
_FINAL: Final = frozenset({Status.ESME_RX_P_APPN, Status.ESME_RX_R_APPN})


class ReceiptSender:
    """The sender of one account's receipts, while it has a receiving bind on this process."""

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
        """Return whether all receipts are settled and there is no receiving bind."""
        return self._task is None

    def add(self, link: Link) -> None:
        """Add a receiving bind."""
        self.links.append(link)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        self.wake()

    def remove(self, link: Link) -> None:
        """Remove a closed bind; its outstanding receipts have been requeued already."""
        if link in self.links:
            self.links.remove(link)
        self._wakeup.set()

    def wake(self) -> None:
        """Check for new receipts."""
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
        """Settle the responses, claim as many receipts as the windows allow, and send them."""
        done, self._done = self._done, []
        again, self._again = self._again, []
        slots = self._free_slots() if self._more else 0
        if slots:
            self._more = False
        if not (done or again or slots):
            return
        try:
            claimed = await self._threads.run(self._exchange, done, again, slots)
        except Exception as error:
            log.warning("smpp_receipts_failed", account=str(self.account), error=str(error))
            self._done += done
            self._again += again
            self._more = True
            asyncio.get_running_loop().call_later(FAILED_PAUSE, self._wakeup.set)
            return
        if slots and len(claimed) == slots:
            self.wake()
        for receipt in claimed:
            self._send(receipt)

    def _exchange(
        self, done: list[int], again: list[tuple[int, int]], slots: int
    ) -> list[DueReceipt]:
        if done or again:
            receipt_queue.settle(self._server_id, done, again)
        return receipt_queue.claim(self._server_id, self.account.id, slots)

    def _free_slots(self) -> int:
        window = self.account.receipt_window
        free = sum(
            max(0, window - link.outstanding) for link in self.links if link.may_send(_DELIVER_SM)
        )
        return min(free, AT_MOST)

    def _send(self, receipt: DueReceipt) -> None:
        link = self._turns.next(self.links, self.account.receipt_window, _DELIVER_SM)
        if link is None:
            self._requeue(receipt, 0)
            return
        try:
            pdu = receipt_pdu(
                receipt,
                self.account,
                id_form=self.account.id_format,
                receipt_format=self.account.receipt_format,
                version=link.interface_version or 0,
            )
            link.send(pdu, self._on_response, (receipt, link, pdu))
        except NotSent:
            self._requeue(receipt, 0)
        except Exception:
            # It would fail each time, and block the receipts that were claimed with it.
            log.exception("smpp_receipt_unsendable", receipt=receipt.id)
            self._settled(receipt)
        else:
            _add_to_console(link, ">", pdu)

    def _on_response(self, context: Any, outcome: Response | LinkError) -> None:
        receipt, link, pdu = context
        connection = _connection(link)
        # The receipt is settled first: an error in counting or in the console must not lose it.
        if isinstance(outcome, NotSent | LinkClosed):
            self._requeue(receipt, 0)
            return
        if isinstance(outcome, LinkError):
            self._requeue(receipt, receipt_queue.retry_seconds(receipt.attempts))
            connection.console.note_silence(pdu)
            self._count_timeout(link, outcome)
            return
        connection.silent = 0
        if outcome.status in _GOOD:
            connection.receipts += 1
            self._settled(receipt)
        elif outcome.status in _FINAL:
            log.info("smpp_receipt_rejected", account=str(self.account), status=outcome.status)
            self._settled(receipt)
        else:
            self._requeue(receipt, receipt_queue.retry_seconds(receipt.attempts))
        # A slot of the window is free.
        self._wakeup.set()
        _add_to_console(link, "<", outcome)

    def _count_timeout(self, link: Link, outcome: LinkError) -> None:
        connection = _connection(link)
        if isinstance(outcome, ResponseTimeout):
            connection.silent += 1
            if connection.silent == SILENT_TIMEOUTS:
                link.abort("does not answer deliver_sm")

    def _settled(self, receipt: DueReceipt) -> None:
        self._done.append(receipt.id)
        self._more = True
        self._wakeup.set()

    def _requeue(self, receipt: DueReceipt, seconds: int) -> None:
        self._again.append((receipt.id, seconds))
        self._more = True
        self._wakeup.set()


def _add_to_console(link: Link, direction: Direction, pdu: Pdu) -> None:
    """Add a PDU to the console; an error there must not stop the sender."""
    try:
        _connection(link).console.note(direction, pdu)
    except Exception:
        log.exception("smpp_console_failed", peer=link.peer)


def _connection(link: Link) -> Connection:
    connection: Connection = link.owner
    return connection
