"""Exports of a campaign's unsent and undelivered rows.

They include the original cells, so that the rows can be corrected and uploaded again.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from django.utils.translation import gettext as _

from accounts.ui import stored_files
from messaging.campaigns import chunks
from messaging.importing import csv_reader
from messaging.importing.problems import in_words
from messaging.importing.recipients import shape_of
from messaging.importing.reports import NOT_SENT, heading
from messaging.log.failure_reasons import STATUS_LABELS, reason
from messaging.models import Campaign, Message
from messaging.states import Status

_FAILED = (Status.FAILED, Status.EXPIRED, Status.CANCELED)
_PAGE = 5_000


class Outcome(NamedTuple):
    """A row's outcome as text, and the reason."""

    number: str
    status: str
    reason: str
    code: str = ""


def problems(campaign: Campaign) -> Iterator[list[object]]:
    """Yield a heading, then each row that the check refused."""
    yield from _with_cells(campaign, _refused_by_check(campaign))


def failures(campaign: Campaign) -> Iterator[list[object]]:
    """Yield a heading, then each undelivered row: refused by the check, later, or by carriers."""
    outcomes = dict(_refused_by_check(campaign))
    lines: dict[str, int] = {}
    for chunk in chunks.chunks_of(campaign):
        lines.update((row.to, row.line) for row in chunks.good_rows(chunk))
        for bad in chunks.refused_rows(chunk):
            outcomes[bad.line] = Outcome(bad.written, _("Not sent"), in_words(bad.kind, bad.detail))
    for message in _failed(campaign):
        explanation = reason(message.error_code)
        outcomes[lines.get(message.to, 0)] = Outcome(
            message.to,
            str(STATUS_LABELS[message.status]),
            str(explanation.what) if explanation else "",
            message.error_code,
        )
    if campaign.state == "canceled":
        _add_unsent(campaign, outcomes)
    yield from _with_cells(campaign, outcomes.items())


def _add_unsent(campaign: Campaign, outcomes: dict[int, Outcome]) -> None:
    """Add the rows that were not sent before the campaign was canceled."""
    seen = 0
    for chunk in chunks.chunks_of(campaign):
        for row in chunks.good_rows(chunk):
            seen += 1
            if seen > campaign.position:
                outcomes[row.line] = Outcome(row.to, _("Not sent"), _("The campaign was canceled."))


def _refused_by_check(campaign: Campaign) -> Iterator[tuple[int, Outcome]]:
    for chunk in chunks.chunks_of(campaign):
        for row in chunks.bad_rows(chunk):
            yield row.line, Outcome(row.written, _("Not sent"), in_words(row.kind, row.detail))


def _failed(campaign: Campaign) -> Iterator[Message]:
    """Yield the undelivered messages, read in pages."""
    if campaign.batch_id is None:
        return
    messages = Message.objects.filter(batch=campaign.batch_id, status__in=_FAILED).order_by("-id")
    messages, last = messages.only("id", "to", "status", "error_code"), None
    while True:
        some = list((messages if last is None else messages.filter(id__lt=last))[:_PAGE])
        yield from some
        if len(some) < _PAGE:
            return
        last = some[-1].id


def _with_cells(
    campaign: Campaign, outcomes: Iterable[tuple[int, Outcome]]
) -> Iterator[list[object]]:
    """Yield the outcomes by line, each with the cells of its row while the file is kept."""
    by_line = dict(outcomes)
    yield [*heading(NOT_SENT), *campaign.columns]
    cells = dict[int, list[str]]()
    source = _cells(campaign, by_line)
    for line in sorted(by_line):
        outcome = by_line[line]
        while line and line not in cells and (row := next(source, None)) is not None:
            cells = dict([row])
        yield [
            line or "",
            outcome.number,
            outcome.status,
            outcome.reason,
            outcome.code,
            *cells.get(line, []),
        ]


def _cells(campaign: Campaign, by_line: Mapping[int, Outcome]) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of those lines, in order."""
    if campaign.file is None:
        return
    for row in csv_reader.rows(stored_files.read(campaign.file), shape_of(campaign)):
        if row.line in by_line:
            yield row.line, row.cells
