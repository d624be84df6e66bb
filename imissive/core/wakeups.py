"""Wake-ups of workers: Celery tasks that make a worker look in the database, sent after a commit.

The database has the work; the broker only shortens the wait. A wake-up therefore never blocks the
request that caused it, equal wake-ups within COALESCE_SECONDS are sent once, and one that cannot be
sent is dropped: the sweeps find the work a second later.
"""

import os
import threading

import structlog

from imissive.celery import app

log = structlog.get_logger(__name__)

COALESCE_SECONDS = 0.025
"""The pause after a wake-up: the first is sent at once, and those during the pause as one."""

Wake = tuple[str, str, tuple[str, ...]]


class Waker:
    """A sender of wake-ups in its own thread. There is one in each process: see `wake`."""

    def __init__(self) -> None:
        self._waiting: dict[Wake, None] = {}
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        threading.Thread(target=self._run, name="wakeups", daemon=True).start()

    def add(self, wake: Wake) -> None:
        """Send the wake-up soon, once however often it is added until then."""
        self._waiting[wake] = None
        self._idle.clear()
        self._wake.set()

    def flush(self, timeout: float) -> None:
        """Wait until every wake-up was sent, `timeout` seconds at most."""
        self._idle.wait(timeout)

    def _run(self) -> None:
        broker_is_up = True
        pause = threading.Event()
        while True:
            self._wake.wait()
            self._wake.clear()
            wakes, self._waiting = self._waiting, {}
            for task, queue, arguments in wakes:
                try:
                    app.send_task(
                        task, args=arguments, queue=queue, retry=False, ignore_result=True
                    )
                    broker_is_up = True
                except Exception as error:
                    if broker_is_up:
                        log.warning(
                            "broker_unreachable", error=str(error), effect="sweeps take over"
                        )
                    broker_is_up = False
            if not self._waiting:
                self._idle.set()
            pause.wait(COALESCE_SECONDS)


_wakers: dict[int, Waker] = {}
_lock = threading.Lock()


def wake(task: str, *, queue: str, arguments: tuple[str, ...] = ()) -> None:
    """Run the Celery task named `task` on `queue` soon. Call it after the commit, never before.

    It never blocks and never raises because of the broker.
    """
    waker = _wakers.get(os.getpid())
    if waker is None:
        with _lock:
            waker = _wakers.get(os.getpid()) or _wakers.setdefault(os.getpid(), Waker())
    waker.add((task, queue, arguments))


def flush(timeout: float = 2.0) -> None:
    """Wait for this process's wake-ups to be sent, `timeout` seconds at most.

    For a command that is about to exit.
    """
    waker = _wakers.get(os.getpid())
    if waker is not None:
        waker.flush(timeout)
