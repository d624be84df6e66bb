"""A carrier worker: holds one carrier's binds, submits what is queued and takes receipts.

It lives in one event loop, which `process` runs. A task for each priority claims what is due,
submits it over the binds and goes on claiming; one writer commits the results in batches and only
then gives the window's slots back; one writer commits receipts and only then answers them. The
broker's tasks merely wake the pumps, which look by themselves once a second too.
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
from itertools import takewhile
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
from messaging.carriers.receipt_intake import Arrived, Intake
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
"""How long results and receipts are gathered: what a batch costs is its transaction. The shorter
time is for when submits wait for the slots that a commit gives back."""
STOP_SECONDS = 4.0
REBIND_SECONDS = 5.0
"""The time that outstanding responses have when a carrier's settings need new binds."""
DATABASE_THREADS = 6
"""One for each pump, writer and report: an urgent claim waits for nobody else's."""


@dataclass(slots=True)
class _InFlight:
    """A message whose parts are being submitted; `result` is ready when `open_parts` is 0."""

    result: Result
    open_parts: int
    slots: list[CarrierBind]


@dataclass(slots=True)
class _AnsweredPart:
    """An accepted part whose siblings are still open.

    It is written at once and its slot given back: a message may have more parts than there are
    slots, and two of them waiting for each other's slots would wait for ever.
    """

    part: SubmittedPart
    slot: CarrierBind


def _unwritable(arrived: Arrived) -> Arrived:
    """Return what is stored of a receipt whose effect the database refuses: that it came."""
    return replace(arrived, receipt=unwritable(arrived.receipt))


