"""The receipts owed to one system_id, and the binds that they go out on."""

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
class Owed:
    """A receipt until it is answered."""

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
    receipts_refused: int = 0  # answered by an error, each time
    receipts_lost: int = 0  # refused too often, or too many waiting


class Outbox:
    """Sends receipts round-robin over the receiving binds, a window of them on each.

    One whose bind is lost before it was answered goes out again, first of all, as it was; while
    no bind receives, all wait. One that is refused or not answered is tried a few times.
    """

    def __init__(self, options: Options, tally: Tally) -> None:
        self.lines: list[Link] = []  # the binds that receive
        self._options = options
        self._tally = tally
        self._waiting: deque[Owed] = deque()
        self._turns = Turns()

    @property
    def waiting(self) -> int:
        """Return how many receipts wait for a place in a window."""
        return len(self._waiting)

    def put(self, pdu: DeliverSm | DataSm) -> None:
        """Owe a receipt, and send it if a window has room."""
        if len(self._waiting) >= self._options.max_waiting_receipts:
            self._waiting.popleft()
            self._tally.receipts_lost += 1
        self._waiting.append(Owed(pdu))
        self.pump()

    def put_on(self, line: Link, pdu: DeliverSm | DataSm) -> None:
        """Send a receipt on this very bind; like any other if that cannot be."""
        owed = Owed(pdu)
        if line not in self.lines or not self._send(line, owed):
            self._waiting.appendleft(owed)
            self.pump()

    def pump(self) -> None:
        """Send what the windows have room for."""
        waiting = self._waiting
        while waiting:
            line = self._turns.next(self.lines, self._options.receipt_window, _DELIVER_SM)
            if line is None:
                return
            owed = waiting.popleft()
            if not self._send(line, owed):
                waiting.appendleft(owed)
                return

    def _send(self, line: Link, owed: Owed) -> bool:
        try:
            line.send(owed.pdu, self._done, owed)
        except NotSent:
            return False
        self._tally.receipts_sent += 1
        return True

    def _done(self, owed: Any, outcome: Response | LinkError) -> None:
        if isinstance(outcome, NotSent | LinkClosed):
            self._waiting.appendleft(owed)
        elif isinstance(outcome, Exception) or outcome.status != Status.ESME_ROK:
            self._refused(owed)
        else:
            self._tally.receipts_answered += 1
        if self._waiting:
            self.pump()

    def _refused(self, owed: Owed) -> None:
        self._tally.receipts_refused += 1
        owed.refused += 1
        if owed.refused >= self._options.receipt_attempts:
            self._tally.receipts_lost += 1
            return
        delay = self._options.receipt_retry_delay
        asyncio.get_running_loop().call_later(delay, self._again, owed)

    def _again(self, owed: Owed) -> None:
        self._waiting.append(owed)
        self.pump()
