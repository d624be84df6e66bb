"""How a verification ends: once, with its event in the same transaction, and without its secret."""

import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from imissive import clock
from imissive.errors import ApiError
from imissive.sql import server_cursor
from messaging import cancelling
from messaging.models import Message
from messaging.states import Status
from otp.models import Verification
from webhooks import events
from webhooks.models import EventType

STEP = 1000
"""Verifications that one step of the sweep ends."""


def end(verification: Verification, reason: Verification.Reason | None, at: datetime) -> None:
    """End a pending verification: for that reason, or with None because the code was right.

    A message that has not gone out is taken back, since its code is right no more. The caller holds
    the row's lock, in a transaction.
    """
    status = Verification.STATUS_OF[reason] if reason else Verification.Status.VERIFIED
    verification.status, verification.reason = status, reason or ""
    verification.ended_at, verification.seed, verification.digest = at, b"", b""
    verification.save(update_fields=["status", "reason", "attempts", "ended_at", "seed", "digest"])
    events.record_and_ring_on_commit([_event(verification, at)])
    if reason:
        take_back(verification)


def take_back(verification: Verification) -> None:
    """Cancel the latest message, with its credits, if no carrier has it."""
    with contextlib.suppress(ApiError):
        cancelling.cancel(verification.organization_id, verification.message_id)


def _event(verification: Verification, at: datetime) -> events.NewEvent:
    verified = verification.status == Verification.Status.VERIFIED
    data: dict[str, Any] = {
        "otp_id": verification.public_id,
        "phone": verification.phone,
        "status": verification.status,
        "verified_at" if verified else "failed_at": at,
    }
    if verification.reason:
        data["reason"] = verification.reason
    if verification.test:
        data["test"] = True
    return events.NewEvent(
        organization_id=verification.organization_id,
        type=EventType.OTP_VERIFIED if verified else EventType.OTP_FAILED,
        at=at,
        message_id=verification.message_id,
        data=data,
    )


# Whoever checks, repeats or cancels one holds its lock, and ends it by itself if its time is over.
_EXPIRE = """
WITH due AS MATERIALIZED (
    SELECT id FROM otp_verification WHERE status = 'pending' AND expires_at <= %(now)s
     ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE otp_verification v
   SET status = 'expired', reason = 'expired', ended_at = %(now)s, seed = '', digest = ''
  FROM due WHERE v.id = due.id
RETURNING v.id, v.organization_id, v.phone, v.test, v.message_id
"""


def expire_due(limit: int = STEP) -> int:
    """End the verifications whose time is over, with `otp.failed`; how many those were."""
    now = clock.now()
    with transaction.atomic():
        with server_cursor() as cursor:
            cursor.execute(_EXPIRE, {"now": now, "limit": limit})
            rows = cursor.fetchall()
        ended = [
            Verification(
                id=row[0],
                organization_id=row[1],
                phone=row[2],
                test=row[3],
                message_id=row[4],
                status=Verification.Status.EXPIRED,
                reason=Verification.Reason.EXPIRED,
            )
            for row in rows
        ]
        events.record_and_ring_on_commit([_event(verification, now) for verification in ended])
        _take_back_held(ended)
    return len(rows)


def _take_back_held(ended: Sequence[Verification]) -> None:
    """Cancel the messages that wait for the hours in which their country lets them go.

    Others end with their validity, which is the code's; that of these counts from the next opening.
    """
    by_message = {verification.message_id: verification for verification in ended}
    held = Message.objects.filter(id__in=by_message, status=Status.SCHEDULED)
    for message_id in held.values_list("id", flat=True):
        take_back(by_message[message_id])
