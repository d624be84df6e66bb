"""Send and resend codes: a verification and the message with its code are committed together.

Sends to one number run one after the other, across all organizations, under an advisory lock, so
that the limits hold under concurrency. Order of locks: number, verification, messages, balances.
"""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from accounts.credits.ledger import InsufficientCredits
from accounts.credits.reasons import CreditsReason
from imissive.core import clock, ids
from imissive.core.errors import ApiError
from imissive.core.problems import Problem
from imissive.core.sql import server_cursor
from messaging.numbers import e164
from messaging.sending.accept import SendRequest, accept
from messaging.sending.evaluation import Draft, Refusal
from otp.limits import number_limits, sms_pumping
from otp.limits.reasons import LimitReason
from otp.limits.rules import Rules, rules_of
from otp.models import CodeSend, Verification
from otp.verification import (
    codes,
    completion,
    texts,
    verify,
)
from otp.verification.callers import OtpCaller
from otp.verification.reasons import VerificationReason


@dataclass(frozen=True, slots=True)
class CodeRequest:
    """A request for a code: `text` as returned by `texts.compose`, `length` in digits.

    `expiry` is in seconds, and `sender` is None for the default sender ID. `for_retriever`: the
    text ends with an app hash for Android's SMS Retriever.
    """

    phone: str
    text: str
    length: int
    expiry: int
    sender: str | None
    for_retriever: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """A verification whose code was accepted for sending. Only test keys may return `code`."""

    verification: Verification
    code: str


def send(caller: OtpCaller, code_request: CodeRequest) -> Sent:
    """Start a verification and send its code; an earlier pending one of the number is superseded.

    Raises ApiError: the errors of a message (with this request's field names), and INVALID_PHONE,
    DESTINATION_BLOCKED, OTP_COOLDOWN, TOO_MANY_ATTEMPTS, MESSAGE_TOO_LONG.
    """
    number = _parse(code_request.phone, caller.home)
    verification = Verification(
        organization_id=caller.organization_id,
        test=caller.test,
        phone=number.e164,
        country=number.country,
        prefix=sms_pumping.prefix_of(number),
        sender=code_request.sender or "",
        length=code_request.length,
        expiry=code_request.expiry,
        text=code_request.text,
    )
    code, secret = codes.create(verification.id, code_request.length)
    verification.seed, verification.key_id = secret.seed, secret.key_id
    verification.digest = secret.digest
    if code_request.for_retriever:
        texts.check_retriever(texts.rendered(code_request.text, code))
    rules = rules_of(caller.organization_id)
    with _all_or_nothing():
        lock_number(number.e164)
        now = _check_rules(verification, rules)
        _supersede(verification, now)
        verification.created_at = now
        _deliver(caller, verification, code, now)
    return Sent(verification, code)


def resend(caller: OtpCaller, verification_id: uuid.UUID | None) -> Sent:
    """Send a pending verification's code again, and restart its expiry.

    Raises ApiError: NOT_FOUND; ALREADY_VERIFIED; CONFLICT after completion; and those of `send`.
    """
    phone = verify.find(caller, verification_id).phone
    rules = rules_of(caller.organization_id)
    with _all_or_nothing():
        lock_number(phone)
        verification = verify.find(caller, verification_id, lock=True)
        verify.refuse_verified(verification)
        code = _code_again(verification)
        if code is None:
            raise ApiError(VerificationReason.CODE_OVER)
        now = _check_rules(verification, rules)
        # Two messages with the same code would confuse the recipient.
        completion.cancel_message(verification)
        _deliver(caller, verification, code, now)
    return Sent(verification, code)


def _code_again(verification: Verification) -> str | None:
    """Return the verification's code, or None where it is no longer valid."""
    if not verify.is_active(verification, clock.now()):
        return None
    try:
        return codes.code_of(verification.id, verification.length, verification.secret)
    except codes.KeyLost:
        return None


@contextlib.contextmanager
def _all_or_nothing() -> Iterator[None]:
    """Run the block in a transaction, and turn InsufficientCredits into an ApiError."""
    try:
        with transaction.atomic():
            yield
    except InsufficientCredits:
        raise ApiError(CreditsReason.NOT_COVERED) from None


