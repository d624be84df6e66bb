"""An organization's ledger as people read it: newest first, by kinds, by pages, and as a file.

Rows are numbered in the order in which they moved the balance, so a page is a range of ids. A kind
that few rows have is found by an index of its own; charges, which are most rows, are not in it.
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
_PIECE = 2_000
"""Rows that the file is read by: short statements, however long the ledger is."""
_SLACK = timedelta(minutes=10)
"""A row's time is its transaction's beginning, its number that of its end."""

Kind = LedgerEntry.Kind
TONES = {Kind.TOP_UP: "good", Kind.REFUND: "moving", Kind.CORRECTION: "late", Kind.CHARGE: "still"}

# What the platform itself writes; an operator's words are shown as they are.
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
    """A ledger row; `kind_of` is `message` or `batch` where the row is for one that is there."""

    entry: LedgerEntry
    kind_of: str = ""

    @property
    def tone(self) -> str:
        return TONES[Kind(self.entry.kind)]

    @property
    def public_id(self) -> str:
        reference = self.entry.reference
        prefix = {"message": ids.MESSAGE, "batch": ids.BATCH}.get(self.kind_of)
        return ids.public_id(prefix, reference) if prefix and reference else ""

    @property
    def reason(self) -> str | Promise:
        return _REASONS.get(self.entry.reason, self.entry.reason)


@dataclass(frozen=True, slots=True)
class Page:
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
    """The newest rows, those next older than `before`, or those next newer than `after`."""
    rows = _rows(organization, kind)
    if after is not None:
        newer = list(rows.filter(id__gt=after).order_by("id")[: size + 1])
        if len(newer) >= size:
            found = newer[:size][::-1]
            return Page(_lines(organization, found), len(newer) > size, has_older=True)
        # What is newer fits on one page: then that is the newest page, shown full.
    if before is not None:
        rows = rows.filter(id__lt=before)
    older = list(rows.order_by("-id")[: size + 1])
    return Page(_lines(organization, older[:size]), before is not None, len(older) > size)


def _rows(organization: Organization, kind: str) -> QuerySet[LedgerEntry]:
    rows = LedgerEntry.objects.filter(organization=organization)
    if kind == Kind.CHARGE:
        return rows.filter(kind=kind)
    # The index of what is no charge is taken where a row is known to be in it.
    return rows.filter(kind=kind).exclude(kind=Kind.CHARGE) if kind else rows


def _lines(organization: Organization, entries: Sequence[LedgerEntry]) -> list[Line]:
    """The rows, each with what it is for: two statements for all."""
    wanted = [entry.reference for entry in entries if entry.reference is not None]
    mine = {"organization": organization, "id__in": wanted}
    kinds: dict[uuid.UUID | None, str] = {}
    if wanted:
        kinds.update(dict.fromkeys(_ids(Batch.objects.filter(**mine)), "batch"))
        kinds.update(dict.fromkeys(_ids(Message.objects.filter(**mine)), "message"))
    return [Line(entry, kinds.get(entry.reference, "")) for entry in entries]


def _ids(rows: QuerySet[Batch] | QuerySet[Message]) -> list[uuid.UUID]:
    return list(rows.values_list("id", flat=True))


# ---------------------------------------------------------------- the file

COLUMNS = ("id", "time", "kind", "credits", "balance_after", "message_or_batch", "reason")


def file_rows(
    organization: Organization, kind: str, start: datetime | None, end: datetime | None
) -> Iterator[Sequence[object]]:
    """The header, then each row from `start` to before `end` (aware), oldest first."""
    yield COLUMNS
    last = ledger.number_before(organization.id, start - _SLACK) if start else 0
    highest = ledger.number_before(organization.id, end + _SLACK) if end else None
    while True:
        rows = _rows(organization, kind).filter(id__gt=last)
        if highest is not None:
            rows = rows.filter(id__lte=highest)
        entries = list(rows.order_by("id")[:_PIECE])
        for line in _lines(organization, entries):
            at = line.entry.created_at
            if (start is None or at >= start) and (end is None or at < end):
                yield _cells(line)
        if len(entries) < _PIECE:
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
