"""Taking back what no carrier has yet: messages and whole batches, with their credits.

A compare-and-swap under the row's lock, as every change of state: of a cancel and a release or a
submit that come together, one finds the message changed and does nothing.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from accounts.credits import ledger
from imissive.core import clock
from imissive.core.errors import ApiError
from imissive.core.sql import server_cursor
from messaging.lifecycle.events import message_events
from messaging.lifecycle.record import MessageRecord, columns
from messaging.lifecycle.refunds import CANCELED, refunds
from messaging.models import Message
from messaging.sending import batches
from messaging.sending.reasons import MessageReason
from messaging.states import Status, swap
from webhooks.events import outbox

STEP = 1000
"""Messages of a batch that are canceled in one transaction."""


@dataclass(frozen=True, slots=True)
class Canceled:
    """The number of canceled messages, and the micro-credits refunded."""

    count: int
    credits: int


_CANCELED = swap(Status.CANCELED)
# Not what a carrier may have: a part of it was accepted, or a submit was never answered.
_CANCEL = f"""
WITH cancelable AS MATERIALIZED (
    SELECT id FROM messaging_message m
     WHERE m.organization_id = %(organization)s AND {{which}}
       AND m.test = COALESCE(%(test)s::bool, m.test)
       AND status IN {_CANCELED.before_sql} AND unanswered = 0
       AND NOT (submits > 0 AND EXISTS (SELECT FROM messaging_messagepart p
                                         WHERE p.message_id = m.id))
     ORDER BY id LIMIT %(limit)s FOR UPDATE
)
UPDATE messaging_message m
   SET status = {_CANCELED.after_sql}, due_at = NULL, window_closes_at = NULL, final_at = %(now)s
  FROM cancelable WHERE m.id = cancelable.id
RETURNING {columns("m")}
"""  # noqa: S608


def cancel(
    organization_id: uuid.UUID, message_id: uuid.UUID | None, *, test: bool | None
) -> Message:
    """Cancel one message of that mode (None: either mode) and refund its credits.

    Raises ApiError: NOT_FOUND, for another organization's or the other mode's too; NOT_CANCELABLE.
    """
    canceled, message = None, None
    if message_id is not None:
        mine = Message.objects.filter(organization_id=organization_id, id=message_id)
        if test is not None:
            mine = mine.filter(test=test)
        canceled = _cancel(organization_id, "m.id = %(wanted)s", message_id, test=test, limit=1)
        message = mine.first()
    if message is None or canceled is None:
        raise ApiError(MessageReason.NO_SUCH_MESSAGE)
    if not canceled.count:
        if message.status in (Status.SCHEDULED, Status.QUEUED):
            raise ApiError(MessageReason.AT_THE_CARRIER)
        raise ApiError(MessageReason.MESSAGE_OVER, status=message.status)
    return message


def cancel_batch(
    organization_id: uuid.UUID, batch_id: uuid.UUID | None, *, test: bool | None
) -> Canceled:
    """Cancel what can be canceled of a batch, a step at a time, and give the credits back.

    Raises ApiError: NOT_FOUND, for another organization's or the other mode's too; NOT_CANCELABLE
    where nothing can.
    """
    batch = batches.find(organization_id, batch_id, test=test)
    canceled = _cancel_all(organization_id, "m.batch_id = %(wanted)s", batch.id, test=batch.test)
    if not canceled.count:
        raise ApiError(MessageReason.BATCH_OVER)
    return canceled


def cancel_some(organization_id: uuid.UUID, batch_id: uuid.UUID) -> Canceled:
    """Cancel STEP messages at most of a batch of the organization, in the caller's transaction if
    there is one. None are left where it finds none."""
    return _cancel(organization_id, "m.batch_id = %(wanted)s", batch_id, test=None, limit=STEP)


def cancel_to(organization_id: uuid.UUID, numbers: Sequence[str], *, test: bool) -> Canceled:
    """Cancel what can be canceled of that mode's messages to those numbers (E.164), and give the
    credits back. Where there is none, nothing happens."""
    which = 'm."to" = ANY(%(wanted)b::text[])'
    return _cancel_all(organization_id, which, list(numbers), test=test)


def _cancel_all(organization_id: uuid.UUID, which: str, wanted: Any, *, test: bool) -> Canceled:
    """A step at a time, until nothing is left.

    All in one where the caller's transaction goes on: a second step would lock messages after the
    balance, against the locking rule.
    """
    if connection.in_atomic_block:
        return _cancel(organization_id, which, wanted, test=test, limit=None)
    count = credits = 0
    while True:
        canceled = _cancel(organization_id, which, wanted, test=test, limit=STEP)
        count, credits = count + canceled.count, credits + canceled.credits
        if canceled.count < STEP:
            return Canceled(count, credits)


def _cancel(
    organization_id: uuid.UUID, which: str, wanted: Any, *, test: bool | None, limit: int | None
) -> Canceled:
    now = clock.now()
    with transaction.atomic():
        with server_cursor() as cursor:
            cursor.execute(
                _CANCEL.format(which=which),
                {
                    "organization": organization_id,
                    "wanted": wanted,
                    "test": test,
                    "limit": limit,
                    "now": now,
                },
            )
            records = [MessageRecord(*row) for row in cursor.fetchall()]
        outbox.record_and_wake_on_commit(message_events(records, Status.CANCELED, now))
        # Last, by the locking rule: messages before balances.
        ledger.post([posting for record in records for posting in refunds(record, 0, CANCELED)])
    return Canceled(len(records), sum(record.price for record in records))
