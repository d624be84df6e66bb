"""Operators suspend an organization, with a reason that its members read, and let it go on."""

from django.db import transaction

from accounts.audit import trail
from accounts.models import Organization, User
from accounts.operators.reasons import OperatorReason
from imissive.core.errors import ApiError

Status = Organization.Status


def suspend(
    organization: Organization, actor: User, reason: str, *, address: str | None = None
) -> None:
    """Refuse its new messages and calls. Raises ApiError CONFLICT if it is not active."""
    _swap(organization, Status.ACTIVE, Status.SUSPENDED, actor, reason, reason, address)


def reinstate(
    organization: Organization, actor: User, reason: str, *, address: str | None = None
) -> None:
    """Let it go on. Raises ApiError CONFLICT if it is not suspended."""
    _swap(organization, Status.SUSPENDED, Status.ACTIVE, actor, "", reason, address)


@transaction.atomic
def _swap(
    organization: Organization,
    before: Organization.Status,
    after: Organization.Status,
    actor: User,
    told: str,
    reason: str,
    address: str | None,
) -> None:
    """A compare-and-swap of the status, with its audit entry; `told` is what members read."""
    mine = Organization.objects.filter(pk=organization.pk, status=before)
    if not mine.update(status=after, suspended_because=told):
        organization.refresh_from_db()
        raise ApiError(OperatorReason.STATUS_CHANGED, status=Status(organization.status).label)
    trail.record(
        "organization.suspended" if after == Status.SUSPENDED else "organization.reinstated",
        actor=actor,
        organization=organization,
        target=str(organization),
        detail={"reason": reason},
        address=address,
    )
