"""Uploaded files of recipients: checking them and detecting their format."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from accounts.models import Organization, StoredFile
from accounts.ui import stored_files
from imissive.core import clock
from messaging.importing import columns as columns_of
from messaging.importing import csv_reader, encodings, workbook_files
from messaging.importing.csv_reader import Shape
from messaging.importing.reasons import FileReason, NotUsable
from messaging.importing.recipients import MOST_ROWS

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile

MAX_BYTES: Final = 20 * 1024 * 1024
ACCEPTED: Final = ".csv,.txt,.tsv,.xlsx,text/csv,text/plain"
KEPT: Final = timedelta(days=90)
SAMPLE: Final = 5


@dataclass(frozen=True, slots=True)
class Reading:
    """A parsed file: its columns, the one with the numbers, and its first rows."""

    shape: Shape
    columns: list[str]
    number_column: int | None
    sample: list[list[str]]


def read_first(pieces: Iterable[bytes], again: Iterable[bytes], shape: Shape, home: str) -> Reading:
    """Read the start of a file in that shape, given its bytes twice.

    `home`: the country of numbers without a code.
    """
    columns = csv_reader.columns(pieces, shape)
    rows = csv_reader.rows(again, shape)
    first = [row.cells for row in itertools.islice(rows, max(SAMPLE, columns_of.SAMPLE))]
    number_column = columns_of.guess_number_column(columns, first, home)
    return Reading(shape, columns, number_column, first[:SAMPLE])


def as_csv(upload: "UploadedFile[bytes]") -> "UploadedFile[bytes]":
    """Return the upload, converted to CSV if it is a workbook. Raise NotUsable."""
    if (upload.size or 0) > MAX_BYTES:
        raise NotUsable(FileReason.TOO_LARGE.problem(most=MAX_BYTES // 1024**2))
    return workbook_files.as_csv(upload, MOST_ROWS, MAX_BYTES)


def evaluate(upload: "UploadedFile[bytes]", home: str) -> Reading:
    """Return the detected reading of an upload.

    Raises NotUsable if it is not a CSV file, whatever its name and type, or has no rows or too
    many.
    """
    if (upload.size or 0) > MAX_BYTES:
        raise NotUsable(FileReason.TOO_LARGE.problem(most=MAX_BYTES // 1024**2))
    head = next(_pieces(upload), b"")
    kind = encodings.foreign_kind(head)
    if kind is not None:
        raise NotUsable(kind.problem())
    shape = csv_reader.detect(lambda: _pieces(upload))
    reading = read_first(_pieces(upload), _pieces(upload), shape, home)
    if not reading.columns:
        raise NotUsable(FileReason.EMPTY.problem())
    if not reading.sample:
        raise NotUsable(FileReason.NO_ROWS.problem())
    rows = csv_reader.rows(_pieces(upload), shape)
    if sum(1 for _row in itertools.islice(rows, MOST_ROWS + 1)) > MOST_ROWS:
        raise NotUsable(FileReason.TOO_MANY_ROWS.problem(most=MOST_ROWS))
    return reading


def keep(organization: Organization, upload: "UploadedFile[bytes]") -> StoredFile:
    """Store the upload for the time that its campaign may need it."""
    return stored_files.store(
        organization,
        name=upload.name or "recipients.csv",
        content_type="text/csv",
        content=_pieces(upload),
        expires_at=clock.now() + KEPT,
    )


def _pieces(upload: "UploadedFile[bytes]") -> Iterator[bytes]:
    # From the start, each time.
    yield from upload.chunks(stored_files.CHUNK_BYTES)
