"""XLSX files: read as openpyxl writes them, written as openpyxl reads them, and bounded."""

import contextlib
import functools
import io
import resource
import time
import zipfile
from datetime import date, datetime
from datetime import time as clock
from decimal import Decimal
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imissive.core import workbooks
from imissive.core.spreadsheets import csv_lines, csv_rows
from imissive.core.workbook_writer import xlsx_pieces
from imissive.core.workbooks import Flaw, Limits, UnusableWorkbook
from tests.support.workbooks import archive, of_parts, saved

LIMITS = Limits(rows=101_000, columns=101, cell=4_000, characters=20 * 1024 * 1024)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def _rows(content: bytes, limits: Limits = LIMITS) -> list[tuple[int, list[str]]]:
    return list(workbooks.read_rows(io.BytesIO(content), len(content), limits))


def _flaw(content: bytes, limits: Limits = LIMITS) -> Flaw:
    with pytest.raises(UnusableWorkbook) as refused:
        _rows(content, limits)
    return refused.value.flaw


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("0501234567", "0501234567"),
        ("+966 50 123 4567", "+966 50 123 4567"),
        (501234567, "501234567"),
        (966501234567, "966501234567"),
        (966501234567.0, "966501234567"),
        (9.66501234502e11, "966501234502"),
        (123456789012345, "123456789012345"),
        (0.1, "0.1"),
        (-12.5, "-12.5"),
        (1e-7, "0.0000001"),
        (1 / 3, "0.3333333333333333"),
        (1e21, "1000000000000000000000"),
        (True, "TRUE"),
        (date(2026, 1, 15), "2026-01-15"),
        (datetime(2026, 1, 15, 13, 30), "2026-01-15 13:30"),
        (datetime(2026, 1, 15, 13, 30, 7), "2026-01-15 13:30:07"),
        (date(1900, 2, 1), "1900-02-01"),
        (clock(7, 5), "07:05"),
        ("سارة", "سارة"),
        (" spaces ", " spaces "),
        ("two\nlines", "two\nlines"),
        ("<&>\"'", "<&>\"'"),
        ("'=1+1", "'=1+1"),
        ("12:30", "12:30"),
    ],
    ids=str,
)
def test_a_value(value: Any, read: str) -> None:
    assert _rows(saved([["x", value]])) == [(1, ["x", read])]


@pytest.mark.parametrize(
    ("stored", "shown", "read"),
    [
        (501234567, "0000000000", "0501234567"),
        (7, "000", "007"),
        (46037, "dd/mm/yyyy", "2026-01-15"),
        (46037, "[$-401]d mmmm yyyy", "2026-01-15"),
        (46037.5625, 'yyyy-mm-dd "at" hh:mm', "2026-01-15 13:30"),
        (0.5625, "h:mm AM/PM", "13:30"),
        (1234.5, '#,##0.00 "days"', "1234.5"),
        (1234.5, "[Red]#,##0.00", "1234.5"),
        (-1, "dd/mm/yyyy", "-1"),
        (966501234567, "0.00E+00", "966501234567"),
        (966501234567, "@", "966501234567"),
        (966501234567, "General", "966501234567"),
    ],
)
def test_a_number_in_its_displayed_format(stored: float, shown: str, read: str) -> None:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet["A1"], sheet["A1"].number_format = stored, shown
    file = io.BytesIO()
    book.save(file)
    assert _rows(file.getvalue()) == [(1, [read])]


def test_the_first_visible_sheet_with_its_gaps() -> None:
    book = openpyxl.Workbook()
    book.worksheets[0].title = "Hidden"
    book.worksheets[0]["A1"] = "secret"
    book.worksheets[0].sheet_state = "hidden"
    sheet = book.create_sheet("People")
    sheet["B2"], sheet["A5"], sheet["DZ5"] = "phone", 501234567, "too far to the right"
    sheet["A900000"].number_format = "@"  # only formatted, as whole columns often are
    file = io.BytesIO()
    book.save(file)
    assert _rows(file.getvalue()) == [(2, ["", "phone"]), (5, ["501234567"])]


