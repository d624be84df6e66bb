"""A carrier's queue in the database: a worker claims due messages and writes their results.

A claim is a compare-and-swap from `queued` to `sending` under a lease; results are written only
where the lease is still held, a whole batch in one transaction. A message that a carrier refuses
for now is queued again: for the same carrier after a delay, or for the next one (`failover`).
"""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson
from django.conf import settings
from django.db import transaction

from accounts.credits import ledger
from imissive.core import clock
from imissive.core.sql import server_cursor
from messaging.carriers import failover, receipts
from messaging.carriers.command_statuses import SubmitOutcome
from messaging.lifecycle.events import MessageError, message_event
from messaging.lifecycle.record import MessageRecord, columns
from messaging.lifecycle.refunds import NOT_ACCEPTED, refunds
from messaging.lifecycle.wakeups import wake_carriers
from messaging.states import Status, swap
from webhooks.events import outbox

FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.5, 60.0
MAX_UNANSWERED = 2
"""Submits of one message that may get no response: each may have reached the handset."""
NOT_ENCODABLE = "NOT_ENCODABLE"
RECEIPT_GRACE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Claimed(MessageRecord):
    """A message that this worker holds until its lease ends."""

    sender: str
    text: str
    expires_at: datetime
    submits: int
    unanswered: int
    tried: tuple[int, ...] = field(kw_only=True)
    submitted_parts: frozenset[int] = field(kw_only=True)


class SubmittedPart(NamedTuple):
    """A part that the carrier accepted: the time, and the carrier's id in normalized form."""

    message_id: uuid.UUID
    number: int
    carrier_message_id: str
    at: datetime


@dataclass(slots=True)
class Result:
    """The result of one claimed message; `submitted` are the parts that the carrier accepted.

    `submit_outcome` None: some part was not written to a bind, and no part was refused.
    """

    message: Claimed
    submit_outcome: SubmitOutcome | None
    submitted: list[SubmittedPart] = field(default_factory=list)
    command_status: int | None = None
    code: str = ""
    detail: str = ""
    unanswered: bool = False


_CLAIMED = swap(Status.SENDING)
_HANDED_BACK = swap(Status.QUEUED, before=[Status.SENDING])
_SUBMITTED = swap(Status.QUEUED, Status.SENT, Status.FAILED)

_CLAIM = f"""
WITH due AS MATERIALIZED (
    SELECT id FROM messaging_message
     WHERE carrier_id = %(carrier)s AND urgent = %(urgent)s AND status IN {_CLAIMED.before_sql}
       AND due_at <= now() AND expires_at > now()
       AND (window_closes_at IS NULL OR window_closes_at > now())
       -- A worker that was declared dead needs a new lease first.
       AND NOT EXISTS (SELECT FROM messaging_carrierworker w
                        WHERE w.id = %(lease)s AND w.died_at IS NOT NULL)
     ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE messaging_message m
   SET status = {_CLAIMED.after_sql}, lease = %(lease)s,
       due_at = now() + %(seconds)s * interval '1 second'
  FROM due WHERE m.id = due.id
RETURNING {columns("m", Claimed, but=2)}, m.tried,
          CASE WHEN m.submits > 0 THEN ARRAY(SELECT number FROM messaging_messagepart p
                                              WHERE p.message_id = m.id) END
"""  # noqa: S608


def claim(carrier_id: int, *, urgent: bool, limit: int, lease: uuid.UUID) -> list[Claimed]:
    """Claim up to `limit` due messages of that carrier and priority, oldest first."""
    with server_cursor() as cursor:
        cursor.execute(
            _CLAIM,
            {
                "carrier": carrier_id,
                "urgent": urgent,
                "limit": limit,
                "lease": lease,
                "seconds": settings.CARRIER_LEASE,
            },
        )
        rows: list[Any] = cursor.fetchall()
    claimed = [
        # Django makes psycopg return jsonb as text.
        Claimed(
            *stored,
            tried=tuple(orjson.loads(tried or "[]")),
            submitted_parts=frozenset(submitted or ()),
        )
        for *stored, tried, submitted in rows
    ]
    claimed.sort(key=lambda message: message.id)
    return claimed


