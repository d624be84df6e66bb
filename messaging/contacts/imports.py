"""Reading of numbers and contacts from uploaded files and pasted text, row by row.

Valid rows are imported; invalid ones are listed with their line and problem, for a report file.
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
"""The number of contacts and of invalid rows in a preview."""
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


class _InvalidRow(Exception):
    """A row cannot be imported; `kind` and `detail` are those of `importing.problems`."""

    def __init__(self, kind: problems.Kind, detail: str = "") -> None:
        super().__init__(kind)
        self.kind, self.detail = kind, detail


@dataclass(slots=True)
class Rejected:
    """A skipped row: line, number as written, problem, name, and the cells of other columns."""

    line: int
    written: str
    kind: problems.Kind
    detail: str = ""
    name: str = ""
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """The format of a file of contacts, and its first rows."""

    shape: Shape
    columns: list[str]
    number_column: int | None
    name_column: int | None
    sample: list[list[str]]

    def others(self) -> list[int]:
        """Return the columns with values of variables, without those of our own reports."""
        used = {self.number_column, self.name_column}
        first = columns_of_ours(self.columns) if self.shape.has_header else 0
        return [each for each in range(first, len(self.columns)) if each not in used]


def layout_of(pieces: Pieces, home: str, shape: Shape | None = None) -> Layout:
    """Return the detected layout of a file; `home`: the country of numbers without a code."""
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
    """Return the column of names, by its heading, or else the first except the number's."""
    if not has_header:
        return next((each for each in range(len(columns)) if each != number_column), None)
    names = variables(columns)
    positions = (names.index(each) for each in _NAMES if each in names)
    return next((position for position in positions if position != number_column), None)


@dataclass(slots=True)
class Reading:
    """A reading of contacts; `rejected` is filled during the iteration.

    `country` and `home`: see `importing.recipients.read_number`. Without a `layout`, it is
    detected.
    """

    pieces: Pieces
    country: str
    home: str
    layout: Layout | None = None
    rejected: list[Rejected] = field(default_factory=list)
    _others: list[int] = field(default_factory=list, init=False)

    def contacts(self) -> Iterator[NewContact]:
        """Yield each number's contact once. Raise NotUsable."""
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
            except _InvalidRow as invalid:
                self.rejected.append(
                    Rejected(
                        row.line,
                        _cell(row, column)[:MAX_VALUE],
                        invalid.kind,
                        invalid.detail,
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
        """Return the contact of a row. Raise _InvalidRow."""
        if row.fault is not None and not row.fault.usable:
            raise _InvalidRow(problems.of_fault(row.fault))
        try:
            number = read_number(_cell(row, column), self.country, self.home).e164
        except e164.InvalidNumber as error:
            raise _InvalidRow(*problems.of_refusal(error.problem())) from None
        if number in lines:
            raise _InvalidRow(problems.Kind.DUPLICATE, str(lines[number]))
        values = {
            names[each]: " ".join(row.cells[each].split())
            for each in self._others
            if row.cells[each].strip() and is_variable(names[each])
        }
        if len(name) > MAX_NAME or any(len(value) > MAX_VALUE for value in values.values()):
            raise _InvalidRow(problems.Kind.LONG_CELL)
        lines[number] = row.line
        return NewContact(number, name, dict(itertools.islice(values.items(), MOST_FIELDS)))


def _cell(row: csv_reader.Row, column: int | None) -> str:
    if column is None or column >= len(row.cells):
        return ""
    return " ".join(row.cells[column].split())


def is_variable(name: str) -> bool:
    """Return whether a contact may have a variable of that name."""
    return text_variables.is_name(name) and name not in ("number", "name")


@dataclass(frozen=True, slots=True)
class Preview:
    """The valid and the skipped rows of an import; `suggestion` may name a country for the rest."""

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
    """Store a file to import for a day, until its format is confirmed."""
    return stored_files.store(
        organization,
        name=_TO_IMPORT,
        content_type="text/csv; charset=utf-8",
        content=pieces(),
        expires_at=clock.now() + KEPT,
    )


def kept_import(organization: Organization, file_id: uuid.UUID) -> StoredFile | None:
    """Return that file to import, or None if it is not kept any more."""
    file = stored_files.file_of(organization, file_id)
    return file if file is not None and file.name == _TO_IMPORT else None


def keep_rejected(
    organization: Organization, rejected: Sequence[Rejected], layout: Layout | None = None
) -> StoredFile:
    """Store a file of the skipped rows for a day, so that they can be corrected and imported."""
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
        problem = problems.in_words(each.kind, each.detail)
        yield [each.line, problem, each.written, each.name, *each.others]


def read_rejected(organization: Organization, file_id: uuid.UUID) -> StoredFile | None:
    """Return that file of skipped rows, or None if it is not kept any more."""
    file = stored_files.file_of(organization, file_id)
    return file if file is not None and file.name == "not-imported.csv" else None
