"""Workbooks at every door that takes CSV files, and at every door that gives them."""

import io
import re
from typing import Any

import openpyxl
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.access.page_access import public_id
from accounts.models import StoredFile
from imissive.core.spreadsheets import csv_rows
from messaging.campaigns import chunks, uploads
from messaging.log import exports
from messaging.models import Campaign, Carrier, Contact, Export, Suppression
from messaging.numbers import e164
from tests.support import campaigns
from tests.support.campaigns import checked, fresh, run
from tests.support.factories import SENDER, Customer, World
from tests.support.people import PLAIN_STATIC, browser, member
from tests.support.workbooks import of_parts, saved

PEOPLE: list[list[Any]] = [
    ["phone", "name", "order", "due"],
    ["0501234567", "Sara, the first; a|b", 1000001, "a"],
    [501234568, "نورة", 1000002, "two\nlines"],
    [966501234569.0, "@Noor", 1000003, "'=x"],
    [],
    ["+966501234570", "Omar", 1000004, ""],
    [12345, "Nobody", 1000005, ""],
]
READ = {"+966501234567", "+966501234568", "+966501234569", "+966501234570"}


@pytest.fixture(autouse=True)
def _plain(settings: Any) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def customer(world: World, carrier: Carrier) -> Customer:
    return world.customer()


@pytest.fixture
def owner(customer: Customer) -> Client:
    return browser(member(customer.organization))


def _url(customer: Customer, path: str) -> str:
    return f"/dashboard/{public_id(customer.organization)}/{path}"


def _file(content: bytes, name: str = "people.xlsx") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content, "application/octet-stream")


def _campaign(client: Client, customer: Customer, content: bytes) -> Any:
    url = _url(customer, "campaigns/new/")
    page = client.get(url).content.decode()
    found = re.search(r'name="campaign_id" value="([^"]+)"', page)
    assert found
    return client.post(url, {"campaign_id": found[1], "file": _file(content)}, follow=True)


def test_a_campaign(owner: Client, customer: Customer) -> None:
    response = _campaign(owner, customer, saved(PEOPLE))
    assert response.status_code == 200
    campaign = Campaign.objects.get(organization=customer.organization)
    assert campaign.name == "people"
    assert (campaign.columns, campaign.number_column) == (["phone", "name", "order", "due"], 0)
    Campaign.objects.filter(pk=campaign.pk).update(
        sender=SENDER, text="{name} {order} {due}", reference_column=2
    )
    campaign = checked(fresh(campaign))
    assert campaign.good == 3, "Omar has no value of {due}"
    chunk = chunks.chunk_of(campaign, 0)
    assert chunk is not None
    assert [row.text for row in chunks.good_rows(chunk)] == [
        "Sara, the first; a|b 1000001 a",
        "نورة 1000002 two\nlines",
        "@Noor 1000003 '=x",
    ]
    url = _url(customer, f"campaigns/{campaign.public_id}/problems.csv")
    rows = list(_read_csv(b"".join(owner.get(url))))
    assert [row[0] for row in rows[1:]] == ["6", "7"], "the rows of the sheet"


def test_contacts(owner: Client, customer: Customer) -> None:
    url = _url(customer, "contacts/import/")
    response = owner.post(url, {"upload": _file(saved(PEOPLE))}, follow=True)
    page, path = response.content.decode(), response.redirect_chain[-1][0]
    assert "Nobody" in page
    chosen = {"number_column": "0", "name_column": "1", "country": "SA", "encoding": "utf-8"}
    chosen |= {"delimiter": str(ord(",")), "has_header": "on", "read_as": "utf-8 44 1"}
    owner.post(path, chosen | {"act": "import"})
    stored = {each.number: each for each in Contact.objects.all()}
    assert set(stored) == READ
    assert stored["+966501234567"].name == "Sara, the first; a|b"
    assert stored["+966501234568"].fields == {"order": "1000002", "due": "two lines"}
    assert stored["+966501234569"].name == "@Noor"
    assert stored["+966501234569"].fields["due"] == "'=x"