def hand_back(messages: Sequence[Claimed], lease: uuid.UUID) -> None:
    """Return claimed messages that were not submitted, as when the worker shuts down."""
    with server_cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE messaging_message
               SET status = {_HANDED_BACK.after_sql}, lease = NULL, due_at = created_at
             WHERE id = ANY(%s) AND status IN {_HANDED_BACK.before_sql} AND lease = %s
            """,  # noqa: S608
            [[message.id for message in messages], lease],
        )


@dataclass(slots=True)
class _Change:
    """The columns of one message's compare-and-swap out of `sending`."""

    status: Status
    due_at: datetime | None
    carrier_id: int
    tried: list[int] | None = None
    sent_at: datetime | None = None
    final_at: datetime | None = None
    error_code: str = ""
    error_message: str = ""


def write_results(carrier_id: int, lease: uuid.UUID, results: Sequence[Result]) -> None:
    """Write a batch of results in one transaction, then wake the workers that they concern."""
    now = clock.now()
    changes = [_change(carrier_id, result, now) for result in results]
    with transaction.atomic():
        ours = _swap(lease, results, changes)
        parts = [part for result in results for part in result.submitted]
        write_parts(carrier_id, parts)
        _insert_attempts(carrier_id, [row for row in results if row.message.id in ours], now)
        postings, events = _consequences(results, changes, ours, now)
        endpoints = outbox.record(events)
        endpoints |= receipts.apply_early(carrier_id, [part.carrier_message_id for part in parts])
        endpoints |= receipts.settle(
            [row.message.id for row in results if row.message.submitted_parts]
        )
        # Last, by the locking rule: every message is locked before any balance.
        ledger.post(postings)
    outbox.wake(endpoints)
    wake_carriers(
        (change.carrier_id, result.message.urgent)
        for result, change in zip(results, changes, strict=True)
        if change.status is Status.QUEUED and change.carrier_id != carrier_id
    )


def _change(carrier_id: int, result: Result, now: datetime) -> _Change:
    message = result.message
    if result.submit_outcome is SubmitOutcome.ACCEPTED:
        return _Change(Status.SENT, message.expires_at + RECEIPT_GRACE, carrier_id, sent_at=now)
    if result.submit_outcome is SubmitOutcome.REFUSED:
        # A text that this carrier's settings cannot encode may suit those of another one.
        if result.code == NOT_ENCODABLE:
            change = _move_to_next(carrier_id, result, now)
            if change is not None:
                return change
        return _failure(carrier_id, now, result.code, result.detail)
    if result.unanswered and message.unanswered + 1 >= MAX_UNANSWERED:
        reason = "The carrier did not answer, so the message may or may not have been sent."
        return _failure(carrier_id, now, "NO_RESPONSE", reason)
    if result.submit_outcome is None and not result.unanswered:
        # Nothing was submitted: the message is due as before.
        return _Change(Status.QUEUED, now, carrier_id, list(message.tried) or None)
    return _retry(carrier_id, result, now)


def _failure(carrier_id: int, now: datetime, code: str, reason: str) -> _Change:
    return _Change(
        Status.FAILED,
        None,
        carrier_id,
        final_at=now,
        error_code=code[:40],
        error_message=reason[:200],
    )


def _retry(carrier_id: int, result: Result, now: datetime) -> _Change:
    """Return to the queue: of the next carrier immediately, or of the same one after a delay."""
    if result.submit_outcome is not SubmitOutcome.SLOW_DOWN:
        change = _move_to_next(carrier_id, result, now)
        if change is not None:
            return change
    return _Change(Status.QUEUED, now + retry_delay(result.message.submits), carrier_id)


def _move_to_next(carrier_id: int, result: Result, now: datetime) -> _Change | None:
    """Return the change that queues a message for the route's next carrier; None without one."""
    following = failover.next_carrier(carrier_id, result)
    if following is None:
        return None
    return _Change(Status.QUEUED, now, following.id, [*result.message.tried, carrier_id])


def retry_delay(submits: int) -> timedelta:
    """Return the delay after that many submits: doubling from half a second to a minute."""
    seconds = min(FIRST_RETRY_SECONDS * 2 ** min(submits, 10), LONGEST_RETRY_SECONDS)
    return timedelta(seconds=seconds * random.uniform(0.8, 1.2))  # noqa: S311


