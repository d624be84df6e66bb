"""Wake-ups of workers: a Celery task that says "look in the database", sent after a commit.

The database holds the work; the broker only shortens the wait. So a wake-up never blocks the
request that caused it, several wake-ups for one thing within a moment are one task, and one that
cannot be sent is dropped: the sweeps find the work a second later.
"""

import os
import threading

import structlog

from imissive.celery import app

log = structlog.get_logger(__name__)

COALESCE_SECONDS = 0.025
"""The pause after a wake-up: a first one goes out at once, those of a busy moment as one."""

Wake = tuple[str, str, tuple[str, ...]]


class Waker:
    """Sends wake-ups from a thread of its own. One for each process: see `wake`."""

    def __init__(self) -> None:
        self._waiting: dict[Wake, None] = {}
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        threading.Thread(target=self._run, name="wakeups", daemon=True).start()

    def add(self, wake: Wake) -> None:
        self._waiting[wake] = None
        self._idle.clear()
        self._wake.set()

    def flush(self, timeout: float) -> None:
        """Wait until nothing is waiting, `timeout` seconds at most."""
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
    """Have `task` run on `queue` soon. Call it after the commit, never before."""
    waker = _wakers.get(os.getpid())
    if waker is None:
        with _lock:
            waker = _wakers.get(os.getpid()) or _wakers.setdefault(os.getpid(), Waker())
    waker.add((task, queue, arguments))


def flush(timeout: float = 2.0) -> None:
    """Wait for this process's wake-ups to be sent, for a command that is about to exit."""
    waker = _wakers.get(os.getpid())
    if waker is not None:
        waker.flush(timeout)
