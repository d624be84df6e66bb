"""Workbooks (XLSX) that are uploaded where a CSV file may be: their first sheet becomes one."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from django.core.files.uploadedfile import UploadedFile

from imissive.core.spreadsheets import csv_lines
from imissive.core.workbooks import Flaw, Limits, UnusableWorkbook, read_rows
from messaging.importing.csv_reader import CELL_LINE_END, MAX_CELL, MAX_CELLS
from messaging.importing.reasons import FileReason, NotUsable

if TYPE_CHECKING:
    from typing import IO

_MARK: Final = b"PK\x03\x04"
_IN_MEMORY: Final = 1024 * 1024
# Rows without a value are not counted against the most, but stand between the others.
_BLANK_ROWS: Final = 1_000
_REASONS: Final = {
    Flaw.UNREADABLE: FileReason.WORKBOOK.problem(),
    Flaw.TOO_LARGE: FileReason.WORKBOOK_TOO_LARGE.problem(),
}


def as_csv(upload: "UploadedFile[bytes]", most_rows: int, most_bytes: int) -> "UploadedFile[bytes]":
    """Return the upload, or a CSV file with the rows of the workbook that it is.

    Each row has the line of its number in the sheet. Raises NotUsable.
    """
    file = upload.file
    if file is None or not _is_archive(file):
        return upload
    limits = Limits(most_rows + _BLANK_ROWS, MAX_CELLS + 1, MAX_CELL, most_bytes)
    out = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - the upload closes it
    try:
        for piece in _csv(file, upload.size or 0, limits):
            out.write(piece)
            if out.tell() > most_bytes:
                raise UnusableWorkbook(Flaw.TOO_LARGE)
    except UnusableWorkbook as error:
        out.close()
        too_many = FileReason.TOO_MANY_ROWS.problem(most=most_rows)
        raise NotUsable(_REASONS.get(error.flaw, too_many)) from None
    name = f"{PurePath(upload.name or 'recipients').stem}.csv"
    size = out.tell()
    out.seek(0, os.SEEK_SET)
    return UploadedFile(out, name, "text/csv", size, "utf-8")


def _is_archive(file: "IO[bytes]") -> bool:
    file.seek(0)
    head = file.read(len(_MARK))
    file.seek(0)
    return head == _MARK


def _csv(file: "IO[bytes]", size: int, limits: Limits) -> Iterator[bytes]:
    yield b"\xef\xbb\xbfsep=,\r\n"
    yield from csv_lines(_with_blank_rows(file, size, limits), marked=False)


def _with_blank_rows(file: "IO[bytes]", size: int, limits: Limits) -> Iterator[list[str]]:
    line = 0
    for number, cells in read_rows(file, size, limits):
        for _ in range(line + 1, number):
            yield []
        line = number
        yield [_on_one_line(cell) for cell in cells]


def _on_one_line(cell: str) -> str:
    """Return a cell without line ends: otherwise lines would be other than the sheet's rows."""
    if "\n" not in cell and "\r" not in cell:
        return cell
    return cell.replace("\r\n", "\n").replace("\r", "\n").replace("\n", CELL_LINE_END)
