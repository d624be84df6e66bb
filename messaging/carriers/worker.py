"""A carrier worker: it keeps one carrier's binds, submits queued messages and stores receipts.

It belongs to one event loop, which `process` runs. A task for each priority claims due messages and
submits them over the binds; one writer commits results in batches and only then releases the slots
of the sending window; one writer commits receipts and only then responds to them. Celery tasks only
wake the claiming tasks, which also poll once a second.
"""

import asyncio
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby, takewhile
from typing import Any, TypeVar

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from imissive.core import clock
from imissive.core.sql import Fault, fault_of, forget_broken_connections
from imissive.run.processes import process_name
from messaging.carriers import (
    bind_status,
    queue,
    receipt_rules,
    receipts,
    sweeps,
    worker_liveness,
)
from messaging.carriers.command_statuses import SubmitOutcome
from messaging.carriers.config import pool_config, wire_format
from messaging.carriers.config import receipt_rules as receipt_rules_of
from messaging.carriers.outcomes import apply_outcome, unrecorded, unwritable
from messaging.carriers.pdus import submit_pdus
from messaging.carriers.queue import Claimed, Result, SubmittedPart
from messaging.carriers.receipt_intake import Intake, PendingReceipt
from messaging.carriers.traffic import Tally
from messaging.models import Carrier
from messaging.smpp.client import BindPool, CarrierBind
from messaging.smpp.constants import Status as Smpp
from messaging.smpp.link import Link, LinkError, NotSent
from messaging.smpp.pdus import DataSm, DeliverSm, Response, SubmitSm, SubmitSmResp
from messaging.smpp.receipt import LONGEST_ID, normalize_id

log = structlog.get_logger(__name__)

T = TypeVar("T")

PRIORITIES = ("urgent", "bulk")
POLL_SECONDS = 1.0
STATUS_SECONDS = 2.0
CLAIM_AT_MOST = 500
TURN = 25
WRITE_AT_MOST = 500
GATHER_SECONDS, GATHER_WAITED_FOR_SECONDS = 0.015, 0.004
"""The time that results and receipts are gathered, because each batch costs one transaction. The
shorter one is for when submits wait for the slots that a commit releases."""
STOP_SECONDS = 4.0
REBIND_SECONDS = 5.0
"""The timeout of pending responses when a carrier's new settings need new binds."""
DATABASE_THREADS = 6
"""One for each claiming task, writer and report, so that an urgent claim never waits for others."""


@dataclass(slots=True)
class _InFlight:
    """A message whose parts are being submitted; `result` is ready when `open_parts` is 0.

    `lease` is the one under which it was claimed.
    """

    lease: uuid.UUID
    result: Result
    open_parts: int
    slots: list[CarrierBind]


@dataclass(slots=True)
class _AcceptedPart:
    """An accepted part of a message whose other parts are still open.

    It is written immediately and its slot released: a message may have more parts than there are
    slots, and two such messages that wait for each other's slots would deadlock.
    """

    part: SubmittedPart
    slot: CarrierBind


def _unwritable(pending: PendingReceipt) -> PendingReceipt:
    """Return a replacement for a receipt that the database refuses: a record of its arrival."""
    return replace(pending, receipt=unwritable(pending.receipt))


