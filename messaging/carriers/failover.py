"""Failover: what is queued for a carrier without a bind moves to the next one of its route."""

import uuid
from typing import Any

from django.db import transaction

from imissive.core.sql import rows_of
from messaging.carriers import bind_status
from messaging.lifecycle.wakeups import wake_carriers
from messaging.routing.cache import tables
from messaging.routing.tables import Tables

STEP = 1000


def reroute_from_down(limit: int = STEP) -> int:
    """Move what is queued for a carrier without a bind to the next one of its route that has one.

    Messages some of whose parts were accepted stay: no handset could join parts of two carriers.
    """
    up = bind_status.carriers_up()
    if not up:
        return 0
    known = tables()
    down = rows_of(
        "SELECT c.id FROM messaging_carrier c CROSS JOIN LATERAL ("
        " SELECT FROM messaging_message m WHERE m.carrier_id = c.id AND m.status = 'queued'"
        " LIMIT 1) AS waiting WHERE NOT c.id = ANY(%(up)s)",
        {"up": list(up | bind_status.carriers_coming_back())},
    )
    moved = 0
    for (carrier_id,) in down:
        with transaction.atomic():
            moved += _reroute(carrier_id, up, known, limit)
    return moved


_Kind = tuple[uuid.UUID, bool, str]
"""All that decides about a message's route: organization, test, and the number's beginning."""


def _elsewhere(carrier_id: int, up: set[int], known: Tables) -> dict[_Kind, int]:
    """Of the messages that wait for that carrier, which kinds can go to which other one."""
    kinds: list[Any] = rows_of(
        """
        SELECT DISTINCT organization_id, test, left("to", %(length)s) FROM messaging_message
         WHERE carrier_id = %(carrier)s AND status = 'queued' AND due_at <= now()
        """,
        {"carrier": carrier_id, "length": 1 + known.routes.longest},
    )
    found: dict[_Kind, int] = {}
    for organization_id, test, beginning in kinds:
        for choice in known.carriers_for(beginning, organization_id, test=test):
            if choice.id in up:
                found[organization_id, test, beginning] = choice.id
                break
    return found


def _reroute(carrier_id: int, up: set[int], known: Tables, limit: int) -> int:
    """Move up to `limit` messages. Those that cannot go elsewhere do not stand before the others,
    however many they are."""
    targets = _elsewhere(carrier_id, up, known)
    if not targets:
        return 0
    owners, tests, beginnings = (list(column) for column in zip(*targets, strict=True))
    rows = rows_of(
        """
        WITH due AS MATERIALIZED (
            SELECT m.id, new.carrier_id
              FROM messaging_message m
              JOIN unnest(%(owners)s::uuid[], %(tests)s::bool[], %(beginnings)s::text[],
                          %(targets)s::bigint[]) AS new(owner, test, beginning, carrier_id)
                ON new.owner = m.organization_id AND new.test = m.test
               AND new.beginning = left(m."to", %(length)s)
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
            "length": 1 + known.routes.longest,
            "limit": limit,
            "owners": owners,
            "tests": tests,
            "beginnings": beginnings,
            "targets": list(targets.values()),
        },
    )
    transaction.on_commit(lambda: wake_carriers((target, urgent) for target, urgent in rows))
    return len(rows)
