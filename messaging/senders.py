"""Sender IDs: what may be one, and the way from a request to an operator's decision.

Every change of status is a compare-and-swap over `_SOURCES`, with its step of the history, its
audit entry and its webhook event in the same transaction.
"""

import uuid
from collections.abc import Collection, Sequence
from typing import Final

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import Organization, User
from imissive import ids
from imissive.errors import ApiError
from messaging import sender_documents, sender_names
from messaging.models import SenderId, SenderStep
from messaging.sender_documents import Document
from messaging.tables import tables
from webhooks import events
from webhooks.models import EventType

Status = SenderId.Status

MAX_PURPOSE: Final = 200
MAX_SAMPLE: Final = 2000
MOST_PENDING: Final = 50
"""Requests of one organization that may wait for a decision."""

# What a sender ID must have been for it to become that.
_SOURCES: Final[dict[str, list[str]]] = {
    Status.PENDING: [Status.REJECTED, Status.REVOKED, Status.WITHDRAWN],
    # Only from pending, so that of two operators the second cannot undo the first unawares.
    Status.APPROVED: [Status.PENDING],
    Status.REJECTED: [Status.PENDING],
    Status.REVOKED: [Status.APPROVED],
    Status.WITHDRAWN: [Status.PENDING],
}
DECIDED: Final = [Status.APPROVED, Status.REJECTED, Status.REVOKED]
_MOST_NOTICES: Final = 5
PROMOTIONAL_SUFFIX: Final = "-AD"
"""What promotional sender IDs end in, by the rule of Saudi Arabia's regulator."""

_EVENTS: Final = {
    Status.APPROVED: EventType.SENDER_APPROVED,
    Status.REJECTED: EventType.SENDER_REJECTED,
}


def normalize(name: str) -> tuple[str, SenderId.Kind]:
    """The sender ID as it is stored and sent, and its kind.

    Raises ApiError INVALID_REQUEST that says what is wrong.
    """
    try:
        name, numeric = sender_names.normalize(name)
    except sender_names.InvalidSenderName as error:
        raise ApiError("INVALID_REQUEST", str(error), field="name") from None
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
    """Put a sender ID in the operators' queue; one that is not in use may be asked for again.

    `documents` are kept beside those of earlier requests, of which the ids in `without` go. `actor`
    is who asks, or None where it was a program with that API key. Raises ApiError:
    INVALID_REQUEST where it cannot be a sender ID or has too many documents, CONFLICT where the
    organization has it already, waits for it, or waits for too many.
    """
    name, kind = normalize(name)
    _check_writable(organization, name)
    for field, value, limit in (("purpose", purpose, MAX_PURPOSE), ("sample", sample, MAX_SAMPLE)):
        if len(value) > limit or "\0" in value:
            told = f"The {field} has {limit} characters at most, NUL not among them."
            raise ApiError("INVALID_REQUEST", told, field=field)
    # One at a time, so that no more than that wait.
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    pending = SenderId.objects.filter(organization=organization, status=Status.PENDING)
    full = pending.count() >= MOST_PENDING
    sender, created = SenderId.objects.get_or_create(
        organization=organization,
        name=name,
        defaults={"kind": kind, "purpose": purpose, "sample": sample, "use": use},
    )
    if not created:
        asked = {"purpose": purpose, "sample": sample, "use": use, "created_at": timezone.now()}
        again = SenderId.objects.filter(pk=sender.pk, status__in=_SOURCES[Status.PENDING]).update(
            status=Status.PENDING, **asked
        )
        if not again:
            told = f"The sender ID {name!r} is {sender.get_status_display().lower()} already."
            raise ApiError("CONFLICT", told, field="name")
        sender.refresh_from_db()
    if full:
        told = f"{MOST_PENDING} sender IDs wait for a decision already: wait for one of them."
        raise ApiError("CONFLICT", told)
    sender_documents.keep(sender, documents, without)
    # What was decided before does not count any more.
    SenderStep.objects.filter(sender=sender, dismissed_at=None).update(dismissed_at=timezone.now())
    SenderStep.objects.create(
        sender=sender, status=Status.PENDING, actor=actor, at=sender.created_at
    )
    audit.record(
        "sender_id.requested",
        actor=actor,
        organization=organization,
        target=f"{sender.public_id} {name}",
        detail={"api_key": ids.public_id(ids.KEY, api_key_id)} if api_key_id else {},
        address=address,
    )
    return sender


