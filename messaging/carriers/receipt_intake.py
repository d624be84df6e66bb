"""Buffering of a carrier's delivery receipts (DLR, delivery reports) until they are committed.

A receipt gets the response ESME_ROK only when its effect is stored (`receipts` stores it). While
the database is unavailable, it gets ESME_RX_T_APPN before the carrier drops the bind, so that the
carrier sends it again later. It stays pending nevertheless: some carriers do not send it again, and
a duplicate receipt changes nothing. The responses are the only I/O.
"""

import asyncio
import time
from collections.abc import Container, Iterable
from dataclasses import dataclass

from messaging.carriers.receipts import FinalReceipt, UnusedReceipt
from messaging.smpp.constants import Status
from messaging.smpp.link import Link
from messaging.smpp.pdus import DataSm, DeliverSm

RESPONSE_SECONDS = 8.0
"""The longest time until a receipt gets a response: carriers drop binds after longer ones."""
MAX_PENDING = 20_000
"""The limit of one worker's pending receipts; the carrier has to send further ones later."""


@dataclass(slots=True, eq=False)
class PendingReceipt:
    """A receipt that is not stored yet."""

    link: Link
    pdu: DeliverSm | DataSm
    receipt: FinalReceipt | UnusedReceipt
    at: float
    responded: bool = False

    def respond(self, status: int) -> None:
        """Send the response, once."""
        if not self.responded:
            self.responded = True
            self.link.respond(self.pdu, status)


class Intake:
    """The receipts that are not stored yet. Belongs to one event loop."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self._waiting: list[PendingReceipt] = []
        self._writing: list[PendingReceipt] = []

    def __len__(self) -> int:
        """Return the number of receipts that are not stored yet."""
        return len(self._waiting) + len(self._writing)

    @property
    def waiting(self) -> int:
        """The number of receipts that are not being written."""
        return len(self._waiting)

    def add(
        self, link: Link, pdu: DeliverSm | DataSm, receipt: FinalReceipt | UnusedReceipt
    ) -> None:
        """Buffer a receipt until it is stored."""
        pending = PendingReceipt(link, pdu, receipt, time.monotonic())
        if len(self) >= MAX_PENDING:
            pending.respond(Status.ESME_RX_T_APPN)
            return
        self._waiting.append(pending)
        self.ready.set()

    def take(self, at_most: int, not_yet: Container[str]) -> list[PendingReceipt]:
        """Return the next receipts to write, except those with a message id in `not_yet`."""
        self.ready.clear()
        waiting, self._waiting = self._waiting, []
        for pending in waiting:
            if len(self._writing) == at_most:
                self._waiting.append(pending)
                self.ready.set()
            elif pending.receipt.carrier_message_id in not_yet:
                self._waiting.append(pending)
            else:
                self._writing.append(pending)
        return self._writing

    def stored(self, refused: Iterable[PendingReceipt]) -> list[PendingReceipt]:
        """Respond to the receipts being written; return those stored, which are not `refused`."""
        for pending in refused:
            pending.respond(Status.ESME_RX_T_APPN)
        not_stored = set(refused)
        stored = [pending for pending in self._writing if pending not in not_stored]
        for pending in stored:
            pending.respond(Status.ESME_ROK)
        self._writing = []
        return stored

    def refuse_late(self) -> None:
        """Refuse receipts that are pending for too long, so that the carrier sends them again."""
        late = time.monotonic() - RESPONSE_SECONDS
        for pending in (*self._writing, *self._waiting):
            if pending.at <= late:
                pending.respond(Status.ESME_RX_T_APPN)
