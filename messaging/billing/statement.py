"""An organization's ledger for people: pages, newest first and by kind, and a CSV export.

Rows are numbered in the order in which they changed the balance, so a page is a range of ids. The
rare kinds have a partial index; charges, which are most rows, are not in it.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.credits import ledger
from accounts.credits.ledger import credits_text
from accounts.models import LedgerEntry, Organization
from imissive.core import ids
from imissive.core.api.rendering import time_text
from messaging.models import Batch, Message

PAGE = 50
_CHUNK = 2_000
"""The rows of one statement of the export: statements stay short, however long the ledger is."""
_SLACK = timedelta(minutes=10)
"""A row's time is the start of its transaction; its number is given at the end."""

Kind = LedgerEntry.Kind
TONES = {Kind.TOP_UP: "good", Kind.REFUND: "moving", Kind.CORRECTION: "late", Kind.CHARGE: "still"}

# Reasons that the platform writes; an operator's reasons are shown as they are.
_REASONS: dict[str, str | Promise] = {
    "not accepted": _("Not accepted by the carrier"),
    "expired in queue": _("Expired before it could be sent"),
    "canceled": _("Canceled"),
    "held for its parts": _("Held until all parts of an SMPP message are there"),
    "all parts came": _("All parts came; the message itself is charged"),
    "parts are missing": _("Parts of an SMPP message never came"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """A ledger row. `kind_of` is `message` or `batch` where its reference is one that exists."""

    entry: LedgerEntry
    kind_of: str = ""

    @property
    def tone(self) -> str:
        """The colour of the row's kind."""
        return TONES[Kind(self.entry.kind)]

    @property
    def public_id(self) -> str:
        """The public id of the row's message or batch, or empty."""
        reference = self.entry.reference
        prefix = {"message": ids.MESSAGE, "batch": ids.BATCH}.get(self.kind_of)
        return ids.public_id(prefix, reference) if prefix and reference else ""

    @property
    def reason(self) -> str | Promise:
        """The row's reason, translated where the platform wrote it."""
        return _REASONS.get(self.entry.reason, self.entry.reason)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the ledger, newest first, and whether there are newer and older rows."""

    lines: Sequence[Line]
    has_newer: bool
    has_older: bool


def page(
    organization: Organization,
    kind: str = "",
    *,
    before: int | None = None,
    after: int | None = None,
    size: int = PAGE,
) -> Page:
    """Return the newest rows, those next older than `before`, or those next newer than `after`."""
    rows = _rows(organization, kind)
    if after is not None:
        newer = list(rows.filter(id__gt=after).order_by("id")[: size + 1])
        if len(newer) >= size:
            found = newer[:size][::-1]
            return Page(_lines(organization, found), len(newer) > size, has_older=True)
        # All newer rows fit on one page: show the newest page, filled up with older rows.
    if before is not None:
        rows = rows.filter(id__lt=before)
    older = list(rows.order_by("-id")[: size + 1])
    return Page(_lines(organization, older[:size]), before is not None, len(older) > size)


def _rows(organization: Organization, kind: str) -> QuerySet[LedgerEntry]:
    rows = LedgerEntry.objects.filter(organization=organization)
    if kind == Kind.CHARGE:
        return rows.filter(kind=kind)
    # PostgreSQL uses the partial index only where the condition excludes charges explicitly.
    return rows.filter(kind=kind).exclude(kind=Kind.CHARGE) if kind else rows


def _lines(organization: Organization, entries: Sequence[LedgerEntry]) -> list[Line]:
    """Return the rows, each with the kind of its reference: two statements for all."""
    references = [entry.reference for entry in entries if entry.reference is not None]
    mine = {"organization": organization, "id__in": references}
    kinds: dict[uuid.UUID | None, str] = {}
    if references:
        kinds.update(dict.fromkeys(_ids(Batch.objects.filter(**mine)), "batch"))
        kinds.update(dict.fromkeys(_ids(Message.objects.filter(**mine)), "message"))
    return [Line(entry, kinds.get(entry.reference, "")) for entry in entries]


def _ids(rows: QuerySet[Batch] | QuerySet[Message]) -> list[uuid.UUID]:
    return list(rows.values_list("id", flat=True))


# ---------------------------------------------------------------- export

COLUMNS = ("id", "time", "kind", "credits", "balance_after", "message_or_batch", "reason")


def file_rows(
    organization: Organization, kind: str, start: datetime | None, end: datetime | None
) -> Iterator[Sequence[object]]:
    """Yield the header, then each row from `start` to before `end` (aware), oldest first."""
    yield COLUMNS
    last = ledger.number_before(organization.id, start - _SLACK) if start else 0
    highest = ledger.number_before(organization.id, end + _SLACK) if end else None
    while True:
        rows = _rows(organization, kind).filter(id__gt=last)
        if highest is not None:
            rows = rows.filter(id__lte=highest)
        entries = list(rows.order_by("id")[:_CHUNK])
        for line in _lines(organization, entries):
            at = line.entry.created_at
            if (start is None or at >= start) and (end is None or at < end):
                yield _cells(line)
        if len(entries) < _CHUNK:
            return
        last = entries[-1].id


def _cells(line: Line) -> Sequence[object]:
    entry = line.entry
    return (
        entry.id,
        time_text(entry.created_at),
        entry.kind,
        credits_text(entry.amount),
        credits_text(entry.balance_after),
        line.public_id,
        entry.reason,
    )
