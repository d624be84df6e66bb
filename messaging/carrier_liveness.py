"""Which carrier workers live, as rows in the database: what a dead one held is free at once.

Whoever supervises a worker sees it die and notes that in its row (`imissive.carriers`); so the
workers of other machines see it too. A worker whose whole machine is gone falls silent, and counts
as dead after a while, but only while the database took writes all that time: after an outage
everybody has been silent. A message's lease that ends is the last resort.
"""

import uuid
from collections.abc import Collection
from datetime import timedelta
from typing import Any, Final

from django.conf import settings

from imissive.sql import server_cursor
from messaging.models import CarrierWorker

SILENT_SECONDS: Final = 10.0
"""How long a worker may say nothing, of its beats each two seconds, before it counts as dead."""
GAP_SECONDS: Final = 5.0
"""A pause in what is written each second or two, after which it counts as begun again."""
FORGET_AFTER: Final = timedelta(minutes=10)
STEP: Final = 1000

_BEAT = """
WITH kept AS (
    UPDATE messaging_message SET due_at = now() + %(seconds)s * interval '1 second'
     WHERE id = ANY(%(held)b::uuid[]) AND status = 'sending' AND lease = %(lease)s
)
INSERT INTO messaging_carrierworker AS worker (id, carrier_id, name, seen_at, steady_since)
VALUES (%(lease)s, %(carrier)s, %(name)s, now(), now())
ON CONFLICT (id) DO UPDATE
   SET seen_at = now(),
       steady_since = CASE WHEN worker.seen_at < now() - %(gap)s * interval '1 second'
                           THEN now() ELSE worker.steady_since END
 WHERE worker.died_at IS NULL
RETURNING id
"""


def beat(lease: uuid.UUID, carrier_id: int, name: str, held: Collection[uuid.UUID]) -> bool:
    """Say that the worker lives, and renew its lease of the messages that it still holds.

    Returns False if it has been taken for dead: others have what it held, and it needs a new lease.
    """
    with server_cursor() as cursor:
        cursor.execute(
            _BEAT,
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


def leave(lease: uuid.UUID) -> None:
    """Say that the worker has ended: what it still holds is nobody's."""
    with server_cursor() as cursor:
        cursor.execute(
            "UPDATE messaging_carrierworker SET died_at = now() WHERE id = %s AND died_at IS NULL",
            [lease],
        )


_PULSE = """
INSERT INTO messaging_sweeppulse AS pulse (id, last_at, steady_since) VALUES (1, now(), now())
ON CONFLICT (id) DO UPDATE
   SET last_at = now(),
       steady_since = CASE WHEN pulse.last_at < now() - %(gap)s * interval '1 second'
                           THEN now() ELSE pulse.steady_since END
RETURNING steady_since <= now() - %(silent)s * interval '1 second'
"""
_SILENT = """
UPDATE messaging_carrierworker SET died_at = now()
 WHERE died_at IS NULL AND seen_at < now() - %(silent)s * interval '1 second'
"""


def bury_silent() -> int:
    """Note the death of workers that say nothing any more; how many. Each second, by the sweep.

    Not before the sweep itself has gone on without a gap for as long: the database was there.
    """
    times = {"gap": GAP_SECONDS, "silent": SILENT_SECONDS}
    with server_cursor() as cursor:
        cursor.execute(_PULSE, times)
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(_SILENT, times)
        return int(cursor.rowcount)


_RELEASE = """
WITH due AS MATERIALIZED (
    SELECT id FROM messaging_message
     WHERE status = 'sending' AND lease = ANY(%(dead)b::uuid[])
     LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE messaging_message m
   SET status = 'queued', lease = NULL, due_at = now(), submits = m.submits + 1
  FROM due WHERE m.id = due.id RETURNING m.carrier_id, m.urgent
"""


def release_dead(limit: int = STEP) -> list[tuple[int, bool]]:
    """Queue again what dead workers hold; the carrier and whether it is urgent, of each."""
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
