"""The recipients of a campaign, row by row, from a file or from contact lists."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from accounts.ui import stored_files
from messaging.importing import csv_reader
from messaging.importing.csv_reader import Shape
from messaging.importing.problems import Kind, of_fault, of_refusal
from messaging.importing.reports import columns_of_ours
from messaging.models import Campaign, Contact
from messaging.numbers import e164
from messaging.sending.evaluation import MAX_REFERENCE
from messaging.text import variables as text_variables

MOST_ROWS: Final = 100_000
_PAGE: Final = 2_000


@dataclass(frozen=True, slots=True)
class Recipient:
    """A row: `number` in E.164, or its problem (`kind`, `detail`); `values` of the variables."""

    line: int
    written: str
    number: str
    values: dict[str, str]
    reference: str = ""
    kind: Kind | None = None
    detail: str = ""


def read_number(written: str, country: str, home: str) -> e164.Number:
    """Return the number of a row. Raise InvalidNumber.

    `country` is that of numbers without a code. If it is empty, each number has its own code, even
    if the plus is missing. `home` is the organization's default country.
    """
    if country:
        return e164.parse(written, country)
    return e164.parse_with_code(written, home)


def shape_of(campaign: Campaign) -> Shape:
    """Return the shape of the campaign's file."""
    return Shape(campaign.encoding, campaign.delimiter, campaign.has_header)


def variables(columns: Sequence[str]) -> list[str]:
    """Return unique variable names for columns with those headings.

    The columns that our own reports put before those of a file are named last.
    """
    ours = columns_of_ours(columns)
    order = [*range(ours, len(columns)), *range(ours)]
    names = dict[int, str]()
    for position in order:
        name = plain = text_variables.name_of(columns[position]) or f"column{position + 1}"
        again = 2
        while name in names.values():
            name, again = f"{plain}_{again}", again + 1
        names[position] = name
    return [names[position] for position in range(len(columns))]


def recipients(campaign: Campaign) -> Iterator[Recipient]:
    """Yield the campaign's recipients in order."""
    # If the file is not kept any more, there are no recipients, rather than those of no list.
    return _of_file(campaign) if campaign.columns else _of_lists(campaign)


def _of_file(campaign: Campaign) -> Iterator[Recipient]:
    file, column, reference = campaign.file, campaign.number_column, campaign.reference_column
    if file is None or column is None:
        return
    names, home = variables(campaign.columns), campaign.organization.default_country
    for row in csv_reader.rows(stored_files.read(file), shape_of(campaign)):
        written = row.cells[column].strip() if column < len(row.cells) else ""
        values = {name: _value(cell) for name, cell in zip(names, row.cells, strict=False)}
        own = values[names[reference]] if reference is not None and reference < len(names) else ""
        number, kind, detail = "", None, ""
        if row.fault is not None and not row.fault.usable:
            kind = of_fault(row.fault)
        else:
            try:
                number = read_number(written, campaign.country, home).e164
            except e164.InvalidNumber as error:
                kind, detail = of_refusal(error.problem())
        yield Recipient(row.line, written[:64], number, values, own[:MAX_REFERENCE], kind, detail)


def _value(cell: str) -> str:
    """Return the text of a cell, with each line end as one character, like in any message."""
    text = cell.strip().replace("\r\n", "\n").replace("\r", "\n")
    return text.replace(csv_reader.CELL_LINE_END, "\n")


def _of_lists(campaign: Campaign) -> Iterator[Recipient]:
    contacts = Contact.objects.filter(
        organization=campaign.organization_id, entries__contact_list__in=campaign.lists.all()
    )
    page, read, last = contacts.distinct().order_by("id"), 0, None
    while True:
        some = list((page if last is None else page.filter(id__gt=last))[:_PAGE])
        for position, contact in enumerate(some, read + 1):
            values = {"number": contact.number, "name": contact.name, **contact.fields}
            yield Recipient(position, contact.number, contact.number, values)
        if len(some) < _PAGE:
            return
        read, last = read + len(some), some[-1].id


def variables_known(campaign: Campaign) -> list[str]:
    """Return the variables that the campaign's text may have."""
    if campaign.columns:
        return variables(campaign.columns)
    seen: dict[str, None] = {"number": None, "name": None}
    contacts = Contact.objects.filter(
        organization=campaign.organization_id, entries__contact_list__in=campaign.lists.all()
    )
    for fields in contacts.order_by("-id").values_list("fields", flat=True)[:200]:
        seen |= dict.fromkeys(fields)
    return list(seen)
