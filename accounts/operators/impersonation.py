"""Operators who act as a customer: for half an hour at most, with a reason, and seen by everybody.

The session of who acts names the row; the row says for whom and until when. Each request looks at
both, so that ending it, or taking the right away, works at once. What is done meanwhile is in the
audit log with the operator as its actor and the reason, where the customer's members read it.
"""

from datetime import timedelta
from typing import Final

from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction
from django.utils import timezone

from accounts.audit import trail
from accounts.models import Acting, Member, Organization, User
from accounts.operators.reasons import OperatorReason
from accounts.roles import ACTING
from imissive.core.errors import ApiError

LONGEST: Final = timedelta(minutes=30)
PERMISSION: Final = "accounts.act_as_customer"
_SESSION: Final = "acting"


@transaction.atomic
def begin(
    session: SessionBase,
    operator: User,
    organization: Organization,
    reason: str,
    *,
    address: str | None = None,
) -> Acting:
    """Have the operator act as the organization in that session; whatever they acted as ends.

    Raises ApiError CONFLICT for a member, who can come in by themselves.
    """
    if Member.objects.filter(user=operator, organization=organization).exists():
        raise ApiError(OperatorReason.OWN_ORGANIZATION)
    end(session, operator, address=address)
    now = timezone.now()
    acting = Acting.objects.create(
        operator=operator,
        organization=organization,
        reason=reason,
        started_at=now,
        ends_at=now + LONGEST,
    )
    session[_SESSION] = acting.pk
    trail.record(
        "acting.began",
        actor=operator,
        organization=organization,
        target=str(organization),
        detail={"reason": reason},
        address=address,
    )
    return acting


@transaction.atomic
def end(session: SessionBase, operator: User, *, address: str | None = None) -> Acting | None:
    """End what the session acts as, if anything; what that was."""
    acting = _of(session, operator)
    session.pop(_SESSION, None)
    if acting is None:
        return None
    now = timezone.now()
    if Acting.objects.filter(pk=acting.pk, ended_at=None).update(ended_at=now):
        trail.record(
            "acting.ended",
            actor=operator,
            organization=acting.organization,
            target=str(acting.organization),
            detail={"reason": acting.reason},
            address=address,
        )
    return acting


def _of(session: SessionBase, operator: User) -> Acting | None:
    """What the session's operator began to act as, however long ago."""
    wanted = session.get(_SESSION)
    if wanted is None:
        return None
    mine = Acting.objects.filter(pk=wanted, operator=operator).select_related("organization")
    return mine.first()


def acting_as(session: SessionBase, user: User, organization_id: object) -> Acting | None:
    """What `user` acts, or has acted until lately, as that organization; see `Acting.over`.

    None too for whoever lost the right to it meanwhile.
    """
    acting = _of(session, user) if user.is_staff else None
    if acting is None or acting.organization_id != organization_id or acting.ended_at is not None:
        return None
    return acting if user.has_perm(PERMISSION) else None


def member_for(acting: Acting) -> Member:
    """The member that pages take the operator for: no row of any table."""
    member = Member(organization=acting.organization, user=acting.operator, role=ACTING)
    member.acting = acting
    return member
