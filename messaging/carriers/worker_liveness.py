"""Liveness of carrier workers, recorded in the database: claims of a dead one are freed at once.

The supervisor of a worker notices its death and records it in its row (`imissive.run.carriers`),
which the workers of other machines see, too. A worker whose whole machine is gone stops reporting,
and counts as dead after a while, but only if the database accepted writes all that time: after an
outage, no worker has reported. The end of a message's lease is the last resort.
"""

import uuid
from collections.abc import Collection
from datetime import timedelta
from typing import Any, Final

from django.conf import settings

from imissive.core.sql import server_cursor
from messaging.models import CarrierWorker
from messaging.states import Status, swap

SILENT_SECONDS: Final = 10.0
"""A worker reports every two seconds; after this time without a report, it counts as dead."""
GAP_SECONDS: Final = 5.0
"""A longer pause between two reports, or two sweeps, starts a new steady period."""
FORGET_AFTER: Final = timedelta(minutes=10)
STEP: Final = 1000

_RELEASED = swap(Status.QUEUED, before=[Status.SENDING])

_REPORT = f"""
WITH kept AS (
    UPDATE messaging_message SET due_at = now() + %(seconds)s * interval '1 second'
     WHERE id = ANY(%(held)b::uuid[]) AND status IN {_RELEASED.before_sql} AND lease = %(lease)s
)
INSERT INTO messaging_carrierworker AS worker (id, carrier_id, name, seen_at, steady_since)
VALUES (%(lease)s, %(carrier)s, %(name)s, now(), now())
ON CONFLICT (id) DO UPDATE
   SET seen_at = now(),
       steady_since = CASE WHEN worker.seen_at < now() - %(gap)s * interval '1 second'
                           THEN now() ELSE worker.steady_since END
 WHERE worker.died_at IS NULL
RETURNING id
"""  # noqa: S608


def report_alive(lease: uuid.UUID, carrier_id: int, name: str, held: Collection[uuid.UUID]) -> bool:
    """Record that the worker is alive, and renew its lease of the messages that it still holds.

    Returns False if it was declared dead: others have its messages, and it needs a new lease.
    """
    with server_cursor() as cursor:
        cursor.execute(
            _REPORT,
            {
                "lease": lease,
                "carrier": carrier_id,
                "name": name,
                "held": list(held),
                "seconds": settings.CARRIER_LEASE,
                "gap": GAP_SECONDS,
            },
        )
        return cursor.fetchone() is not None


def report_end(lease: uuid.UUID) -> None:
    """Record that the worker has stopped, which frees the messages that it still held."""
    with server_cursor() as cursor:
        cursor.execute(
            "UPDATE messaging_carrierworker SET died_at = now() WHERE id = %s AND died_at IS NULL",
            [lease],
        )


_SWEPT = """
INSERT INTO messaging_sweeprun AS run (id, last_at, steady_since) VALUES (1, now(), now())
ON CONFLICT (id) DO UPDATE
   SET last_at = now(),
       steady_since = CASE WHEN run.last_at < now() - %(gap)s * interval '1 second'
                           THEN now() ELSE run.steady_since END
RETURNING steady_since <= now() - %(silent)s * interval '1 second'
"""
_SILENT = """
UPDATE messaging_carrierworker SET died_at = now()
 WHERE died_at IS NULL AND seen_at < now() - %(silent)s * interval '1 second'
"""


def record_silent_deaths() -> int:
    """Record the death of workers that stopped reporting; return their number.

    The sweep calls it every second. It does nothing until the sweep itself has run without a gap
    for as long, which shows that the database was available.
    """
    times = {"gap": GAP_SECONDS, "silent": SILENT_SECONDS}
    with server_cursor() as cursor:
        cursor.execute(_SWEPT, times)
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(_SILENT, times)
        return int(cursor.rowcount)


_RELEASE = f"""
WITH due AS MATERIALIZED (
    SELECT id FROM messaging_message
     WHERE status IN {_RELEASED.before_sql} AND lease = ANY(%(dead)b::uuid[])
     LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE messaging_message m
   SET status = {_RELEASED.after_sql}, lease = NULL, due_at = now(), submits = m.submits + 1
  FROM due WHERE m.id = due.id RETURNING m.carrier_id, m.urgent
"""  # noqa: S608


def release_dead(limit: int = STEP) -> list[tuple[int, bool]]:
    """Queue the messages of dead workers again; return the carrier and urgency of each."""
    dead = list(CarrierWorker.objects.exclude(died_at=None).values_list("id", flat=True))
    if not dead:
        return []
    with server_cursor() as cursor:
        cursor.execute(_RELEASE, {"dead": dead, "limit": limit})
        rows: list[Any] = cursor.fetchall()
        cursor.execute(
            "DELETE FROM messaging_carrierworker WHERE died_at < now() - %s * interval '1 second'",
            [FORGET_AFTER.total_seconds()],
        )
    return [(carrier_id, urgent) for carrier_id, urgent in rows]
