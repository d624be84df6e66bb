"""Checking what people typed in, and giving a verification up."""

import uuid
from datetime import UTC, datetime

import structlog
from django.db import transaction

from imissive.core.errors import ApiError
from otp.models import MAX_ATTEMPTS, Verification
from otp.verification import codes, completion
from otp.verification.callers import OtpCaller

log = structlog.get_logger(__name__)


def find(
    caller: OtpCaller, verification_id: uuid.UUID | None, *, lock: bool = False
) -> Verification:
    """Return the caller's verification with that id; `lock`: held to the transaction's end.

    A test key's are not found with a live one, nor the other way round: a code that never reached
    a phone must prove nothing. Raises ApiError NOT_FOUND.
    """
    found = None
    if verification_id is not None:
        known = Verification.objects.select_for_update() if lock else Verification.objects
        mine = known.filter(organization_id=caller.organization_id, test=caller.test)
        found = mine.filter(id=verification_id).first()
    if found is None:
        raise ApiError("NOT_FOUND", "There is no such verification.")
    return found


def read(caller: OtpCaller, verification_id: uuid.UUID | None) -> Verification:
    """The caller's verification as it stands. One whose time is over says so at once, though the
    sweep may not have ended it yet. Raises ApiError NOT_FOUND."""
    verification = find(caller, verification_id)
    pending = verification.status == Verification.Status.PENDING
    if pending and is_over(verification, datetime.now(UTC)):
        verification.status = Verification.Status.EXPIRED
        verification.reason = Verification.Reason.EXPIRED
    return verification


def is_over(verification: Verification, now: datetime) -> bool:
    """Whether its time is over, though it may not have been ended for that yet."""
    return verification.expires_at <= now


def is_live(verification: Verification, now: datetime) -> bool:
    """Whether its code is still right."""
    pending = verification.status == Verification.Status.PENDING
    return pending and not is_over(verification, now)


def refuse_verified(verification: Verification) -> None:
    """Raises ApiError ALREADY_VERIFIED where it is."""
    if verification.status == Verification.Status.VERIFIED:
        raise ApiError("ALREADY_VERIFIED", "This code was verified already.")


def verify(caller: OtpCaller, verification_id: uuid.UUID | None, code: str) -> Verification:
    """Check a code: the verification as it stands after that.

    Checks of one verification wait for each other, so no more than MAX_ATTEMPTS are compared.
    Raises ApiError: NOT_FOUND, ALREADY_VERIFIED.
    """
    with transaction.atomic():
        verification = find(caller, verification_id, lock=True)
        refuse_verified(verification)
        if verification.status == Verification.Status.PENDING:
            _check(verification, code)
    return verification


def _check(verification: Verification, code: str) -> None:
    """Count the check and compare, under the row's lock."""
    now = datetime.now(UTC)
    if is_over(verification, now):
        completion.end(verification, Verification.Reason.EXPIRED, now)
        return
    verification.attempts += 1
    try:
        right = codes.matches(verification.id, verification.secret, code)
    except codes.KeyLost:
        log.error("otp_key_lost", otp=verification.public_id, effect="it can only expire")
        completion.end(verification, Verification.Reason.EXPIRED, now)
        return
    if right:
        completion.end(verification, None, now)
    elif verification.attempts >= MAX_ATTEMPTS:
        completion.end(verification, Verification.Reason.TOO_MANY_ATTEMPTS, now)
    else:
        verification.save(update_fields=["attempts"])


def cancel(caller: OtpCaller, verification_id: uuid.UUID | None) -> Verification:
    """Give a pending verification up: no code is right any more, and one not sent yet is not sent.

    Raises ApiError: NOT_FOUND, ALREADY_VERIFIED, NOT_CANCELABLE.
    """
    with transaction.atomic():
        verification = find(caller, verification_id, lock=True)
        refuse_verified(verification)
        now = datetime.now(UTC)
        if not is_live(verification, now):
            raise ApiError("NOT_CANCELABLE", "The verification has ended already.")
        completion.end(verification, Verification.Reason.CANCELED, now)
    return verification
