"""The same message once more: a new one, judged, charged and accepted as any other."""

import uuid
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from accounts import audit
from accounts.models import Member, Organization
from imissive import ids
from imissive.errors import Problem
from messaging.composing import spend
from messaging.estimating import estimate
from messaging.models import Message
from messaging.problem_words import told
from messaging.reasons import Text, reason
from messaging.sending import Accepted, Order, accept
from messaging.states import FINAL, Status
from messaging.verdicts import TEST_SENDER, Draft

_HAVE_ADVICE = ("INVALID_SENDER", "INSUFFICIENT_CREDITS", "DESTINATION_BLOCKED")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What would become of it: `estimate` as the API gives it, what is against it, and what the
    person should know who sends it all the same."""

    estimate: dict[str, Any]
    problems: list[tuple[Text, Text]]
    warning: str


def may_be_resent(message: Message) -> bool:
    """Not what holds a one-time password: its text is not known here, and its time is over."""
    return not message.masked_text and message.source != "otp"


def verdict(message: Message) -> Verdict:
    """The same verdict that sending gives; nothing is stored or charged."""
    estimated = estimate(_order(message), [_draft(message)])
    problems = [_in_words(problem) for problem in estimated["problems"]]
    if _is_suspended(message.organization):
        problems.insert(0, (_("The organization is suspended."), _("Please contact support.")))
    return Verdict(estimated, problems, _warning(message))


def resend(message: Message, member: Member, address: str) -> uuid.UUID | None:
    """Send it once more; the new message's id, or None where it is refused.

    Raises InsufficientCredits, and ApiError where the organization's limit is reached.
    """
    if _is_suspended(message.organization):
        return None
    spend(message.organization, 1)
    with transaction.atomic():
        outcome = accept(_order(message), [_draft(message)]).outcomes[0]
        if not isinstance(outcome, Accepted):
            return None
        audit.record(
            "message.resent",
            actor=member.user,
            organization=member.organization,
            target=message.public_id,
            detail={"message": ids.public_id(ids.MESSAGE, outcome.id)},
            address=address,
        )
    return outcome.id


def _order(message: Message) -> Order:
    return Order(message.organization_id, source="dashboard", test=message.test, urgent=True)


def _draft(message: Message) -> Draft:
    nobody = message.test and message.sender == TEST_SENDER
    sender = None if nobody else message.sender
    return Draft(message.to, message.text, sender, message.reference)


def _is_suspended(organization: Organization) -> bool:
    return organization.status != Organization.Status.ACTIVE


def _in_words(problem: dict[str, Any]) -> tuple[Text, Text]:
    """What is against it, and what to do where its code has words for that."""
    found = reason(problem["code"]) if problem["code"] in _HAVE_ADVICE else None
    return told(Problem(**problem)), found.to_do if found else ""


def _warning(message: Message) -> str:
    if message.status == Status.DELIVERED:
        return _("The first one was delivered: the person gets the same text twice.")
    if Status(message.status) not in FINAL:
        return _("The first one is on its way still: the person may get the same text twice.")
    if message.error_code in ("NO_RESPONSE", "UNRECORDED"):
        return _("The first one may have arrived: the person may get the same text twice.")
    return ""
