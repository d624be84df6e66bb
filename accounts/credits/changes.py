"""Top-ups and corrections by operators: once for each form, large ones by two operators.

A change has the id of the form that asked for it, which is also its reference in the ledger: a
form that is posted twice, concurrently or after a crash, changes the balance once.
"""

import uuid
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.db.models.functions import Abs

from accounts.audit import trail
from accounts.credits import ledger
from accounts.credits.reasons import CreditsReason
from accounts.models import Balance, CreditChange, Organization, User
from imissive.core import clock
from imissive.core.errors import ApiError

Status = CreditChange.Status
PERIOD = timedelta(hours=24)
"""Changes of one organization in this time count together, so that a large one is not split."""


def balance_of(organization: Organization) -> int:
    """Return the organization's balance in micro-credits, as it is now."""
    found = Balance.objects.filter(organization=organization).first()
    return found.micro if found else 0


def needs_second_operator(organization: Organization, micro: int) -> bool:
    """Return whether a change by that amount needs another operator's approval.

    It does if the absolute amounts of this change and of the organization's unapproved changes in
    PERIOD add up to more than CREDITS_SECOND_OPERATOR_ABOVE.
    """
    alone = CreditChange.objects.filter(
        organization=organization,
        status=Status.APPLIED,
        decided_by=None,
        created_at__gt=clock.now() - PERIOD,
    )
    before = alone.aggregate(total=Sum(Abs("micro")))["total"] or 0
    return bool(before + abs(micro) > settings.CREDITS_SECOND_OPERATOR_ABOVE)


def request_change(
    reference: uuid.UUID,
    organization: Organization,
    micro: int,
    reason: str,
    *,
    actor: User,
    address: str = "",
) -> CreditChange:
    """Change the balance by `micro` micro-credits, or store the change for a second operator.

    Raises ApiError: CONFLICT if the form was already posted, INSUFFICIENT_CREDITS if the balance
    does not cover a correction.
    """
    with transaction.atomic():
        # One at a time, so that concurrent changes count together.
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        waits = needs_second_operator(organization, micro)
        change, created = CreditChange.objects.get_or_create(
            id=reference,
            defaults={
                "organization": organization,
                "micro": micro,
                "reason": reason,
                "requested_by": actor,
                "status": Status.WAITING if waits else Status.APPLIED,
            },
        )
        if not created:
            raise ApiError(CreditsReason.CHANGED_ALREADY)
        if waits:
            _record("credits.requested", change, actor, address)
        else:
            _apply(change, actor, address)
    return change


def approve(change: CreditChange, *, actor: User, address: str = "") -> None:
    """Apply a waiting change as its second operator.

    Raises ApiError: FORBIDDEN for the operator who requested it, CONFLICT if it is decided,
    INSUFFICIENT_CREDITS if the balance does not cover a correction.
    """
    with transaction.atomic():
        change = _locked(change)
        if change.requested_by_id == actor.pk:
            raise ApiError(CreditsReason.SECOND_OPERATOR)
        _decide(change, Status.APPLIED, actor)
        _apply(change, actor, address)


def decline(change: CreditChange, *, actor: User, address: str = "") -> None:
    """Decline a waiting change, also one's own. Raises ApiError CONFLICT."""
    with transaction.atomic():
        change = _locked(change)
        _decide(change, Status.DECLINED, actor)
        _record("credits.declined", change, actor, address)


def _locked(change: CreditChange) -> CreditChange:
    locked = CreditChange.objects.select_for_update(of=("self",)).select_related("organization")
    found = locked.get(pk=change.pk)
    if found.status != Status.WAITING:
        status = Status(found.status).label
        raise ApiError(CreditsReason.CHANGE_DECIDED, status=status)
    return found


def _decide(change: CreditChange, status: CreditChange.Status, actor: User) -> None:
    change.status, change.decided_by, change.decided_at = status, actor, clock.now()
    change.save(update_fields=["status", "decided_by", "decided_at"])


def _apply(change: CreditChange, actor: User, address: str) -> None:
    try:
        ledger.adjust(
            change.organization,
            change.micro,
            reason=change.reason,
            actor=change.requested_by,
            reference=change.id,
        )
    except ledger.InsufficientCredits:
        raise ApiError(CreditsReason.CORRECTION_NOT_COVERED) from None
    _record("credits.adjusted", change, actor, address)


def _record(action: str, change: CreditChange, actor: User, address: str) -> None:
    detail = {"credits": ledger.credits_text(change.micro), "reason": change.reason}
    if change.requested_by_id != actor.pk:
        detail["requested_by"] = str(change.requested_by)
    trail.record(
        action,
        actor=actor,
        organization=change.organization,
        target=str(change.organization),
        detail=detail,
        address=address,
    )
