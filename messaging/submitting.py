"""A carrier worker's two dealings with the database: claim what is due, write what became of it.

A claim is a compare-and-swap from `queued` to `sending` under a lease; results are written only
where the lease is still held, a whole batch in one transaction.
"""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django.conf import settings
from django.db import transaction

from accounts import ledger
from accounts.models import LedgerEntry
from imissive.sql import server_cursor
from messaging import receipts
from messaging.dispositions import Disposition
from messaging.routing import CarrierChoice
from messaging.sending import event_data, ring_carrier
from messaging.states import Status
from messaging.tables import tables
from webhooks import events
from webhooks.models import EventType

FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.5, 60.0
MAX_UNANSWERED = 2
"""Submits of one message that may stay unanswered: each may have reached the handset."""
NOT_ENCODABLE = "NOT_ENCODABLE"
RECEIPT_GRACE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that this worker holds until its lease ends."""

    id: uuid.UUID
    organization_id: uuid.UUID
    test: bool
    urgent: bool
    to: str
    sender: str
    text: str
    parts: int
    price: int
    reference: str
    batch_id: uuid.UUID | None
    created_at: datetime
    expires_at: datetime
    submits: int
    unanswered: int
    tried: tuple[int, ...]
    submitted_parts: frozenset[int]


AcceptedPart = tuple[uuid.UUID, int, str, datetime]
"""Message, part number, the carrier's id in matching form, and when it was accepted."""


@dataclass(slots=True)
class Result:
    """What became of one claimed message.

    `accepted`: (part number, the carrier's id in matching form, when it was submitted).
    `disposition` None: not every part was written to a bind, so nothing is known against it.
    """

    message: Claimed
    disposition: Disposition | None
    accepted: list[tuple[int, str, datetime]] = field(default_factory=list)
    command_status: int | None = None
    code: str = ""
    detail: str = ""
    unanswered: bool = False


_CLAIM = """
WITH due AS MATERIALIZED (
    SELECT id FROM messaging_message
     WHERE carrier_id = %(carrier)s AND urgent = %(urgent)s AND status = 'queued'
       AND due_at <= now() AND expires_at > now()
       AND (window_closes_at IS NULL OR window_closes_at > now())
     ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE messaging_message m
   SET status = 'sending', lease = %(lease)s, due_at = now() + %(seconds)s * interval '1 second'
  FROM due WHERE m.id = due.id
RETURNING m.id, m.organization_id, m.test, m.urgent, m."to", m.sender, m.text, m.parts, m.price,
          m.reference, m.batch_id, m.created_at, m.expires_at, m.submits, m.unanswered, m.tried,
          CASE WHEN m.submits > 0 THEN ARRAY(SELECT number FROM messaging_messagepart p
                                              WHERE p.message_id = m.id) END
"""


def claim(carrier_id: int, *, urgent: bool, limit: int, lease: uuid.UUID) -> list[Claimed]:
    """Take up to `limit` due messages of that carrier's lane, oldest first."""
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
        # Django has psycopg hand jsonb (`tried`) over as text.
        Claimed(*[*row[:15], tuple(orjson.loads(row[15] or "[]")), frozenset(row[16] or ())])
        for row in rows
    ]
    claimed.sort(key=lambda message: message.id)
    return claimed


