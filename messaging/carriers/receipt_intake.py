"""A carrier's receipts between their arrival and the commit of their effect. No I/O but answers.

A receipt is answered ESME_ROK only when its effect is stored. Where the database does not take it
for a while, it is answered ESME_RX_T_APPN before the carrier gives the bind up: the carrier sends
it again later. It is still kept and written, since some carriers do not, and a receipt that comes
twice changes nothing.
"""

import asyncio
import time
from collections.abc import Container, Iterable
from dataclasses import dataclass

from messaging.carriers.receipts import FinalReceipt, UnusedReceipt
from messaging.smpp.constants import Status
from messaging.smpp.link import Link
from messaging.smpp.pdus import DataSm, DeliverSm

PATIENCE_SECONDS = 8.0
"""How long a carrier waits for an answer at most."""
KEPT_AT_MOST = 20_000
"""Receipts that wait for the database, of one worker; beyond them the carrier keeps its own."""


@dataclass(slots=True, eq=False)
class Arrived:
    """A receipt that is not stored yet."""

    link: Link
    pdu: DeliverSm | DataSm
    receipt: FinalReceipt | UnusedReceipt
    at: float
    answered: bool = False

    def answer(self, status: int) -> None:
        """Answer it, once."""
        if not self.answered:
            self.answered = True
            self.link.respond(self.pdu, status)


class Intake:
    """The receipts that wait to be stored. All of it belongs to one event loop."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self._waiting: list[Arrived] = []
        self._writing: list[Arrived] = []

    def __len__(self) -> int:
        """Return how many receipts are not stored yet."""
        return len(self._waiting) + len(self._writing)

    @property
    def waiting(self) -> int:
        """Return how many receipts nobody writes at the moment."""
        return len(self._waiting)

    def add(
        self, link: Link, pdu: DeliverSm | DataSm, receipt: FinalReceipt | UnusedReceipt
    ) -> None:
        """Keep a receipt until it is stored."""
        arrived = Arrived(link, pdu, receipt, time.monotonic())
        if len(self) >= KEPT_AT_MOST:
            arrived.answer(Status.ESME_RX_T_APPN)
            return
        self._waiting.append(arrived)
        self.ready.set()

    def take(self, at_most: int, not_yet: Container[str]) -> list[Arrived]:
        """Take the next receipts to write, but none whose carrier's message id is `not_yet`."""
        self.ready.clear()
        waiting, self._waiting = self._waiting, []
        for arrived in waiting:
            if len(self._writing) == at_most:
                self._waiting.append(arrived)
                self.ready.set()
            elif arrived.receipt.carrier_message_id in not_yet:
                self._waiting.append(arrived)
            else:
                self._writing.append(arrived)
        return self._writing

    def stored(self, refused: Iterable[Arrived]) -> list[Arrived]:
        """Answer what was taken, all of it stored but `refused`; the stored ones."""
        for arrived in refused:
            arrived.answer(Status.ESME_RX_T_APPN)
        bad = set(refused)
        done = [arrived for arrived in self._writing if arrived not in bad]
        for arrived in done:
            arrived.answer(Status.ESME_ROK)
        self._writing = []
        return done

    def refuse_late(self) -> None:
        """Have the carrier send again what it has waited too long for."""
        late = time.monotonic() - PATIENCE_SECONDS
        for arrived in (*self._writing, *self._waiting):
            if arrived.at <= late:
                arrived.answer(Status.ESME_RX_T_APPN)