class CarrierWorker:
    """The work of one process for one carrier. Belongs to one event loop."""

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self.name = process_name(os.getpid())
        self.lease = uuid.uuid4()
        self.format = wire_format(carrier)
        self.rules = receipt_rules_of(carrier)
        self.pool = self._new_pool()
        self.wakeups = {priority: asyncio.Event() for priority in PRIORITIES}
        self._database = ThreadPoolExecutor(
            max_workers=DATABASE_THREADS, thread_name_prefix="database"
        )
        self._results: list[_InFlight] = []
        self._accepted_parts: list[_AcceptedPart] = []
        self._results_ready = asyncio.Event()
        # Ids from responses that are not committed yet. Their receipts wait for the commit: of two
        # concurrent transactions, neither might see the other's row.
        self._uncommitted: set[str] = set()
        self._receipts = Intake()
        # The messages claimed and not written yet, each with the time of its claim, in order.
        self._held: dict[uuid.UUID, float] = {}
        self._registered = False  # the lease is in the database
        self._changed = asyncio.Event()
        self._open_messages = 0
        self._tally = Tally()
        self._stopping = False

    # -- lifecycle ---------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish the submits in progress."""
        self.pool.start()
        submitters = [
            asyncio.create_task(self._submit_priority(priority), name=f"submit {priority}")
            for priority in ("urgent", "bulk", "bulk")
        ]
        writers = [
            asyncio.create_task(self._write_results(), name="results"),
            asyncio.create_task(self._write_receipts(), name="receipts"),
            asyncio.create_task(self._refuse_late_receipts(), name="late receipts"),
        ]
        reporter = asyncio.create_task(self._report(), name="report")
        await self._until_stopped(stop, [*submitters, *writers, reporter])
        await self._finish(submitters, reporter)
        for task in [*submitters, *writers, reporter]:
            task.cancel()
        await asyncio.gather(*submitters, *writers, reporter, return_exceptions=True)
        await self._deregister()

    async def _finish(
        self, submitters: Sequence[asyncio.Task[None]], reporter: asyncio.Task[None]
    ) -> None:
        """Return unsubmitted messages, await pending results and unbind, within STOP_SECONDS."""
        deadline = time.monotonic() + STOP_SECONDS
        self._stopping = True
        self._changed.set()
        for wakeup in self.wakeups.values():
            wakeup.set()
        # Messages whose submission has started still get slots, if some become free soon.
        await asyncio.wait(submitters, timeout=STOP_SECONDS / 5)
        self.pool.close()
        await asyncio.wait([*submitters, reporter], timeout=STOP_SECONDS / 5)
        await self.pool.stop(max(0.5, deadline - STOP_SECONDS / 5 - time.monotonic()))
        await self._until_completed(deadline)

    async def _deregister(self) -> None:
        def deregister() -> None:
            worker_liveness.report_end(self.lease)
            bind_status.forget(self.carrier.id, self.name)

        try:
            async with asyncio.timeout(STOP_SECONDS / 5):
                await self._in_database(deregister)
        except (DatabaseError, InterfaceError, TimeoutError) as error:
            # The rows become stale in a moment anyway.
            log.warning("status_not_written", error=str(error).strip())
        self._close_connections()

    def _close_connections(self) -> None:
        """Close the database connection of each thread."""
        threads = threading.Barrier(DATABASE_THREADS)

        def close() -> None:
            with suppress(threading.BrokenBarrierError):
                threads.wait(1)
            connection.close()

        for _ in range(DATABASE_THREADS):
            self._database.submit(close)
        self._database.shutdown(wait=False)

    async def _until_stopped(
        self, stop: asyncio.Event, tasks: Sequence[asyncio.Task[None]]
    ) -> None:
        """Wait for `stop`. Raise the error of a failed task: half a worker is worse than none."""
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopped}:
            task.result()

    async def _until_completed(self, deadline: float) -> None:
        while (self._open_messages or self._receipts) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    def _new_pool(self) -> BindPool:
        return BindPool(
            self.carrier.slug,
            pool_config(self.carrier),
            on_deliver=self._on_deliver,
            on_change=lambda: self._changed.set(),
        )

    async def _in_database(self, work: Callable[[], T]) -> T:
        """Run database work in a thread; a connection that failed is not used again."""

        def run() -> T:
            try:
                return work()
            except Exception as error:
                if fault_of(error) is Fault.DATABASE:
                    forget_broken_connections(error)
                raise

        return await asyncio.get_running_loop().run_in_executor(self._database, run)

    async def _retry_until_done(self, work: Callable[[], T]) -> T:
        """Run database work and retry it for as long as the database is unavailable.

        Raises errors that waiting cannot solve.
        """
        pause = 0.1
        while True:
            try:
                return await self._in_database(work)
            except Exception as error:
                if fault_of(error) is not Fault.DATABASE:
                    raise
                log.warning("database_failed", error=str(error).strip(), again_in_seconds=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)

    # -- submitting --------------------------------------------------------------------------

    async def _submit_priority(self, priority: str) -> None:
        """Claim and submit messages while any are due and a bind is up."""
        wakeup = self.wakeups[priority]
        while not self._stopping:
            wakeup.clear()
            try:
                lease = self.lease
                claimed = await self._claim(priority, lease)
                await self._submit(claimed, lease, urgent=priority == "urgent")
                if len(claimed) == self._claim_limit:
                    continue
            except (DatabaseError, InterfaceError) as error:
                log.warning("claim_failed", error=str(error).strip())
                await asyncio.sleep(POLL_SECONDS)
            # The queue was empty. A wake-up follows when it fills, and it is polled as well.
            await _wait(wakeup, POLL_SECONDS)

    @property
    def _claim_limit(self) -> int:
        """The size of a claim: no more than can be submitted well within the lease."""
        if not self.carrier.throughput:
            return CLAIM_AT_MOST
        return max(1, min(CLAIM_AT_MOST, self.carrier.throughput * settings.CARRIER_LEASE // 4))

    async def _claim(self, priority: str, lease: uuid.UUID) -> list[Claimed]:
        if not self._may_submit:
            return []
        limit = self._claim_limit
        carrier_id, urgent = self.carrier.id, priority == "urgent"
        claimed = await self._in_database(
            lambda: queue.claim(carrier_id, urgent=urgent, limit=limit, lease=lease)
        )
        if lease == self.lease:
            now = time.monotonic()
            self._held.update((message.id, now) for message in claimed)
        return claimed

    async def _submit(self, claimed: Sequence[Claimed], lease: uuid.UUID, *, urgent: bool) -> None:
        # Messages without a slot by then are returned: after the lease, others may claim them.
        deadline = time.monotonic() + settings.CARRIER_LEASE / 2
        now = clock.now()
        unsent: list[Claimed] = []
        for position, message in enumerate(claimed):
            if position % TURN == TURN - 1:
                # Let the event loop handle responses, receipts and urgent messages.
                await asyncio.sleep(0)
            if self._may_submit and lease == self.lease and time.monotonic() < deadline:
                await self._submit_message(message, lease, now, deadline, urgent=urgent)
            else:
                unsent.append(message)
        if unsent:
            await self._retry_until_done(lambda: queue.hand_back(unsent, lease))
            self._drop(lease, (message.id for message in unsent))

    def _drop(self, lease: uuid.UUID, message_ids: Iterable[uuid.UUID]) -> None:
        """Remove messages that this worker does not hold any more.

        Not those of an earlier lease, which it may have claimed again.
        """
        if lease == self.lease:
            for message_id in message_ids:
                self._held.pop(message_id, None)

    @property
    def _may_submit(self) -> bool:
        """Return whether the worker may submit messages now."""
        on_hold = self.carrier.paused or self.carrier.draining
        return self._registered and self.pool.up and not on_hold and not self._stopping

    async def _submit_message(
        self, message: Claimed, lease: uuid.UUID, now: datetime, deadline: float, *, urgent: bool
    ) -> None:
        self._open_messages += 1
        flight = _InFlight(lease, Result(message, SubmitOutcome.ACCEPTED), 0, [])
        try:
            pdus = self._pdus(message, now)
        except Exception as error:
            # No text may crash the worker.
            log.error("message_not_encoded", id=str(message.id), error=type(error).__name__)
            apply_outcome(flight.result, error)
            pdus = []
        flight.open_parts = len(pdus)
        if not pdus:
            self._complete(flight)
        for number, pdu in pdus:
            bind = self.pool.try_acquire(urgent=urgent)
            if bind is None:
                bind = await self._wait_for_slot(deadline, urgent=urgent)
            # While it waited, the worker may have been declared dead, and others have the message.
            if bind is None or bind.link is None or lease != self.lease:
                if bind is not None:
                    bind.pool.release(bind)
                self._part_done(flight, number, None, NotSent("no bind, or no lease"))
                continue
            flight.slots.append(bind)
            try:
                bind.link.send(pdu, self._on_response, (flight, number, bind))
            except (LinkError, ValueError) as error:
                self._part_done(flight, number, bind, error)

    def _pdus(self, message: Claimed, now: datetime) -> list[tuple[int, SubmitSm]]:
        """Return the message's parts that no carrier has accepted yet, with their numbers."""
        parts = submit_pdus(
            self.format,
            message_id=message.id,
            sender=message.sender,
            to=message.to,
            body=message.text,
            validity=message.expires_at - now,
        )
        accepted = message.submitted_parts
        return [(number, pdu) for number, pdu in enumerate(parts, 1) if number not in accepted]

    async def _wait_for_slot(self, deadline: float, *, urgent: bool) -> CarrierBind | None:
        """Return a bind with a slot, or None at the deadline: no response would be in time."""
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await self.pool.acquire(urgent=urgent)
        except TimeoutError:
            return None

    def _on_response(self, context: Any, outcome: Response | LinkError) -> None:
        flight, number, bind = context
        self._part_done(flight, number, bind, outcome)

    def _part_done(
        self,
        flight: _InFlight,
        number: int,
        bind: CarrierBind | None,
        outcome: Response | Exception,
    ) -> None:
        result = flight.result
        self._tally.count_submit(outcome)
        if isinstance(outcome, SubmitSmResp) and outcome.status == 0:
            carrier_message_id = self._id_of(outcome)
            part = SubmittedPart(result.message.id, number, carrier_message_id, clock.now())
            if carrier_message_id:
                self._uncommitted.add(carrier_message_id)
            result.submitted.append(part)
            if bind is not None:
                bind.submitted += 1
                if flight.open_parts > 1:
                    flight.slots.remove(bind)
                    self._accepted_parts.append(_AcceptedPart(part, bind))
                    self._results_ready.set()
        else:
            apply_outcome(result, outcome)
            if bind is not None and result.submit_outcome is SubmitOutcome.SLOW_DOWN:
                bind.throttled += 1
            if bind is not None and flight.open_parts > 1:
                # There is nothing to write yet, and the other parts may wait for its slot.
                flight.slots.remove(bind)
                bind.pool.release(bind)
        flight.open_parts -= 1
        if flight.open_parts == 0:
            self._complete(flight)

    def _id_of(self, accepted: SubmitSmResp) -> str:
        """Return the carrier's id in normalized form, or "".

        A part without an id is still sent, since the carrier charges for it, but no receipt can
        match it, and it expires by its validity.
        """
        form: Any = self.carrier.submit_id_form
        carrier_message_id = normalize_id(accepted.message_id[:LONGEST_ID], form)
        if not carrier_message_id:
            log.warning("accepted_without_id", carrier=self.carrier.slug)
        return carrier_message_id

    def _complete(self, flight: _InFlight) -> None:
        self._results.append(flight)
        self._results_ready.set()

    async def _write_results(self) -> None:
        while True:
            await self._results_ready.wait()
            if len(self._results) < WRITE_AT_MOST:
                waited_for = self.pool.has_waiters
                await asyncio.sleep(GATHER_WAITED_FOR_SECONDS if waited_for else GATHER_SECONDS)
            accepted, self._accepted_parts = self._accepted_parts, []
            batch, self._results = self._results[:WRITE_AT_MOST], self._results[WRITE_AT_MOST:]
            if not self._results:
                self._results_ready.clear()
            if accepted:
                await self._write([row.part for row in accepted], self._write_part_batch)
                self._committed(row.part.carrier_message_id for row in accepted)
                for row in accepted:
                    row.slot.pool.release(row.slot)
            if not batch:
                continue
            for lease, flights in groupby(batch, key=lambda flight: flight.lease):
                await self._write_results_of(lease, list(flights))

    async def _write_results_of(self, lease: uuid.UUID, flights: Sequence[_InFlight]) -> None:
        """Write results under the lease of their claims, then release the slots."""
        results = [flight.result for flight in flights]
        await self._write(
            results,
            lambda rows: queue.write_results(self.carrier.id, lease, rows),
            unrecorded,
        )
        self._committed(part.carrier_message_id for result in results for part in result.submitted)
        self._open_messages -= len(flights)
        self._drop(lease, (result.message.id for result in results))
        for flight in flights:
            for bind in flight.slots:
                bind.pool.release(bind)

    def _committed(self, carrier_message_ids: Iterable[str]) -> None:
        self._uncommitted.difference_update(carrier_message_ids)
        if self._receipts:
            self._receipts.ready.set()

    def _write_part_batch(self, parts: Sequence[SubmittedPart]) -> None:
        queue.write_parts(self.carrier.id, parts)

    async def _write(
        self,
        rows: Sequence[T],
        write: Callable[[Sequence[T]], None],
        instead: Callable[[T], T] | None = None,
    ) -> list[T]:
        """Write a batch, or each row alone if the database refuses it, so that one bad row does
        not block the others. `instead` returns a replacement for a bad row.

        Returns the rows that could not be written even so.
        """
        try:
            await self._retry_until_done(lambda: write(rows))
        except Exception as error:
            if len(rows) > 1:
                return [bad for row in rows for bad in await self._write([row], write, instead)]
            log.error("row_not_written", what=type(rows[0]).__name__, exc_info=error)
            if instead is None or await self._write([instead(rows[0])], write):
                return list(rows)
        return []

    # -- receipts ----------------------------------------------------------------------------

    def _apply_receipt_batch(self, batch: Sequence[PendingReceipt]) -> None:
        receipts.apply(self.carrier.id, [pending.receipt for pending in batch])

    def _on_deliver(self, link: Link, pdu: DeliverSm | DataSm) -> None:
        receipt = receipt_rules.read(pdu, self.rules)
        if receipt is None:
            # A handset's text or an intermediate state: nothing is stored, so respond now.
            accepted = isinstance(pdu, DeliverSm) or self.rules.by_data_sm
            link.respond(pdu, Smpp.ESME_ROK if accepted else Smpp.ESME_RINVCMDID)
            return
        self._receipts.add(link, pdu, receipt)

    async def _write_receipts(self) -> None:
        while True:
            await self._receipts.ready.wait()
            if self._receipts.waiting < WRITE_AT_MOST:
                await asyncio.sleep(GATHER_SECONDS / 2)
            batch = self._receipts.take(WRITE_AT_MOST, self._uncommitted)
            if not batch:
                continue
            refused = await self._write(batch, self._apply_receipt_batch, _unwritable)
            for pending in self._receipts.stored(refused):
                if isinstance(pending.receipt, receipts.FinalReceipt):
                    self._tally.count_receipt(pending.receipt.status)

    async def _refuse_late_receipts(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self._receipts.refuse_late()

    # -- status and settings -----------------------------------------------------------------

    async def _report(self) -> None:
        """Report the status of the binds when it changes, and apply changed settings."""
        while not self._stopping:
            self._changed.clear()
            rows = [bind_status.row(bind) for bind in self.pool.binds]
            counted = self._tally.take()
            try:
                await self._report_alive()
                fresh = await self._in_database(
                    lambda rows=rows, counted=counted: bind_status.report(  # type: ignore[misc]
                        self.carrier.id, self.name, rows, counted
                    )
                )
                if fresh is not None:
                    await self._apply_settings(fresh)
            except (DatabaseError, InterfaceError) as error:
                self._tally.add(counted)
                log.warning("status_not_written", error=str(error).strip())
            await _wait(self._changed, STATUS_SECONDS)

    async def _report_alive(self) -> None:
        """Report that this worker is alive, and queue again the messages of dead workers."""
        now = time.monotonic()
        renewable = now - settings.CARRIER_LEASE / 3
        held = list(takewhile(lambda message_id: self._held[message_id] < renewable, self._held))

        def report() -> bool:
            alive = worker_liveness.report_alive(self.lease, self.carrier.id, self.name, held)
            sweeps.release_dead()
            return alive

        if not await self._in_database(report):
            # The database was unavailable for long. Other workers have its messages by now.
            log.warning("carrier_worker_was_taken_for_dead", carrier=self.carrier.slug)
            self.lease, self._registered = uuid.uuid4(), False
            self._held.clear()
            self._changed.set()
            return
        for message_id in held:
            if self._held.pop(message_id, None) is not None:
                self._held[message_id] = now
        if not self._registered:
            self._registered = True
            for wakeup in self.wakeups.values():
                wakeup.set()

    async def _apply_settings(self, carrier: Carrier) -> None:
        """Apply the carrier's current settings, with new binds if they need some."""
        old, self.carrier = self.carrier, carrier
        self.format = wire_format(carrier)
        self.rules = receipt_rules_of(carrier)
        config = pool_config(carrier)
        if config != self.pool.config and not self.pool.adapt(config):
            log.info("carrier_changed", carrier=carrier.slug, effect="binding anew")
            # The old binds are stopped first: many carriers limit the number of binds.
            await self.pool.stop(REBIND_SECONDS)
            self.pool = self._new_pool()
            self.pool.start()
        if (old.paused or old.draining) and not (carrier.paused or carrier.draining):
            for wakeup in self.wakeups.values():
                wakeup.set()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
