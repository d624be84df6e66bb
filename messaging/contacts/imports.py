"""Numbers and contacts out of what people upload or paste: read row by row, each problem told.

What can be read is taken in; what cannot is named with its line, for a file of it.
"""

import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from django.utils.translation import gettext as _

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
from messaging.importing.reasons import FileReason, NotUsable
from messaging.importing.recipients import guess_number_column, read_number, variables
from messaging.numbers import e164
from messaging.text import variables as text_variables

MOST_ROWS: Final = 50_000
KEPT: Final = timedelta(days=1)
_SAMPLE: Final = 50
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
    """A row that was left out: where it stood, what stood there, and why."""

    line: int
    written: str
    kind: problems.Kind
    detail: str = ""


@dataclass(slots=True)
class Reading:
    """Contacts as they are read; `rejected` fills while they are. `country` and `home`: as of
    `importing.recipients.read_number`."""

    pieces: Pieces
    country: str
    home: str
    rejected: list[Rejected] = field(default_factory=list)

    def contacts(self) -> Iterator[NewContact]:
        """Each number once. Raises NotUsable."""
        shape = csv_reader.detect(self.pieces)
        columns = csv_reader.columns(self.pieces(), shape)
        rows = csv_reader.rows(self.pieces(), shape)
        sample = list(itertools.islice(rows, _SAMPLE))
        column = guess_number_column(columns, [row.cells for row in sample])
        if column is None:
            raise NotUsable(FileReason.NO_NUMBER_COLUMN.problem())
        names = variables(columns)
        if not shape.has_header:
            names = _without_heading(len(columns), column)
        lines: dict[str, int] = {}
        for position, row in enumerate(itertools.chain(sample, rows)):
            if position == MOST_ROWS:
                raise NotUsable(FileReason.TOO_MANY_ROWS.problem(most=MOST_ROWS))
            try:
                yield self._contact(row, column, names, lines)
            except _LeftOut as out:
                written = row.cells[column] if column < len(row.cells) else ""
                left_out = Rejected(row.line, written.strip()[:64], out.kind, out.detail)
                self.rejected.append(left_out)

    def _contact(
        self, row: csv_reader.Row, column: int, names: Sequence[str], lines: dict[str, int]
    ) -> NewContact:
        """The contact of a row. Raises _LeftOut."""
        if row.fault is not None and not row.fault.usable:
            raise _LeftOut(problems.of_fault(row.fault))
        written = row.cells[column].strip() if column < len(row.cells) else ""
        try:
            number = read_number(written, self.country, self.home).e164
        except e164.InvalidNumber as error:
            raise _LeftOut(*problems.of_refusal(error.problem())) from None
        if number in lines:
            raise _LeftOut(problems.Kind.DUPLICATE, str(lines[number]))
        values = {
            name: " ".join(cell.split())
            for position, (name, cell) in enumerate(zip(names, row.cells, strict=False))
            if position != column and cell.strip()
        }
        name = next((values.pop(each) for each in _NAMES if each in values), "")
        too_long = [key for key, value in values.items() if len(value) > MAX_VALUE]
        if too_long or len(name) > MAX_NAME:
            raise _LeftOut(problems.Kind.LONG_CELL)
        lines[number] = row.line
        # A contact's own variables of these names are its number and name.
        kept = {key: value for key, value in values.items() if key not in ("number", "name")}
        return NewContact(number, name, dict(itertools.islice(kept.items(), MOST_FIELDS)))


def _without_heading(width: int, column: int) -> list[str]:
    """Return names for columns without a heading: the first beside the number is the name."""
    names = [f"column{position}" for position in range(1, width + 1)]
    beside = next((each for each in range(width) if each != column), None)
    if beside is not None:
        names[beside] = "name"
    return names


def is_variable(name: str) -> bool:
    """Return whether a contact may have a value of that name beside its number and name."""
    return text_variables.is_name(name) and name not in ("number", "name")


def keep_rejected(organization: Organization, rejected: Sequence[Rejected]) -> StoredFile:
    """A file of what was left out, for a day."""
    heading = (_("Line"), _("As written"), _("Why"))
    rows = (
        (each.line, each.written, problems.in_words(each.kind, each.detail)) for each in rejected
    )
    return stored_files.store(
        organization,
        name="not-imported.csv",
        content_type="text/csv; charset=utf-8",
        content=csv_lines(itertools.chain([heading], rows)),
        expires_at=clock.now() + KEPT,
    )


def read_rejected(organization: Organization, file_id: uuid.UUID) -> StoredFile | None:
    """That file, while it is kept."""
    found = stored_files.file_of(organization, file_id)
    return found if found is not None and found.name == "not-imported.csv" else None