def lock_number(phone: str) -> None:
    """Lock a number against other sends until the transaction ends."""
    with server_cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"otp {phone}"])


def _parse(phone: str, home: str) -> e164.Number:
    try:
        return e164.parse(phone, home)
    except e164.InvalidNumber as error:
        raise ApiError.of(error.problem("phone")) from None


def _check_rules(verification: Verification, rules: Rules) -> datetime:
    """Raise ApiError where the rules refuse the code, otherwise return the current time.

    The caller holds the number's lock.
    """
    if not rules.allow(verification.country):
        country = verification.country
        raise ApiError(LimitReason.COUNTRY_NOT_ENABLED, "phone", country=country)
    now = clock.now()
    if rules.enforces and not verification.test:
        sms_pumping.check(verification.organization_id, verification.phone, now)
    number_limits.check(_history(verification, now), rules, settings.OTP_NUMBER_LIMIT_DAY, now)
    return now


_HISTORY = """
SELECT s.at, s.organization_id = %(organization)s, v.status = 'verified'
  FROM otp_codesend s JOIN otp_verification v ON v.id = s.verification_id
 WHERE s.phone = %(phone)s AND s.at > %(since)s AND s.test = %(test)s
   AND (NOT s.test OR s.organization_id = %(organization)s)
 ORDER BY s.at DESC
"""


def _history(verification: Verification, now: datetime) -> number_limits.History:
    """Return the codes sent to the number; those of test keys are counted separately."""
    with server_cursor() as cursor:
        cursor.execute(
            _HISTORY,
            {
                "organization": verification.organization_id,
                "phone": verification.phone,
                "since": now - number_limits.DAY,
                "test": verification.test,
            },
        )
        rows = cursor.fetchall()
    own = [(at, verified) for at, is_own, verified in rows if is_own]
    return number_limits.History(
        [at for at, _ in own],
        [] if verification.test else [at for at, _, _ in rows],
        own[0][0] if own and not own[0][1] else None,
    )


def _supersede(newer: Verification, now: datetime) -> None:
    """Supersede the pending verification of the same number, if there is one."""
    live = Verification.objects.select_for_update().filter(
        organization_id=newer.organization_id,
        test=newer.test,
        phone=newer.phone,
        status=Verification.Status.PENDING,
    )
    older = live.first()
    if older is not None:
        over = verify.is_expired(older, now)
        reason = Verification.Reason.EXPIRED if over else Verification.Reason.SUPERSEDED
        completion.complete(older, reason, now)


def _deliver(caller: OtpCaller, verification: Verification, code: str, now: datetime) -> None:
    """Store the verification and accept a message with its code, with urgent priority."""
    expiry = timedelta(seconds=verification.expiry)
    verification.message_id, verification.expires_at = ids.new_uuid(), now + expiry
    verification.save()
    CodeSend.objects.create(
        verification=verification,
        organization_id=verification.organization_id,
        test=verification.test,
        phone=verification.phone,
        message_id=verification.message_id,
        at=now,
    )
    send_request = SendRequest(
        organization_id=verification.organization_id,
        source="otp",
        test=verification.test,
        urgent=True,
        api_key_id=caller.key_id,
        # A code that arrives too late is worse than none.
        validity=expiry,
        hold=False,
    )
    draft = Draft(
        verification.phone,
        texts.rendered(verification.text, code),
        verification.sender or None,
        masked=texts.masked(verification.text, verification.length),
        id=verification.message_id,
    )
    [outcome] = accept(send_request, [draft], known=caller.extra).outcomes
    if isinstance(outcome, Refusal):
        problems = [_renamed(problem) for problem in outcome.problems]
        raise ApiError.of(problems[0], problems[1:])


_FIELDS = {
    "to": "phone",
    "message": "template",
    # The sender ID has sending hours, and a code cannot wait for them.
    "scheduled_at": "sender_id",
}


def _renamed(problem: Problem) -> Problem:
    """Return a message's problem with the field names of this request."""
    return problem.at(_FIELDS.get(problem.field or "", problem.field))
