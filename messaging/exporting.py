"""The message log as a CSV file, written by a worker in steps that survive its death.

A step locks one export's row, reads the next messages by their keys, appends them to the file, and
commits that together with where it has come to. So a worker may be killed at any time: what it had
not committed is as if it never was, its lock goes with its connection, and the next step, by
whomever, goes on from there. The bell only shortens the wait: beat rings for what is due.
"""

import time
import uuid
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, Final

import structlog
from django.db import transaction
from django.db.models import QuerySet

from accounts import audit, files
from accounts.ledger import credits_text
from accounts.models import Member, Organization
from imissive import bell, clock, ids
from imissive.rendering import time_text
from imissive.spreadsheets import csv_lines
from imissive.sql import Fault, fault_of
from messaging import listing
from messaging.log_filters import as_json, from_json
from messaging.models import Export, Message
from messaging.numbers import mask
from messaging.sources import source_of

log = structlog.get_logger(__name__)

STEP = 2_000
"""Messages of one step."""
OPEN_AT_MOST = 3
"""Exports that an organization may have under way at once."""
KEPT = timedelta(days=7)
"""How long a file can be fetched."""
LISTED = timedelta(days=30)
"""How long an export is told of."""
FAILURES_AT_MOST = 5
"""Steps that may break one after the other."""
RETRY = timedelta(seconds=20)
PURGE_STEP = 100

COLUMNS: Final = (
    "message_id", "to", "country", "sender_id", "status", "error_code", "error", "parts",
    "encoding", "credits", "live", "source", "batch_id", "reference", "created_at",
    "scheduled_at", "queued_at", "sent_at", "final_at", "text",
)  # fmt: skip


class TooMany(Exception):
    """OPEN_AT_MOST exports of the organization are under way."""


def exports_of(organization: Organization) -> QuerySet[Export]:
    """An organization's exports, newest first."""
    mine = Export.objects.filter(organization=organization)
    return mine.select_related("requested_by", "file").order_by("-id")


def export_of(organization: Organization, export_id: uuid.UUID | None) -> Export | None:
    """The organization's export with that id, or None: another's is as good as missing."""
    return None if export_id is None else exports_of(organization).filter(id=export_id).first()


def request_export(
    member: Member, narrowed: listing.Filter, query: str, address: str | None
) -> Export:
    """Have that part of the log written, as it stands now. Raises TooMany."""
    organization = member.organization
    with transaction.atomic():
        # Two that come together would both find room for one.
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        under_way = Export.objects.filter(organization=organization, due_at__isnull=False)
        if under_way.count() >= OPEN_AT_MOST:
            raise TooMany
        export = Export.objects.create(
            organization=organization,
            requested_by=member.user,
            query=query,
            narrowed=as_json(narrowed),
            due_at=clock.now(),
        )
        audit.record(
            "messages.exported",
            actor=member.user,
            organization=organization,
            target=export.public_id,
            detail=_for_audit(narrowed),
            address=address,
        )
        transaction.on_commit(ring)
    return export


def _for_audit(narrowed: listing.Filter) -> dict[str, Any]:
    """What it was narrowed to; the audit log is kept for ever and so holds no whole number."""
    detail = as_json(narrowed)
    if narrowed.to:
        detail["to"] = mask(narrowed.to)
    if narrowed.digits:
        detail["digits"] = "•" * len(narrowed.digits)
    return detail


def cancel(export: Export, member: Member, address: str | None) -> bool:
    """Stop it, and drop what was written; whether there was anything to stop."""
    with transaction.atomic():
        held = Export.objects.select_for_update(of=("self",)).get(pk=export.pk)
        if not held.is_open:
            return False
        file = held.file
        held.status, held.due_at, held.file = Export.Status.CANCELED, None, None
        held.ended_at = clock.now()
        held.save()
        if file is not None:
            file.delete()
        audit.record(
            "messages.export_canceled",
            actor=member.user,
            organization=member.organization,
            target=export.public_id,
            address=address,
        )
    return True


def ring() -> None:
    """Have a worker write what is due."""
    bell.ring("messaging.tasks.write_exports", queue="default")


def write_for(seconds: float) -> None:
    """Write what is due for so long, then leave the worker to others, and ring for the rest."""
    end = time.monotonic() + seconds
    while step():
        if time.monotonic() > end:
            ring()
            return


def step() -> bool:
    """Write the next piece of the export that waits longest; False where none is due."""
    with transaction.atomic():
        due = Export.objects.filter(due_at__lte=clock.now()).order_by("due_at")
        export = due.select_for_update(skip_locked=True, of=("self",)).first()
        if export is None:
            return False
        try:
            with transaction.atomic():
                _write_piece(export)
                export.save()
        except Exception as error:
            log.exception("export_step_failed", export=export.public_id)
            _note_failure(export.pk, counts=fault_of(error) is not Fault.DATABASE)
    return True


def _write_piece(export: Export) -> None:
    narrowed = from_json(export.narrowed)
    first = export.file is None
    if export.file is None:
        export.file = files.begin(
            export.organization,
            name=f"messages-{export.created_at:%Y-%m-%d-%H%M}.csv",
            content_type="text/csv; charset=utf-8",
            expires_at=clock.now() + KEPT,
        )
        export.total = listing.count(export.organization_id, narrowed)
        # Above all there is when it begins: what comes meanwhile is not in it.
        export.position = ids.new_uuid()
        export.status = Export.Status.RUNNING
    found = listing.search(export.organization_id, narrowed, STEP + 1, older_than=export.position)
    messages, more = found.messages[:STEP], len(found.messages) > STEP
    files.append(export.file, csv_lines(_rows(messages, headed=first), marked=first))
    export.written += len(messages)
    export.failures = 0
    now = clock.now()
    if more or found.up_to:
        export.position = messages[-1].id if more else found.up_to
        # To the end of the row, so that several exports go on by turns.
        export.due_at = now
        return
    export.status, export.due_at, export.ended_at = Export.Status.DONE, None, now
    export.file.expires_at = now + KEPT
    export.file.save(update_fields=["expires_at"])


def _note_failure(export_id: uuid.UUID, *, counts: bool) -> None:
    """Have a step that broke done again in a while, or not at all any more if it `counts`."""
    export = Export.objects.get(pk=export_id)
    export.failures += counts
    now = clock.now()
    export.due_at = now + RETRY
    if counts and export.failures >= FAILURES_AT_MOST:
        if export.file is not None:
            export.file.delete()
        export.file, export.due_at, export.ended_at = None, None, now
        export.status = Export.Status.FAILED
    export.save()


def _rows(messages: Iterable[Message], *, headed: bool) -> Iterator[tuple[object, ...]]:
    if headed:
        yield COLUMNS
    for message in messages:
        yield (
            message.public_id,
            message.to,
            message.country,
            message.sender,
            message.status,
            message.error_code,
            message.error_message,
            message.parts,
            message.encoding,
            credits_text(message.price),
            "no" if message.test else "yes",
            source_of(message),
            ids.public_id(ids.BATCH, message.batch_id) if message.batch_id else "",
            message.reference,
            time_text(message.created_at),
            time_text(message.scheduled_at),
            time_text(message.queued_at),
            time_text(message.sent_at),
            time_text(message.final_at),
            message.shown_text,
        )


def purge() -> int:
    """Forget exports of long ago, PURGE_STEP at most; how many. Their files went before."""
    old = Export.objects.filter(due_at=None, ended_at__lt=clock.now() - LISTED)
    gone = list(old.order_by("ended_at").values_list("id", flat=True)[:PURGE_STEP])
    Export.objects.filter(id__in=gone).delete()
    return len(gone)
