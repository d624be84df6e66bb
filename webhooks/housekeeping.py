"""What nobody asks for any more is deleted, in bounded batches: old deliveries, events, secrets."""

import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings

from imissive import clock
from imissive.ids import first_id_at
from imissive.sql import server_cursor
from webhooks.models import Endpoint

PURGE_AFTER = timedelta(minutes=10)
"""How long the rows of a deleted endpoint wait."""
STEP = 5_000
"""Rows that one step looks at."""
MOST_STEPS = 100
"""Steps of one run: half a million rows, which is what two minutes at full speed leave behind."""

_PURGE = """
WITH batch AS MATERIALIZED (SELECT id FROM webhooks_delivery WHERE endpoint_id = %s LIMIT %s),
attempts AS (
    DELETE FROM webhooks_failedattempt USING batch WHERE delivery_id = batch.id
)
DELETE FROM webhooks_delivery USING batch WHERE webhooks_delivery.id = batch.id
"""


def purge_deleted() -> None:
    """Remove a batch of the deliveries of deleted endpoints, and the endpoints that have none left.

    Waits until long after the deletion: a transaction that saw the endpoint enabled may still be
    about to write deliveries for it.
    """
    deleted = Endpoint.objects.filter(deleted_at__lt=clock.now() - PURGE_AFTER)
    for endpoint_id in list(deleted.values_list("id", flat=True)[:10]):
        with server_cursor() as cursor:
            cursor.execute(_PURGE, [endpoint_id, STEP])
            if cursor.rowcount == 0:
                cursor.execute("DELETE FROM webhooks_endpoint WHERE id = %s", [endpoint_id])


# Both walk the primary key, which is in the order of time. What is still to be posted is kept,
# whatever its age, unless its endpoint is disabled.
_OLD_DELIVERIES = """
WITH batch AS MATERIALIZED (
    SELECT delivery.id,
           delivery.status IN ('delivered', 'failed') OR NOT endpoint.enabled AS ended
      FROM webhooks_delivery delivery JOIN webhooks_endpoint endpoint
           ON endpoint.id = delivery.endpoint_id
     WHERE delivery.id > %(after)s AND delivery.id < %(before)s
     ORDER BY delivery.id
     LIMIT %(step)s
       FOR UPDATE OF delivery SKIP LOCKED
),
attempts AS (
    DELETE FROM webhooks_failedattempt USING batch WHERE delivery_id = batch.id AND batch.ended
),
gone AS (
    DELETE FROM webhooks_delivery USING batch
     WHERE webhooks_delivery.id = batch.id AND batch.ended
)
SELECT count(*), (SELECT id FROM batch ORDER BY id DESC LIMIT 1) FROM batch
"""
_OLD_EVENTS = """
WITH batch AS MATERIALIZED (
    SELECT event.id,
           NOT EXISTS (SELECT FROM webhooks_delivery WHERE event_id = event.id) AS unused
      FROM webhooks_event event
     WHERE event.id > %(after)s AND event.id < %(before)s
     ORDER BY event.id
     LIMIT %(step)s
       FOR UPDATE OF event SKIP LOCKED
),
gone AS (
    DELETE FROM webhooks_event USING batch WHERE webhooks_event.id = batch.id AND batch.unused
)
SELECT count(*), (SELECT id FROM batch ORDER BY id DESC LIMIT 1) FROM batch
"""


def purge_old() -> None:
    """Remove the deliveries and events that are older than WEBHOOK_KEEP_DAYS.

    At most MOST_STEPS steps of each: the next run goes on.
    """
    before = first_id_at(clock.now() - timedelta(days=settings.WEBHOOK_KEEP_DAYS))
    for statement in (_OLD_DELIVERIES, _OLD_EVENTS):
        after: uuid.UUID | None = uuid.UUID(int=0)
        for _ in range(MOST_STEPS):
            after = _purge_step(statement, {"after": after, "before": before, "step": STEP})
            if after is None:
                break


def _purge_step(statement: str, parameters: dict[str, Any]) -> uuid.UUID | None:
    """Where the next step goes on, or None where nothing is left to look at."""
    with server_cursor() as cursor:
        cursor.execute(statement, parameters)
        looked_at, last = cursor.fetchone()
    return last if looked_at == parameters["step"] else None


def forget_previous_secrets() -> None:
    """Drop the secrets whose rotation has ended."""
    Endpoint.objects.filter(previous_secret_until__lt=clock.now()).update(
        previous_secret="", previous_secret_until=None
    )
