"""Numbers and contacts out of what people upload or paste: read row by row, each problem told.

What can be read is taken in; what cannot is named with its line, for a file of it.
"""

import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from accounts.models import Organization, StoredFile
from accounts.ui import stored_files
from imissive.core import clock
from imissive.core.spreadsheets import csv_lines
from messaging.contacts.contacts import (
    MAX_NAME,
    MAX_VALUE,
    MOST_FIELDS,
    NewContact,
)
from messaging.importing import csv_reader, problems
from messaging.importing.columns import SAMPLE, guess_number_column
from messaging.importing.csv_reader import Shape
from messaging.importing.reasons import FileReason, NotUsable
from messaging.importing.recipients import read_number, variables
from messaging.importing.reports import NOT_IMPORTED, columns_of_ours, heading
from messaging.importing.suggestions import suggestion
from messaging.numbers import e164
from messaging.text import variables as text_variables

MOST_ROWS: Final = 50_000
KEPT: Final = timedelta(days=1)
SHOWN: Final = 5
"""Contacts and failed rows that a preview shows."""
_TO_IMPORT: Final = "to-import.csv"
_NAMES: Final = (
    "name",
    "full_name",
    "fullname",
    "contact",
    "customer",
    "الاسم",
    "اسم",
    "اسم_العميل",
)

Pieces = Callable[[], Iterable[bytes]]


class _LeftOut(Exception):
    """Nothing can be read of a row: `kind` and `detail` say why, as `importing.problems` does."""

    def __init__(self, kind: problems.Kind, detail: str = "") -> None:
        super().__init__(kind)
        self.kind, self.detail = kind, detail


@dataclass(slots=True)
class Rejected:
    """A row that was left out: where it stood, its number as written, its name, why, and the cells
    of its other columns."""

    line: int
    written: str
    kind: problems.Kind
    detail: str = ""
    name: str = ""
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file of contacts is read, and its first rows."""

    shape: Shape
    columns: list[str]
    number_column: int | None
    name_column: int | None
    sample: list[list[str]]

    def others(self) -> list[int]:
        """Return the columns that hold values of variables: not those of a report of ours."""
        taken = {self.number_column, self.name_column}
        first = columns_of_ours(self.columns) if self.shape.has_header else 0
        return [each for each in range(first, len(self.columns)) if each not in taken]


def layout_of(pieces: Pieces, home: str, shape: Shape | None = None) -> Layout:
    """Return how a file seems to be written; `home`: the country of numbers without a code."""
    shape = shape or csv_reader.detect(pieces)
    columns = csv_reader.columns(pieces(), shape)
    rows = csv_reader.rows(pieces(), shape)
    sample = [row.cells for row in itertools.islice(rows, SAMPLE)]
    number_column = guess_number_column(columns, sample, home)
    name_column = _guess_name_column(columns, number_column, has_header=shape.has_header)
    return Layout(shape, columns, number_column, name_column, sample)


def _guess_name_column(
    columns: Sequence[str], number_column: int | None, *, has_header: bool
) -> int | None:
    """Return the column of names: by its heading; without one, the first beside the number."""
    if not has_header:
        return next((each for each in range(len(columns)) if each != number_column), None)
    names = variables(columns)
    found = (names.index(each) for each in _NAMES if each in names)
    return next((position for position in found if position != number_column), None)


@dataclass(slots=True)
class Reading:
    """Contacts as they are read; `rejected` fills while they are.

    `country` and `home`: as of `importing.recipients.read_number`. Without a `layout`, the file is
    read as it seems to be written.
    """

    pieces: Pieces
    country: str
    home: str
    layout: Layout | None = None
    rejected: list[Rejected] = field(default_factory=list)
    _others: list[int] = field(default_factory=list, init=False)

    def contacts(self) -> Iterator[NewContact]:
        """Return each number's contact once. Raises NotUsable."""
        layout = self.layout or layout_of(self.pieces, self.country or self.home)
        column = layout.number_column
        if column is None:
            raise NotUsable(FileReason.NO_NUMBER_COLUMN.problem())
        self.layout, self._others = layout, layout.others()
        names = variables(layout.columns)
        lines: dict[str, int] = {}
        for position, row in enumerate(csv_reader.rows(self.pieces(), layout.shape)):
            if position == MOST_ROWS:
                raise NotUsable(FileReason.TOO_MANY_ROWS.problem(most=MOST_ROWS))
            name = _cell(row, layout.name_column)
            try:
                yield self._contact(row, column, name, names, lines)
            except _LeftOut as out:
                self.rejected.append(
                    Rejected(
                        row.line,
                        _cell(row, column)[:MAX_VALUE],
                        out.kind,
                        out.detail,
                        name[:MAX_NAME],
                        tuple(row.cells[each][:MAX_VALUE] for each in self._others),
                    )
                )

    def _contact(
        self,
        row: csv_reader.Row,
        column: int,
        name: str,
        names: Sequence[str],
        lines: dict[str, int],
    ) -> NewContact:
        """Return the contact of a row. Raises _LeftOut."""
        if row.fault is not None and not row.fault.usable:
            raise _LeftOut(problems.of_fault(row.fault))
        try:
            number = read_number(_cell(row, column), self.country, self.home).e164
        except e164.InvalidNumber as error:
            raise _LeftOut(*problems.of_refusal(error.problem())) from None
        if number in lines:
            raise _LeftOut(problems.Kind.DUPLICATE, str(lines[number]))
        values = {
            names[each]: " ".join(row.cells[each].split())
            for each in self._others
            if row.cells[each].strip() and is_variable(names[each])
        }
        if len(name) > MAX_NAME or any(len(value) > MAX_VALUE for value in values.values()):
            raise _LeftOut(problems.Kind.LONG_CELL)
        lines[number] = row.line
        return NewContact(number, name, dict(itertools.islice(values.items(), MOST_FIELDS)))


