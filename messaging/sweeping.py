"""What the clock does to messages: release, take back from the dead, send elsewhere, expire.

Each function makes one bounded step and says how many messages it moved, so that a test can call it
directly and the task can call it again while there is more.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from accounts import ledger
from accounts.models import LedgerEntry
from imissive import clock
from imissive.rendering import time_text
from imissive.sql import server_cursor
from messaging import bind_status, carrier_liveness
from messaging.routing import Tables
from messaging.sending import event_data, ring_carrier
from messaging.states import Status
from messaging.tables import tables
from messaging.windows import HELD
from webhooks import events
from webhooks.models import EventType

STEP = 1000

_TOLD = 'm.id, m.organization_id, m."to", m.reference, m.batch_id, m.test, m.carrier_id, m.urgent'


def _rows(sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with server_cursor() as cursor:
        cursor.execute(sql, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


NO_RECEIPT = "No final receipt came within the validity."
NOT_SUBMITTED = "The message could not be submitted within its validity."


def _event(
    row: tuple[Any, ...], kind: EventType, status: Status, now: datetime, told: str = ""
) -> events.NewEvent:
    """The event of one swept row; `told` is why it expired."""
    message_id, organization_id, to, reference, batch_id, test = row[:6]
    error = {"code": "EXPIRED", "message": told} if told else None
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
    now = clock.now()
    with transaction.atomic():
        rows = _rows(
            f"""
            WITH due AS MATERIALIZED (
                SELECT id FROM messaging_message WHERE status = 'scheduled' AND due_at <= now()
                   AND (window_closes_at IS NULL OR window_closes_at > now())
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


_LATE = """
SELECT id, country, sender, submits > 0 AND EXISTS (
           SELECT FROM messaging_messagepart p WHERE p.message_id = m.id)
  FROM messaging_message m
 WHERE status IN ('scheduled', 'queued') AND window_closes_at <= now()
   AND (status = 'queued' OR due_at <= now())
 ORDER BY window_closes_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""
_HOLD = """
WITH held AS (
    UPDATE messaging_message m
       SET status = CASE WHEN new.opens IS NULL THEN m.status ELSE 'scheduled' END,
           due_at = COALESCE(new.opens, m.due_at),
           scheduled_at = COALESCE(new.opens, m.scheduled_at),
           queued_at = CASE WHEN new.opens IS NULL THEN m.queued_at END,
           expires_at = m.expires_at
               + COALESCE(new.opens - COALESCE(m.scheduled_at, m.created_at), '0'),
           window_closes_at = new.closes
      FROM unnest(%(ids)s::uuid[], %(opens)s::timestamptz[], %(closes)s::timestamptz[],
                  %(told)s::text[]) AS new(id, opens, closes, told)
     WHERE m.id = new.id
    RETURNING m.id, m.carrier_id, new.opens, new.told
)
INSERT INTO messaging_attempt (message_id, carrier_id, outcome, detail)
SELECT id, carrier_id, %(held)s, told FROM held WHERE opens IS NOT NULL
RETURNING id
"""


def hold_late(limit: int = STEP) -> int:
    """Put off what was not submitted before the hours closed in which its country lets it go.

    It is scheduled for the next opening, and its validity counts from there. A message of which a
    carrier has a part already goes on: half of it is of no use to anybody.
    """
    with transaction.atomic():
        rows = _rows(_LATE, {"limit": limit})
        if not rows:
            return 0
        now = clock.now()
        hours = [_next_hours(country, sender, begun, now) for _, country, sender, begun in rows]
        _rows(
            _HOLD,
            {
                "ids": [row[0] for row in rows],
                "opens": [found.opens for found in hours],
                "closes": [found.closes for found in hours],
                "told": [found.told for found in hours],
                "held": HELD,
            },
        )
    return len(rows)


@dataclass(frozen=True, slots=True)
class _Hours:
    """When a late message may go and until when; None: at once, and at any time."""

    opens: datetime | None = None
    closes: datetime | None = None
    told: str = ""


def _next_hours(country: str, sender: str, begun: bool, now: datetime) -> _Hours:
    window = tables().window(country, sender)
    if window is None or begun:
        return _Hours()
    opening = window.opening(now)
    closing = window.closing(opening)
    if opening == now:
        return _Hours(None, closing)
    told = f"Not sent in time for the hours of {country}, {window.told()}"
    return _Hours(opening, closing, f"{told}: held until {time_text(opening)}.")


def release_dead(limit: int = STEP) -> int:
    """Queue again at once what workers hold that are known to be dead."""
    carrier_liveness.bury_silent()
    rows = carrier_liveness.release_dead(limit)
    _ring_lanes(set(rows))
    return len(rows)


def requeue_abandoned(limit: int = STEP) -> int:
    """Queue again what a worker claimed and did not finish within its lease.

    A worker that has just got its database back writes or renews first what it holds.
    """
    rows = _rows(
        f"""
        WITH due AS MATERIALIZED (
            SELECT id FROM messaging_message m WHERE status = 'sending' AND due_at <= now()
               AND NOT EXISTS (
                   SELECT FROM messaging_carrierworker w
                    WHERE w.id = m.lease AND w.died_at IS NULL
                      AND (w.steady_since > now() - %(silent)s * interval '1 second'
                           OR w.seen_at < now() - %(gap)s * interval '1 second'))
             ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
        )
        UPDATE messaging_message m
           SET status = 'queued', lease = NULL, due_at = now(), submits = m.submits + 1
          FROM due WHERE m.id = due.id RETURNING {_TOLD}
        """,  # noqa: S608
        {
            "limit": limit,
            "silent": carrier_liveness.SILENT_SECONDS,
            "gap": carrier_liveness.GAP_SECONDS,
        },
    )
    _ring_lanes({(row[6], row[7]) for row in rows})
    return len(rows)


def ring_overdue() -> int:
    """Ring for every lane that has something due: the broker may have lost a bell."""
    rows = _rows(
        """
        SELECT c.id, lane.urgent FROM messaging_carrier c
         CROSS JOIN (VALUES (true), (false)) AS lane(urgent)
          -- A probe of the index for each lane: a semi-join would read the whole backlog.
          CROSS JOIN LATERAL (
               SELECT FROM messaging_message m
                WHERE m.carrier_id = c.id AND m.urgent = lane.urgent AND m.status = 'queued'
                  AND m.due_at <= now() - interval '1 second'
                ORDER BY m.due_at LIMIT 1) AS overdue
         WHERE c.enabled
        """,
        {},
    )
    _ring_lanes({(row[0], row[1]) for row in rows})
    return len(rows)


def reroute_from_down(limit: int = STEP) -> int:
    """Move what is queued for a carrier without a bind to the next one of its route that has one.

    Messages some of whose parts were accepted stay: no handset could join parts of two carriers.
    """
    up = bind_status.carriers_up()
    if not up:
        return 0
    known = tables()
    down = _rows(
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
    kinds: list[Any] = _rows(
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
    rows = _rows(
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
    lanes = {(target, urgent) for target, urgent in rows}
    transaction.on_commit(lambda: _ring_lanes(lanes))
    return len(rows)


def expire_sent(limit: int = STEP) -> int:
    """Expire what was sent and got no final receipt within its validity."""
    now = clock.now()
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
                   error_message = %(told)s
              FROM due WHERE m.id = due.id RETURNING {_TOLD}
            """,  # noqa: S608
            {"limit": limit, "now": now, "told": NO_RECEIPT},
        )
        endpoints = events.record(
            [
                _event(row, EventType.MESSAGE_EXPIRED, Status.EXPIRED, now, NO_RECEIPT)
                for row in rows
            ]
        )
    events.ring(endpoints)
    return len(rows)


