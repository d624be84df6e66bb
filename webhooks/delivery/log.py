"""Query of an endpoint's delivery log: newest first, filtered, in pages.

Ids are ordered by time, so a period is a range of ids. Each filter uses an index:

- a message: the index of its events, of which there are few;
- finished deliveries: `delivery_log_ended`; all deliveries: `delivery_log`. In both, each event
  type is a range of its own: the newest of each range are read, and of these the newest;
- unfinished deliveries: `delivery_due`, the queue's own index, and a sort. Where there are too many
  to sort quickly, the endpoint has a backlog, and a walk from the newest soon finds enough.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from imissive.core.ids import first_id_at
from imissive.core.lookups import existing_row
from imissive.core.sql import server_cursor
from webhooks.delivery.reasons import DeliveryReason
from webhooks.models import Delivery, EventType

MAX_SORTED = 10_000
"""Maximum number of unfinished deliveries that are sorted to find the newest of them."""
_LAST = uuid.UUID(int=2**128 - 1)
_FINISHED = (Delivery.Status.DELIVERED, Delivery.Status.FAILED)
_STATUSES: dict[str | None, list[str]] = {
    None: list(Delivery.Status.values),
    "pending": [Delivery.Status.PENDING, Delivery.Status.SENDING],
    "delivered": [Delivery.Status.DELIVERED],
    "failed": [Delivery.Status.FAILED],
}


@dataclass(frozen=True, slots=True)
class Filter:
    """Filter of an endpoint's log; None does not filter.

    `after` is included and `until` excluded, to the millisecond; `below` is the last id of the
    previous page. `status` is pending (every unfinished delivery), delivered or failed.
    """

    status: str | None = None
    event_type: str | None = None
    message_id: uuid.UUID | None = None
    after: datetime | None = None
    until: datetime | None = None
    below: uuid.UUID | None = None


def find(
    organization_id: uuid.UUID, delivery_id: uuid.UUID | None, *, test: bool | None
) -> Delivery:
    """Return the organization's delivery with that id, in that mode (None: either mode).

    Raises ApiError NOT_FOUND.
    """
    mine = Delivery.objects.filter(endpoint__organization_id=organization_id)
    if test is not None:
        mine = mine.filter(endpoint__test=test)
    return existing_row(_shown(mine), delivery_id, DeliveryReason.NO_SUCH_DELIVERY)


def newest(endpoint_id: uuid.UUID, filters: Filter, limit: int) -> list[Delivery]:
    """Return up to `limit` deliveries of the endpoint, newest first, with event and attempts."""
    ids = _ids(_parameters(endpoint_id, filters, limit), filters)
    return list(_shown(Delivery.objects.filter(id__in=ids)).order_by("-id"))


def _shown(deliveries: QuerySet[Delivery]) -> QuerySet[Delivery]:
    return (
        deliveries.filter(endpoint__deleted_at=None)
        .select_related("event", "endpoint")
        .prefetch_related("failed_attempts")
    )


def _parameters(endpoint_id: uuid.UUID, filters: Filter, limit: int) -> dict[str, Any]:
    high = first_id_at(filters.until) if filters.until else _LAST
    return {
        "endpoint": endpoint_id,
        "types": [filters.event_type] if filters.event_type else list(EventType.values),
        "status": filters.status,
        "statuses": _STATUSES[filters.status],
        "message": filters.message_id,
        "low": first_id_at(filters.after) if filters.after else uuid.UUID(int=0),
        "high": min(high, filters.below) if filters.below else high,
        "limit": limit,
    }


_OF_MESSAGE = """
SELECT delivery.id
  FROM webhooks_event event JOIN webhooks_delivery delivery ON delivery.event_id = event.id
 WHERE event.message_id = %(message)s AND delivery.endpoint_id = %(endpoint)s
   AND delivery.status = ANY(%(statuses)s)
   AND delivery.event_type = ANY(%(types)s)
   AND delivery.id >= %(low)s AND delivery.id < %(high)s
 ORDER BY delivery.id DESC
 LIMIT %(limit)s
"""
# Comparing and ordering by whole rows forces the intended index. With a condition on the id alone,
# PostgreSQL may choose the primary key and walk through all organizations' deliveries: that looks
# cheap where the endpoint has many, but is not where the matching ones are old.
_NEWEST = """
SELECT found.id
  FROM unnest(%(types)s::text[]) AS wanted(type)
 CROSS JOIN LATERAL (
       SELECT id FROM webhooks_delivery
        WHERE (endpoint_id, event_type, id) >= (%(endpoint)s, wanted.type, %(low)s)
          AND (endpoint_id, event_type, id) < (%(endpoint)s, wanted.type, %(high)s)
          AND status = ANY(%(statuses)s)
        ORDER BY endpoint_id DESC, event_type DESC, id DESC LIMIT %(limit)s) found
 ORDER BY found.id DESC
 LIMIT %(limit)s
"""
_NEWEST_FINISHED = """
SELECT found.id
  FROM unnest(%(types)s::text[]) AS wanted(type)
 CROSS JOIN LATERAL (
       SELECT id FROM webhooks_delivery
        WHERE status IN ('delivered', 'failed')
          AND (endpoint_id, status, event_type, id)
              >= (%(endpoint)s, %(status)s, wanted.type, %(low)s)
          AND (endpoint_id, status, event_type, id)
              < (%(endpoint)s, %(status)s, wanted.type, %(high)s)
        ORDER BY endpoint_id DESC, status DESC, event_type DESC, id DESC LIMIT %(limit)s) found
 ORDER BY found.id DESC
 LIMIT %(limit)s
"""
_FEW_WAITING = """
WITH waiting AS MATERIALIZED (
    SELECT id, event_type FROM webhooks_delivery
     WHERE status IN ('pending', 'sending')
       AND (endpoint_id, next_attempt_at) >= (%(endpoint)s, timestamptz '-infinity')
       AND (endpoint_id, next_attempt_at) <= (%(endpoint)s, timestamptz 'infinity')
     ORDER BY endpoint_id, next_attempt_at
     LIMIT %(most)s + 1
),
found AS (
    SELECT id FROM waiting
     WHERE event_type = ANY(%(types)s) AND id >= %(low)s AND id < %(high)s
     ORDER BY id DESC LIMIT %(limit)s
)
SELECT (SELECT count(*) FROM waiting) <= %(most)s, ARRAY(SELECT id FROM found)
"""


def _ids(parameters: dict[str, Any], filters: Filter) -> Sequence[uuid.UUID]:
    if filters.message_id is not None:
        return _read(_OF_MESSAGE, parameters)
    if filters.status is None:
        return _read(_NEWEST, parameters)
    if filters.status in _FINISHED:
        return _read(_NEWEST_FINISHED, parameters)
    with server_cursor() as cursor:
        cursor.execute(_FEW_WAITING, parameters | {"most": MAX_SORTED})
        are_all, found = cursor.fetchone()
    return found if are_all else _read(_NEWEST, parameters)


def _read(sql: str, parameters: dict[str, Any]) -> list[uuid.UUID]:
    with server_cursor() as cursor:
        cursor.execute(sql, parameters)
        return [row[0] for row in cursor.fetchall()]
