"""Drafts of campaigns, written step by step, and the actions of members on campaigns.

Each step is stored, so that members may leave a page and return. Any change invalidates the check.
"""

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import QuerySet

from accounts.audit import trail
from accounts.credits.ledger import credits_text
from accounts.models import Member, Organization
from accounts.ui import stored_files
from imissive.core import clock
from messaging.campaigns import uploads
from messaging.campaigns.transitions import move, wake
from messaging.campaigns.uploads import Reading
from messaging.importing.csv_reader import Shape
from messaging.importing.recipients import shape_of
from messaging.models import Campaign, ContactList
from messaging.models.campaign_states import UNSENT, State

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile

_UNCHECKED: dict[str, Any] = {"check_id": None, "due_at": None}


def campaigns_of(organization: Organization) -> QuerySet[Campaign]:
    """Return an organization's campaigns, newest first."""
    return Campaign.objects.filter(organization=organization).order_by("-id")


@transaction.atomic
def create(
    member: Member,
    campaign_id: uuid.UUID,
    name: str,
    upload: "UploadedFile[bytes] | None",
    reading: Reading | None,
    lists: Sequence[ContactList] = (),
) -> Campaign | None:
    """Create a draft with that id for a file or contact lists, or replace its recipients.

    The form has the id, so that a form posted twice creates one draft. Returns None if the id
    belongs to another organization, or to a campaign that is sent already.
    """
    campaign, _ = Campaign.objects.select_for_update().get_or_create(
        id=campaign_id,
        defaults={
            "organization": member.organization, "name": name, "created_by": member.user,
            "country": member.organization.default_country,
        },
    )  # fmt: skip
    if campaign.organization_id != member.organization_id or campaign.state not in UNSENT:
        return None
    old = campaign.file
    campaign.name = name
    campaign.file = uploads.keep(member.organization, upload) if upload and reading else None
    campaign.lists.set(lists)
    campaign.state, campaign.check_id, campaign.due_at = State.DRAFT, None, None
    _read_as(campaign, reading)
    campaign.save()
    if old is not None:
        old.delete()
    return campaign


def _read_as(campaign: Campaign, reading: Reading | None) -> None:
    if reading is None:
        campaign.columns, campaign.number_column = [], None
        return
    shape = reading.shape
    campaign.encoding, campaign.delimiter = shape.encoding, shape.delimiter
    campaign.has_header = shape.has_header
    campaign.columns, campaign.number_column = reading.columns, reading.number_column
    campaign.reference_column = None


def reading_of(campaign: Campaign, shape: Shape | None = None) -> Reading | None:
    """Read the campaign's file, in that shape if given; return None without a file."""
    if campaign.file is None:
        return None
    file = campaign.file
    return uploads.read_first(
        stored_files.read(file),
        stored_files.read(file),
        shape or shape_of(campaign),
        campaign.country or campaign.organization.default_country,
    )


def set_shape(campaign: Campaign, shape: Shape) -> bool:
    """Read the campaign's file in that shape from now on, which may change its columns."""
    reading = reading_of(campaign, shape)
    if reading is None:
        return False
    return move(
        campaign.id,
        State.DRAFT,
        **_UNCHECKED,
        encoding=shape.encoding,
        delimiter=shape.delimiter,
        has_header=shape.has_header,
        columns=reading.columns,
        number_column=reading.number_column,
        reference_column=None,
    )


def change(campaign: Campaign, **fields: Any) -> bool:
    """Change fields of a draft; return False if it is too late."""
    return move(campaign.id, State.DRAFT, **_UNCHECKED, **fields)


def request_check(campaign: Campaign, **fields: Any) -> bool:
    """Apply changes and request a check of all rows; return False if it is too late."""
    if not move(campaign.id, State.CHECKING, check_id=None, due_at=clock.now(), **fields):
        return False
    transaction.on_commit(wake)
    return True


@transaction.atomic
def start(member: Member, campaign: Campaign, address: str, **fields: Any) -> bool:
    """Send the checked campaign, now or at `scheduled_at`; return False if it was changed."""
    now = clock.now()
    at = fields.get("scheduled_at")
    where = {"state": State.READY, "checked_at": campaign.checked_at}
    if at is None:
        moved = move(campaign.id, State.RUNNING, where=where, due_at=now, started_at=now, **fields)
    else:
        moved = move(campaign.id, State.SCHEDULED, where=where, due_at=at, **fields)
    if moved:
        detail = {"messages": campaign.good, "credits": credits_text(campaign.price)}
        _record("campaign.started", member, campaign, address, **detail)
        transaction.on_commit(wake)
    return moved


@transaction.atomic
def unschedule(member: Member, campaign: Campaign, address: str) -> bool:
    """Unschedule a campaign so that it can be changed; return False if it has started."""
    moved = move(
        campaign.id, State.READY, where={"state": State.SCHEDULED}, due_at=None, scheduled_at=None
    )
    if moved:
        _record("campaign.unscheduled", member, campaign, address)
    return moved


@transaction.atomic
def pause(member: Member, campaign: Campaign, address: str) -> bool:
    moved = move(campaign.id, State.PAUSED, pause=Campaign.Pause.MEMBER, due_at=clock.now())
    if moved:
        _record("campaign.paused", member, campaign, address)
    return moved


@transaction.atomic
def resume(member: Member, campaign: Campaign, address: str) -> bool:
    now = clock.now()
    moved = move(campaign.id, State.RUNNING, where={"state": State.PAUSED}, pause="", due_at=now)
    if moved:
        _record("campaign.resumed", member, campaign, address)
        transaction.on_commit(wake)
    return moved


@transaction.atomic
def cancel(member: Member, campaign: Campaign, address: str) -> bool:
    """Stop the campaign and cancel its unsubmitted messages; return False if it is too late."""
    now = clock.now()
    scheduled = {"state": State.SCHEDULED}
    moved = move(campaign.id, State.CANCELED, where=scheduled, due_at=None, ended_at=now) or move(
        campaign.id, State.CANCELING, pause="", due_at=now
    )
    if moved:
        _record("campaign.canceled", member, campaign, address)
        transaction.on_commit(wake)
    return moved


@transaction.atomic
def delete(member: Member, campaign: Campaign, address: str) -> bool:
    """Delete an unsent campaign with its file; return False if it was sent."""
    deleted, _ = Campaign.objects.filter(pk=campaign.pk, state__in=UNSENT).delete()
    if deleted:
        if campaign.file is not None:
            campaign.file.delete()
        _record("campaign.deleted", member, campaign, address)
    return bool(deleted)


def _record(
    action: str, member: Member, campaign: Campaign, address: str, **detail: object
) -> None:
    trail.record(
        action,
        actor=member.user,
        organization=member.organization,
        target=f"{campaign.name} ({campaign.public_id})",
        detail=detail,
        address=address,
    )