def expire_queued(limit: int = STEP) -> int:
    """Expire what was not submitted within its validity, and refund the parts not taken."""
    now = clock.now()
    with transaction.atomic():
        rows = _rows(
            f"""
            WITH due AS MATERIALIZED (
                SELECT id FROM messaging_message
                 WHERE status = 'queued' AND expires_at <= now()
                 ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
            )
            UPDATE messaging_message m
               SET status = 'expired', due_at = NULL, final_at = %(now)s, error_code = 'EXPIRED',
                   error_message = %(told)s
              FROM due WHERE m.id = due.id
            RETURNING {_TOLD}, m.price / m.parts * (m.parts - (
                SELECT count(*) FROM messaging_messagepart p WHERE p.message_id = m.id))
            """,  # noqa: S608
            {"limit": limit, "now": now, "told": NOT_SUBMITTED},
        )
        ledger.post(
            [
                ledger.Posting(row[1], LedgerEntry.Kind.REFUND, row[8], row[0], "expired in queue")
                for row in rows
                if row[8] > 0
            ]
        )
        endpoints = events.record(
            [
                _event(row, EventType.MESSAGE_EXPIRED, Status.EXPIRED, now, NOT_SUBMITTED)
                for row in rows
            ]
        )
    events.ring(endpoints)
    return len(rows)
