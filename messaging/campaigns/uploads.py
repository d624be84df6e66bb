"""A file of recipients as somebody uploads it: whether it can be used, and how it is written."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts import files
from accounts.models import Organization, StoredFile
from imissive import clock
from messaging import csv_encoding, csv_reading
from messaging.campaigns.recipients import MOST_ROWS, guess_number_column
from messaging.csv_reading import Shape

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile

MAX_BYTES: Final = 20 * 1024 * 1024
KEPT: Final = timedelta(days=90)
SAMPLE: Final = 5

_EMPTY = _("The file is empty.")
_NO_ROWS = _("The file has a heading, but no row below it.")
_TOO_LARGE = _("The file is larger than 20 MB. Split it into several campaigns.")
_TOO_MANY = _("The file has more than 100,000 rows. Split it into several campaigns.")
_FOREIGN: Final[dict[str, Promise]] = {
    "workbook": _("That is a workbook, not a CSV file. Save it as CSV (UTF-8), then upload that."),
    "pdf": _("That is a PDF, not a CSV file."),
    "image": _("That is an image, not a CSV file."),
    "archive": _("That is an archive. Unpack it, then upload the CSV file in it."),
    "program": _("That is a program, not a CSV file."),
    "binary": _("That is not a text file."),
}


class NotUsable(Exception):
    """The file cannot be used; `why` says so to people."""

    def __init__(self, why: str | Promise) -> None:
        super().__init__(str(why))
        self.why = why


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is read: its columns, the one with the numbers, and its first rows."""

    shape: Shape
    columns: list[str]
    number_column: int | None
    sample: list[list[str]]


def read_first(pieces: Iterable[bytes], again: Iterable[bytes], shape: Shape) -> Reading:
    """The reading of a file in that shape; its bytes are asked for twice."""
    columns = csv_reading.columns(pieces, shape)
    rows = csv_reading.rows(again, shape)
    sample = [row.cells for row in itertools.islice(rows, SAMPLE)]
    return Reading(shape, columns, guess_number_column(columns, sample), sample)


def judge(upload: "UploadedFile[bytes]") -> Reading:
    """How the upload is to be read. Raises NotUsable for what is no CSV file, whatever it is called
    or said to be, for one without rows, and for one with too many."""
    if (upload.size or 0) > MAX_BYTES:
        raise NotUsable(_TOO_LARGE)
    head = next(_pieces(upload), b"")
    kind = csv_encoding.foreign_kind(head)
    if kind is not None:
        raise NotUsable(_FOREIGN[kind])
    shape = csv_reading.detect(lambda: _pieces(upload))
    reading = read_first(_pieces(upload), _pieces(upload), shape)
    if not reading.columns:
        raise NotUsable(_EMPTY)
    if not reading.sample:
        raise NotUsable(_NO_ROWS)
    rows = csv_reading.rows(_pieces(upload), shape)
    if sum(1 for _row in itertools.islice(rows, MOST_ROWS + 1)) > MOST_ROWS:
        raise NotUsable(_TOO_MANY)
    return reading


def keep(organization: Organization, upload: "UploadedFile[bytes]") -> StoredFile:
    """Store the upload for as long as its campaign may need it."""
    return files.store(
        organization,
        name=upload.name or "recipients.csv",
        content_type="text/csv",
        content=_pieces(upload),
        expires_at=clock.now() + KEPT,
    )


def _pieces(upload: "UploadedFile[bytes]") -> Iterator[bytes]:
    # From its beginning, each time.
    yield from upload.chunks(files.CHUNK_BYTES)
