"""Verification: check a code, read a verification, cancel it."""

import uuid
from datetime import datetime

import structlog
from django.db import transaction

from imissive.core import clock
from imissive.core.errors import ApiError
from imissive.core.lookups import existing_row
from otp.models import MAX_ATTEMPTS, Verification
from otp.verification import codes, completion
from otp.verification.callers import OtpCaller
from otp.verification.reasons import VerificationReason

log = structlog.get_logger(__name__)


def find(
    caller: OtpCaller, verification_id: uuid.UUID | None, *, lock: bool = False
) -> Verification:
    """Return the caller's verification with that id; `lock`: until the transaction ends.

    Verifications of test keys are not found with a live key, nor the other way round: a code that
    never reached a phone must prove nothing. Raises ApiError NOT_FOUND.
    """
    known = Verification.objects.select_for_update() if lock else Verification.objects
    mine = known.filter(organization_id=caller.organization_id, test=caller.test)
    return existing_row(mine, verification_id, VerificationReason.NO_SUCH_VERIFICATION)


def read(caller: OtpCaller, verification_id: uuid.UUID | None) -> Verification:
    """Return the caller's verification; one whose time is over is returned as expired.

    The sweep may not have expired it in the database yet. Raises ApiError NOT_FOUND.
    """
    verification = find(caller, verification_id)
    pending = verification.status == Verification.Status.PENDING
    if pending and is_expired(verification, clock.now()):
        verification.status = Verification.Status.EXPIRED
        verification.reason = Verification.Reason.EXPIRED
    return verification


def is_expired(verification: Verification, now: datetime) -> bool:
    """Return whether its time is over, even if its status is still pending."""
    return verification.expires_at <= now


def is_active(verification: Verification, now: datetime) -> bool:
    """Return whether its code can still be verified."""
    pending = verification.status == Verification.Status.PENDING
    return pending and not is_expired(verification, now)


def refuse_verified(verification: Verification) -> None:
    """Raise ApiError ALREADY_VERIFIED if it is verified."""
    if verification.status == Verification.Status.VERIFIED:
        raise ApiError(VerificationReason.VERIFIED)


def verify(caller: OtpCaller, verification_id: uuid.UUID | None, code: str) -> Verification:
    """Check a code and return the verification with its new status.

    Concurrent checks of one verification wait for each other, so that no more than MAX_ATTEMPTS
    codes are compared. Raises ApiError: NOT_FOUND, ALREADY_VERIFIED.
    """
    with transaction.atomic():
        verification = find(caller, verification_id, lock=True)
        refuse_verified(verification)
        if verification.status == Verification.Status.PENDING:
            _check(verification, code)
    return verification


def _check(verification: Verification, code: str) -> None:
    """Count the check and compare the code; the caller holds the row's lock."""
    now = clock.now()
    if is_expired(verification, now):
        completion.complete(verification, Verification.Reason.EXPIRED, now)
        return
    verification.attempts += 1
    try:
        right = codes.matches(verification.id, verification.secret, code)
    except codes.KeyLost:
        log.error("otp_key_lost", otp=verification.public_id, effect="it can only expire")
        completion.complete(verification, Verification.Reason.EXPIRED, now)
        return
    if right:
        completion.complete(verification, None, now)
    elif verification.attempts >= MAX_ATTEMPTS:
        completion.complete(verification, Verification.Reason.TOO_MANY_ATTEMPTS, now)
    else:
        verification.save(update_fields=["attempts"])


def cancel(caller: OtpCaller, verification_id: uuid.UUID | None) -> Verification:
    """Cancel a pending verification and return it; a message not yet sent is canceled too.

    Raises ApiError: NOT_FOUND, ALREADY_VERIFIED, NOT_CANCELABLE.
    """
    with transaction.atomic():
        verification = find(caller, verification_id, lock=True)
        refuse_verified(verification)
        now = clock.now()
        if not is_active(verification, now):
            raise ApiError(VerificationReason.OVER)
        completion.complete(verification, Verification.Reason.CANCELED, now)
    return verification