@pytest.mark.parametrize(
    ("sheet", "strings", "cells"),
    [
        ('<row><c t="inlineStr"><is><t>a</t></is></c><c><v>1</v></c></row>', "", ["a", "1"]),
        (
            '<row r="1"><c r="A1" t="s"><v>0</v></c><c t="s"><v>9</v></c><c><v>2</v></c></row>',
            '<si><r><t>Sa</t></r><r><t>ra</t></r><rPh sb="0" eb="1"><t>x</t></rPh></si>',
            ["Sara", "", "2"],
        ),
        ('<row><c t="str"><f>A2</f><v>b</v></c><c t="e"><v>#N/A</v></c></row>', "", ["b", "#N/A"]),
        ('<x:row xmlns:x="urn:x"><x:c><x:v>966501234567</x:v></x:c></x:row>', "", ["966501234567"]),
        ('<row><c t="inlineStr"><is><t>a_x000D_b</t></is></c></row>', "", ["a\rb"]),
        (f'<row><c t="inlineStr"><is><t>{"x" * 9000}</t></is></c></row>', "", ["x" * 4001]),
        ('<row><c s="7"><v>5</v></c><c t="s"><v>-1</v></c></row>', "", ["5"]),
    ],
)
def test_what_other_programs_write(sheet: str, strings: str, cells: list[str]) -> None:
    assert _rows(of_parts(sheet, strings=strings)) == [(1, cells)]


def _cell(text: str) -> str:
    return f'<c t="inlineStr"><is><t>{text}</t></is></c>'


DOCTYPE = '<!DOCTYPE worksheet [<!ENTITY a "' + "x" * 1000 + '">{}]>'
LAUGHS = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
EXPANSION = DOCTYPE.format('<!ENTITY a0 "&a;">' + LAUGHS) + "<worksheet>&a11;</worksheet>"
EXTERNAL = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><worksheet>&a;</worksheet>'
SHEET = "xl/worksheets/sheet1.xml"
BOMBS = {
    "unpacked bytes": (of_parts(" " * 40_000_000), Flaw.TOO_LARGE),
    "empty cells": (of_parts("<row>" + "<c/>" * 9_000_000 + "</row>"), Flaw.TOO_LARGE),
    "empty shared strings": (
        of_parts("<row><c><v>1</v></c></row>", strings="<si/>" * 3_000_000), Flaw.TOO_LARGE,
    ),
    "one long shared string, often": (
        of_parts(
            "<row>" + '<c t="s"><v>0</v></c>' * 100 + "</row>" + (
                "<row>" + '<c t="s"><v>0</v></c>' * 100 + "</row>") * 1500,
            strings=f"<si><t>{'x' * 4000}</t></si>", packing=zipfile.ZIP_STORED,
        ),
        Flaw.TOO_LARGE,
    ),
    "a cell in the farthest corner": (
        of_parts(
            f'<row>{_cell("a")}</row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
        ),
        None,
    ),
    "a value in the last row": (
        of_parts(f'<row>{_cell("a")}</row><row r="1048576"><c r="A1048576"><v>1</v></c></row>'),
        Flaw.TOO_MANY_ROWS,
    ),
    "a row number out of the world": (
        of_parts(f'<row r="{10**30}">{_cell("a")}</row>'), Flaw.TOO_MANY_ROWS,
    ),
    "entities of entities": (of_parts("", more={SHEET: EXPANSION}), Flaw.UNREADABLE),
    "an entity from outside": (of_parts("", more={SHEET: EXTERNAL}), Flaw.UNREADABLE),
    "a document type in the strings": (
        of_parts("", strings="x", more={"xl/sharedStrings.xml": EXPANSION}), Flaw.UNREADABLE,
    ),
    "a tag without end": (
        of_parts("", more={SHEET: "<worksheet " + "x" * 3_900_000}), Flaw.TOO_LARGE,
    ),
    "very many parts": (archive({f"x{n}": "" for n in range(3000)}), Flaw.TOO_LARGE),
    "a packing with much memory": (
        of_parts("<row><c><v>1</v></c></row>", packing=zipfile.ZIP_LZMA), Flaw.UNREADABLE,
    ),
    "nested tags": (of_parts("<a>" * 1_000_000), Flaw.UNREADABLE),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_reading_time_is_linear_for_any_workbook(name: str) -> None:
    content, flaw = BOMBS[name]
    before, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if flaw is None:
        assert _rows(content) == [(1, ["a"])]
    else:
        assert _flaw(content) is flaw
    assert time.process_time() - before < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 300_000


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04",
        b"PK\x03\x04" + bytes(100),
        archive({"word/document.xml": "<x/>"}),
        archive({"mimetype": "application/vnd.oasis.opendocument.spreadsheet"}),
        of_parts("<row><c>"),
        of_parts("<row><c><v>1</v></c></row>")[:-30],
        of_parts("<row><c><v>1</v></c></row>").replace(b"xl/workbook.xml", b"xl/workbookX.xm"),
        of_parts("<row r='x'><c><v>1</v></c></row>"),
    ],
    ids=range(8),
)
def test_other_files_are_refused(content: bytes) -> None:
    assert _flaw(content) is Flaw.UNREADABLE


