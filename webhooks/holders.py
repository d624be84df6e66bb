"""Who holds claimed deliveries, and whether it still lives.

A claim's lease ends by itself after half a minute. PostgreSQL knows sooner that a process was
killed: its connection is gone, and with it the advisory lock that stood for its life. So a sweep
frees at once what a dead holder had claimed. Where the lock cannot be had, the lease is all there
is, as it was before.
"""

import secrets
import threading
import time

import psycopg
import structlog

from imissive.sql import own_parameters, server_cursor

log = structlog.get_logger(__name__)

LOCK_CLASS = 0x77686B
"""Ours among the database's advisory locks: "whk"."""
CHECK_SECONDS = 0.5
"""How often a holder looks whether it still has its lock, and tries again where it has not."""
GRACE_SECONDS = 3.0
"""A lock has to be missing for so long: its connection may have broken under a living holder."""
STOP_SECONDS = 2.0


class Lifeline:
    """Holds a lock, in a thread with a connection of its own, for as long as the process lives."""

    def __init__(self) -> None:
        self._number = secrets.randbelow(2**31 - 1) + 1
        self._held = threading.Event()
        self._stop = threading.Event()
        # Read here: the settings of a test's database are those of the thread that starts it.
        self._parameters = own_parameters()
        self._thread = threading.Thread(target=self._run, name="webhooks-lifeline", daemon=True)

    def start(self) -> None:
        """Begin to hold the lock, soon."""
        self._thread.start()

    def stop(self) -> None:
        """Let go of the lock."""
        self._stop.set()
        self._thread.join(STOP_SECONDS)

    @property
    def holder(self) -> int | None:
        """The number to claim with, or None while the lock is not held."""
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


_LIVING = """
SELECT objid::bigint FROM pg_locks
 WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2 AND granted
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

# Claims end within `lease` seconds, so each endpoint is one short range of its index.
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
    """Frees what dead holders had claimed. One for each process that sweeps: `step` it often."""

    def __init__(self) -> None:
        self._living: frozenset[int] = frozenset()
        # At first at once: this process may have been started in the place of a killed one.
        self._look_at: float | None = 0.0
        self._lock = threading.Lock()

    def step(self, lease_seconds: float, *, now: float | None = None) -> int:
        """Look who lives, and free what the dead hold; how many deliveries that were.

        `now` is in seconds of the monotonic clock (default: the present).
        """
        with self._lock:
            now = time.monotonic() if now is None else now
            living = _living()
            if self._living - living:
                self._look_at = now + GRACE_SECONDS
            self._living = living
            if self._look_at is None or now < self._look_at:
                return 0
            self._look_at = None
        with server_cursor() as cursor:
            cursor.execute(_FREE, [lease_seconds + 1, list(living)])
            freed: int = cursor.rowcount
        if freed:
            log.warning("webhook_deliveries_freed", count=freed, because="their worker died")
        return freed


def _living() -> frozenset[int]:
    with server_cursor() as cursor:
        cursor.execute(_LIVING, [LOCK_CLASS])
        return frozenset(row[0] for row in cursor.fetchall())
