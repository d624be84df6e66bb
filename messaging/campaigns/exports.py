"""Files of a campaign's rows that came to nothing: with the cells they were made of, so that they
can be mended and uploaded again."""

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


class Fate(NamedTuple):
    """Return a row's outcome in two words, and the reason."""

    number: str
    what: str
    why: str
    code: str = ""


def problems(campaign: Campaign) -> Iterator[list[object]]:
    """A heading, then each row that the check refused."""
    yield from _with_cells(campaign, _refused_by_check(campaign))


def failures(campaign: Campaign) -> Iterator[list[object]]:
    """A heading, then each row that nobody got: refused by the check, later, or by carriers."""
    fates = dict(_refused_by_check(campaign))
    lines: dict[str, int] = {}
    for chunk in chunks.chunks_of(campaign):
        lines.update((row.to, row.line) for row in chunks.good_rows(chunk))
        for bad in chunks.refused_rows(chunk):
            fates[bad.line] = Fate(bad.written, _("Not sent"), in_words(bad.kind, bad.detail))
    for message in _failed(campaign):
        why = reason(message.error_code)
        fates[lines.get(message.to, 0)] = Fate(
            message.to,
            str(STATUS_LABELS[message.status]),
            str(why.what) if why else "",
            message.error_code,
        )
    if campaign.state == "canceled":
        _add_unsent(campaign, fates)
    yield from _with_cells(campaign, fates.items())


def _add_unsent(campaign: Campaign, fates: dict[int, Fate]) -> None:
    """The rows that a canceled campaign had not come to."""
    seen = 0
    for chunk in chunks.chunks_of(campaign):
        for row in chunks.good_rows(chunk):
            seen += 1
            if seen > campaign.position:
                fates[row.line] = Fate(row.to, _("Not sent"), _("The campaign was canceled."))


def _refused_by_check(campaign: Campaign) -> Iterator[tuple[int, Fate]]:
    for chunk in chunks.chunks_of(campaign):
        for row in chunks.bad_rows(chunk):
            yield row.line, Fate(row.written, _("Not sent"), in_words(row.kind, row.detail))


def _failed(campaign: Campaign) -> Iterator[Message]:
    """The messages that came to nothing, some thousand at a time."""
    if campaign.batch_id is None:
        return
    mine = Message.objects.filter(batch=campaign.batch_id, status__in=_FAILED).order_by("-id")
    mine, last = mine.only("id", "to", "status", "error_code"), None
    while True:
        some = list((mine if last is None else mine.filter(id__lt=last))[:_PAGE])
        yield from some
        if len(some) < _PAGE:
            return
        last = some[-1].id


def _with_cells(campaign: Campaign, fates: Iterable[tuple[int, Fate]]) -> Iterator[list[object]]:
    """The fates in the order of their lines, each with the cells of its row while the file is
    kept."""
    by_line = dict(fates)
    yield [*heading(NOT_SENT), *campaign.columns]
    cells = dict[int, list[str]]()
    source = _cells(campaign, by_line)
    for line in sorted(by_line):
        fate = by_line[line]
        while line and line not in cells and (row := next(source, None)) is not None:
            cells = dict([row])
        yield [line or "", fate.number, fate.what, fate.why, fate.code, *cells.get(line, [])]


def _cells(campaign: Campaign, by_line: Mapping[int, Fate]) -> Iterator[tuple[int, list[str]]]:
    """The cells of those lines, in their order."""
    if campaign.file is None:
        return
    for row in csv_reader.rows(stored_files.read(campaign.file), shape_of(campaign)):
        if row.line in by_line:
            yield row.line, row.cells
