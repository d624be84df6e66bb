"""Resend: the same message once more, as a new one that is evaluated, charged and accepted."""

import uuid
from dataclasses import dataclass

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.api.reasons import CallReason
from accounts.audit import trail
from accounts.models import Member, Organization
from imissive.core import ids
from imissive.core.problems import Problem, sentence
from messaging.log.failure_reasons import Text, reason
from messaging.models import Message
from messaging.sending.accept import Accepted, SendRequest, accept
from messaging.sending.estimate import estimate
from messaging.sending.evaluation import TEST_SENDER, Draft, Opinion
from messaging.sending.limits import spend
from messaging.states import FINAL, Status

_HAVE_ADVICE = ("INVALID_SENDER", "INSUFFICIENT_CREDITS", "DESTINATION_BLOCKED")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What would become of it: the opinion on the message, what is against it with what to do, and
    a warning for who sends it all the same."""

    opinion: Opinion
    problems: list[tuple[Text, Text]]
    warning: str


def may_be_resent(message: Message) -> bool:
    """Return whether the message may be sent again: not one with a one-time password.

    Its text is masked, and the code has expired.
    """
    return not message.masked_text and message.source != "otp"


def evaluation(message: Message) -> Evaluation:
    """The same verdict that sending gives; nothing is stored or charged."""
    suspended = CallReason.ORGANIZATION_SUSPENDED.problem()
    against = [suspended] if _is_suspended(message.organization) else []
    estimated = estimate(_send_request(message), [_draft(message)], against=against)
    opinion = estimated.opinions[0]
    problems = [_in_words(problem) for problem in estimated.problems_of(opinion)]
    return Evaluation(opinion, problems, _warning(message))


def resend(message: Message, member: Member, address: str) -> uuid.UUID | None:
    """Send a message again; return the new message's id, or None where it is refused.

    Raises InsufficientCredits, and ApiError where the organization's rate limit is reached.
    """
    if _is_suspended(message.organization):
        return None
    spend(message.organization, 1)
    with transaction.atomic():
        outcome = accept(_send_request(message), [_draft(message)]).outcomes[0]
        if not isinstance(outcome, Accepted):
            return None
        trail.record(
            "message.resent",
            actor=member.user,
            organization=member.organization,
            target=message.public_id,
            detail={"message": ids.public_id(ids.MESSAGE, outcome.id)},
            address=address,
        )
    return outcome.id


def _send_request(message: Message) -> SendRequest:
    return SendRequest(message.organization_id, source="dashboard", test=message.test, urgent=True)


def _draft(message: Message) -> Draft:
    unnamed = message.test and message.sender == TEST_SENDER
    sender = None if unnamed else message.sender
    return Draft(message.to, message.text, sender, message.reference)


def _is_suspended(organization: Organization) -> bool:
    return organization.status != Organization.Status.ACTIVE


def _in_words(problem: Problem) -> tuple[Text, Text]:
    """Return what is against it, and what to do where its code has advice for that."""
    found = reason(problem.code) if problem.code in _HAVE_ADVICE else None
    return sentence(problem), found.to_do if found else ""


def _warning(message: Message) -> str:
    if message.status == Status.DELIVERED:
        return _("The first one was delivered: the person gets the same text twice.")
    if Status(message.status) not in FINAL:
        return _("The first one is on its way still: the person may get the same text twice.")
    if message.error_code in ("NO_RESPONSE", "UNRECORDED"):
        return _("The first one may have arrived: the person may get the same text twice.")
    return ""
