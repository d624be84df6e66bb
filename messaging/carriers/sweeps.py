"""Periodic sweeps of messages: release, hold, requeue abandoned claims, wake, expire.

Each function makes one bounded step and returns the number of messages moved, so that a test can
call it directly and the task can repeat it while there are more.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.credits import ledger
from imissive.core import clock
from imissive.core.api.rendering import time_text
from imissive.core.sql import rows_of
from messaging.carriers import worker_liveness
from messaging.lifecycle.events import MessageError, message_events
from messaging.lifecycle.record import MessageRecord, columns
from messaging.lifecycle.refunds import EXPIRED, refunds
from messaging.lifecycle.wakeups import wake_carriers, wake_for
from messaging.routing.cache import tables
from messaging.routing.sending_hours import HELD
from messaging.states import Status, swap
from webhooks.events import outbox

STEP = 1000

_RELEASED = swap(Status.QUEUED, before=[Status.SCHEDULED])
_PUT_OFF = swap(Status.SCHEDULED)
_REQUEUED = swap(Status.QUEUED, before=[Status.SENDING])
_EXPIRED_SENT = swap(Status.EXPIRED, before=[Status.SENT])
_EXPIRED_QUEUED = swap(Status.EXPIRED, before=[Status.QUEUED])


def _moved(sql: str, parameters: dict[str, Any]) -> list[MessageRecord]:
    """Return the messages that the statement moved, from the columns it returns."""
    return [MessageRecord(*row) for row in rows_of(sql, parameters)]


NO_RECEIPT = MessageError("EXPIRED", "No final receipt came within the validity.")
NOT_SUBMITTED = MessageError("EXPIRED", "The message could not be submitted within its validity.")


def release_scheduled(limit: int = STEP) -> int:
    """Queue the scheduled messages that are due; return their number."""
    now = clock.now()
    with transaction.atomic():
        released = _moved(
            f"""
            WITH due AS MATERIALIZED (
                SELECT id FROM messaging_message
                 WHERE status IN {_RELEASED.before_sql} AND due_at <= now()
                   AND (window_closes_at IS NULL OR window_closes_at > now())
                 ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
            )
            UPDATE messaging_message m SET status = {_RELEASED.after_sql}, queued_at = %(now)s
              FROM due WHERE m.id = due.id RETURNING {columns("m")}
            """,  # noqa: S608
            {"limit": limit, "now": now},
        )
        endpoints = outbox.record(message_events(released, Status.QUEUED, now))
    outbox.wake(endpoints)
    wake_for(released)
    return len(released)


# For messages that are scheduled already, only the time changes.
_LATE = f"""
SELECT id, country, sender, submits > 0 AND EXISTS (
           SELECT FROM messaging_messagepart p WHERE p.message_id = m.id)
  FROM messaging_message m
 WHERE window_closes_at <= now()
   AND (status IN {_PUT_OFF.before_sql} OR status = {_PUT_OFF.after_sql} AND due_at <= now())
 ORDER BY window_closes_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""  # noqa: S608
_HOLD = f"""
WITH held AS (
    UPDATE messaging_message m
       SET status = CASE WHEN new.opens IS NULL THEN m.status ELSE {_PUT_OFF.after_sql} END,
           due_at = COALESCE(new.opens, m.due_at),
           scheduled_at = COALESCE(new.opens, m.scheduled_at),
           queued_at = CASE WHEN new.opens IS NULL THEN m.queued_at END,
           expires_at = m.expires_at
               + COALESCE(new.opens - COALESCE(m.scheduled_at, m.created_at), '0'),
           window_closes_at = new.closes
      FROM unnest(%(ids)s::uuid[], %(opens)s::timestamptz[], %(closes)s::timestamptz[],
                  %(detail)s::text[]) AS new(id, opens, closes, detail)
     WHERE m.id = new.id
    RETURNING m.id, m.carrier_id, new.opens, new.detail
)
INSERT INTO messaging_attempt (message_id, carrier_id, outcome, detail)
SELECT id, carrier_id, %(held)s, detail FROM held WHERE opens IS NOT NULL
RETURNING id
"""  # noqa: S608


def hold_late(limit: int = STEP) -> int:
    """Hold the messages that missed their country's sending hours (quiet hours); return how many.

    They are scheduled for the next opening, and their validity counts from there. A message with
    an accepted part continues: half a text is useless.
    """
    with transaction.atomic():
        rows = rows_of(_LATE, {"limit": limit})
        if not rows:
            return 0
        now = clock.now()
        following = [
            _next_hours(country, sender, started, now) for _, country, sender, started in rows
        ]
        rows_of(
            _HOLD,
            {
                "ids": [row[0] for row in rows],
                "opens": [hours.opens for hours in following],
                "closes": [hours.closes for hours in following],
                "detail": [hours.detail for hours in following],
                "held": HELD,
            },
        )
    return len(rows)


@dataclass(frozen=True, slots=True)
class _NextHours:
    """The next sending hours of a late message; None: immediately, and at any time."""

    opens: datetime | None = None
    closes: datetime | None = None
    detail: str = ""


