"""Pending receipts of one system_id, and its receiving binds."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from messaging.smpp.constants import CommandId, Status
from messaging.smpp.outcomes import LinkClosed, NotSent
from messaging.smpp.round_robin import Turns

if TYPE_CHECKING:
    from messaging.smpp.link import Link
    from messaging.smpp.outcomes import LinkError
    from messaging.smpp.pdus import DataSm, DeliverSm, Response
    from messaging.smpp.simulator.options import Options

_DELIVER_SM: Final = int(CommandId.DELIVER_SM)


@dataclass(slots=True)
class PendingReceipt:
    """A receipt that has no response yet."""

    pdu: DeliverSm | DataSm
    refused: int = 0  # times


@dataclass(slots=True)
class Tally:
    """The simulator's counters."""

    submits: int = 0
    accepted: int = 0
    refused: int = 0
    receipts_sent: int = 0
    receipts_answered: int = 0
    receipts_refused: int = 0  # error responses
    receipts_lost: int = 0  # refused too often, or too many waiting


class Outbox:
    """The receipts of one system_id, sent round-robin over its receiving binds.

    Each bind has a window of receipts. If a bind is lost, its receipts without a response are sent
    again, before all others and unchanged; without a receiving bind all wait. A receipt that is
    refused or times out is retried a few times.
    """

    def __init__(self, options: Options, tally: Tally) -> None:
        self.lines: list[Link] = []  # the binds that receive
        self._options = options
        self._tally = tally
        self._waiting: deque[PendingReceipt] = deque()
        self._turns = Turns()

    @property
    def waiting(self) -> int:
        """Return how many receipts wait for a place in a window."""
        return len(self._waiting)

    def put(self, pdu: DeliverSm | DataSm) -> None:
        """Queue a receipt, and send it if a window has a free place."""
        if len(self._waiting) >= self._options.max_waiting_receipts:
            self._waiting.popleft()
            self._tally.receipts_lost += 1
        self._waiting.append(PendingReceipt(pdu))
        self.send_waiting()

    def put_on(self, line: Link, pdu: DeliverSm | DataSm) -> None:
        """Send a receipt on this bind; if that is impossible, on any."""
        receipt = PendingReceipt(pdu)
        if line not in self.lines or not self._send(line, receipt):
            self._waiting.appendleft(receipt)
            self.send_waiting()

    def send_waiting(self) -> None:
        """Send as many receipts as the windows allow."""
        waiting = self._waiting
        while waiting:
            line = self._turns.next(self.lines, self._options.receipt_window, _DELIVER_SM)
            if line is None:
                return
            receipt = waiting.popleft()
            if not self._send(line, receipt):
                waiting.appendleft(receipt)
                return

    def _send(self, line: Link, receipt: PendingReceipt) -> bool:
        try:
            line.send(receipt.pdu, self._done, receipt)
        except NotSent:
            return False
        self._tally.receipts_sent += 1
        return True

    def _done(self, receipt: Any, outcome: Response | LinkError) -> None:
        if isinstance(outcome, NotSent | LinkClosed):
            self._waiting.appendleft(receipt)
        elif isinstance(outcome, Exception) or outcome.status != Status.ESME_ROK:
            self._refused(receipt)
        else:
            self._tally.receipts_answered += 1
        if self._waiting:
            self.send_waiting()

    def _refused(self, receipt: PendingReceipt) -> None:
        self._tally.receipts_refused += 1
        receipt.refused += 1
        if receipt.refused >= self._options.receipt_attempts:
            self._tally.receipts_lost += 1
            return
        delay = self._options.receipt_retry_delay
        asyncio.get_running_loop().call_later(delay, self._retry, receipt)

    def _retry(self, receipt: PendingReceipt) -> None:
        self._waiting.append(receipt)
        self.send_waiting()
