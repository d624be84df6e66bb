"""Approval of sender IDs: requests, operators' decisions, the default sender ID, notices.

Every change of status is a compare-and-swap over `_SOURCES`, with its step of the history, its
audit entry and its webhook event in the same transaction.
"""

import uuid
from collections.abc import Collection, Sequence
from typing import Final

from django.db import transaction

from accounts.audit import trail
from accounts.models import Organization, User
from imissive.core import clock, ids
from imissive.core.errors import ApiError
from messaging.models import SenderId, SenderStep
from messaging.routing.cache import tables
from messaging.senders import documents as sender_documents
from messaging.senders.documents import Document
from messaging.senders.reasons import SenderReason
from messaging.sending import sender_names
from webhooks.events import outbox as events
from webhooks.models import EventType

Status = SenderId.Status

MAX_PURPOSE: Final = 200
MAX_SAMPLE: Final = 2000
MOST_PENDING: Final = 50
"""The most requests of one organization that may wait for a decision."""
MOST_IN_TEST: Final = 50
"""The maximum number of an organization's sender IDs in test mode."""

# By status, the statuses from which a sender ID may change to it.
_SOURCES: Final[dict[str, list[str]]] = {
    Status.PENDING: [Status.REJECTED, Status.REVOKED, Status.WITHDRAWN],
    # Only from pending, so that of two operators the second cannot undo the first one's decision
    # unnoticed.
    Status.APPROVED: [Status.PENDING],
    Status.REJECTED: [Status.PENDING],
    Status.REVOKED: [Status.APPROVED],
    Status.WITHDRAWN: [Status.PENDING],
}
DECIDED: Final = [Status.APPROVED, Status.REJECTED, Status.REVOKED]
_MOST_NOTICES: Final = 5
PROMOTIONAL_SUFFIX: Final = "-AD"
"""The suffix of promotional sender IDs, by the rule of Saudi Arabia's regulator."""

_EVENTS: Final = {
    Status.APPROVED: EventType.SENDER_APPROVED,
    Status.REJECTED: EventType.SENDER_REJECTED,
}


def normalize(name: str) -> tuple[str, SenderId.Kind]:
    """Return the sender ID as it is stored and sent, and its kind.

    Raises ApiError INVALID_REQUEST with the reason.
    """
    try:
        name, numeric = sender_names.normalize(name)
    except sender_names.InvalidSenderName as error:
        raise ApiError.of(error.problem.at("name")) from None
    return name, SenderId.Kind.NUMERIC if numeric else SenderId.Kind.ALPHANUMERIC


@transaction.atomic
def request_sender(
    organization: Organization,
    name: str,
    purpose: str = "",
    sample: str = "",
    *,
    use: str = "",
    documents: Sequence[Document] = (),
    without: Collection[uuid.UUID] = (),
    actor: User | None = None,
    address: str | None = None,
    api_key_id: uuid.UUID | None = None,
) -> SenderId:
    """Put a sender ID in the operators' queue, also one that was rejected, revoked or withdrawn.

    `documents` are added to those of earlier requests, of which the ids in `without` are deleted.
    `actor` is the requesting user, or None where it was a program with that API key. Raises
    ApiError: INVALID_REQUEST where it is not a valid sender ID or has too many documents, CONFLICT
    where the organization has it already, or where it or too many others wait for a decision.
    """
    name, kind = normalize(name)
    _check_writable(organization, name)
    _check_texts(purpose, sample)
    # The lock lets one request in at a time, so that MOST_PENDING holds for concurrent ones too.
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    pending = SenderId.objects.filter(organization=organization, status=Status.PENDING)
    full = pending.count() >= MOST_PENDING
    sender, created = SenderId.objects.get_or_create(
        organization=organization,
        name=name,
        defaults={"kind": kind, "purpose": purpose, "sample": sample, "use": use},
    )
    if not created:
        request = {"purpose": purpose, "sample": sample, "use": use, "created_at": clock.now()}
        again = SenderId.objects.filter(pk=sender.pk, status__in=_SOURCES[Status.PENDING]).update(
            status=Status.PENDING, **request
        )
        if not again:
            status = Status(sender.status).label
            raise ApiError(SenderReason.HAD_ALREADY, "name", name=name, status=status)
        sender.refresh_from_db()
    if full:
        raise ApiError(SenderReason.TOO_MANY_PENDING, count=MOST_PENDING)
    sender_documents.keep(sender, documents, without)
    # Notices of earlier decisions do not apply any more.
    SenderStep.objects.filter(sender=sender, dismissed_at=None).update(dismissed_at=clock.now())
    SenderStep.objects.create(
        sender=sender, status=Status.PENDING, actor=actor, at=sender.created_at
    )
    trail.record(
        "sender_id.requested",
        actor=actor,
        organization=organization,
        target=f"{sender.public_id} {name}",
        detail={"api_key": ids.public_id(ids.KEY, api_key_id)} if api_key_id else {},
        address=address,
    )
    return sender


