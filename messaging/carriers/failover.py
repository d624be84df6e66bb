"""Failover: messages move to the next carrier of their route.

After a refusal, `queue` asks `next_carrier` for it, and a carrier without a bind loses its queue to
the next one that has a bind (`reroute_from_down`). The order of a route's carriers is that of
`messaging.routing.tables`.
"""

import uuid
from typing import TYPE_CHECKING, Any

from django.db import transaction

from imissive.core.sql import rows_of
from messaging.carriers import bind_status
from messaging.lifecycle.wakeups import wake_carriers
from messaging.routing.cache import tables
from messaging.routing.tables import CarrierChoice, Tables

if TYPE_CHECKING:
    from messaging.carriers.queue import Result

STEP = 1000


def next_carrier(carrier_id: int, result: "Result") -> CarrierChoice | None:
    """Return the route's next carrier for a message that `carrier_id` did not accept, or None."""
    message = result.message
    if message.submitted_parts or result.submitted:
        # All parts of a message go through one carrier: no handset could join the parts of two.
        return None
    tried = [*message.tried, carrier_id]
    return tables().after(
        message.to, message.organization_id, tried, test=message.test, sender=message.sender
    )


def reroute_from_down(limit: int = STEP) -> int:
    """Move the queue of each carrier without a bind to the route's next carrier with one.

    Messages some of whose parts were accepted stay, as in `next_carrier`. Returns the number moved.
    """
    up = bind_status.carriers_up()
    if not up:
        return 0
    routing = tables()
    down = rows_of(
        "SELECT c.id FROM messaging_carrier c CROSS JOIN LATERAL ("
        " SELECT FROM messaging_message m WHERE m.carrier_id = c.id AND m.status = 'queued'"
        " LIMIT 1) AS waiting WHERE NOT c.id = ANY(%(up)s)",
        {"up": list(up | bind_status.carriers_reconnecting())},
    )
    moved = 0
    for (carrier_id,) in down:
        with transaction.atomic():
            moved += _reroute(carrier_id, up, routing, limit)
    return moved


_RouteKey = tuple[uuid.UUID, bool, str]
"""The properties that decide a message's route: organization, test, and the number's prefix."""


def _targets(carrier_id: int, up: set[int], routing: Tables) -> dict[_RouteKey, int]:
    """Return the carrier to move to, for each kind of message in that carrier's queue."""
    kinds: list[Any] = rows_of(
        """
        SELECT DISTINCT organization_id, test, left("to", %(length)s) FROM messaging_message
         WHERE carrier_id = %(carrier)s AND status = 'queued' AND due_at <= now()
        """,
        {"carrier": carrier_id, "length": 1 + routing.routes.longest},
    )
    targets: dict[_RouteKey, int] = {}
    for organization_id, test, prefix in kinds:
        for choice in routing.carriers_for(prefix, organization_id, test=test):
            if choice.id in up:
                targets[organization_id, test, prefix] = choice.id
                break
    return targets


def _reroute(carrier_id: int, up: set[int], routing: Tables, limit: int) -> int:
    """Move up to `limit` messages; return the number moved.

    Messages without another carrier never block the others, however many they are.
    """
    targets = _targets(carrier_id, up, routing)
    if not targets:
        return 0
    owners, tests, prefixes = (list(column) for column in zip(*targets, strict=True))
    rows = rows_of(
        """
        WITH due AS MATERIALIZED (
            SELECT m.id, new.carrier_id
              FROM messaging_message m
              JOIN unnest(%(owners)s::uuid[], %(tests)s::bool[], %(prefixes)s::text[],
                          %(targets)s::bigint[]) AS new(owner, test, prefix, carrier_id)
                ON new.owner = m.organization_id AND new.test = m.test
               AND new.prefix = left(m."to", %(length)s)
             WHERE m.carrier_id = %(carrier)s AND m.status = 'queued' AND m.due_at <= now()
               AND NOT (m.submits > 0 AND EXISTS (SELECT FROM messaging_messagepart p
                                                   WHERE p.message_id = m.id))
             ORDER BY m.due_at LIMIT %(limit)s FOR UPDATE OF m SKIP LOCKED
        )
        UPDATE messaging_message m SET carrier_id = due.carrier_id
          FROM due WHERE m.id = due.id RETURNING m.carrier_id, m.urgent
        """,
        {
            "carrier": carrier_id,
            "length": 1 + routing.routes.longest,
            "limit": limit,
            "owners": owners,
            "tests": tests,
            "prefixes": prefixes,
            "targets": list(targets.values()),
        },
    )
    transaction.on_commit(lambda: wake_carriers((target, urgent) for target, urgent in rows))
    return len(rows)
