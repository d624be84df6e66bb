"""The same message once more: a new one, judged, charged and accepted as any other."""

import uuid
from dataclasses import dataclass
from typing import cast

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.audit import trail
from accounts.models import Member, Organization
from imissive.core import ids
from imissive.core.errors import Problem
from messaging.log.failure_reasons import Text, reason
from messaging.log.problem_messages import told
from messaging.models import Message
from messaging.sending.accept import Accepted, SendRequest, accept
from messaging.sending.estimate import estimate
from messaging.sending.evaluation import TEST_SENDER, Draft
from messaging.sending.limits import spend
from messaging.sending.schemas import Estimate, MessageProblem
from messaging.states import FINAL, Status

_HAVE_ADVICE = ("INVALID_SENDER", "INSUFFICIENT_CREDITS", "DESTINATION_BLOCKED")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What would become of it: `estimate` as the API gives it, what is against it, and what the
    person should know who sends it all the same."""

    estimate: Estimate
    problems: list[tuple[Text, Text]]
    warning: str


def may_be_resent(message: Message) -> bool:
    """Not what holds a one-time password: its text is not known here, and its time is over."""
    return not message.masked_text and message.source != "otp"


def evaluation(message: Message) -> Evaluation:
    """The same verdict that sending gives; nothing is stored or charged."""
    # Of one message, not of a batch.
    estimated = cast("Estimate", estimate(_send_request(message), [_draft(message)]))
    problems = [_in_words(problem) for problem in estimated["problems"]]
    if _is_suspended(message.organization):
        problems.insert(0, (_("The organization is suspended."), _("Please contact support.")))
    return Evaluation(estimated, problems, _warning(message))


def resend(message: Message, member: Member, address: str) -> uuid.UUID | None:
    """Send it once more; the new message's id, or None where it is refused.

    Raises InsufficientCredits, and ApiError where the organization's limit is reached.
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
    nobody = message.test and message.sender == TEST_SENDER
    sender = None if nobody else message.sender
    return Draft(message.to, message.text, sender, message.reference)


def _is_suspended(organization: Organization) -> bool:
    return organization.status != Organization.Status.ACTIVE


def _in_words(problem: MessageProblem) -> tuple[Text, Text]:
    """What is against it, and what to do where its code has words for that."""
    found = reason(problem["code"]) if problem["code"] in _HAVE_ADVICE else None
    return told(Problem(**problem)), found.to_do if found else ""


def _warning(message: Message) -> str:
    if message.status == Status.DELIVERED:
        return _("The first one was delivered: the person gets the same text twice.")
    if Status(message.status) not in FINAL:
        return _("The first one is on its way still: the person may get the same text twice.")
    if message.error_code in ("NO_RESPONSE", "UNRECORDED", "NO_MESSAGE_ID"):
        return _("The first one may have arrived: the person may get the same text twice.")
    return ""