@transaction.atomic
def register_in_test(
    organization: Organization,
    name: str,
    purpose: str = "",
    sample: str = "",
    *,
    address: str | None = None,
    api_key_id: uuid.UUID | None = None,
) -> SenderId:
    """Create a sender ID in test mode, approved immediately: it reaches no handset.

    Raises ApiError: INVALID_REQUEST as `request_sender`; CONFLICT where there is one already, or
    MOST_IN_TEST are there.
    """
    name, kind = normalize(name)
    _check_writable(organization, name)
    _check_texts(purpose, sample)
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    mine = SenderId.in_any_mode.filter(organization=organization, test=True)
    if mine.filter(name=name).exists():
        status = Status.APPROVED.label
        raise ApiError(SenderReason.HAD_ALREADY, "name", name=name, status=status)
    if mine.count() >= MOST_IN_TEST:
        raise ApiError(SenderReason.TOO_MANY_IN_TEST, most=MOST_IN_TEST)
    sender = SenderId.in_any_mode.create(
        organization=organization,
        test=True,
        name=name,
        kind=kind,
        status=Status.APPROVED,
        purpose=purpose,
        sample=sample,
        decided_at=clock.now(),
    )
    trail.record(
        "sender_id.requested",
        actor=None,
        organization=organization,
        target=f"{sender.public_id} {name}",
        detail={"test": True}
        | ({"api_key": ids.public_id(ids.KEY, api_key_id)} if api_key_id else {}),
        address=address,
    )
    _record_event(sender)
    return sender


def _check_texts(purpose: str, sample: str) -> None:
    if len(purpose) > MAX_PURPOSE or "\0" in purpose:
        raise ApiError(SenderReason.BAD_PURPOSE, "purpose", most=MAX_PURPOSE)
    if len(sample) > MAX_SAMPLE or "\0" in sample:
        raise ApiError(SenderReason.BAD_SAMPLE, "sample", most=MAX_SAMPLE)


def _check_writable(organization: Organization, name: str) -> None:
    """Raise ApiError INVALID_REQUEST where no carrier could send with that sender ID."""
    if tables().can_be_written(name, organization.id):
        return
    characters = "".join(dict.fromkeys(c for c in name if not c.isascii())) or name
    raise ApiError(SenderReason.CANNOT_BE_SENT, "name", name=name, characters=characters)


def approve(sender: SenderId, actor: User, *, address: str | None = None) -> None:
    """Approve a pending sender ID.

    Raises ApiError: CONFLICT if it is not pending, INVALID_REQUEST if no carrier could send it.
    """
    _check_writable(sender.organization, sender.name)
    _decide(sender, Status.APPROVED, actor, "", address)


def reject(sender: SenderId, actor: User, reason: str, *, address: str | None = None) -> None:
    """Reject a pending sender ID, with a reason that the customer reads.

    Raises ApiError: INVALID_REQUEST without a reason, CONFLICT if it is not pending.
    """
    _decide(sender, Status.REJECTED, actor, _required(reason), address)


def revoke(sender: SenderId, actor: User, reason: str, *, address: str | None = None) -> None:
    """Revoke an approved sender ID. Messages that are queued with it are still sent.

    Raises ApiError: INVALID_REQUEST without a reason, CONFLICT if it is not approved.
    """
    _decide(sender, Status.REVOKED, actor, _required(reason), address)


