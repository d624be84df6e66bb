"""Deliveries that somebody asks for: a test event, one delivery again, those of a span again.

A replay is a new delivery of the same event, so it has the same `webhook-id` and a receiver that
knows the event already can tell. While an event is still on its way to an endpoint, it is not sent
there a second time. The endpoint's row is held meanwhile, so that two replays do not overlap.
"""

import functools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from imissive import clock, ids
from imissive.errors import ApiError
from imissive.sql import server_cursor
from webhooks import endpoints, events
from webhooks.models import Delivery, Endpoint, EventType

MOST = 10_000
"""Deliveries of a span that one call looks at; a cursor leads to the others."""
_UNDER_WAY = (Delivery.Status.PENDING, Delivery.Status.SENDING)


def send_test(organization_id: uuid.UUID, endpoint_id: uuid.UUID | None) -> uuid.UUID:
    """Send a `webhook.test` event to that endpoint alone; the id of its delivery.

    Raises ApiError: NOT_FOUND, CONFLICT where the endpoint is disabled.
    """
    with transaction.atomic():
        endpoint = _lock_enabled(organization_id, endpoint_id)
        data = {"endpoint_id": endpoint.public_id}
        event = events.NewEvent(organization_id, EventType.WEBHOOK_TEST, clock.now(), None, data)
        delivery_id = events.record_for(event, endpoint.id)
        transaction.on_commit(functools.partial(events.ring, [endpoint.id]))
    return delivery_id


def replay(organization_id: uuid.UUID, delivery: Delivery) -> uuid.UUID:
    """Deliver that delivery's event to its endpoint again; the id of the new delivery.

    Raises ApiError: NOT_FOUND, CONFLICT where the endpoint is disabled or the event is still on its
    way there.
    """
    with transaction.atomic():
        endpoint = _lock_enabled(organization_id, delivery.endpoint_id)
        same = Delivery.objects.filter(event=delivery.event_id, endpoint=endpoint)
        if same.filter(status__in=_UNDER_WAY).exists():
            raise ApiError("CONFLICT", "The event is still on its way to this endpoint.")
        made = _insert(endpoint, [delivery.event_id])
        if not made:
            # The clean-up was faster.
            raise ApiError("NOT_FOUND", "There is no such webhook delivery.")
    return made[0]


@dataclass(frozen=True, slots=True)
class Span:
    """Which deliveries of an endpoint to replay: those made from `since` on and before `until`.

    Failed ones, or with `delivered_too` all that have ended; of the given event types, or of all.
    `above` is the last id that the call before has looked at.
    """

    since: datetime
    until: datetime
    delivered_too: bool = False
    event_types: Sequence[str] = ()
    above: uuid.UUID | None = None


def replay_span(
    organization_id: uuid.UUID, endpoint_id: uuid.UUID | None, span: Span
) -> tuple[int, uuid.UUID | None]:
    """Deliver the events of a span again, each once, the oldest first, MOST in one call.

    What is still on its way is left out, and for failed ones also what has arrived since. Answers
    how many there are, and where the next call has to go on, or None where all is done.
    Raises ApiError: NOT_FOUND, CONFLICT where the endpoint is disabled.
    """
    with transaction.atomic():
        endpoint = _lock_enabled(organization_id, endpoint_id)
        with server_cursor() as cursor:
            cursor.execute(_CANDIDATES, _parameters(endpoint, span))
            candidates = cursor.fetchall()
        made = _insert(endpoint, [event_id for _, event_id, unsettled in candidates if unsettled])
    return len(made), candidates[-1][0] if len(candidates) == MOST else None


def _lock_enabled(organization_id: uuid.UUID, endpoint_id: uuid.UUID | None) -> Endpoint:
    endpoint = endpoints.lock(organization_id, endpoint_id)
    if not endpoint.enabled:
        raise ApiError("CONFLICT", "The endpoint is disabled. Enable it first.")
    return endpoint


# By whole rows, as in `delivery_log`. An event has few deliveries to one endpoint, so the condition
# is a short look-up. A row that is not the first of its event in the span is a replay itself.
_CANDIDATES = """
WITH found AS MATERIALIZED (
    SELECT one.id, one.event_id
      FROM unnest(%(statuses)s::text[]) AS wanted(status), unnest(%(types)s::text[]) AS type
     CROSS JOIN LATERAL (
           SELECT id, event_id FROM webhooks_delivery
            WHERE status IN ('delivered', 'failed')
              AND (endpoint_id, status, event_type, id)
                  >= (%(endpoint)s, wanted.status, type, %(since)s)
              AND (endpoint_id, status, event_type, id)
                  > (%(endpoint)s, wanted.status, type, %(above)s)
              AND (endpoint_id, status, event_type, id)
                  < (%(endpoint)s, wanted.status, type, %(until)s)
            ORDER BY endpoint_id, status, event_type, id LIMIT %(most)s) one
     ORDER BY one.id
     LIMIT %(most)s
)
SELECT found.id, found.event_id, NOT EXISTS (
           SELECT FROM webhooks_delivery other
            WHERE other.event_id = found.event_id AND other.endpoint_id = %(endpoint)s
              AND (other.status = ANY(%(settled)s::text[])
                   OR other.id >= %(since)s AND other.id < found.id))
  FROM found
 ORDER BY found.id
"""


def _parameters(endpoint: Endpoint, span: Span) -> dict[str, Any]:
    ended = ["failed", "delivered"] if span.delivered_too else ["failed"]
    return {
        "endpoint": endpoint.id,
        "statuses": ended,
        "types": list(span.event_types) or list(EventType.values),
        # With one of these, the event needs no further delivery.
        "settled": [*_UNDER_WAY] if span.delivered_too else [*_UNDER_WAY, "delivered"],
        "since": ids.first_id_at(span.since),
        "until": ids.first_id_at(span.until),
        "above": span.above or uuid.UUID(int=0),
        "most": MOST,
    }


_INSERT = """
INSERT INTO webhooks_delivery
       (id, event_id, event_type, endpoint_id, status, attempts, next_attempt_at, signature,
        response_body, error)
SELECT new.id, event.id, event.type, %s, 'pending', 0,
       statement_timestamp() - (%s - position) * interval '1 microsecond', '', '', ''
  FROM unnest(%b::uuid[], %b::uuid[]) WITH ORDINALITY AS new(id, event_id, position)
  JOIN webhooks_event event ON event.id = new.event_id
   -- So that the clean-up does not remove them meanwhile.
   FOR KEY SHARE OF event
RETURNING id
"""


def _insert(endpoint: Endpoint, event_ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """A delivery of each event that is still there, due now in this order; rings on commit."""
    if not event_ids:
        return []
    delivery_ids = sorted(ids.new_uuid() for _ in event_ids)
    with server_cursor() as cursor:
        cursor.execute(_INSERT, [endpoint.id, len(event_ids), delivery_ids, list(event_ids)])
        made = [row[0] for row in cursor.fetchall()]
    transaction.on_commit(functools.partial(events.ring, [endpoint.id]))
    return made
