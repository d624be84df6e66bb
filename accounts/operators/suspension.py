"""Suspension and reinstatement of an organization by operators, with a reason for its members."""

from django.db import transaction

from accounts.audit import trail
from accounts.models import Organization, User
from accounts.operators.reasons import OperatorReason
from imissive.core.errors import ApiError

Status = Organization.Status


def suspend(
    organization: Organization, actor: User, reason: str, *, address: str | None = None
) -> None:
    """Suspend the organization: its API requests and new messages are refused.

    `address` is the operator's IP address. Raises ApiError CONFLICT if it is not active.
    """
    _swap(organization, Status.ACTIVE, Status.SUSPENDED, actor, reason, reason, address)


def reinstate(
    organization: Organization, actor: User, reason: str, *, address: str | None = None
) -> None:
    """Lift the suspension. Raises ApiError CONFLICT if the organization is not suspended."""
    _swap(organization, Status.SUSPENDED, Status.ACTIVE, actor, "", reason, address)


@transaction.atomic
def _swap(
    organization: Organization,
    before: Organization.Status,
    after: Organization.Status,
    actor: User,
    public_reason: str,
    reason: str,
    address: str | None,
) -> None:
    """Change the status by compare-and-swap and record it in the audit log.

    `public_reason` is the text that members read; the audit log gets `reason`.
    """
    mine = Organization.objects.filter(pk=organization.pk, status=before)
    if not mine.update(status=after, suspended_because=public_reason):
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