def _check_writable(organization: Organization, name: str) -> None:
    """Raise ApiError INVALID_REQUEST where no carrier could send with that sender ID."""
    if tables().can_be_written(name, organization.id):
        return
    strange = "".join(dict.fromkeys(c for c in name if not c.isascii())) or name
    message = (
        f"The sender ID {name!r} cannot be sent: no carrier takes {strange!r} in a sender ID. Use"
        " Latin letters and digits, such as MyCompany."
    )
    raise ApiError("INVALID_REQUEST", message, field="name")


def approve(sender: SenderId, actor: User, *, address: str | None = None) -> None:
    """Let the organization send with it.

    Raises ApiError: CONFLICT if it is not pending, INVALID_REQUEST if no carrier could send it.
    """
    _check_writable(sender.organization, sender.name)
    _decide(sender, Status.APPROVED, actor, "", address)


def reject(sender: SenderId, actor: User, reason: str, *, address: str | None = None) -> None:
    """Refuse a pending request, with the reason that the customer reads.

    Raises ApiError: INVALID_REQUEST without a reason, CONFLICT if it is not pending any more.
    """
    _decide(sender, Status.REJECTED, actor, _required(reason), address)


def revoke(sender: SenderId, actor: User, reason: str, *, address: str | None = None) -> None:
    """Take an approved sender ID away. What is queued with it already is still sent.

    Raises ApiError: INVALID_REQUEST without a reason, CONFLICT if it is not approved.
    """
    _decide(sender, Status.REVOKED, actor, _required(reason), address)


def withdraw(sender: SenderId, actor: User, *, address: str | None = None) -> None:
    """Take a request back before it is decided. Raises ApiError CONFLICT if it was decided."""
    _decide(sender, Status.WITHDRAWN, actor, "", address)


def notices_of(organization: Organization) -> list[SenderStep]:
    """Decisions that nobody of the organization has dismissed yet, newest first."""
    told = SenderStep.objects.filter(
        sender__organization=organization, status__in=DECIDED, dismissed_at=None
    )
    return list(told.select_related("sender").order_by("-id")[:_MOST_NOTICES])


def dismiss(organization: Organization, step_id: int) -> bool:
    """Show a notice no more; whether the organization has it."""
    mine = SenderStep.objects.filter(sender__organization=organization, pk=step_id)
    mine.filter(dismissed_at=None).update(dismissed_at=timezone.now())
    return mine.exists()


def make_default(sender: SenderId, actor: User, *, address: str | None = None) -> None:
    """Have requests that name no sender use this one. Raises ApiError CONFLICT if not approved."""
    with transaction.atomic():
        # Two at once would both find no other default and trip over the unique constraint.
        Organization.objects.select_for_update(no_key=True).get(pk=sender.organization_id)
        others = SenderId.objects.filter(organization=sender.organization_id, is_default=True)
        others.exclude(pk=sender.pk).update(is_default=False)
        if not SenderId.objects.filter(pk=sender.pk, status=Status.APPROVED).update(
            is_default=True
        ):
            raise ApiError("CONFLICT", "Only an approved sender ID can be the default.")
        audit.record(
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
        raise ApiError("INVALID_REQUEST", "Give a reason: the customer reads it.", field="reason")
    return reason[: SenderId._meta.get_field("reason").max_length]


def _decide(
    sender: SenderId, status: SenderId.Status, actor: User, reason: str, address: str | None
) -> None:
    """Swap the status with its audit entry and event, all or nothing; `sender` is refreshed."""
    now = timezone.now()
    with transaction.atomic():
        changes = {"status": status, "reason": reason, "decided_by": actor, "decided_at": now}
        if status != Status.APPROVED:
            changes["is_default"] = False
        swapped = SenderId.objects.filter(pk=sender.pk, status__in=_SOURCES[status]).update(
            **changes
        )
        sender.refresh_from_db()
        if not swapped:
            told = f"This sender ID is {sender.get_status_display().lower()} by now."
            raise ApiError("CONFLICT", told)
        told_to_customer = status in DECIDED
        SenderStep.objects.create(
            sender=sender,
            status=status,
            reason=reason,
            actor=actor,
            at=now,
            mail_due_at=now if told_to_customer else None,
            dismissed_at=None if told_to_customer else now,
        )
        audit.record(
            f"sender_id.{status.value}",
            actor=actor,
            organization=sender.organization,
            target=f"{sender.public_id} {sender.name}",
            detail={"reason": reason} if reason else {},
            address=address,
        )
        _tell(sender)


def _tell(sender: SenderId) -> None:
    """Write the event of the decision; its deliveries are rung for after the commit."""
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
    events.record_and_ring_on_commit(
        [
            events.NewEvent(
                organization_id=sender.organization_id,
                type=event,
                at=sender.decided_at,
                message_id=None,
                data=data,
            )
        ]
    )
