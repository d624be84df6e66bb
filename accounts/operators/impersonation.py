"""Impersonation: an operator uses a customer's dashboard, for half an hour at most, with a reason.

The operator's session holds the id of the Impersonation row, which names the organization and the
end. Each request checks both, so ending it or revoking the permission takes effect immediately.
Every change made meanwhile is in the customer's audit log with the operator and the reason.
"""

from datetime import timedelta
from typing import Final

from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction

from accounts.audit import trail
from accounts.models import Impersonation, Member, Organization, User
from accounts.operators.reasons import OperatorReason
from accounts.roles import IMPERSONATOR
from imissive.core import clock
from imissive.core.errors import ApiError

MAX_DURATION: Final = timedelta(minutes=30)
PERMISSION: Final = "accounts.act_as_customer"
_SESSION: Final = "acting"


@transaction.atomic
def start(
    session: SessionBase,
    operator: User,
    organization: Organization,
    reason: str,
    *,
    address: str | None = None,
) -> Impersonation:
    """Start an impersonation of the organization in the session, and end any earlier one.

    `address` is the operator's IP address, for the audit log. Raises ApiError CONFLICT for a member
    of the organization, who needs no impersonation.
    """
    if Member.objects.filter(user=operator, organization=organization).exists():
        raise ApiError(OperatorReason.OWN_ORGANIZATION)
    end(session, operator, address=address)
    now = clock.now()
    impersonation = Impersonation.objects.create(
        operator=operator,
        organization=organization,
        reason=reason,
        started_at=now,
        ends_at=now + MAX_DURATION,
    )
    session[_SESSION] = impersonation.pk
    trail.record(
        "acting.began",
        actor=operator,
        organization=organization,
        target=str(organization),
        detail={"reason": reason},
        address=address,
    )
    return impersonation


@transaction.atomic
def end(
    session: SessionBase, operator: User, *, address: str | None = None
) -> Impersonation | None:
    """End the session's impersonation, if there is one, and return it."""
    impersonation = _from_session(session, operator)
    session.pop(_SESSION, None)
    if impersonation is None:
        return None
    now = clock.now()
    if Impersonation.objects.filter(pk=impersonation.pk, ended_at=None).update(ended_at=now):
        trail.record(
            "acting.ended",
            actor=operator,
            organization=impersonation.organization,
            target=str(impersonation.organization),
            detail={"reason": impersonation.reason},
            address=address,
        )
    return impersonation


def _from_session(session: SessionBase, operator: User) -> Impersonation | None:
    """Return the impersonation that the session refers to, also if it is over."""
    pk = session.get(_SESSION)
    if pk is None:
        return None
    mine = Impersonation.objects.filter(pk=pk, operator=operator).select_related("organization")
    return mine.first()


def impersonation_of(
    session: SessionBase, user: User, organization_id: object
) -> Impersonation | None:
    """Return the user's impersonation of the organization; check `is_over` before using it.

    None if there is none, if it was ended, or if the user has lost the permission meanwhile.
    """
    impersonation = _from_session(session, user) if user.is_staff else None
    if (
        impersonation is None
        or impersonation.organization_id != organization_id
        or impersonation.ended_at is not None
    ):
        return None
    return impersonation if user.has_perm(PERMISSION) else None


def member_for(impersonation: Impersonation) -> Member:
    """Return the unsaved Member that represents the impersonating operator on pages."""
    member = Member(
        organization=impersonation.organization, user=impersonation.operator, role=IMPERSONATOR
    )
    member.impersonation = impersonation
    return member
