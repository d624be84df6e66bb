"""The Celery worker process of one carrier. Its CarrierWorker runs in an event loop in a thread.

`messaging.tasks` starts and stops it with the process, and wakes it by Celery tasks.
"""

import asyncio
import os
import sys
import threading
import time

import structlog
from django.db import DatabaseError, InterfaceError, connection

from messaging.carriers.worker import STOP_SECONDS, CarrierWorker
from messaging.models import Carrier

log = structlog.get_logger(__name__)

END_SECONDS = 12.0
"""The time that a process has to stop; its supervisor kills it after 15 seconds."""


class _Running:
    """The worker of this process and the thread of its event loop."""

    def __init__(self, slug: str) -> None:
        self.slug = slug
        self.worker: CarrierWorker | None = None
        self.loop = asyncio.new_event_loop()
        self.stop = asyncio.Event()
        self.thread = threading.Thread(target=self._run, name="carrier", daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._main())
        except Exception:
            # Its claims return to the queue when their lease ends; the supervisor restarts it.
            log.exception("carrier_worker_died", carrier=self.slug)
            os._exit(70)

    async def _main(self) -> None:
        carrier = await self.loop.run_in_executor(None, self._carrier)
        if carrier is None:
            return
        self.worker = CarrierWorker(carrier)
        limit = asyncio.create_task(self._limit())
        log.info("carrier_worker_started", carrier=self.slug)
        await self.worker.run(self.stop)
        await limit

    async def _limit(self) -> None:
        """End the process in time even if something hangs, such as a statement that waits."""
        await self.stop.wait()
        timer = threading.Timer(END_SECONDS, self._end)
        timer.daemon = True
        timer.start()

    def _end(self) -> None:
        finished = not self.thread.is_alive()
        log.warning("carrier_worker_cut_short", carrier=self.slug, binds_ended=finished)
        sys.stdout.flush()
        sys.stderr.flush()
        # Its claims return to the queue when their lease ends.
        os._exit(0 if finished else 70)

    def _carrier(self) -> Carrier | None:
        """Return the carrier's row once the database responds; None if asked to stop before."""
        while not self.stop.is_set():
            try:
                return Carrier.objects.get(slug=self.slug)
            except (DatabaseError, InterfaceError) as error:
                log.warning("database_failed", error=str(error).strip())
                time.sleep(1)
            finally:
                connection.close()
        return None


_running: _Running | None = None


def start(slug: str) -> None:
    """Start the worker of that carrier in this process."""
    global _running
    _running = _Running(slug)
    _running.thread.start()


def wake(priority: str) -> None:
    """Wake the worker to claim messages of that priority. Callable from any thread."""
    running = _running
    if running is not None and running.worker is not None:
        running.loop.call_soon_threadsafe(running.worker.wakeups[priority].set)


def stop_soon() -> None:
    """Start a graceful stop. Callable from any thread, and from a signal handler."""
    running = _running
    if running is not None and not running.loop.is_closed():
        running.loop.call_soon_threadsafe(running.stop.set)


def stop() -> None:
    """Stop gracefully: finish submits in progress, unbind, then return."""
    stop_soon()
    if _running is not None:
        _running.thread.join(STOP_SECONDS * 2)