_SWAP = f"""
WITH ours AS MATERIALIZED (
    SELECT id FROM messaging_message
     WHERE id = ANY(%(id)b) AND status IN {_SUBMITTED.before_sql} AND lease = %(lease)s
     ORDER BY id FOR UPDATE
)
UPDATE messaging_message m
   SET status = new.status, due_at = new.due_at, carrier_id = new.carrier_id, lease = NULL,
       tried = new.tried::jsonb, submits = m.submits + new.submits,
       unanswered = m.unanswered + new.unanswered, sent_at = COALESCE(new.sent_at, m.sent_at),
       final_at = new.final_at, error_code = new.error_code, error_message = new.error_message
  FROM ours JOIN unnest(%(id)b::uuid[], %(status)b::text[], %(due_at)s::timestamptz[],
              %(carrier_id)b::bigint[], %(tried)s::text[], %(submits)b::int[],
              %(unanswered)b::int[], %(sent_at)s::timestamptz[], %(final_at)s::timestamptz[],
              %(error_code)b::text[], %(error_message)b::text[])
       AS new(id, status, due_at, carrier_id, tried, submits, unanswered, sent_at, final_at,
              error_code, error_message) ON new.id = ours.id
 WHERE m.id = ours.id
RETURNING m.id
"""  # noqa: S608


def _swap(
    lease: uuid.UUID, results: Sequence[Result], changes: Sequence[_Change]
) -> frozenset[uuid.UUID]:
    """Compare-and-swap all results; return the ids of the messages that this lease still held."""
    with server_cursor() as cursor:
        cursor.execute(
            _SWAP,
            {
                "lease": lease,
                "id": [result.message.id for result in results],
                "status": _SUBMITTED.values(change.status for change in changes),
                "due_at": [change.due_at for change in changes],
                "carrier_id": [change.carrier_id for change in changes],
                "tried": [str(change.tried) if change.tried else None for change in changes],
                "submits": [int(_was_submitted(result)) for result in results],
                "unanswered": [int(result.unanswered) for result in results],
                "sent_at": [change.sent_at for change in changes],
                "final_at": [change.final_at for change in changes],
                "error_code": [change.error_code for change in changes],
                "error_message": [change.error_message for change in changes],
            },
        )
        return frozenset(row[0] for row in cursor.fetchall())


def _was_submitted(result: Result) -> bool:
    return result.submit_outcome is not None or result.unanswered or bool(result.submitted)


def write_parts(carrier_id: int, parts: Sequence[SubmittedPart]) -> None:
    """Store parts that the carrier accepted, even if the lease was lost: receipts will arrive."""
    if not parts:
        return
    with server_cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO messaging_messagepart
                   (message_id, number, carrier_id, carrier_message_id, status, error_code,
                    submitted_at)
            SELECT new.message_id, new.number, %s, new.carrier_message_id, 'sent', '', new.at
              FROM unnest(%b::uuid[], %b::int[], %b::text[], %b::timestamptz[])
                   AS new(message_id, number, carrier_message_id, at)
            ON CONFLICT (message_id, number) DO NOTHING
            """,
            [carrier_id, *(list(column) for column in zip(*parts, strict=True))],
        )


def _insert_attempts(carrier_id: int, results: Sequence[Result], now: datetime) -> None:
    rows = [
        (
            result.message.id,
            "unanswered"
            if result.unanswered or result.submit_outcome is None
            else result.submit_outcome.value,
            _stored_status(result.command_status),
            result.detail[:200],
        )
        for result in results
        if result.unanswered
        or (
            result.submit_outcome is not None
            and result.submit_outcome is not SubmitOutcome.ACCEPTED
        )
    ]
    if not rows:
        return
    with server_cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO messaging_attempt
                   (message_id, carrier_id, at, outcome, command_status, detail)
            SELECT new.message_id, %s, %s, new.outcome, new.command_status, new.detail
              FROM unnest(%s::uuid[], %s::text[], %s::int[], %s::text[])
                   AS new(message_id, outcome, command_status, detail)
            """,
            [carrier_id, now, *(list(column) for column in zip(*rows, strict=True))],
        )


def _stored_status(command_status: int | None) -> int | None:
    """Return the command_status for its column, None beyond 31 bits; `detail` names it anyway."""
    return command_status if command_status is None or command_status < 1 << 31 else None


def _consequences(
    results: Sequence[Result],
    changes: Sequence[_Change],
    ours: frozenset[uuid.UUID],
    now: datetime,
) -> tuple[list[ledger.Posting], list[outbox.NewEvent]]:
    """Return the refunds and the events that the swaps call for."""
    postings, events = [], []
    for result, change in zip(results, changes, strict=True):
        message, error = result.message, None
        if message.id not in ours or change.status is Status.QUEUED:
            continue
        if change.status is Status.FAILED:
            error = MessageError(change.error_code, change.error_message)
            submitted = message.submitted_parts | {part.number for part in result.submitted}
            postings.extend(refunds(message, len(submitted), NOT_ACCEPTED))
        events.append(message_event(message, change.status, now, error))
    return postings, events