def withdraw(sender: SenderId, actor: User, *, address: str | None = None) -> None:
    """Withdraw a pending request. Raises ApiError CONFLICT if it is decided already."""
    _decide(sender, Status.WITHDRAWN, actor, "", address)


def notices_of(organization: Organization) -> list[SenderStep]:
    """Return the latest decisions that no member has dismissed, newest first."""
    decisions = SenderStep.objects.filter(
        sender__organization=organization, status__in=DECIDED, dismissed_at=None
    )
    return list(decisions.select_related("sender").order_by("-id")[:_MOST_NOTICES])


def dismiss(organization: Organization, step_id: int) -> bool:
    """Dismiss a notice. Return False where the organization has no such notice."""
    mine = SenderStep.objects.filter(sender__organization=organization, pk=step_id)
    mine.filter(dismissed_at=None).update(dismissed_at=clock.now())
    return mine.exists()


def make_default(sender: SenderId, actor: User, *, address: str | None = None) -> None:
    """Make a sender ID the organization's default, for requests without a sender.

    Raises ApiError CONFLICT if it is not approved.
    """
    with transaction.atomic():
        # Without the lock, two concurrent calls would violate the unique constraint.
        Organization.objects.select_for_update(no_key=True).get(pk=sender.organization_id)
        others = SenderId.objects.filter(organization=sender.organization_id, is_default=True)
        others.exclude(pk=sender.pk).update(is_default=False)
        if not SenderId.objects.filter(pk=sender.pk, status=Status.APPROVED).update(
            is_default=True
        ):
            raise ApiError(SenderReason.NOT_APPROVED)
        trail.record(
            "sender_id.made_default",
            actor=actor,
            organization=sender.organization,
            target=f"{sender.public_id} {sender.name}",
            address=address,
        )
    sender.refresh_from_db()


def _required(reason: str) -> str:
    reason = reason.strip()
    if not reason:
        raise ApiError(SenderReason.NO_GROUND, "reason")
    return reason[: SenderId._meta.get_field("reason").max_length]


def _decide(
    sender: SenderId, status: SenderId.Status, actor: User, reason: str, address: str | None
) -> None:
    """Change the status, with its history, audit entry and event, in one transaction.

    `sender` is refreshed. Raises ApiError CONFLICT where its status does not allow the change.
    """
    now = clock.now()
    with transaction.atomic():
        changes = {"status": status, "reason": reason, "decided_by": actor, "decided_at": now}
        if status != Status.APPROVED:
            changes["is_default"] = False
        swapped = SenderId.objects.filter(pk=sender.pk, status__in=_SOURCES[status]).update(
            **changes
        )
        sender.refresh_from_db()
        if not swapped:
            raise ApiError(SenderReason.DECIDED, status=Status(sender.status).label)
        notifies_customer = status in DECIDED
        SenderStep.objects.create(
            sender=sender,
            status=status,
            reason=reason,
            actor=actor,
            at=now,
            mail_due_at=now if notifies_customer else None,
            dismissed_at=None if notifies_customer else now,
        )
        trail.record(
            f"sender_id.{status.value}",
            actor=actor,
            organization=sender.organization,
            target=f"{sender.public_id} {sender.name}",
            detail={"reason": reason} if reason else {},
            address=address,
        )
        _record_event(sender)


def _record_event(sender: SenderId) -> None:
    """Record the decision's webhook event, if it has one; wake-ups are sent after the commit."""
    event = _EVENTS.get(SenderId.Status(sender.status))
    if event is None or sender.decided_at is None:
        return
    data: dict[str, object] = {
        "id": sender.public_id,
        "sender_id": sender.name,
        "status": sender.status,
    }
    if sender.reason:
        data["reason"] = sender.reason
    events.record_and_wake_on_commit(
        [
            events.NewEvent(
                organization_id=sender.organization_id,
                type=event,
                at=sender.decided_at,
                message_id=None,
                data=data,
                test=sender.test,
            )
        ]
    )
