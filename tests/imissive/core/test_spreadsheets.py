"""CSV for spreadsheets: Excel reads Arabic, and no cell is a formula."""

import csv
import io

import pytest

from imissive.core.spreadsheets import csv_lines, safe_cell


@pytest.mark.parametrize(
    "text",
    ["=1+1", "@SUM(A1)", "+1+cmd|'/C calc'!A0", "-2+3", "\t=1", "\r=1", " =1", "＝1", "+", "-x"],
)
def test_a_formula_is_text(text: str) -> None:
    assert safe_cell(text) == "'" + text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (";=1+1", ";'=1+1"),
        ("a;=1+1", "a;'=1+1"),
        ("; @SUM(A1);b", ";' @SUM(A1);b"),
        ("=a;=b", "'=a;'=b"),
        ("a;-1.5;+966501234567;b", "a;-1.5;+966501234567;b"),
    ],
)
def test_a_formula_behind_a_semicolon_is_text(text: str, shown: str) -> None:
    """Excel splits there where the list separator is a semicolon."""
    assert safe_cell(text) == shown


@pytest.mark.parametrize("text", ["+966501234567", "-1.5", "MyCompany", "", "a=b", "مرحبا", "5"])
def test_other_cells_are_unchanged(text: str) -> None:
    assert safe_cell(text) == text


def test_missing_values_are_empty() -> None:
    assert safe_cell(None) == ""


def test_the_file_is_read_back_unchanged() -> None:
    rows = [["to", "text"]] + [[f"+9665{n:08}", 'مرحبا، "a"\nb'] for n in range(1200)]
    pieces = list(csv_lines(rows))
    assert len(pieces) == 3
    text = b"".join(pieces).decode("utf-8-sig")
    assert b"".join(pieces).startswith(b"\xef\xbb\xbf")
    assert list(csv.reader(io.StringIO(text, newline=""))) == rows