@functools.cache
def _two_people() -> bytes:
    """Return one workbook for all examples: its bytes have the time of its making."""
    return saved([["phone", "name"], [501234567, "Sara"], ["0501234567", "Noor"]])


@given(st.data())
def test_damaged_bytes_are_refused_or_read(data: st.DataObject) -> None:
    content = bytearray(_two_people())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UnusableWorkbook):
        _rows(bytes(content))


# ---------------------------------------------------------------- writing


def _written(rows: list[list[Any]]) -> bytes:
    return b"".join(xlsx_pieces(rows))


def test_text_stays_text() -> None:
    row = ["+966501234567", "0501234567", "=1+1", "@x", "007", "1e5", "مرحبا", "two\nlines", " a "]
    sheet = openpyxl.load_workbook(io.BytesIO(_written([["a"] * 9, row]))).worksheets[0]
    assert [cell.value for cell in sheet[2]] == row
    assert {cell.data_type for cell in sheet[2]} == {"s"}
    assert {cell.number_format for cell in sheet[2]} == {"@"}


def test_numbers_are_numbers_within_excels_precision() -> None:
    row = [5, -7, Decimal("1.25"), 123456789012345, 1234567890123456, True, None, ""]
    sheet = openpyxl.load_workbook(io.BytesIO(_written([row]))).worksheets[0]
    assert [cell.value for cell in sheet[1]] == [
        5, -7, 1.25, 123456789012345, "1234567890123456", "True", None, None,
    ]  # fmt: skip


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
def test_any_texts_are_read_back(rows: list[tuple[str, str]]) -> None:
    content = _written([["a", "b"], *map(list, rows)])
    read = dict(_rows(content))
    for number, row in enumerate(rows, 2):
        cells = read.get(number, [])
        assert (*cells, "", "")[:2] == row


@given(st.lists(st.lists(TEXTS, min_size=1, max_size=4), max_size=6))
def test_a_csv_file_of_ours_becomes_a_workbook(rows: list[list[str]]) -> None:
    pieces = list(b"".join(csv_lines(rows)).splitlines(keepends=True))
    assert list(csv_rows(pieces)) == rows


def test_more_rows_than_a_sheet_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imissive.core.workbook_writer.MAX_ROWS", 3)
    content = _written([["n"], *([str(n)] for n in range(5))])
    sheets = openpyxl.load_workbook(io.BytesIO(content)).worksheets
    assert [[row[0].value for row in sheet.iter_rows()] for sheet in sheets] == [
        ["n", "0", "1"], ["n", "2", "3"], ["n", "4"],
    ]  # fmt: skip


def test_it_is_written_piece_by_piece() -> None:
    pieces = xlsx_pieces([f"{n}-{m}" for m in range(9)] for n in range(20_000))
    assert max(map(len, pieces)) < 200_000
