"""Requested deliveries: a test event, the replay of one delivery, or of those of a period.

A replay is a new delivery of the same event, with the same `webhook-id`, so that a receiver
recognizes an event that it has already received. An event that is still on its way to an endpoint
is not replayed to it. The endpoint's row is locked meanwhile, so that two replays do not overlap.
"""

import functools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from imissive.core import clock, ids
from imissive.core.errors import ApiError
from imissive.core.sql import server_cursor
from webhooks.delivery.reasons import DeliveryReason
from webhooks.endpoints import endpoints
from webhooks.endpoints.reasons import EndpointReason
from webhooks.events import outbox
from webhooks.models import Delivery, Endpoint, EventType

MOST = 10_000
"""Number of deliveries of a period that one call examines; a cursor leads to the others."""
_UNDER_WAY = (Delivery.Status.PENDING, Delivery.Status.SENDING)


def send_test(
    organization_id: uuid.UUID, endpoint_id: uuid.UUID | None, *, test: bool | None
) -> uuid.UUID:
    """Send a `webhook.test` event to that endpoint alone; return the id of its delivery.

    Raises ApiError: NOT_FOUND, CONFLICT where the endpoint is disabled.
    """
    with transaction.atomic():
        endpoint = _lock_enabled(organization_id, endpoint_id, test=test)
        event = outbox.NewEvent(
            organization_id,
            EventType.WEBHOOK_TEST,
            clock.now(),
            None,
            {"endpoint_id": endpoint.public_id},
            endpoint.test,
        )
        delivery_id = outbox.record_for(event, endpoint.id)
        transaction.on_commit(functools.partial(outbox.wake, [endpoint.id]))
    return delivery_id


def replay(organization_id: uuid.UUID, delivery: Delivery) -> uuid.UUID:
    """Deliver that delivery's event to its endpoint again; return the id of the new delivery.

    Raises ApiError: NOT_FOUND; CONFLICT where the endpoint is disabled, or the event is still on
    its way there.
    """
    with transaction.atomic():
        # In the mode of the delivery itself.
        endpoint = _lock_enabled(organization_id, delivery.endpoint_id, test=None)
        same = Delivery.objects.filter(event=delivery.event_id, endpoint=endpoint)
        if same.filter(status__in=_UNDER_WAY).exists():
            raise ApiError(DeliveryReason.UNDER_WAY)
        created = _insert(endpoint, [delivery.event_id])
        if not created:
            # The clean-up has deleted the event meanwhile.
            raise ApiError(DeliveryReason.NO_SUCH_DELIVERY)
    return created[0]


@dataclass(frozen=True, slots=True)
class ReplayPeriod:
    """Filter of the deliveries to replay: created from `since` (included) to `until` (excluded).

    Failed ones, or with `delivered_too` all finished ones; of the given event types, or of all if
    empty. `above` is the last id that the previous call has examined.
    """

    since: datetime
    until: datetime
    delivered_too: bool = False
    event_types: Sequence[str] = ()
    above: uuid.UUID | None = None


def replay_period(
    organization_id: uuid.UUID,
    endpoint_id: uuid.UUID | None,
    period: ReplayPeriod,
    *,
    test: bool | None,
) -> tuple[int, uuid.UUID | None]:
    """Deliver the events of a period again, each once, the oldest first.

    Events that are still on their way are left out, and with failed ones only, also those that have
    been delivered since. One call examines up to MOST deliveries. Returns the number of replayed
    events, and the id after which the next call continues, None at the end. Raises ApiError:
    NOT_FOUND; CONFLICT where the endpoint is disabled.
    """
    with transaction.atomic():
        endpoint = _lock_enabled(organization_id, endpoint_id, test=test)
        with server_cursor() as cursor:
            cursor.execute(_CANDIDATES, _parameters(endpoint, period))
            candidates = cursor.fetchall()
        created = _insert(
            endpoint, [event_id for _, event_id, unsettled in candidates if unsettled]
        )
    return len(created), candidates[-1][0] if len(candidates) == MOST else None


def _lock_enabled(
    organization_id: uuid.UUID, endpoint_id: uuid.UUID | None, *, test: bool | None
) -> Endpoint:
    endpoint = endpoints.lock(organization_id, endpoint_id, test=test)
    if not endpoint.enabled:
        raise ApiError(EndpointReason.DISABLED)
    return endpoint


# By whole rows, as in `webhooks.delivery.log`. An event has few deliveries to one endpoint, so the
# condition is a short look-up. A row that is not the first of its event in the period is a replay
# itself.
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


def _parameters(endpoint: Endpoint, period: ReplayPeriod) -> dict[str, Any]:
    statuses = ["failed", "delivered"] if period.delivered_too else ["failed"]
    return {
        "endpoint": endpoint.id,
        "statuses": statuses,
        "types": list(period.event_types) or list(EventType.values),
        # With a delivery in one of these statuses, the event needs no further one.
        "settled": [*_UNDER_WAY] if period.delivered_too else [*_UNDER_WAY, "delivered"],
        "since": ids.first_id_at(period.since),
        "until": ids.first_id_at(period.until),
        "above": period.above or uuid.UUID(int=0),
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
    """Insert a delivery of each event that still exists, due now in this order; return their ids.

    A worker is woken on commit.
    """
    if not event_ids:
        return []
    delivery_ids = sorted(ids.new_uuid() for _ in event_ids)
    with server_cursor() as cursor:
        cursor.execute(_INSERT, [endpoint.id, len(event_ids), delivery_ids, list(event_ids)])
        created = [row[0] for row in cursor.fetchall()]
    transaction.on_commit(functools.partial(outbox.wake, [endpoint.id]))
    return created
