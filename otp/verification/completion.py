"""Completion of a verification: status and event in one transaction, and the secret deleted."""

import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from imissive.core import clock
from imissive.core.errors import ApiError
from imissive.core.sql import server_cursor
from messaging.models import Message
from messaging.sending import cancel
from messaging.states import Status
from otp.models import Verification
from webhooks.events import outbox
from webhooks.models import EventType

STEP = 1000
"""Number of verifications that one step of the sweep expires."""


def complete(verification: Verification, reason: Verification.Reason | None, at: datetime) -> None:
    """Complete a pending verification: verified if `reason` is None, otherwise expired or failed.

    Unless it is verified, its latest message is canceled if no carrier has it yet, because its code
    is no longer valid. The caller holds the row's lock, in a transaction.
    """
    status = Verification.STATUS_OF[reason] if reason else Verification.Status.VERIFIED
    verification.status, verification.reason = status, reason or ""
    verification.ended_at, verification.seed, verification.digest = at, b"", b""
    verification.save(update_fields=["status", "reason", "attempts", "ended_at", "seed", "digest"])
    outbox.record_and_wake_on_commit([_event(verification, at)])
    if reason:
        cancel_message(verification)


def cancel_message(verification: Verification) -> None:
    """Cancel and refund the latest message, unless a carrier has it already."""
    with contextlib.suppress(ApiError):
        cancel.cancel(verification.organization_id, verification.message_id, test=verification.test)


def _event(verification: Verification, at: datetime) -> outbox.NewEvent:
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
    return outbox.NewEvent(
        organization_id=verification.organization_id,
        type=EventType.OTP_VERIFIED if verified else EventType.OTP_FAILED,
        at=at,
        message_id=verification.message_id,
        data=data,
        test=verification.test,
    )


# SKIP LOCKED: a request that checks, repeats or cancels a verification holds its lock, and expires
# the verification on its own if its time is over.
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
    """Expire up to `limit` verifications whose time is over; return their number.

    Each one gets its `otp.failed` event in the same transaction.
    """
    now = clock.now()
    with transaction.atomic():
        with server_cursor() as cursor:
            cursor.execute(_EXPIRE, {"now": now, "limit": limit})
            rows = cursor.fetchall()
        expired = [
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
        outbox.record_and_wake_on_commit([_event(verification, now) for verification in expired])
        _cancel_held_messages(expired)
    return len(rows)


def _cancel_held_messages(expired: Sequence[Verification]) -> None:
    """Cancel the messages that are held until their country's sending hours.

    Other messages expire with their validity, which equals the code's expiry; the validity of held
    ones starts only when the sending hours begin.
    """
    by_message = {verification.message_id: verification for verification in expired}
    held = Message.objects.filter(id__in=by_message, status=Status.SCHEDULED)
    for message_id in held.values_list("id", flat=True):
        cancel_message(by_message[message_id])
