"""Impersonation: an operator uses a customer's dashboard, for half an hour at most, with a reason.

The operator's session holds the id of the Impersonation row, which names the organization and the
end. Each request checks both, so ending it or revoking the permission takes effect immediately.
Every change made meanwhile is in the customer's audit log with the operator and the reason.
"""

from datetime import timedelta
from typing import Final

from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction
from django.utils import timezone

from accounts.audit import trail
from accounts.models import Acting, Member, Organization, User
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
    """Start an impersonation of the organization in the session, and end any earlier one.

    `address` is the operator's IP address, for the audit log. Raises ApiError CONFLICT for a member
    of the organization, who needs no impersonation.
    """
    if Member.objects.filter(user=operator, organization=organization).exists():
        raise ApiError("CONFLICT", "You are a member of this organization: open its dashboard.")
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
    """End the session's impersonation, if there is one, and return it."""
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
    """Return the impersonation that the session refers to, also if it is over."""
    wanted = session.get(_SESSION)
    if wanted is None:
        return None
    mine = Acting.objects.filter(pk=wanted, operator=operator).select_related("organization")
    return mine.first()


def acting_as(session: SessionBase, user: User, organization_id: object) -> Acting | None:
    """Return the user's impersonation of the organization; check `Acting.over` before using it.

    None if there is none, if it was ended, or if the user has lost the permission meanwhile.
    """
    acting = _of(session, user) if user.is_staff else None
    if acting is None or acting.organization_id != organization_id or acting.ended_at is not None:
        return None
    return acting if user.has_perm(PERMISSION) else None


def member_for(acting: Acting) -> Member:
    """Return the unsaved Member that represents the impersonating operator on pages."""
    member = Member(organization=acting.organization, user=acting.operator, role=ACTING)
    member.acting = acting
    return member
