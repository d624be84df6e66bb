"""The column of numbers: by its heading and its cells, not by chance."""

import pytest

from messaging.importing.columns import guess_number_column
from messaging.importing.suggestions import suggested_country, suggestion

ORDERS = ["1000001", "1000002", "1000003"]
PHONES = ["0501234567", "0501234568", "0501234569"]


@pytest.mark.parametrize(
    ("columns", "cells", "guess"),
    [
        (["name", "phone"], [["Sara"], ["0501234567"]], 1),
        (["الاسم", "الجوال"], [["سارة"], [""]], 1),
        (["id", "mobile"], [["12345678"], ["0501234567"]], 1),
        (["order", "x"], [["1", "2"], ["0501234567", "0501234568"]], 1),
        (["a", "b"], [["x"], ["y"]], None),
        ([], [], None),
        # a blank phone, or most of them blank
        (["order", "phone"], [ORDERS, [PHONES[0], "", PHONES[2]]], 1),
        (["order", "phone"], [ORDERS, [PHONES[0], "", ""]], 1),
        (["order", "phone"], [ORDERS, ["", "", ""]], 1),
        (["order", "x"], [ORDERS, [PHONES[0], "", ""]], 1),
        (["رقم الطلب", "رقم الجوال"], [ORDERS, ["", PHONES[1], ""]], 1),
        (["order number", "to"], [ORDERS, PHONES], 1),
        # numbers in any spelling, damaged ones and those of fixed lines too
        (["order", "x"], [ORDERS, ["9.66501E+11", "9.66501E+11", ""]], 1),
        (["order", "x"], [ORDERS, ["501234567.0", "", ""]], 1),
        (["order", "x"], [ORDERS, ["٠٥٠١٢٣٤٥٦٧", "", "+971501234567"]], 1),
        (["office", "mobile"], [["0112345678"] * 3, PHONES], 1),
        (["mobile", "whatsapp"], [PHONES, PHONES], 0),
        # other numbers that look like mobile numbers
        (["customer number", "mob"], [["501234567", "509876543"], ["0501110080", "0501110081"]], 1),
        (["Order", "Contact No."], [["512345678"] * 2, ["0501110078", "0501110079"]], 1),
        (["order", "contact"], [["512345678"] * 2, ["0501110078", ""]], 1),
        (["order", "date", "total"], [["512345678"], ["2026-01-15"], ["1500"]], None),
        (["رقم الطلب", "رقم العميل"], [["512345678"], ["0501110078"]], 1),
        # a heading that says so is not believed against cells that are no numbers
        (["phone model", "x"], [["iPhone", "Galaxy", "Pixel"], PHONES], 1),
        # no hint: the member has to choose
        (["order", "invoice"], [ORDERS, ORDERS], None),
        (["date", "total"], [["2026-01-15"] * 3, ["1500000.50"] * 3], None),
    ],
)
def test_the_column_of_numbers(
    columns: list[str], cells: list[list[str]], guess: int | None
) -> None:
    rows = [list(row) for row in zip(*cells, strict=True)]
    assert guess_number_column(columns, rows, "SA") == guess


@pytest.mark.parametrize(
    ("failed", "home", "chosen", "suggested"),
    [
        (["0501234567", "0501234568"], "SA", "", ("SA", 2)),
        (["0501234567"], "AE", "", ("AE", 1)),  # both have such numbers: the own country first
        (["0501234567"], "SA", "SA", ("AE", 1)),
        (["07123456789", "07123456788", "x"], "SA", "SA", ("GB", 2)),
        (["99123456"], "SA", "SA", ("KW", 1)),
        (["hello", "12"], "SA", "SA", ("", 0)),
        ([], "SA", "SA", ("", 0)),
        (["0501234567"], "", "", ("SA", 1)),
    ],
)
def test_a_country_is_suggested_for_numbers_that_fail(
    failed: list[str], home: str, chosen: str, suggested: tuple[str, int]
) -> None:
    assert suggested_country(failed, home, chosen) == suggested


@pytest.mark.parametrize(
    ("failed", "chosen", "good", "suggested"),
    [
        (["0501234567", "0501234568"], "", 0, "Saudi Arabia"),
        (["0501234567", "0501234568"], "", 900, "Saudi Arabia"),  # these have their codes
        (["07123456789", "07123456788"], "SA", 1, "United Kingdom"),
        (["07123456789", "07123456788"], "SA", 2, ""),  # as many would fail instead
        (["07123456789", "x", "y"], "SA", 0, ""),  # most cannot be read in any country
        ([], "SA", 0, ""),
    ],
)
def test_a_country_is_suggested_if_more_rows_become_valid_than_invalid(
    failed: list[str], chosen: str, good: int, suggested: str
) -> None:
    text = suggestion(failed, "SA", chosen, good)
    assert suggested in text
    assert bool(text) == bool(suggested)
