"""What the clock does to messages: release, take back from the dead, send elsewhere, expire.

Each function makes one bounded step and says how many messages it moved, so that a test can call it
directly and the task can call it again while there is more.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db import transaction

from accounts import ledger
from accounts.models import LedgerEntry
from imissive.sql import server_cursor
from messaging.models import CarrierBind
from messaging.sending import event_data, ring_carrier
from messaging.states import Status
from messaging.tables import tables
from webhooks import events
from webhooks.models import EventType

if TYPE_CHECKING:
    import uuid

STEP = 1000

_TOLD = 'm.id, m.organization_id, m."to", m.reference, m.batch_id, m.test, m.carrier_id, m.urgent'


def _rows(sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with server_cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def _event(row: tuple[Any, ...], kind: EventType, status: Status, now: datetime) -> events.NewEvent:
    message_id, organization_id, to, reference, batch_id, test = row[:6]
    error = None
    if status is Status.EXPIRED:
        error = {"code": "EXPIRED", "message": "The message was not delivered in its validity."}
    data = event_data(
        to=to, status=status, at=now, reference=reference, batch_id=batch_id, test=test, error=error
    )
    return events.NewEvent(
        organization_id=organization_id, type=kind, at=now, message_id=message_id, data=data
    )


def _ring_lanes(lanes: set[tuple[int, bool]]) -> None:
    carriers = tables().carriers
    for carrier_id, urgent in lanes:
        if carrier_id in carriers:
            ring_carrier(carriers[carrier_id].slug, urgent=urgent)


def release_scheduled(limit: int = STEP) -> int:
    """Queue the scheduled messages whose time has come."""
    now = datetime.now(UTC)
    with transaction.atomic():
        rows = _rows(
            f"""
            WITH due AS MATERIALIZED (
                SELECT id FROM messaging_message WHERE status = 'scheduled' AND due_at <= now()
                 ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
            )
            UPDATE messaging_message m SET status = 'queued', queued_at = %(now)s
              FROM due WHERE m.id = due.id RETURNING {_TOLD}
            """,  # noqa: S608
            {"limit": limit, "now": now},
        )
        endpoints = events.record(
            [_event(row, EventType.MESSAGE_QUEUED, Status.QUEUED, now) for row in rows]
        )
    events.ring(endpoints)
    _ring_lanes({(row[6], row[7]) for row in rows})
    return len(rows)


def requeue_abandoned(limit: int = STEP) -> int:
    """Queue again what a worker claimed and, being dead, did not finish within its lease."""
    rows = _rows(
        f"""
        WITH due AS MATERIALIZED (
            SELECT id FROM messaging_message WHERE status = 'sending' AND due_at <= now()
             ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
        )
        UPDATE messaging_message m
           SET status = 'queued', lease = NULL, due_at = now(), submits = m.submits + 1
          FROM due WHERE m.id = due.id RETURNING {_TOLD}
        """,  # noqa: S608
        {"limit": limit},
    )
    _ring_lanes({(row[6], row[7]) for row in rows})
    return len(rows)


def ring_overdue() -> int:
    """Ring for every lane that has something due: the broker may have lost a bell."""
    rows = _rows(
        """
        SELECT c.id, lane.urgent FROM messaging_carrier c, (VALUES (true), (false)) AS lane(urgent)
         WHERE c.enabled AND EXISTS (
               SELECT FROM messaging_message m
                WHERE m.carrier_id = c.id AND m.urgent = lane.urgent AND m.status = 'queued'
                  AND m.due_at <= now() - interval '1 second')
        """,
        {},
    )
    _ring_lanes({(row[0], row[1]) for row in rows})
    return len(rows)


def reroute_from_down(limit: int = STEP) -> int:
    """Move what is queued for a carrier without a bind to the next one of its route that has one.

    Messages some of whose parts were accepted stay: no handset could join parts of two carriers.
    """
    up = set(
        CarrierBind.objects.filter(
            state=CarrierBind.State.BOUND, updated_at__gt=_stale_before()
        ).values_list("carrier_id", flat=True)
    )
    known = tables()
    down = _rows(
        "SELECT DISTINCT carrier_id FROM messaging_message WHERE status = 'queued'"
        " AND NOT carrier_id = ANY(%(up)s)",
        {"up": list(up)},
    )
    moved = 0
    for (carrier_id,) in down:
        with transaction.atomic():
            moved += _reroute(carrier_id, up, known, limit)
    return moved


def _stale_before() -> datetime:
    return datetime.fromtimestamp(
        datetime.now(UTC).timestamp() - CarrierBind.STALE_AFTER_SECONDS, UTC
    )


def _reroute(carrier_id: int, up: set[int], known: Any, limit: int) -> int:
    rows = _rows(
        """
        SELECT m.id, m."to", m.organization_id, m.test, m.urgent FROM messaging_message m
         WHERE m.carrier_id = %(carrier)s AND m.status = 'queued' AND m.due_at <= now()
           AND NOT (m.submits > 0 AND EXISTS (SELECT FROM messaging_messagepart p
                                               WHERE p.message_id = m.id))
         ORDER BY m.due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
        """,
        {"carrier": carrier_id, "limit": limit},
    )
    targets: dict[uuid.UUID, int] = {}
    lanes = set()
    for message_id, to, organization_id, test, urgent in rows:
        choices = known.carriers_for(to, organization_id, test=test)
        target = next((carrier.id for carrier in choices if carrier.id in up), None)
        if target is not None:
            targets[message_id] = target
            lanes.add((target, urgent))
    if targets:
        _rows(
            "UPDATE messaging_message m SET carrier_id = new.carrier_id"
            " FROM unnest(%(ids)s::uuid[], %(carriers)s::bigint[]) AS new(id, carrier_id)"
            " WHERE m.id = new.id RETURNING m.id",
            {"ids": list(targets), "carriers": list(targets.values())},
        )
        transaction.on_commit(lambda: _ring_lanes(lanes))
    return len(targets)


def expire_sent(limit: int = STEP) -> int:
    """Expire what was sent and got no final receipt within its validity."""
    now = datetime.now(UTC)
    with transaction.atomic():
        rows = _rows(
            f"""
            WITH due AS MATERIALIZED (
                SELECT id FROM messaging_message WHERE status = 'sent' AND due_at <= now()
                 ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
            ), parts AS (
                UPDATE messaging_messagepart p SET status = 'expired', final_at = %(now)s
                  FROM due WHERE p.message_id = due.id AND p.status = 'sent'
            )
            UPDATE messaging_message m
               SET status = 'expired', due_at = NULL, final_at = %(now)s, error_code = 'EXPIRED',
                   error_message = 'No final receipt came within the validity.'
              FROM due WHERE m.id = due.id RETURNING {_TOLD}
            """,  # noqa: S608
            {"limit": limit, "now": now},
        )
        endpoints = events.record(
            [_event(row, EventType.MESSAGE_EXPIRED, Status.EXPIRED, now) for row in rows]
        )
    events.ring(endpoints)
    return len(rows)


def expire_queued(limit: int = STEP) -> int:
    """Expire what was not submitted within its validity, and refund the parts not taken."""
    now = datetime.now(UTC)
    with transaction.atomic():
        rows = _rows(
            f"""
            WITH due AS MATERIALIZED (
                SELECT id FROM messaging_message
                 WHERE status = 'queued' AND expires_at <= now()
                 ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
            )
            UPDATE messaging_message m
               SET status = 'expired', due_at = NULL, final_at = %(now)s, error_code = 'EXPIRED',
                   error_message = 'The message could not be submitted within its validity.'
              FROM due WHERE m.id = due.id
            RETURNING {_TOLD}, m.price / m.parts * (m.parts - (
                SELECT count(*) FROM messaging_messagepart p WHERE p.message_id = m.id))
            """,  # noqa: S608
            {"limit": limit, "now": now},
        )
        ledger.post(
            [
                ledger.Posting(row[1], LedgerEntry.Kind.REFUND, row[8], row[0], "expired in queue")
                for row in rows
                if row[8] > 0
            ]
        )
        endpoints = events.record(
            [_event(row, EventType.MESSAGE_EXPIRED, Status.EXPIRED, now) for row in rows]
        )
    events.ring(endpoints)
    return len(rows)
