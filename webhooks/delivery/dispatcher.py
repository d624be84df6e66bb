"""Dispatcher: posts webhook deliveries from inside a Celery worker, on an event loop in a thread.

Celery tasks only wake it. The loop never waits for the database: claims and results go through a
small pool of threads, and the results of all endpoints are written together.
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

from imissive.core import outbound
from imissive.core.sql import Fault, fault_of, forget_broken_connections
from webhooks.delivery import queue
from webhooks.delivery.endpoint_worker import EndpointWorker
from webhooks.delivery.queue import Claimed, Outcome, Results
from webhooks.delivery.worker_liveness import Lifeline

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

DATABASE_THREADS = 4
# Host names are resolved in threads too; customers with unresponsive name servers must not occupy
# all of them.
LOOKUP_THREADS = 64
FLUSH_SECONDS = 0.02
MAX_FLUSH = 1_000
DRAIN_SECONDS = 5.0
OPEN_FILES = 65_536


class Dispatcher:
    """The dispatcher of a worker process, see `current`. Other threads call `wake` and `stop`."""

    def __init__(self) -> None:
        self.closing = False
        self._endpoint_workers: dict[uuid.UUID, EndpointWorker] = {}
        self._runs: set[asyncio.Task[None]] = set()
        self._results = Results()
        # Endpoints whose pause is not yet written, so that a claim would not see it.
        self._pausing: set[uuid.UUID] = set()
        self._lifeline = Lifeline()
        self._results_ready = asyncio.Event()
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

    def wake(self, endpoint_id: uuid.UUID) -> None:
        """Post the endpoint's due deliveries, in the background."""
        self._loop.call_soon_threadsafe(self._wake, endpoint_id)

    def stop(self) -> None:
        """Finish running posts within DRAIN_SECONDS, hand back the others, and stop the thread."""
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

    # ------------------------------------------------------------ on the loop, for endpoint workers

    async def in_database(
        self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function in a database thread, with a usable connection, and return its result."""

        def run() -> T:
            close_old_connections()
            try:
                return function(*args, **kwargs)
            except Exception as error:
                if fault_of(error) is Fault.DATABASE:
                    forget_broken_connections(error)
                raise
            finally:
                # Returns the connection to the pool, unless it is broken.
                close_old_connections()

        return await self._loop.run_in_executor(self._database, run)

    def finish(self, outcome: Outcome) -> None:
        """Queue the outcome for writing."""
        self._results.outcomes.append(outcome)
        self._results_ready.set()

    def hand_back(self, endpoint_id: uuid.UUID, claimed: Claimed) -> None:
        """Make the delivery pending again, as if it had not been claimed, and wake its endpoint."""
        self._results.returned.append(claimed)
        self._results.returned_by.add(endpoint_id)
        self._results_ready.set()

    def health(self, endpoint_id: uuid.UUID, *, failing: bool) -> None:
        """Record that the endpoint has started to fail, or works again."""
        self._results.failing[endpoint_id] = failing
        self._results_ready.set()

    def pause(self, endpoint_id: uuid.UUID, seconds: float) -> None:
        """Pause the endpoint: in this worker immediately, in others once the pause is written."""
        self._results.paused[endpoint_id] = max(seconds, self._results.paused.get(endpoint_id, 0))
        self._pausing.add(endpoint_id)
        self._results_ready.set()

    def pauses(self, endpoint_id: uuid.UUID) -> bool:
        """Return whether a pause of the endpoint is about to be written."""
        return endpoint_id in self._pausing

    @property
    def worker_id(self) -> int | None:
        """Return the worker's number for claims, see `webhooks.delivery.worker_liveness`."""
        return self._lifeline.worker_id

    # ------------------------------------------------------------ the loop itself

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._writer = self._loop.create_task(self._write_results())
        self._loop.run_forever()

    def _wake(self, endpoint_id: uuid.UUID) -> None:
        if self.closing:
            return
        endpoint_worker = self._endpoint_workers.get(endpoint_id)
        if endpoint_worker is not None:
            endpoint_worker.wake()
            return
        endpoint_worker = self._endpoint_workers[endpoint_id] = EndpointWorker(self, endpoint_id)
        task = self._loop.create_task(self._run_endpoint_worker(endpoint_worker))
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)

    async def _run_endpoint_worker(self, endpoint_worker: EndpointWorker) -> None:
        try:
            await endpoint_worker.run()
        except Exception:
            log.exception("webhook_endpoint_worker_broke")
        finally:
            # In the same step of the loop as the end of run(), so that no wake-up is lost between
            # them. Deliveries that a stop or a bug left in the queue are handed back.
            endpoint_worker.close()
            self._endpoint_workers.pop(endpoint_worker.endpoint_id, None)

    async def _write_results(self) -> None:
        while self._results or not self._no_more_results:
            await self._results_ready.wait()
            if not self.closing:
                await asyncio.sleep(FLUSH_SECONDS)
            self._results_ready.clear()
            while self._results:
                await self._write(self._take_results())

    def _take_results(self) -> Results:
        batch, remaining = self._results, Results()
        remaining.outcomes = batch.outcomes[MAX_FLUSH:]
        del batch.outcomes[MAX_FLUSH:]
        self._results = remaining
        return batch

    async def _write(self, results: Results) -> None:
        """Write the results, retrying until it succeeds: lost results would be posted twice."""
        wait = 0.25
        while True:
            try:
                await self.in_database(queue.write, results)
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
        """Write each result separately, so that one that the database refuses affects no other."""
        singles = results.singles()
        if len(singles) > 1:
            for single in singles:
                await self._write(single)
            return
        # After its lease the delivery is posted again.
        log.error("webhook_result_lost", exc_info=error)
        self._pausing.difference_update(results.paused)

    def _written(self, results: Results) -> None:
        self._pausing.difference_update(results.paused)
        for endpoint_id in results.returned_by:
            self._wake(endpoint_id)

    async def _drain(self) -> None:
        self.closing = True
        for endpoint_worker in self._endpoint_workers.values():
            endpoint_worker.close()
        posters = {
            task
            for endpoint_worker in self._endpoint_workers.values()
            for task in endpoint_worker.posting
        }
        running = posters | self._runs
        if running:
            _, late = await asyncio.wait(running, timeout=DRAIN_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._no_more_results = True
        self._results_ready.set()
        await self._writer
        await outbound.close()


def _allow_open_files() -> None:
    """Raise the soft limit of open files: many endpoints need many sockets.

    The usual soft limit of 1,024 only protects programs that use select().
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))


_dispatchers: dict[int, Dispatcher] = {}
_lock = threading.Lock()


def current() -> Dispatcher:
    """Return this process's dispatcher; the first call starts it."""
    with _lock:
        dispatcher = _dispatchers.get(os.getpid())
        if dispatcher is None:
            dispatcher = _dispatchers[os.getpid()] = Dispatcher()
            dispatcher.start()
        return dispatcher


def stop_current() -> None:
    """Drain and stop this process's dispatcher, if it has one."""
    with _lock:
        dispatcher = _dispatchers.pop(os.getpid(), None)
    if dispatcher is not None:
        dispatcher.stop()