def _next_hours(country: str, sender: str, started: bool, now: datetime) -> _NextHours:
    hours = tables().sending_hours(country, sender)
    if hours is None or started:
        return _NextHours()
    opening = hours.opening(now)
    closing = hours.closing(opening)
    if opening == now:
        return _NextHours(None, closing)
    late = f"Not sent in time for the hours of {country}, {hours}"
    return _NextHours(opening, closing, f"{late}: held until {time_text(opening)}.")


def release_dead(limit: int = STEP) -> int:
    """Queue again immediately what dead workers held; return the number of messages."""
    worker_liveness.record_silent_deaths()
    rows = worker_liveness.release_dead(limit)
    wake_carriers(set(rows))
    return len(rows)


def requeue_abandoned(limit: int = STEP) -> int:
    """Queue again the messages whose worker did not finish within its lease; return their number.

    A worker whose database has just returned first writes or renews its claims.
    """
    requeued = _moved(
        f"""
        WITH due AS MATERIALIZED (
            SELECT id FROM messaging_message m
             WHERE status IN {_REQUEUED.before_sql} AND due_at <= now()
               AND NOT EXISTS (
                   SELECT FROM messaging_carrierworker w
                    WHERE w.id = m.lease AND w.died_at IS NULL
                      AND (w.steady_since > now() - %(silent)s * interval '1 second'
                           OR w.seen_at < now() - %(gap)s * interval '1 second'))
             ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
        )
        UPDATE messaging_message m
           SET status = {_REQUEUED.after_sql}, lease = NULL, due_at = now(),
               submits = m.submits + 1
          FROM due WHERE m.id = due.id RETURNING {columns("m")}
        """,  # noqa: S608
        {
            "limit": limit,
            "silent": worker_liveness.SILENT_SECONDS,
            "gap": worker_liveness.GAP_SECONDS,
        },
    )
    wake_for(requeued)
    return len(requeued)


def wake_overdue() -> int:
    """Wake the workers of each priority with due messages: the broker may lose a wake-up."""
    rows = rows_of(
        """
        SELECT c.id, priority.urgent FROM messaging_carrier c
         CROSS JOIN (VALUES (true), (false)) AS priority(urgent)
          -- A probe of the index for each priority: a semi-join would read the whole backlog.
          CROSS JOIN LATERAL (
               SELECT FROM messaging_message m
                WHERE m.carrier_id = c.id AND m.urgent = priority.urgent AND m.status = 'queued'
                  AND m.due_at <= now() - interval '1 second'
                ORDER BY m.due_at LIMIT 1) AS overdue
         WHERE c.enabled
        """,
        {},
    )
    wake_carriers((carrier_id, urgent) for carrier_id, urgent in rows)
    return len(rows)


def expire_sent(limit: int = STEP) -> int:
    """Expire sent messages without a final receipt within their validity; return their number."""
    now = clock.now()
    with transaction.atomic():
        expired = _moved(
            f"""
            WITH due AS MATERIALIZED (
                SELECT id FROM messaging_message
                 WHERE status IN {_EXPIRED_SENT.before_sql} AND due_at <= now()
                 ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
            ), parts AS (
                UPDATE messaging_messagepart p
                   SET status = {_EXPIRED_SENT.after_sql}, final_at = %(now)s
                  FROM due WHERE p.message_id = due.id AND p.status IN {_EXPIRED_SENT.before_sql}
            )
            UPDATE messaging_message m
               SET status = {_EXPIRED_SENT.after_sql}, due_at = NULL, final_at = %(now)s,
                   error_code = %(code)s, error_message = %(message)s
              FROM due WHERE m.id = due.id RETURNING {columns("m")}
            """,  # noqa: S608
            {"limit": limit, "now": now, **NO_RECEIPT._asdict()},
        )
        endpoints = outbox.record(message_events(expired, Status.EXPIRED, now, NO_RECEIPT))
    outbox.wake(endpoints)
    return len(expired)


def expire_queued(limit: int = STEP) -> int:
    """Expire messages not submitted within their validity, and refund the parts not accepted."""
    now = clock.now()
    with transaction.atomic():
        rows = rows_of(
            f"""
            WITH due AS MATERIALIZED (
                SELECT id FROM messaging_message
                 WHERE status IN {_EXPIRED_QUEUED.before_sql} AND expires_at <= now()
                 ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
            )
            UPDATE messaging_message m
               SET status = {_EXPIRED_QUEUED.after_sql}, due_at = NULL, final_at = %(now)s,
                   error_code = %(code)s, error_message = %(message)s
              FROM due WHERE m.id = due.id
            RETURNING {columns("m")}, (
                SELECT count(*) FROM messaging_messagepart p WHERE p.message_id = m.id)
            """,  # noqa: S608
            {"limit": limit, "now": now, **NOT_SUBMITTED._asdict()},
        )
        expired = [(MessageRecord(*stored), submitted) for *stored, submitted in rows]
        ledger.post([one for row in expired for one in refunds(*row, EXPIRED)])
        records = [record for record, _ in expired]
        endpoints = outbox.record(message_events(records, Status.EXPIRED, now, NOT_SUBMITTED))
    outbox.wake(endpoints)
    return len(records)