def test_suppressions(owner: Client, customer: Customer) -> None:
    url = _url(customer, "suppressions/add/")
    owner.post(url, {"upload": _file(saved(PEOPLE))}, follow=True)
    mine = Suppression.objects.filter(organization=customer.organization)
    assert set(mine.values_list("number", flat=True)) == READ


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (saved([]), "The file is empty"),
        (saved([["phone", "name"]]), "a heading, but no row"),
        (b"PK\x03\x04" + bytes(100), "That workbook cannot be read"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "That workbook cannot be read"),
        (of_parts(" " * 20_000_000), "The workbook is too large."),
        (of_parts('<row r="200000"><c><v>501234567</v></c></row>'), "more than 100,000 rows"),
    ],
    ids=range(6),
)
def test_invalid_workbooks_are_refused(
    owner: Client, customer: Customer, content: bytes, error: str
) -> None:
    response = _campaign(owner, customer, content)
    assert error in response.content.decode()
    assert not Campaign.objects.filter(organization=customer.organization).exists()
    assert not StoredFile.objects.filter(organization=customer.organization).exists()


def test_the_limit_of_rows_applies_to_workbooks(
    owner: Client, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_BYTES", 200_000)
    strings = f"<si><t>{'x' * 4000}</t></si>"
    content = of_parts('<row><c t="s"><v>0</v></c></row>' * 100, strings=strings)
    assert len(content) < 3_000
    assert "The workbook is too large." in _campaign(owner, customer, content).content.decode()
    assert not StoredFile.objects.filter(organization=customer.organization).exists()


# ---------------------------------------------------------------- downloads


def _read_csv(content: bytes) -> list[list[str]]:
    return list(csv_rows([content]))


def _read_xlsx(content: bytes) -> list[list[str]]:
    sheet = openpyxl.load_workbook(io.BytesIO(content)).worksheets[0]
    return [
        ["" if cell.value is None else str(cell.value) for cell in row] for row in sheet.iter_rows()
    ]


def _downloads(customer: Customer, world: World, carrier: Carrier) -> dict[str, tuple[str, str]]:
    """Return the method and address of each file that the dashboard gives."""
    organization = customer.organization
    for number in range(3):
        world.message(customer, carrier, to=f"+96650123456{number}", text="=Sara\r\nsaid '=x")
    Contact.objects.create(
        organization=organization, number="+966501234567", name="=cmd()", fields={"city": "'=x"}
    )
    export = Export.objects.create(organization=organization, due_at="2026-01-01T00:00:00Z")
    while exports.step():
        pass
    rows = [("12345", "=Bad"), ("0501234568", "Sara")]
    campaign = run(campaigns.started(campaigns.made(customer, rows)))
    return {
        "messages": ("get", f"messages/exports/{export.public_id}/"),
        "contacts": ("post", "contacts/export/"),
        "ledger": ("get", "credits/ledger.csv"),
        "audit": ("get", "audit/export/"),
        "usage": ("get", "usage/usage.csv"),
        "problems": ("get", f"campaigns/{campaign.public_id}/problems.csv"),
        "failures": ("get", f"campaigns/{campaign.public_id}/failures.csv"),
    }


def test_every_file_has_the_same_values_in_both_formats(
    owner: Client, customer: Customer, world: World, carrier: Carrier
) -> None:
    for name, (method, path) in _downloads(customer, world, carrier).items():
        url = _url(customer, path)
        as_csv = getattr(owner, method)(url)
        assert as_csv.status_code == 200, name
        assert ".csv" in as_csv["Content-Disposition"], name
        data = {"format": "xlsx"}
        as_xlsx = owner.post(url, data) if method == "post" else owner.get(url, data)
        assert ".xlsx" in as_xlsx["Content-Disposition"], name
        left, right = _read_csv(b"".join(as_csv)), _read_xlsx(b"".join(as_xlsx))
        assert len(left) > 1, name
        if name == "contacts":
            left = [left[0], *([e164.parse(row[0]).e164, *row[1:]] for row in left[1:])]
        right = [[cell.replace("_x000D_", "\r") for cell in row] for row in right]
        assert left == right, name