class CarrierWorker:
    """Everything that one process does for one carrier. Lives in one event loop."""

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
        self._answered: list[_AnsweredPart] = []
        self._results_ready = asyncio.Event()
        # Ids that came with answers which are not committed yet. Their receipts wait for that: who
        # commits both at once may find neither.
        self._uncommitted: set[str] = set()
        self._receipts = Intake()
        # The messages that this worker has claimed and not written yet, and since when; in order.
        self._held: dict[uuid.UUID, float] = {}
        self._registered = False  # the lease is in the database
        self._changed = asyncio.Event()
        self._flying = 0
        self._tally = Tally()
        self._stopping = False

    # -- life --------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what is under way."""
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
        await self._leave()

    async def _finish(
        self, submitters: Sequence[asyncio.Task[None]], reporter: asyncio.Task[None]
    ) -> None:
        """Hand back what is not submitted, wait for what is, unbind; in STOP_SECONDS at most."""
        deadline = time.monotonic() + STOP_SECONDS
        self._stopping = True
        self._changed.set()
        for wakeup in self.wakeups.values():
            wakeup.set()
        # Messages that are begun get their slots still, if those come soon.
        await asyncio.wait(submitters, timeout=STOP_SECONDS / 5)
        self.pool.close()
        await asyncio.wait([*submitters, reporter], timeout=STOP_SECONDS / 5)
        await self.pool.stop(max(0.5, deadline - STOP_SECONDS / 5 - time.monotonic()))
        await self._until_landed(deadline)

    async def _leave(self) -> None:
        def leave() -> None:
            worker_liveness.report_end(self.lease)
            bind_status.forget(self.carrier.id, self.name)

        try:
            async with asyncio.timeout(STOP_SECONDS / 5):
                await self._in_database(leave)
        except (DatabaseError, InterfaceError, TimeoutError) as error:
            # They are stale in a moment anyway.
            log.warning("status_not_written", error=str(error).strip())
        self._close_connections()

    def _close_connections(self) -> None:
        """Have each thread that may have one give its database connection back."""
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
        """Wait for `stop`. Raises what a task died of: half a worker is worse than none."""
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopped}:
            task.result()

    async def _until_landed(self, deadline: float) -> None:
        while (self._flying or self._receipts) and time.monotonic() < deadline:  # noqa: ASYNC110
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

    async def _insist(self, work: Callable[[], T]) -> T:
        """Do database work that must be done, again and again until the database does it.

        Raises what will not pass by waiting.
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
        """Claim and submit, as long as there is something due and a bind to submit over."""
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
            # The queue was empty then. Whoever fills it rings, and the clock looks too.
            await _wait(wakeup, POLL_SECONDS)

    @property
    def _claim_limit(self) -> int:
        """Return how many to claim at once: no more than can be submitted well within the lease."""
        if not self.carrier.throughput:
            return CLAIM_AT_MOST
        return max(1, min(CLAIM_AT_MOST, self.carrier.throughput * settings.CARRIER_LEASE // 4))

    async def _claim(self, priority: str, lease: uuid.UUID) -> list[Claimed]:
        if not self._may_begin:
            return []
        limit = self._claim_limit
        carrier_id, urgent = self.carrier.id, priority == "urgent"
        claimed = await self._in_database(
            lambda: queue.claim(carrier_id, urgent=urgent, limit=limit, lease=lease)
        )
        now = time.monotonic()
        self._held.update((message.id, now) for message in claimed)
        return claimed

    async def _submit(self, claimed: Sequence[Claimed], lease: uuid.UUID, *, urgent: bool) -> None:
        # What does not get a slot by then goes back: another worker may take it after the lease.
        deadline = time.monotonic() + settings.CARRIER_LEASE / 2
        now = clock.now()
        unsent: list[Claimed] = []
        for position, message in enumerate(claimed):
            if position % TURN == TURN - 1:
                # Let answers, receipts and urgent traffic have the event loop meanwhile.
                await asyncio.sleep(0)
            if self._may_begin and lease == self.lease and time.monotonic() < deadline:
                await self._submit_message(message, now, deadline, urgent=urgent)
            else:
                unsent.append(message)
        if unsent:
            await self._insist(lambda: queue.hand_back(unsent, lease))
            self._drop(message.id for message in unsent)

    def _drop(self, message_ids: Iterable[uuid.UUID]) -> None:
        """Forget messages that this worker does not hold any more."""
        for message_id in message_ids:
            self._held.pop(message_id, None)

    @property
    def _may_begin(self) -> bool:
        """Return whether to begin with a message now."""
        held = self.carrier.paused or self.carrier.draining
        return self._registered and self.pool.up and not held and not self._stopping

    async def _submit_message(
        self, message: Claimed, now: datetime, deadline: float, *, urgent: bool
    ) -> None:
        self._flying += 1
        flight = _InFlight(Result(message, SubmitOutcome.ACCEPTED), 0, [])
        try:
            pdus = self._pdus(message, now)
        except Exception as error:
            # No text may take the worker with it, whatever is wrong with it.
            log.error("message_not_encoded", id=str(message.id), error=type(error).__name__)
            apply_outcome(flight.result, error)
            pdus = []
        flight.open_parts = len(pdus)
        if not pdus:
            self._land(flight)
        for number, pdu in pdus:
            bind = self.pool.try_acquire(urgent=urgent)
            if bind is None:
                bind = await self._wait_for_slot(deadline, urgent=urgent)
            if bind is None or bind.link is None:
                if bind is not None:
                    bind.pool.release(bind)
                self._part_done(flight, number, None, NotSent("no bind is up"))
                continue
            flight.slots.append(bind)
            try:
                bind.link.send(pdu, self._on_answer, (flight, number, bind))
            except (LinkError, ValueError) as error:
                self._part_done(flight, number, bind, error)

    def _pdus(self, message: Claimed, now: datetime) -> list[tuple[int, SubmitSm]]:
        """The message's parts that no carrier has taken yet, by number."""
        parts = submit_pdus(
            self.format,
            message_id=message.id,
            sender=message.sender,
            to=message.to,
            body=message.text,
            validity=message.expires_at - now,
        )
        taken = message.submitted_parts
        return [(number, pdu) for number, pdu in enumerate(parts, 1) if number not in taken]

    async def _wait_for_slot(self, deadline: float, *, urgent: bool) -> CarrierBind | None:
        """A slot, or None where none comes in time: an answer after the lease helps nobody."""
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await self.pool.acquire(urgent=urgent)
        except TimeoutError:
            return None

    def _on_answer(self, context: Any, outcome: Response | LinkError) -> None:
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
        self._tally.answer(outcome)
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
                    self._answered.append(_AnsweredPart(part, bind))
                    self._results_ready.set()
        else:
            apply_outcome(result, outcome)
            if bind is not None and result.submit_outcome is SubmitOutcome.SLOW_DOWN:
                bind.throttled += 1
            if bind is not None and flight.open_parts > 1:
                # There is nothing to write of it yet, and its siblings may wait for its slot.
                flight.slots.remove(bind)
                bind.pool.release(bind)
        flight.open_parts -= 1
        if flight.open_parts == 0:
            self._land(flight)

    def _id_of(self, accepted: SubmitSmResp) -> str:
        """The carrier's id in matching form. Without one no receipt can be matched: the part is
        sent all the same, for whoever said yes will charge us, and ends by its validity."""
        form: Any = self.carrier.submit_id_form
        carrier_message_id = normalize_id(accepted.message_id[:LONGEST_ID], form)
        if not carrier_message_id:
            log.warning("accepted_without_id", carrier=self.carrier.slug)
        return carrier_message_id

    def _land(self, flight: _InFlight) -> None:
        self._results.append(flight)
        self._results_ready.set()

    async def _write_results(self) -> None:
        while True:
            await self._results_ready.wait()
            if len(self._results) < WRITE_AT_MOST:
                waited_for = self.pool.has_waiters
                await asyncio.sleep(GATHER_WAITED_FOR_SECONDS if waited_for else GATHER_SECONDS)
            answered, self._answered = self._answered, []
            batch, self._results = self._results[:WRITE_AT_MOST], self._results[WRITE_AT_MOST:]
            if not self._results:
                self._results_ready.clear()
            if answered:
                await self._write([row.part for row in answered], self._write_part_batch)
                self._committed(row.part.carrier_message_id for row in answered)
                for row in answered:
                    row.slot.pool.release(row.slot)
            if not batch:
                continue
            results = [flight.result for flight in batch]
            await self._write(results, self._write_result_batch, unrecorded)
            self._committed(
                part.carrier_message_id for result in results for part in result.submitted
            )
            self._flying -= len(batch)
            self._drop(flight.result.message.id for flight in batch)
            for flight in batch:
                for bind in flight.slots:
                    bind.pool.release(bind)

    def _committed(self, carrier_message_ids: Iterable[str]) -> None:
        self._uncommitted.difference_update(carrier_message_ids)
        if self._receipts:
            self._receipts.ready.set()

    def _write_part_batch(self, parts: Sequence[SubmittedPart]) -> None:
        queue.write_parts(self.carrier.id, parts)

    def _write_result_batch(self, results: Sequence[Result]) -> None:
        queue.write_results(self.carrier.id, self.lease, results)

    async def _write(
        self,
        rows: Sequence[T],
        write: Callable[[Sequence[T]], None],
        instead: Callable[[T], T] | None = None,
    ) -> list[T]:
        """Write a batch; if the database refuses it, each row alone, so that one bad row holds up
        no other. `instead` of a bad one: what can surely be written of it.

        Returns those of which nothing could be written.
        """
        try:
            await self._insist(lambda: write(rows))
        except Exception as error:
            if len(rows) > 1:
                return [bad for row in rows for bad in await self._write([row], write, instead)]
            log.error("row_not_written", what=type(rows[0]).__name__, exc_info=error)
            if instead is None or await self._write([instead(rows[0])], write):
                return list(rows)
        return []

    # -- receipts ----------------------------------------------------------------------------

    def _apply_receipt_batch(self, batch: Sequence[Arrived]) -> None:
        receipts.apply(self.carrier.id, [arrived.receipt for arrived in batch])

    def _on_deliver(self, link: Link, pdu: DeliverSm | DataSm) -> None:
        receipt = receipt_rules.read(pdu, self.rules)
        if receipt is None:
            # A handset's text, or a state on the way: nothing of it is kept, so nothing is owed.
            taken = isinstance(pdu, DeliverSm) or self.rules.by_data_sm
            link.respond(pdu, Smpp.ESME_ROK if taken else Smpp.ESME_RINVCMDID)
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
            for arrived in self._receipts.stored(refused):
                if isinstance(arrived.receipt, receipts.FinalReceipt):
                    self._tally.receipt(arrived.receipt.status)

    async def _refuse_late_receipts(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self._receipts.refuse_late()

    # -- what operators see and set ----------------------------------------------------------

    async def _report(self) -> None:
        """Tell the binds' state as it changes, and take in what operators changed."""
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
                    await self._adopt(fresh)
            except (DatabaseError, InterfaceError) as error:
                self._tally.add(counted)
                log.warning("status_not_written", error=str(error).strip())
            await _wait(self._changed, STATUS_SECONDS)

    async def _report_alive(self) -> None:
        """Report that this worker is alive, and queue again what dead ones of any carrier held."""
        now = time.monotonic()
        older = now - settings.CARRIER_LEASE / 3
        held = list(takewhile(lambda message_id: self._held[message_id] < older, self._held))

        def report() -> bool:
            alive = worker_liveness.report_alive(self.lease, self.carrier.id, self.name, held)
            sweeps.release_dead()
            return alive

        if not await self._in_database(report):
            # It had no database for long. Others have what it held: it submits no more of that.
            log.warning("carrier_worker_was_taken_for_dead", carrier=self.carrier.slug)
            self.lease, self._registered = uuid.uuid4(), False
            self._changed.set()
            return
        for message_id in held:
            if self._held.pop(message_id, None) is not None:
                self._held[message_id] = now
        if not self._registered:
            self._registered = True
            for wakeup in self.wakeups.values():
                wakeup.set()

    async def _adopt(self, carrier: Carrier) -> None:
        """Take the carrier's settings as they are now; bind anew where that is called for."""
        was, self.carrier = self.carrier, carrier
        self.format = wire_format(carrier)
        self.rules = receipt_rules_of(carrier)
        config = pool_config(carrier)
        if config != self.pool.config and not self.pool.adapt(config):
            log.info("carrier_changed", carrier=carrier.slug, effect="binding anew")
            # The old binds first: many carriers count them, and refuse one too many.
            await self.pool.stop(REBIND_SECONDS)
            self.pool = self._new_pool()
            self.pool.start()
        if (was.paused or was.draining) and not (carrier.paused or carrier.draining):
            for wakeup in self.wakeups.values():
                wakeup.set()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
