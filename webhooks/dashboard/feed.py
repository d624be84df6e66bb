"""Live feed of an organization's latest events over all endpoints, and the endpoints' health.

Both read the index of the delivery log, in which each endpoint and event type is a range of its
own: the newest of each range, and of these the newest.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from imissive.core.sql import server_cursor
from webhooks.models import Delivery, Event, EventType

RECENT = 50
"""Number of latest finished deliveries that an endpoint's health is computed from."""
MAX_COUNTED = 1000
"""Maximum number of waiting deliveries that are counted."""
_LAST = uuid.UUID(int=2**128 - 1)

_NEWEST = """
SELECT found.id
  FROM webhooks_endpoint endpoint
 CROSS JOIN unnest(%(types)s::text[]) AS wanted(type)
 CROSS JOIN LATERAL (
       SELECT id FROM webhooks_delivery
        WHERE (endpoint_id, event_type, id) >= (endpoint.id, wanted.type, %(low)s)
          AND (endpoint_id, event_type, id) < (endpoint.id, wanted.type, %(high)s)
        ORDER BY endpoint_id DESC, event_type DESC, id DESC LIMIT %(limit)s) found
 WHERE endpoint.organization_id = %(organization)s AND endpoint.deleted_at IS NULL
 ORDER BY found.id DESC
 LIMIT %(limit)s
"""


@dataclass(slots=True)
class FeedEvent:
    """An event with its deliveries, newest first."""

    event: Event
    deliveries: list[Delivery] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the feed, newest first; `older_than` leads to the next page, None on the last."""

    events: Sequence[FeedEvent]
    older_than: uuid.UUID | None


def newest(
    organization_id: uuid.UUID,
    *,
    event_type: str | None = None,
    below: uuid.UUID | None = None,
    limit: int = 50,
) -> Page:
    """Return the events of the `limit` newest deliveries, older than the delivery `below`."""
    with server_cursor() as cursor:
        cursor.execute(
            _NEWEST,
            {
                "organization": organization_id,
                "types": [event_type] if event_type else list(EventType.values),
                "low": uuid.UUID(int=0),
                "high": below or _LAST,
                "limit": limit + 1,
            },
        )
        found = [row[0] for row in cursor.fetchall()]
    rows = Delivery.objects.filter(id__in=found[:limit]).select_related("event", "endpoint")
    events: dict[uuid.UUID, FeedEvent] = {}
    for delivery in rows.order_by("-id"):
        events.setdefault(delivery.event_id, FeedEvent(delivery.event)).deliveries.append(delivery)
    return Page(list(events.values()), found[limit - 1] if len(found) > limit else None)


@dataclass(frozen=True, slots=True)
class Health:
    """Health of an endpoint, from its RECENT latest finished deliveries.

    `ended` and `delivered` are numbers of them, `milliseconds` is the median response time of the
    delivered ones, and `waiting` is the number of unfinished deliveries, at most MAX_COUNTED + 1.
    """

    ended: int = 0
    delivered: int = 0
    milliseconds: int | None = None
    waiting: int = 0

    @property
    def share(self) -> float | None:
        """Return the delivery rate in percent, None without finished deliveries."""
        return 100 * self.delivered / self.ended if self.ended else None

    @property
    def many_wait(self) -> bool:
        return self.waiting > MAX_COUNTED


_HEALTH = """
SELECT endpoint.id, recent.ended, recent.delivered, recent.milliseconds, waiting.number
  FROM webhooks_endpoint endpoint
 CROSS JOIN LATERAL (
       SELECT count(*) AS ended,
              count(*) FILTER (WHERE delivery.status = 'delivered') AS delivered,
              percentile_disc(0.5) WITHIN GROUP (ORDER BY delivery.duration_ms)
                  FILTER (WHERE delivery.status = 'delivered') AS milliseconds
         FROM (SELECT found.id
                 FROM unnest(ARRAY['delivered', 'failed']) AS ended(status)
                CROSS JOIN unnest(%(types)s::text[]) AS wanted(type)
                CROSS JOIN LATERAL (
                      SELECT id FROM webhooks_delivery
                       WHERE status IN ('delivered', 'failed')
                         AND (endpoint_id, status, event_type, id)
                             >= (endpoint.id, ended.status, wanted.type, %(low)s)
                         AND (endpoint_id, status, event_type, id)
                             < (endpoint.id, ended.status, wanted.type, %(high)s)
                       ORDER BY endpoint_id DESC, status DESC, event_type DESC, id DESC
                       LIMIT %(recent)s) found
                ORDER BY found.id DESC LIMIT %(recent)s) last
         JOIN webhooks_delivery delivery ON delivery.id = last.id) recent
 CROSS JOIN LATERAL (
       SELECT count(*) AS number
         FROM (SELECT FROM webhooks_delivery
                WHERE endpoint_id = endpoint.id AND status IN ('pending', 'sending')
                LIMIT %(most)s + 1) counted) waiting
 WHERE endpoint.id = ANY(%(endpoints)s)
"""


def health_of(endpoint_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Health]:
    """Return the health of each of the endpoints, in one statement."""
    parameters: dict[str, Any] = {
        "endpoints": list(endpoint_ids),
        "types": list(EventType.values),
        "low": uuid.UUID(int=0),
        "high": _LAST,
        "recent": RECENT,
        "most": MAX_COUNTED,
    }
    with server_cursor() as cursor:
        cursor.execute(_HEALTH, parameters)
        return {row[0]: Health(*row[1:]) for row in cursor.fetchall()}
