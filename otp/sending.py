"""Sending codes: the verification and the message with its code are committed together or not.

Sends to one number run one after the other, whoever they are for: an advisory lock, so that the
limits hold under concurrency. The order of locks: a number, its verification, messages, balances.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from accounts.ledger import InsufficientCredits
from imissive import clock, ids
from imissive.errors import ApiError, Problem
from imissive.sql import server_cursor
from messaging import numbers
from messaging.sending import Order, accept
from messaging.verdicts import Draft, Refusal
from otp import allowance, codes, ending, pumping, texts, verifying
from otp.askers import Asker
from otp.models import CodeSend, Verification
from otp.rules import Rules, rules_of


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller wants: `text` as `texts.compose` made it, `sender` None for the default one.

    `length` in digits, `expiry` in seconds.
    """

    phone: str
    text: str
    length: int
    expiry: int
    sender: str | None
    for_retriever: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """A verification whose code was accepted for sending. `code` is for test keys' callers only."""

    verification: Verification
    code: str


def send(caller: Asker, asked: Asked) -> Sent:
    """Begin a verification and send its code. One that is still live for the number ends.

    Raises ApiError: what a message is refused for (with this call's field names), and
    INVALID_PHONE, DESTINATION_BLOCKED, OTP_COOLDOWN, TOO_MANY_ATTEMPTS, MESSAGE_TOO_LONG.
    """
    number = _parse(asked.phone)
    verification = Verification(
        organization_id=caller.organization_id,
        test=caller.test,
        phone=number.e164,
        country=number.country,
        prefix=pumping.prefix_of(number),
        sender=asked.sender or "",
        length=asked.length,
        expiry=asked.expiry,
        text=asked.text,
    )
    code, secret = codes.make(verification.id, asked.length)
    verification.seed, verification.key_id = secret.seed, secret.key_id
    verification.digest = secret.digest
    if asked.for_retriever:
        texts.check_retriever(texts.rendered(asked.text, code))
    rules = rules_of(caller.organization_id)
    with _whole():
        lock_number(number.e164)
        now = _admit(verification, rules)
        _supersede(verification, now)
        verification.created_at = now
        _deliver(caller, verification, code, now)
    return Sent(verification, code)


def resend(caller: Asker, otp_id: str) -> Sent:
    """Send a pending verification's code once more, and give it its full time again.

    Raises ApiError: NOT_FOUND; ALREADY_VERIFIED; CONFLICT where it has ended; and as `send`.
    """
    phone = verifying.find(caller, otp_id).phone
    rules = rules_of(caller.organization_id)
    with _whole():
        lock_number(phone)
        verification = verifying.find(caller, otp_id, lock=True)
        verifying.refuse_verified(verification)
        code = _code_again(verification)
        if code is None:
            raise ApiError("CONFLICT", "This code is not valid any more. Send a new one.")
        now = _admit(verification, rules)
        # Two messages with one code would only confuse.
        ending.take_back(verification)
        _deliver(caller, verification, code, now)
    return Sent(verification, code)


def _code_again(verification: Verification) -> str | None:
    """The code of a verification, or None where it is right no more."""
    if not verifying.is_live(verification, clock.now()):
        return None
    try:
        return codes.code_of(verification.id, verification.length, verification.secret)
    except codes.KeyLost:
        return None


@contextlib.contextmanager
def _whole() -> Iterator[None]:
    """All of it or nothing, and what is refused in the API's words."""
    try:
        with transaction.atomic():
            yield
    except InsufficientCredits:
        told = "The balance does not cover this. Nothing was sent or charged."
        raise ApiError("INSUFFICIENT_CREDITS", told) from None


def lock_number(phone: str) -> None:
    """Wait for other sends to that number, and hold up later ones to the transaction's end."""
    with server_cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"otp {phone}"])


def _parse(phone: str) -> numbers.Number:
    try:
        return numbers.parse(phone)
    except numbers.InvalidNumber as error:
        reason = error.reason
        told = f"{reason[:1].upper()}{reason[1:]}."
        raise ApiError("INVALID_PHONE", told, field="phone") from None


def _admit(verification: Verification, rules: Rules) -> datetime:
    """Refuse where the rules do, else say what time it is. The number's lock is held."""
    if not rules.allow(verification.country):
        told = f"Codes to this country ({verification.country}) are not enabled."
        raise ApiError("DESTINATION_BLOCKED", told, field="phone")
    now = clock.now()
    if rules.enforces and not verification.test:
        pumping.check(verification.organization_id, verification.phone, now)
    allowance.check(_history(verification, now), rules, settings.OTP_NUMBER_LIMIT_DAY, now)
    return now


_HISTORY = """
SELECT s.at, s.organization_id = %(organization)s, v.status = 'verified'
  FROM otp_codesend s JOIN otp_verification v ON v.id = s.verification_id
 WHERE s.phone = %(phone)s AND s.at > %(since)s AND s.test = %(test)s
   AND (NOT s.test OR s.organization_id = %(organization)s)
 ORDER BY s.at DESC
"""


def _history(verification: Verification, now: datetime) -> allowance.History:
    """What went to the number. Test keys' codes reach nobody: they count by themselves."""
    with server_cursor() as cursor:
        cursor.execute(
            _HISTORY,
            {
                "organization": verification.organization_id,
                "phone": verification.phone,
                "since": now - allowance.DAY,
                "test": verification.test,
            },
        )
        rows = cursor.fetchall()
    own = [(at, proved) for at, is_own, proved in rows if is_own]
    return allowance.History(
        [at for at, _ in own],
        [] if verification.test else [at for at, _, _ in rows],
        own[0][0] if own and not own[0][1] else None,
    )


def _supersede(newer: Verification, now: datetime) -> None:
    """End what is live for the number."""
    live = Verification.objects.select_for_update().filter(
        organization_id=newer.organization_id,
        test=newer.test,
        phone=newer.phone,
        status=Verification.Status.PENDING,
    )
    older = live.first()
    if older is not None:
        over = verifying.is_over(older, now)
        reason = Verification.Reason.EXPIRED if over else Verification.Reason.SUPERSEDED
        ending.end(older, reason, now)


def _deliver(caller: Asker, verification: Verification, code: str, now: datetime) -> None:
    """Store the verification and accept a message with its code, on the lane nothing holds up."""
    span = timedelta(seconds=verification.expiry)
    verification.message_id, verification.expires_at = ids.new_uuid(), now + span
    verification.save()
    CodeSend.objects.create(
        verification=verification,
        organization_id=verification.organization_id,
        test=verification.test,
        phone=verification.phone,
        message_id=verification.message_id,
        at=now,
    )
    order = Order(
        organization_id=verification.organization_id,
        source="otp",
        test=verification.test,
        urgent=True,
        api_key_id=caller.key_id,
        # A code that comes too late is worse than none.
        validity=span,
        hold=False,
    )
    draft = Draft(
        verification.phone,
        texts.rendered(verification.text, code),
        verification.sender or None,
        masked=texts.masked(verification.text, verification.length),
        id=verification.message_id,
    )
    [outcome] = accept(order, [draft], known=caller.extra).outcomes
    if isinstance(outcome, Refusal):
        problems = [_renamed(problem) for problem in outcome.problems]
        raise ApiError.of(problems[0], problems[1:])


_FIELDS = {
    "to": "phone",
    "message": "template",
    # A sender whose country has hours: no code can wait for them.
    "scheduled_at": "sender_id",
}


def _renamed(problem: Problem) -> Problem:
    """What is refused of a message, by the names of this call's fields."""
    return replace(problem, field=_FIELDS.get(problem.field or "", problem.field))
