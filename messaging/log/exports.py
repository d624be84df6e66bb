"""Exports of the message log to CSV files, written by workers in steps that survive a crash.

A step locks one export's row, reads the next messages by keyset, appends them to the file, and
commits the file together with its position. A worker may therefore be killed at any time: nothing
uncommitted remains, its lock is released with its connection, and any worker's next step continues
from there. A wake-up only shortens the wait: beat runs the exports that are due.
"""

import time
import uuid
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, Final

import structlog
from django.db import transaction
from django.db.models import QuerySet

from accounts.audit import trail
from accounts.credits.ledger import credits_text
from accounts.models import Member, Organization
from accounts.ui import stored_files
from imissive.core import clock, ids, wakeups
from imissive.core.api.rendering import time_text
from imissive.core.spreadsheets import csv_lines
from imissive.core.sql import Fault, fault_of
from messaging.log import query as message_query
from messaging.log.filters import as_json, from_json
from messaging.log.sources import source_of
from messaging.models import Export, Message
from messaging.numbers.e164 import mask

log = structlog.get_logger(__name__)

STEP = 2_000
"""The number of messages of one step."""
OPEN_AT_MOST = 3
"""The most exports of an organization in progress at the same time."""
KEPT = timedelta(days=7)
"""How long a file can be downloaded."""
LISTED = timedelta(days=30)
"""How long an export is listed after its end."""
FAILURES_AT_MOST = 5
"""An export fails after this many failed steps in a row."""
RETRY_AFTER = timedelta(seconds=20)
PURGE_STEP = 100

COLUMNS: Final = (
    "message_id", "to", "country", "sender_id", "status", "error_code", "error", "parts",
    "encoding", "credits", "live", "source", "batch_id", "reference", "created_at",
    "scheduled_at", "queued_at", "sent_at", "final_at", "text",
)  # fmt: skip


class TooManyExports(Exception):
    """The organization has OPEN_AT_MOST exports in progress."""


def exports_of(organization: Organization) -> QuerySet[Export]:
    """Return an organization's exports, newest first."""
    mine = Export.objects.filter(organization=organization)
    return mine.select_related("requested_by", "file").order_by("-id")


def request_export(
    member: Member, narrowed: message_query.Filter, query: str, address: str | None
) -> Export:
    """Create an export of the log with those filters, as it is now; a worker writes the file.

    `query` is the log's query string for the same filters. Raises TooManyExports.
    """
    organization = member.organization
    with transaction.atomic():
        # Without the lock, two concurrent requests could both take the last place.
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        in_progress = Export.objects.filter(organization=organization, due_at__isnull=False)
        if in_progress.count() >= OPEN_AT_MOST:
            raise TooManyExports
        export = Export.objects.create(
            organization=organization,
            requested_by=member.user,
            query=query,
            narrowed=as_json(narrowed),
            due_at=clock.now(),
        )
        trail.record(
            "messages.exported",
            actor=member.user,
            organization=organization,
            target=export.public_id,
            detail=_for_audit(narrowed),
            address=address,
        )
        transaction.on_commit(wake)
    return export


def _for_audit(narrowed: message_query.Filter) -> dict[str, Any]:
    """Return the filters with masked numbers, because the audit log is kept for ever."""
    detail = as_json(narrowed)
    if narrowed.to:
        detail["to"] = mask(narrowed.to)
    if narrowed.digits:
        detail["digits"] = "•" * len(narrowed.digits)
    return detail


def cancel(export: Export, member: Member, address: str | None) -> bool:
    """Cancel an export and delete its file. Return False where it is completed already."""
    with transaction.atomic():
        locked = Export.objects.select_for_update(of=("self",)).get(pk=export.pk)
        if not locked.is_open:
            return False
        file = locked.file
        locked.status, locked.due_at, locked.file = Export.Status.CANCELED, None, None
        locked.ended_at = clock.now()
        locked.save()
        if file is not None:
            file.delete()
        trail.record(
            "messages.export_canceled",
            actor=member.user,
            organization=member.organization,
            target=export.public_id,
            address=address,
        )
    return True


def wake() -> None:
    """Wake a worker to write the exports that are due."""
    wakeups.wake("messaging.tasks.write_exports", queue="default")


def write_for(seconds: float) -> None:
    """Write due exports for about `seconds`, then free the worker and wake one for the rest."""
    end = time.monotonic() + seconds
    while step():
        if time.monotonic() > end:
            wake()
            return


def step() -> bool:
    """Write the next piece of the export that has waited longest. Return False where none is due.

    A failed step is logged and retried after RETRY_AFTER.
    """
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
        export.file = stored_files.create_empty(
            export.organization,
            name=f"messages-{export.created_at:%Y-%m-%d-%H%M}.csv",
            content_type="text/csv; charset=utf-8",
            expires_at=clock.now() + KEPT,
        )
        export.total = message_query.count(export.organization_id, narrowed)
        # Above every id at the start: messages that are accepted later are not in the export.
        export.position = ids.new_uuid()
        export.status = Export.Status.RUNNING
    found = message_query.search(
        export.organization_id, narrowed, STEP + 1, older_than=export.position
    )
    messages, more = found.messages[:STEP], len(found.messages) > STEP
    stored_files.append(export.file, csv_lines(_rows(messages, headed=first), marked=first))
    export.written += len(messages)
    export.failures = 0
    now = clock.now()
    if more or found.up_to:
        export.position = messages[-1].id if more else found.up_to
        # Due again behind the others, so that several exports proceed by turns.
        export.due_at = now
        return
    export.status, export.due_at, export.ended_at = Export.Status.DONE, None, now
    export.file.expires_at = now + KEPT
    export.file.save(update_fields=["expires_at"])


def _note_failure(export_id: uuid.UUID, *, counts: bool) -> None:
    """Schedule a retry of a failed step; fail the export after FAILURES_AT_MOST counted ones."""
    export = Export.objects.get(pk=export_id)
    export.failures += counts
    now = clock.now()
    export.due_at = now + RETRY_AFTER
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
    """Delete up to PURGE_STEP exports that are no longer listed; return their number.

    Their files were deleted when they expired.
    """
    old = Export.objects.filter(due_at=None, ended_at__lt=clock.now() - LISTED)
    purged = list(old.order_by("ended_at").values_list("id", flat=True)[:PURGE_STEP])
    Export.objects.filter(id__in=purged).delete()
    return len(purged)
