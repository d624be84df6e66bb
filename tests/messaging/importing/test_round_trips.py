"""Each file that we write is read back by us with the same values."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imissive.core.spreadsheets import csv_lines, original_cell, safe_cell
from messaging.campaigns import exports
from messaging.importing import csv_reader
from messaging.importing.csv_reader import Shape
from messaging.importing.recipients import variables
from messaging.models import Carrier
from tests.support import campaigns
from tests.support.factories import Customer, World

ROOT = Path(__file__).parents[3]
HOSTILE = [
    "=1+1", "+1+1", "-AD", "@SUM(A1)", "'=quoted", "''=twice", "' =x", " =1", "＝1", "-1.5",
    "+966501234567", "'0501234567", 'a "b", c;d|e', "two\nlines", "two\r\nlines", "\rx", "\t=1",
    "a;=1+1", "=a;=b", "a;'=b", ";-x", "O'Brien", "مرحبا، سارة", "0501234567", "1e5", "007", "",
]  # fmt: skip
CELLS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufffd\ufeff"), max_size=40
)


def _read(content: bytes) -> tuple[list[str], list[list[str]]]:
    def pieces() -> list[bytes]:
        return [content[at : at + 7] for at in range(0, len(content), 7)]

    shape = csv_reader.detect(pieces)
    return csv_reader.columns(pieces(), shape), [
        row.cells for row in csv_reader.rows(pieces(), shape) if row.fault is None
    ]


@given(CELLS)
def test_a_cell_is_read_back_unchanged(text: str) -> None:
    assert original_cell(safe_cell(text)) == text


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=8))
def test_any_values(rows: list[tuple[str, str, str]]) -> None:
    content = b"".join(csv_lines([("number", "b", "c"), *rows]))
    read = [row.cells for row in csv_reader.rows([content], Shape())]
    assert read == [list(row) for row in rows if any(cell.strip() for cell in row)]


@pytest.mark.parametrize("text", HOSTILE)
def test_values_that_programs_change(text: str) -> None:
    content = b"".join(csv_lines([["number", "value"], ["+966501234567", text]]))
    assert _read(content) == (["number", "value"], [["+966501234567", text]])


def test_all_files_are_written_by_one_function() -> None:
    """So its properties hold for messages, ledger, audit and usage, too."""
    writers = [
        str(path.relative_to(ROOT))
        for app in ("accounts", "imissive", "messaging", "otp", "webhooks")
        for path in (ROOT / app).rglob("*.py")
        if re.search(r"\bcsv\.(writer|DictWriter)\b", path.read_text(encoding="utf-8"))
    ]
    assert writers == ["imissive/core/spreadsheets.py"]


@pytest.fixture
def customer(world: World, carrier: Carrier) -> Customer:
    return world.customer()


def test_problems_and_failures_of_a_campaign(customer: Customer) -> None:
    rows: list[Any] = [("050123456", "=Sara", "good"), ("0501234567", "-Omar", "'=x")]
    content = b"".join(csv_lines([("phone", "name", "status"), *rows]))
    fields = {"columns": ["phone", "name", "status"], "text": "{name} {status}"}
    campaign = campaigns.checked(campaigns.uploaded(customer, [content], **fields))
    for report in (exports.problems(campaign), exports.failures(campaign)):
        columns, read = _read(b"".join(csv_lines(report)))
        names = variables(columns)
        values = dict(zip(names, read[0], strict=True))
        assert (values["phone"], values["name"], values["status"]) == rows[0]
        assert read[0][0] == "2", "the row that it was"