def _cell(row: csv_reader.Row, column: int | None) -> str:
    if column is None or column >= len(row.cells):
        return ""
    return " ".join(row.cells[column].split())


def is_variable(name: str) -> bool:
    """Return whether a contact may have a value of that name beside its number and name."""
    return text_variables.is_name(name) and name not in ("number", "name")


@dataclass(frozen=True, slots=True)
class Preview:
    """What an import would take in and leave out; `suggestion` may name a country for the rest."""

    good: int
    first: list[NewContact]
    rejected: list[Rejected]
    too_many: bool
    suggestion: str


def preview(reading: Reading) -> Preview:
    """Read all rows and store nothing."""
    good, first, too_many = 0, list[NewContact](), False
    try:
        for contact in reading.contacts():
            good += 1
            if len(first) < SHOWN:
                first.append(contact)
    except NotUsable:
        too_many = good > 0
    failed = [each.written for each in reading.rejected if each.kind == problems.Kind.NUMBER]
    hint = suggestion(failed, reading.home, reading.country, good)
    return Preview(good, first, reading.rejected, too_many, hint)


def keep(organization: Organization, pieces: Pieces) -> StoredFile:
    """Keep what somebody wants to import until they have seen how it is read, for a day."""
    return stored_files.store(
        organization,
        name=_TO_IMPORT,
        content_type="text/csv; charset=utf-8",
        content=pieces(),
        expires_at=clock.now() + KEPT,
    )


def kept_import(organization: Organization, file_id: uuid.UUID) -> StoredFile | None:
    """Return that file, while it is kept."""
    found = stored_files.file_of(organization, file_id)
    return found if found is not None and found.name == _TO_IMPORT else None


def keep_rejected(
    organization: Organization, rejected: Sequence[Rejected], layout: Layout | None = None
) -> StoredFile:
    """Keep a file of what was left out, for a day: it can be corrected and imported again."""
    return stored_files.store(
        organization,
        name="not-imported.csv",
        content_type="text/csv; charset=utf-8",
        content=csv_lines(_rejected_rows(rejected, layout)),
        expires_at=clock.now() + KEPT,
    )


def _rejected_rows(
    rejected: Sequence[Rejected], layout: Layout | None
) -> Iterator[Sequence[object]]:
    number, name, others = "number", "name", list[str]()
    if layout is not None and layout.shape.has_header:
        others = [layout.columns[each] for each in layout.others()]
        if layout.number_column is not None:
            number = layout.columns[layout.number_column]
        if layout.name_column is not None:
            name = layout.columns[layout.name_column]
    elif layout is not None:
        others = [f"column{each}" for each in range(3, len(layout.columns) + 1)]
    yield [*heading(NOT_IMPORTED), number, name, *others]
    for each in rejected:
        why = problems.in_words(each.kind, each.detail)
        yield [each.line, why, each.written, each.name, *each.others]


def read_rejected(organization: Organization, file_id: uuid.UUID) -> StoredFile | None:
    """That file, while it is kept."""
    found = stored_files.file_of(organization, file_id)
    return found if found is not None and found.name == "not-imported.csv" else None
