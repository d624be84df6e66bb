"""The Celery worker process of one carrier: its CarrierWorker, in an event loop of its own thread.

`imissive.celery` starts and stops it with the process; the broker's tasks wake it.
"""

import asyncio
import os
import sys
import threading
import time

import structlog
from django.db import DatabaseError, InterfaceError, connection

from messaging.carrier_worker import STOP_SECONDS, CarrierWorker
from messaging.models import Carrier

log = structlog.get_logger(__name__)

END_SECONDS = 12.0
"""Seconds that a process may take to end; its supervisor kills it after 15."""


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
            # What it held comes back by its lease; whoever supervises starts a whole worker.
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
        """End the process in time, whatever hangs, as a statement that waits for a lock does."""
        await self.stop.wait()
        timer = threading.Timer(END_SECONDS, self._end)
        timer.daemon = True
        timer.start()

    def _end(self) -> None:
        finished = not self.thread.is_alive()
        log.warning("carrier_worker_cut_short", carrier=self.slug, binds_ended=finished)
        sys.stdout.flush()
        sys.stderr.flush()
        # What it held comes back by its lease.
        os._exit(0 if finished else 70)

    def _carrier(self) -> Carrier | None:
        """The carrier's row, as soon as the database gives it; None if we shall stop before."""
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
    """Hold that carrier's binds in this process from now on."""
    global _running
    _running = _Running(slug)
    _running.thread.start()


def wake(lane: str) -> None:
    """There is something to claim in that lane. From any thread."""
    running = _running
    if running is not None and running.worker is not None:
        running.loop.call_soon_threadsafe(running.worker.bells[lane].set)


def stop_soon() -> None:
    """Start to finish what is under way and to unbind. From any thread, and a signal's handler."""
    running = _running
    if running is not None and not running.loop.is_closed():
        running.loop.call_soon_threadsafe(running.stop.set)


def stop() -> None:
    """Finish what is under way, unbind and return."""
    stop_soon()
    if _running is not None:
        _running.thread.join(STOP_SECONDS * 2)
