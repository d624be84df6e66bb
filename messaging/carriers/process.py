"""The Celery worker process of one carrier: its CarrierWorker, in an event loop of its own thread.

`messaging.tasks` starts and stops it with the process; the broker's tasks wake it.
"""

import asyncio
import os
import threading
import time

import structlog
from django.db import DatabaseError, InterfaceError, connection

from messaging.carriers.worker import STOP_SECONDS, CarrierWorker
from messaging.models import Carrier

log = structlog.get_logger(__name__)


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
        log.info("carrier_worker_started", carrier=self.slug)
        await self.worker.run(self.stop)

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


def wake(priority: str) -> None:
    """There is something to claim in that priority. From any thread."""
    running = _running
    if running is not None and running.worker is not None:
        running.loop.call_soon_threadsafe(running.worker.wakeups[priority].set)


def stop() -> None:
    """Finish what is under way, unbind and return."""
    running = _running
    if running is not None:
        running.loop.call_soon_threadsafe(running.stop.set)
        running.thread.join(STOP_SECONDS * 2)
