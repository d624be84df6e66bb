"""Transactional outbox: events and their deliveries to the subscribed endpoints.

`record` runs inside the transaction that causes the event, so neither is ever stored without the
other. The dispatcher posts the deliveries.
"""

import functools
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from django.db import transaction

from imissive.core import ids, wakeups
from imissive.core.sql import server_cursor
from webhooks.models import EventType

_JSON_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS

_ENDPOINTS = """
SELECT id, organization_id, test, events
  FROM webhooks_endpoint
 WHERE organization_id = ANY(%b::uuid[]) AND enabled
"""

# One statement, one round trip. The foreign keys are checked at the commit, so the order of the two
# inserts does not matter. Deliveries are due immediately; subtracting microseconds keeps the events
# of one call in their order without making any of them due later than now.
_INSERT = """
WITH events AS (
    INSERT INTO webhooks_event (id, organization_id, type, message_id, body)
    SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::text[], %b::uuid[], %b::text[])
)
INSERT INTO webhooks_delivery
       (id, event_id, event_type, endpoint_id, status, attempts, next_attempt_at, signature,
        response_body, error)
SELECT id, event_id, event_type, endpoint_id, 'pending', 0,
       statement_timestamp() - (%s - position) * interval '1 microsecond', '', '', ''
  FROM unnest(%b::uuid[], %b::uuid[], %b::text[], %b::uuid[])
       WITH ORDINALITY AS new(id, event_id, event_type, endpoint_id, position)
"""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to record. `at` and every datetime in `data` are aware, in UTC.

    `data` must be serializable as JSON, without lone surrogates in its strings. `test`: the mode of
    what happened; an event goes to the endpoints of its mode only.
    """

    organization_id: uuid.UUID
    type: str
    at: datetime
    message_id: uuid.UUID | None
    data: dict[str, Any]
    test: bool


def body_of(event: NewEvent) -> str:
    """Return the JSON payload to store, sign and post: compact, times in UTC in whole seconds."""
    fields: dict[str, Any] = {"event": event.type}
    if event.message_id is not None:
        fields["message_id"] = ids.public_id(ids.MESSAGE, event.message_id)
    fields["timestamp"] = event.at.astimezone(UTC)
    fields["data"] = event.data
    return orjson.dumps(fields, option=_JSON_OPTIONS).decode()


def record(events: Sequence[NewEvent]) -> frozenset[uuid.UUID]:
    """Insert the events and their deliveries in the caller's transaction.

    Returns the ids of the endpoints to `wake` after the commit. Only enabled endpoints of the
    event's organization and mode that are subscribed to its type get a delivery; an event without
    any delivery is not stored. One round trip where there is no endpoint, otherwise two.
    """
    if not events:
        return frozenset()
    endpoints = _endpoints({event.organization_id for event in events})
    if not endpoints:
        return frozenset()
    recipients = [
        [
            endpoint
            for endpoint, types in endpoints.get((event.organization_id, event.test), ())
            if not types or event.type in types
        ]
        for event in events
    ]
    kept = [(event, to) for event, to in zip(events, recipients, strict=True) if to]
    if kept:
        _insert(kept)
    return frozenset(endpoint for _, to in kept for endpoint in to)


def is_wanted(event_type: EventType, organization: str) -> str:
    """Return the SQL condition that an enabled endpoint, of either mode, wants such events.

    `organization` is an SQL expression of the organization's id in the surrounding statement.
    """
    return f"""EXISTS (
        SELECT FROM webhooks_endpoint endpoint
         WHERE endpoint.organization_id = {organization} AND endpoint.enabled
           AND (endpoint.events = ARRAY[]::varchar[] OR '{event_type}' = ANY (endpoint.events)))
    """


def record_for(event: NewEvent, endpoint_id: uuid.UUID) -> uuid.UUID:
    """Insert an event for one endpoint, whatever its subscriptions; return the delivery's id.

    Call it in a transaction, and `wake` after the commit.
    """
    return _insert([(event, [endpoint_id])])[0]


def wake(endpoint_ids: Iterable[uuid.UUID]) -> None:
    """Wake a worker for these endpoints. Call it after the commit, never before."""
    for endpoint_id in endpoint_ids:
        wakeups.wake("webhooks.tasks.deliver", queue="webhooks", arguments=(endpoint_id.hex,))


def record_and_wake_on_commit(events: Sequence[NewEvent]) -> None:
    """Record the events, and wake a worker when the caller's transaction is committed."""
    endpoint_ids = record(events)
    if endpoint_ids:
        transaction.on_commit(functools.partial(wake, endpoint_ids))


def _endpoints(
    organization_ids: Collection[uuid.UUID],
) -> dict[tuple[uuid.UUID, bool], list[tuple[uuid.UUID, frozenset[str]]]]:
    """Return the enabled endpoints with their event types (empty: all).

    The keys are an organization and a mode.
    """
    found: dict[tuple[uuid.UUID, bool], list[tuple[uuid.UUID, frozenset[str]]]]
    found = defaultdict(list)
    with server_cursor() as cursor:
        cursor.execute(_ENDPOINTS, [list(organization_ids)])
        for endpoint_id, organization_id, test, types in cursor.fetchall():
            found[organization_id, test].append((endpoint_id, frozenset(types)))
    return found


def _insert(kept: Sequence[tuple[NewEvent, Sequence[uuid.UUID]]]) -> list[uuid.UUID]:
    """Insert the events with a delivery to each of their endpoints; return the deliveries' ids."""
    deliveries = sum(len(to) for _, to in kept)
    # Sorted, because ids of one millisecond are unordered, and rows inserted in the order of their
    # primary key touch fewer index pages.
    event_ids = sorted(ids.new_uuid() for _ in kept)
    delivery_ids = sorted(ids.new_uuid() for _ in range(deliveries))
    with server_cursor() as cursor:
        cursor.execute(
            _INSERT,
            [
                event_ids,
                [event.organization_id for event, _ in kept],
                [event.type for event, _ in kept],
                [event.message_id for event, _ in kept],
                [body_of(event) for event, _ in kept],
                deliveries,
                delivery_ids,
                [id for id, (_, to) in zip(event_ids, kept, strict=True) for _ in to],
                [event.type for event, to in kept for _ in to],
                [endpoint for _, to in kept for endpoint in to],
            ],
        )
    return delivery_ids
