"""Sender IDs on pages: their order in lists, their history, and notices of decisions."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Case, IntegerField, QuerySet, Value, When
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.models import Member, User
from accounts.roles import Action, may
from messaging.models import SenderId, SenderStep
from messaging.senders import approval

Status = SenderId.Status

TONES = {
    Status.PENDING: "late",
    Status.APPROVED: "good",
    Status.REJECTED: "bad",
    Status.REVOKED: "bad",
    Status.WITHDRAWN: "still",
}
_TITLES: dict[str, Promise] = {
    Status.PENDING: _("Requested"),
    Status.APPROVED: _("Approved"),
    Status.REJECTED: _("Rejected"),
    Status.REVOKED: _("Revoked"),
    Status.WITHDRAWN: _("Withdrawn"),
}
_ORDER = Case(
    *(
        When(status=status, then=Value(place))
        for place, status in enumerate(
            (
                Status.PENDING,
                Status.APPROVED,
                Status.REJECTED,
                Status.REVOKED,
                Status.WITHDRAWN,
            )
        )
    ),
    output_field=IntegerField(),
)


@dataclass(frozen=True, slots=True)
class HistoryStep:
    """A step of the history for people. `by` is None where a program requested it."""

    title: Promise
    tone: str
    at: datetime
    reason: str
    by: User | None
    by_operator: bool


def in_order(found: QuerySet[SenderId]) -> QuerySet[SenderId]:
    """Return sender IDs ordered by status: pending, approved, then the others; newest first."""
    return found.order_by(_ORDER, "-is_default", "-created_at", "-id")


def history_of(sender: SenderId) -> list[HistoryStep]:
    """Return every step of a sender ID's history, newest first."""
    steps = SenderStep.objects.filter(sender=sender).select_related("actor").order_by("-id")
    members = set(
        Member.objects.filter(organization=sender.organization_id).values_list("user_id", flat=True)
    )
    return [
        HistoryStep(
            _TITLES[step.status],
            TONES[Status(step.status)],
            step.at,
            step.reason,
            step.actor,
            by_operator=_by_operator(step, members),
        )
        for step in steps
    ]


def _by_operator(step: SenderStep, members: set[int]) -> bool:
    """Return whether an operator made the step; customers do not see operators' names."""
    if step.status in approval.DECIDED:
        return True
    return step.actor is not None and step.actor.is_staff and step.actor_id not in members


def notices_for(member: Member) -> list[SenderStep]:
    """Return the undismissed decisions for a member who may manage sender IDs; none for others."""
    if not may(member.role, Action.MANAGE_SENDERS):
        return []
    return approval.notices_of(member.organization)
