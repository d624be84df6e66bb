"""Posts deliveries from inside a Celery worker: one event loop in a thread of its own.

Tasks only ring it. The loop never waits for the database: claims and results go through a few
threads, and the results of all endpoints are written together.
"""

import asyncio
import os
import resource
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import structlog
from django.db import close_old_connections

from imissive import outbound
from imissive.sql import Fault, fault_of, forget_broken_connections
from webhooks import deliveries
from webhooks.deliveries import Claimed, Outcome, Results
from webhooks.holders import Lifeline
from webhooks.pump import Pump

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

DATABASE_THREADS = 4
# Names are looked up in threads too; those of customers whose name servers are dead must not be
# all there are.
LOOKUP_THREADS = 64
FLUSH_SECONDS = 0.02
FLUSH_MOST = 1_000
DRAIN_SECONDS = 5.0
OPEN_FILES = 65_536


class Dispatcher:
    """One for each worker process: `current`. `ring` and `stop` are for other threads."""

    def __init__(self) -> None:
        self.closing = False
        self._pumps: dict[uuid.UUID, Pump] = {}
        self._runs: set[asyncio.Task[None]] = set()
        self._results = Results()
        # Endpoints whose pause is not yet where a claim would see it.
        self._pausing: set[uuid.UUID] = set()
        self._lifeline = Lifeline()
        self._results_came = asyncio.Event()
        self._no_more_results = False
        self._database = ThreadPoolExecutor(DATABASE_THREADS, "webhooks-database")
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(LOOKUP_THREADS, "webhooks-lookup"))
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    # ------------------------------------------------------------ from other threads

    def start(self) -> None:
        """Start the thread."""
        _allow_open_files()
        self._lifeline.start()
        self._thread.start()

    def ring(self, endpoint_id: uuid.UUID) -> None:
        """Something may be due at that endpoint. Returns at once."""
        self._loop.call_soon_threadsafe(self._ring, endpoint_id)

    def stop(self) -> None:
        """Finish the posts under way in DRAIN_SECONDS, hand back the others, end the thread."""
        if not self._thread.is_alive():
            return
        draining = asyncio.run_coroutine_threadsafe(self._drain(), self._loop)
        try:
            draining.result(DRAIN_SECONDS * 2)
        except TimeoutError:
            log.warning("webhooks_not_drained", effect="leases end by themselves")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(1)
        self._database.shutdown(wait=False, cancel_futures=True)
        self._lifeline.stop()

    # ------------------------------------------------------------ on the loop, for the pumps

    async def in_database(
        self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function that uses the database in a thread, with a connection fit for use."""

        def run() -> T:
            close_old_connections()
            try:
                return function(*args, **kwargs)
            except Exception as error:
                if fault_of(error) is Fault.DATABASE:
                    forget_broken_connections(error)
                raise
            finally:
                # Back into the pool, unless it broke.
                close_old_connections()

        return await self._loop.run_in_executor(self._database, run)

    def finish(self, outcome: Outcome) -> None:
        """Have the outcome written soon."""
        self._results.outcomes.append(outcome)
        self._results_came.set()

    def hand_back(self, endpoint_id: uuid.UUID, claimed: Claimed) -> None:
        """Have the delivery made pending again, as if it had not been claimed; then ring for it."""
        self._results.returned.append(claimed)
        self._results.returned_by.add(endpoint_id)
        self._results_came.set()

    def health(self, endpoint_id: uuid.UUID, *, failing: bool) -> None:
        """Have it noted that the endpoint began to fail, or works again."""
        self._results.failing[endpoint_id] = failing
        self._results_came.set()

    def pause(self, endpoint_id: uuid.UUID, seconds: float) -> None:
        """Have the endpoint left alone for so long, by every worker; by this one from now on."""
        self._results.paused[endpoint_id] = max(seconds, self._results.paused.get(endpoint_id, 0))
        self._pausing.add(endpoint_id)
        self._results_came.set()

    def pauses(self, endpoint_id: uuid.UUID) -> bool:
        """Whether a pause of the endpoint is about to be written."""
        return endpoint_id in self._pausing

    @property
    def holder(self) -> int | None:
        """Whom to claim for, see `webhooks.holders`."""
        return self._lifeline.holder

    # ------------------------------------------------------------ the loop itself

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._writer = self._loop.create_task(self._write_results())
        self._loop.run_forever()

    def _ring(self, endpoint_id: uuid.UUID) -> None:
        if self.closing:
            return
        pump = self._pumps.get(endpoint_id)
        if pump is not None:
            pump.ring()
            return
        pump = self._pumps[endpoint_id] = Pump(self, endpoint_id)
        task = self._loop.create_task(self._run_pump(pump))
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)

    async def _run_pump(self, pump: Pump) -> None:
        try:
            await pump.run()
        except Exception:
            log.exception("webhook_pump_broke")
        finally:
            # In the same step as the end of run(), so that no ring falls between. What a stop, or
            # a bug, left in the queue goes back.
            pump.close()
            self._pumps.pop(pump.endpoint_id, None)

    async def _write_results(self) -> None:
        while self._results or not self._no_more_results:
            await self._results_came.wait()
            if not self.closing:
                await asyncio.sleep(FLUSH_SECONDS)
            self._results_came.clear()
            while self._results:
                await self._write(self._take_results())

    def _take_results(self) -> Results:
        taken, rest = self._results, Results()
        rest.outcomes = taken.outcomes[FLUSH_MOST:]
        del taken.outcomes[FLUSH_MOST:]
        self._results = rest
        return taken

    async def _write(self, results: Results) -> None:
        """Write until it is written: what is lost here would be posted a second time."""
        wait = 0.25
        while True:
            try:
                await self.in_database(deliveries.write, results)
            except Exception as error:
                if fault_of(error) is not Fault.DATABASE:
                    await self._write_singly(results, error)
                    return
                log.warning("webhook_results_not_written", error=str(error), retry_in=wait)
            else:
                self._written(results)
                return
            await asyncio.sleep(wait)
            wait = min(wait * 2, 5)

    async def _write_singly(self, results: Results, error: Exception) -> None:
        """Write each of them alone: one that the database refuses costs no other."""
        singles = results.singles()
        if len(singles) > 1:
            for single in singles:
                await self._write(single)
            return
        # Its lease ends, and it is posted again.
        log.error("webhook_result_lost", exc_info=error)
        self._pausing.difference_update(results.paused)

    def _written(self, results: Results) -> None:
        self._pausing.difference_update(results.paused)
        for endpoint_id in results.returned_by:
            self._ring(endpoint_id)

    async def _drain(self) -> None:
        self.closing = True
        for pump in self._pumps.values():
            pump.close()
        posters = {task for pump in self._pumps.values() for task in pump.posting}
        under_way = posters | self._runs
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=DRAIN_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._no_more_results = True
        self._results_came.set()
        await self._writer
        await outbound.close()


def _allow_open_files() -> None:
    """Many endpoints are many sockets; the usual soft limit of 1,024 is for who uses select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


_dispatchers: dict[int, Dispatcher] = {}
_lock = threading.Lock()


def current() -> Dispatcher:
    """This process's dispatcher, started on first use."""
    with _lock:
        dispatcher = _dispatchers.get(os.getpid())
        if dispatcher is None:
            dispatcher = _dispatchers[os.getpid()] = Dispatcher()
            dispatcher.start()
        return dispatcher


def stop_current() -> None:
    """Drain this process's dispatcher, if it has one."""
    with _lock:
        dispatcher = _dispatchers.pop(os.getpid(), None)
    if dispatcher is not None:
        dispatcher.stop()
