"""Worker liveness: claims of a dead worker are freed long before their lease ends.

A claim's lease ends after half a minute. PostgreSQL knows sooner that a process was killed: its
connection is closed, and the advisory lock that the process held is released. A sweep therefore
frees the claims of a dead worker at once. A worker that cannot acquire its lock relies on the lease
alone.
"""

import secrets
import threading
import time

import psycopg
import structlog

from imissive.core.sql import own_parameters, server_cursor

log = structlog.get_logger(__name__)

LOCK_CLASS = 0x77686B
"""Class of these advisory locks in the database: "whk"."""
CHECK_SECONDS = 0.5
"""Interval in which a worker checks that it still holds its lock, and acquires a lost one again."""
GRACE_SECONDS = 3.0
"""A lock must be missing this long, because a live worker may have lost its connection."""
STOP_SECONDS = 2.0


class Lifeline:
    """Hold an advisory lock while the process lives, in a thread with a connection of its own."""

    def __init__(self) -> None:
        self._number = secrets.randbelow(2**31 - 1) + 1
        self._held = threading.Event()
        self._stop = threading.Event()
        # Read in this thread, because tests replace the database settings in the starting thread.
        self._parameters = own_parameters()
        self._thread = threading.Thread(target=self._run, name="webhooks-lifeline", daemon=True)

    def start(self) -> None:
        """Start the thread, which soon acquires the lock."""
        self._thread.start()

    def stop(self) -> None:
        """Release the lock and stop the thread."""
        self._stop.set()
        self._thread.join(STOP_SECONDS)

    @property
    def worker_id(self) -> int | None:
        """Return the worker's number for claims, or None while the lock is not held."""
        return self._number if self._held.is_set() else None

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._hold()
            except psycopg.Error as error:
                log.debug("webhook_lifeline_lost", error=str(error).strip())
            finally:
                self._held.clear()
            self._stop.wait(CHECK_SECONDS)

    def _hold(self) -> None:
        with psycopg.connect(**self._parameters, autocommit=True) as held:
            held.execute("SELECT pg_advisory_lock(%s, %s)", [LOCK_CLASS, self._number])
            self._held.set()
            while not self._stop.wait(CHECK_SECONDS):
                read_only = held.execute("SHOW transaction_read_only").fetchone()
                if read_only == ("on",):
                    # Another server may have taken its place, and the lock has to be there.
                    return


_ALIVE = """
SELECT objid::bigint FROM pg_locks
 WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2 AND granted
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

# Leases end within `lease` seconds, so each endpoint is one short range of the queue's index.
_FREE = """
WITH dead AS MATERIALIZED (
    SELECT held.id
      FROM webhooks_endpoint endpoint
     CROSS JOIN LATERAL (
           SELECT id FROM webhooks_delivery delivery
            WHERE delivery.endpoint_id = endpoint.id AND delivery.status = 'sending'
              AND delivery.status IN ('pending', 'sending')
              AND delivery.next_attempt_at > statement_timestamp()
              AND delivery.next_attempt_at < statement_timestamp() + %s * interval '1 second'
              AND delivery.holder IS NOT NULL AND delivery.holder <> ALL (%b::bigint[])
              FOR UPDATE SKIP LOCKED) held
)
UPDATE webhooks_delivery delivery
   SET status = 'pending', next_attempt_at = statement_timestamp()
  FROM dead
 WHERE delivery.id = dead.id
"""


class Watch:
    """Free the claims of dead workers. One for each process that sweeps; call `step` often."""

    def __init__(self) -> None:
        self._alive: frozenset[int] = frozenset()
        # The first step looks at once, because this process may replace a killed one.
        self._look_at: float | None = 0.0
        self._lock = threading.Lock()

    def step(self, lease_seconds: float, *, now: float | None = None) -> int:
        """Find dead workers and free their claims; return the number of freed deliveries.

        `now` is in seconds of the monotonic clock (default: the current time).
        """
        with self._lock:
            now = time.monotonic() if now is None else now
            alive = _alive()
            if self._alive - alive:
                self._look_at = now + GRACE_SECONDS
            self._alive = alive
            if self._look_at is None or now < self._look_at:
                return 0
            self._look_at = None
        with server_cursor() as cursor:
            cursor.execute(_FREE, [lease_seconds + 1, list(alive)])
            freed: int = cursor.rowcount
        if freed:
            log.warning("webhook_deliveries_freed", count=freed, because="their worker died")
        return freed


def _alive() -> frozenset[int]:
    with server_cursor() as cursor:
        cursor.execute(_ALIVE, [LOCK_CLASS])
        return frozenset(row[0] for row in cursor.fetchall())
