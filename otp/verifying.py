"""Checking what people typed in, and giving a verification up."""

from datetime import datetime

import structlog
from django.db import transaction

from imissive import clock, ids
from imissive.errors import ApiError
from otp import codes, ending
from otp.askers import Asker
from otp.models import MAX_ATTEMPTS, Verification

log = structlog.get_logger(__name__)


def find(caller: Asker, otp_id: str, *, lock: bool = False) -> Verification:
    """The caller's verification with that public id; `lock`: held to the transaction's end.

    A test key's are not found with a live one, nor the other way round: a code that never reached
    a phone must prove nothing. Raises ApiError NOT_FOUND.
    """
    found = None
    verification_id = ids.parse_id(ids.OTP, otp_id)
    if verification_id is not None:
        known = Verification.objects.select_for_update() if lock else Verification.objects
        mine = known.filter(organization_id=caller.organization_id, test=caller.test)
        found = mine.filter(id=verification_id).first()
    if found is None:
        raise ApiError("NOT_FOUND", "There is no such verification.")
    return found


def read(caller: Asker, otp_id: str) -> Verification:
    """The caller's verification as it stands. One whose time is over says so at once, though the
    sweep may not have ended it yet. Raises ApiError NOT_FOUND."""
    verification = find(caller, otp_id)
    pending = verification.status == Verification.Status.PENDING
    if pending and is_over(verification, clock.now()):
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


def verify(caller: Asker, otp_id: str, code: str) -> Verification:
    """Check a code: the verification as it stands after that.

    Checks of one verification wait for each other, so no more than MAX_ATTEMPTS are compared.
    Raises ApiError: NOT_FOUND, ALREADY_VERIFIED.
    """
    with transaction.atomic():
        verification = find(caller, otp_id, lock=True)
        refuse_verified(verification)
        if verification.status == Verification.Status.PENDING:
            _check(verification, code)
    return verification


def _check(verification: Verification, code: str) -> None:
    """Count the check and compare, under the row's lock."""
    now = clock.now()
    if is_over(verification, now):
        ending.end(verification, Verification.Reason.EXPIRED, now)
        return
    verification.attempts += 1
    try:
        right = codes.matches(verification.id, verification.secret, code)
    except codes.KeyLost:
        log.error("otp_key_lost", otp=verification.public_id, effect="it can only expire")
        ending.end(verification, Verification.Reason.EXPIRED, now)
        return
    if right:
        ending.end(verification, None, now)
    elif verification.attempts >= MAX_ATTEMPTS:
        ending.end(verification, Verification.Reason.TOO_MANY_ATTEMPTS, now)
    else:
        verification.save(update_fields=["attempts"])


def cancel(caller: Asker, otp_id: str) -> Verification:
    """Give a pending verification up: no code is right any more, and one not sent yet is not sent.

    Raises ApiError: NOT_FOUND, ALREADY_VERIFIED, NOT_CANCELABLE.
    """
    with transaction.atomic():
        verification = find(caller, otp_id, lock=True)
        refuse_verified(verification)
        now = clock.now()
        if not is_live(verification, now):
            raise ApiError("NOT_CANCELABLE", "The verification has ended already.")
        ending.end(verification, Verification.Reason.CANCELED, now)
    return verification