def hand_back(messages: Sequence[Claimed], lease: uuid.UUID) -> None:
    """Return claimed messages that were not submitted, as when the worker shuts down."""
    with server_cursor() as cursor:
        cursor.execute(
            "UPDATE messaging_message SET status = 'queued', lease = NULL, due_at = created_at"
            " WHERE id = ANY(%s) AND status = 'sending' AND lease = %s",
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
    """Write a batch of results in one transaction, and ring whoever has to do with them next."""
    now = datetime.now(UTC)
    changes = [_change(carrier_id, result, now) for result in results]
    with transaction.atomic():
        held = _swap(lease, results, changes)
        write_parts(
            carrier_id, [(row.message.id, *part) for row in results for part in row.accepted]
        )
        _insert_attempts(carrier_id, [row for row in results if row.message.id in held], now)
        refunds, told = _consequences(results, changes, held, now)
        endpoints = events.record(told)
        ids = [
            carrier_message_id for result in results for _, carrier_message_id, _ in result.accepted
        ]
        endpoints |= receipts.apply_early(carrier_id, ids)
        endpoints |= receipts.settle(
            [row.message.id for row in results if row.message.submitted_parts]
        )
        # Last, by the locking rule: every message is locked before any balance.
        ledger.post(refunds)
    events.ring(endpoints)
    slugs = tables().carriers
    for lane in {
        (change.carrier_id, result.message.urgent)
        for result, change in zip(results, changes, strict=True)
        if change.status is Status.QUEUED and change.carrier_id != carrier_id
    }:
        if lane[0] in slugs:
            ring_carrier(slugs[lane[0]].slug, urgent=lane[1])


def _change(carrier_id: int, result: Result, now: datetime) -> _Change:
    message = result.message
    if result.disposition is Disposition.ACCEPTED:
        return _Change(Status.SENT, message.expires_at + RECEIPT_GRACE, carrier_id, sent_at=now)
    if result.disposition is Disposition.REFUSED:
        # What cannot be written for one carrier may be for another, which has other settings.
        following = _following(carrier_id, result) if result.code == NOT_ENCODABLE else None
        if following is not None:
            return _Change(Status.QUEUED, now, following.id, [*message.tried, carrier_id])
        return _failure(carrier_id, now, result.code, result.detail)
    if result.unanswered and message.unanswered + 1 >= MAX_UNANSWERED:
        told = "The carrier did not answer, so the message may or may not have been sent."
        return _failure(carrier_id, now, "NO_RESPONSE", told)
    if result.disposition is None and not result.unanswered:
        # Nothing was asked of the carrier: as due as it was before.
        return _Change(Status.QUEUED, now, carrier_id, list(message.tried) or None)
    return _try_again(carrier_id, result, now)


def _failure(carrier_id: int, now: datetime, code: str, told: str) -> _Change:
    return _Change(
        Status.FAILED,
        None,
        carrier_id,
        final_at=now,
        error_code=code[:40],
        error_message=told[:200],
    )


def _try_again(carrier_id: int, result: Result, now: datetime) -> _Change:
    """Back to the queue: of the next carrier at once, or of the same one after a while."""
    message = result.message
    if result.disposition is not Disposition.SLOW_DOWN:
        following = _following(carrier_id, result)
        if following is not None:
            return _Change(Status.QUEUED, now, following.id, [*message.tried, carrier_id])
    return _Change(Status.QUEUED, now + retry_delay(message.submits), carrier_id)


def _following(carrier_id: int, result: Result) -> CarrierChoice | None:
    """Return the carrier of the route that a message may go to next, or None."""
    message = result.message
    if message.submitted_parts or result.accepted:
        # Parts of one message go through one carrier, or no handset could join them.
        return None
    tried = [*message.tried, carrier_id]
    return tables().after(
        message.to, message.organization_id, tried, test=message.test, sender=message.sender
    )


def retry_delay(submits: int) -> timedelta:
    """How long to wait after that many earlier submits: doubling from half a second to a minute."""
    seconds = min(FIRST_RETRY_SECONDS * 2 ** min(submits, 10), LONGEST_RETRY_SECONDS)
    return timedelta(seconds=seconds * random.uniform(0.8, 1.2))  # noqa: S311


_SWAP = """
WITH held AS MATERIALIZED (
    SELECT id FROM messaging_message
     WHERE id = ANY(%(id)b) AND status = 'sending' AND lease = %(lease)s ORDER BY id FOR UPDATE
)
UPDATE messaging_message m
   SET status = new.status, due_at = new.due_at, carrier_id = new.carrier_id, lease = NULL,
       tried = new.tried::jsonb, submits = m.submits + new.submits,
       unanswered = m.unanswered + new.unanswered, sent_at = COALESCE(new.sent_at, m.sent_at),
       final_at = new.final_at, error_code = new.error_code, error_message = new.error_message
  FROM held JOIN unnest(%(id)b::uuid[], %(status)b::text[], %(due_at)s::timestamptz[],
              %(carrier_id)b::bigint[], %(tried)s::text[], %(submits)b::int[],
              %(unanswered)b::int[], %(sent_at)s::timestamptz[], %(final_at)s::timestamptz[],
              %(error_code)b::text[], %(error_message)b::text[])
       AS new(id, status, due_at, carrier_id, tried, submits, unanswered, sent_at, final_at,
              error_code, error_message) ON new.id = held.id
 WHERE m.id = held.id
RETURNING m.id
"""


def _swap(
    lease: uuid.UUID, results: Sequence[Result], changes: Sequence[_Change]
) -> frozenset[uuid.UUID]:
    """Compare-and-swap all of them; the ids of those that this lease still held."""
    with server_cursor() as cursor:
        cursor.execute(
            _SWAP,
            {
                "lease": lease,
                "id": [result.message.id for result in results],
                "status": [str(change.status) for change in changes],
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
    return result.disposition is not None or result.unanswered or bool(result.accepted)


def write_parts(carrier_id: int, parts: Sequence[AcceptedPart]) -> None:
    """Keep parts that the carrier accepted, whoever holds their message: receipts will come."""
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
            if result.unanswered or result.disposition is None
            else result.disposition.value,
            _stored_status(result.command_status),
            result.detail[:200],
        )
        for result in results
        if result.unanswered
        or (result.disposition is not None and result.disposition is not Disposition.ACCEPTED)
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
    """A command_status as the column holds it: none beyond 31 bits. `detail` has it anyway."""
    return command_status if command_status is None or command_status < 1 << 31 else None


def _consequences(
    results: Sequence[Result],
    changes: Sequence[_Change],
    held: frozenset[uuid.UUID],
    now: datetime,
) -> tuple[list[ledger.Posting], list[events.NewEvent]]:
    """The refunds and the events that the swaps call for."""
    refunds, told = [], []
    for result, change in zip(results, changes, strict=True):
        if result.message.id not in held or change.status is Status.QUEUED:
            continue
        if change.status is Status.FAILED:
            refunds.extend(_refund(result))
        told.append(_event(result.message, change, now))
    return refunds, told


def _refund(result: Result) -> list[ledger.Posting]:
    """Credits back for the parts that no carrier took; what it took, it charges us for too."""
    message = result.message
    taken = message.submitted_parts | {number for number, _, _ in result.accepted}
    amount = message.price // message.parts * (message.parts - len(taken))
    if amount <= 0:
        return []
    kind = LedgerEntry.Kind.REFUND
    return [ledger.Posting(message.organization_id, kind, amount, message.id, "not accepted")]


def _event(message: Claimed, change: _Change, now: datetime) -> events.NewEvent:
    failed = change.status is Status.FAILED
    return events.NewEvent(
        organization_id=message.organization_id,
        type=EventType.MESSAGE_FAILED if failed else EventType.MESSAGE_SENT,
        at=now,
        message_id=message.id,
        data=event_data(
            to=message.to,
            status=change.status,
            at=now,
            reference=message.reference,
            batch_id=message.batch_id,
            test=message.test,
            error={"code": change.error_code, "message": change.error_message} if failed else None,
        ),
    )
