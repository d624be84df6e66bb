"""Housekeeping: deletion of old deliveries, events and previous secrets, in bounded batches."""

import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings

from imissive.core import clock
from imissive.core.ids import first_id_at
from imissive.core.sql import server_cursor
from webhooks.models import Endpoint

PURGE_AFTER = timedelta(minutes=10)
"""Delay between the deletion of an endpoint and that of its rows."""
STEP = 5_000
"""Number of rows that one step examines."""
MAX_STEPS = 100
"""Maximum steps of one run: half a million rows, as many as two minutes at full speed produce."""

_PURGE = """
WITH batch AS MATERIALIZED (SELECT id FROM webhooks_delivery WHERE endpoint_id = %s LIMIT %s),
attempts AS (
    DELETE FROM webhooks_failedattempt USING batch WHERE delivery_id = batch.id
)
DELETE FROM webhooks_delivery USING batch WHERE webhooks_delivery.id = batch.id
"""


def purge_deleted() -> None:
    """Delete a batch of the deliveries of deleted endpoints, and endpoints without deliveries.

    It waits PURGE_AFTER, because a transaction that saw the endpoint enabled may still insert
    deliveries for it.
    """
    deleted = Endpoint.objects.filter(deleted_at__lt=clock.now() - PURGE_AFTER)
    for endpoint_id in list(deleted.values_list("id", flat=True)[:10]):
        with server_cursor() as cursor:
            cursor.execute(_PURGE, [endpoint_id, STEP])
            if cursor.rowcount == 0:
                cursor.execute("DELETE FROM webhooks_endpoint WHERE id = %s", [endpoint_id])


# Both statements walk the primary key, which is ordered by time. Unfinished deliveries are kept,
# whatever their age, unless their endpoint is disabled.
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
deleted AS (
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
deleted AS (
    DELETE FROM webhooks_event USING batch WHERE webhooks_event.id = batch.id AND batch.unused
)
SELECT count(*), (SELECT id FROM batch ORDER BY id DESC LIMIT 1) FROM batch
"""


def purge_old() -> None:
    """Delete the deliveries and events older than WEBHOOK_KEEP_DAYS.

    At most MAX_STEPS steps of each; the next run continues.
    """
    before = first_id_at(clock.now() - timedelta(days=settings.WEBHOOK_KEEP_DAYS))
    for statement in (_OLD_DELIVERIES, _OLD_EVENTS):
        after: uuid.UUID | None = uuid.UUID(int=0)
        for _ in range(MAX_STEPS):
            after = _purge_step(statement, {"after": after, "before": before, "step": STEP})
            if after is None:
                break


def _purge_step(statement: str, parameters: dict[str, Any]) -> uuid.UUID | None:
    """Run one step; return the id after which the next one continues, or None at the end."""
    with server_cursor() as cursor:
        cursor.execute(statement, parameters)
        looked_at, last = cursor.fetchone()
    return last if looked_at == parameters["step"] else None


def forget_previous_secrets() -> None:
    """Delete the previous secrets whose overlap has ended."""
    Endpoint.objects.filter(previous_secret_until__lt=clock.now()).update(
        previous_secret="", previous_secret_until=None
    )
