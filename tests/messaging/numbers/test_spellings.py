"""One table of spellings and their numbers, for every interface that accepts numbers."""

import csv
import io
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.access.page_access import public_id
from accounts.models import Organization
from accounts.roles import Role
from messaging.campaigns import chunks
from messaging.contacts.imports import Reading
from messaging.gateway.submit_parser import Address, Refused, number_of
from messaging.models import Carrier, Contact, Suppression
from messaging.numbers import characters, e164
from messaging.numbers.e164 import InvalidNumber
from messaging.numbers.reasons import NumberReason
from messaging.numbers.written import search_terms, written_numbers
from tests.support import campaigns
from tests.support.factories import Customer, World
from tests.support.people import PLAIN_STATIC, browser, member

ONE = "+966501234567"
EXCEL = "+966501234502"

# The spelling, and its number for an organization in Saudi Arabia.
SPELLINGS: list[tuple[str, str | NumberReason]] = [
    # with the country's code
    ("+966501234567", ONE),
    ("00966501234567", ONE),
    ("+00966501234567", ONE),
    ("966501234567", ONE),
    ("+966 50 123 4567", ONE),
    ("+966-50-123-4567", ONE),
    ("+966.50.123.4567", ONE),
    ("+966/50/1234567", ONE),
    ("(+966) 501234567", ONE),
    ("[+966] 501234567", ONE),
    ("+9660501234567", ONE),
    ("+966 (0) 50 123 4567", ONE),
    ("00966(0)501234567", ONE),
    ("+971501234567", "+971501234567"),
    ("00447400123456", "+447400123456"),
    # in national form
    ("0501234567", ONE),
    ("050 123 4567", ONE),
    ("(0)501234567", ONE),
    ("(0) 0501234567", ONE),
    # two zeros that only come together here mean no other country
    ("(0)05351234567", NumberReason.NOT_OF_COUNTRY),
    ("(0)05016345670", NumberReason.NOT_OF_COUNTRY),
    ("0 05351234567", NumberReason.NOT_A_NUMBER),
    ("0-05351234567", NumberReason.NOT_A_NUMBER),
    ("(00) 966501234567", ONE),
    # the zero of a fraction is no digit, and with separators nobody knows what it is
    ("+49 160 1234567.0", NumberReason.DAMAGED),
    ("+62 812 3456 789.0", NumberReason.DAMAGED),
    ("+43 664 1234567,0", NumberReason.DAMAGED),
    ("+358 40 123456.00", NumberReason.DAMAGED),
    ("501234567", ONE),
    ("٠٥٠١٢٣٤٥٦٧", ONE),
    ("۰۵۰۱۲۳۴۵۶۷", ONE),
    ("०५०१२३४५६७", ONE),
    ("０５０１２３４５６７", ONE),
    ("＋９６６５０１２３４５６７", ONE),
    ("𝟎𝟓𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕", ONE),
    ("0️⃣5️⃣0️⃣1️⃣2️⃣3️⃣4️⃣5️⃣6️⃣7️⃣", ONE),
    # from right to left
    ("966501234567+", ONE),
    ("٩٦٦٥٠١٢٣٤٥٦٧+", ONE),
    ("\u202b966501234567+\u202c", ONE),
    ("\u2067+966\u2069 50 123 4567\u200f", ONE),
    # invisible characters, and those that look like a blank, a dash or a dot
    ("\ufeff0501234567", ONE),
    ("050\u200b123\u200c45\u200d67", ONE),
    ("050\ufe0f1234567", ONE),
    ("050\U000e01ef1234567", ONE),
    ("050\u034f123\u115f4567", ONE),
    ("050\u3164123\uffa04567", ONE),
    ("050\u061c123\u20604567", ONE),
    ("050\u00ad123\u180e4567", ONE),
    ("050\u00a0123\u202f4567", ONE),
    ("050\u3000123\u28004567", ONE),
    ("050\u2028123\u00854567", ONE),
    ("050\u2011123\u20124567", ONE),
    ("050\u2212123\uff0d4567", ONE),
    ("050\u00b7123\u20224567", ONE),
    ("（050）1234567", ONE),
    # as links and in quotes
    ("tel:+966-50-123-4567", ONE),
    ("TEL:0501234567", ONE),
    ("tel://+966501234567", ONE),
    ("sms:+966501234567", ONE),
    ("'+966501234567", ONE),
    ("'0501234567", ONE),
    ('="0501234567"', ONE),
    ('"0501234567"', ONE),
    # as spreadsheets leave them, whole
    ("501234567.0", ONE),
    ("966501234502.0", EXCEL),
    ("966501234502,0", EXCEL),
    ("966501234502.00", EXCEL),
    ("+966501234502.0", EXCEL),
    ("٩٦٦٥٠١٢٣٤٥٠٢٫٠", EXCEL),
    ("9.66501234502E11", EXCEL),
    ("9.66501234502E+11", EXCEL),
    ("9.66501234502e+011", EXCEL),
    ("9,66501234502E+11", EXCEL),
    ("+9.66501234502E11", EXCEL),
    ("96.6501234502E10", EXCEL),
    ("0.966501234502E12", EXCEL),
    ("966501234502E0", EXCEL),
    ("9.665012345020E11", EXCEL),
    ("5.01234567E8", ONE),
    ("966,501,234,502", EXCEL),
    ("966,501,234,502.00", EXCEL),
    # rounded: the last digits are lost
    ("9.66501E+11", NumberReason.DAMAGED),
    ("9E+11", NumberReason.DAMAGED),
    ("9,66E+11", NumberReason.DAMAGED),
    ("9.66501e11", NumberReason.DAMAGED),
    ("9.665012345E11", NumberReason.DAMAGED),
    ("٩٫٦٦E+١١", NumberReason.DAMAGED),
    ("5.01235E+08", NumberReason.DAMAGED),
    ("501634567.5", NumberReason.DAMAGED),
    ("966501234567.25", NumberReason.DAMAGED),
    # never abroad by luck
    ("501634567.0", "+966501634567"),
    ("592612345.0", "+966592612345"),
    ("5016345670", NumberReason.NOT_OF_COUNTRY),
    ("971501234567", NumberReason.NOT_OF_COUNTRY),
    ("447400123456", NumberReason.NOT_OF_COUNTRY),
    ("14155550123", NumberReason.NOT_OF_COUNTRY),
    # not a number that SMS reach
    ("", NumberReason.NOT_A_NUMBER),
    ("+", NumberReason.NOT_A_NUMBER),
    ("hello", NumberReason.NOT_A_NUMBER),
    ("++966501234567", NumberReason.NOT_A_NUMBER),
    ("+966501234567+", NumberReason.NOT_A_NUMBER),
    ("+96650123456x", NumberReason.NOT_A_NUMBER),
    ("+966501234567;ext=5", NumberReason.NOT_A_NUMBER),
    ("+966501234567\x00", NumberReason.NOT_A_NUMBER),
    ("1e", NumberReason.NOT_A_NUMBER),
    ("12345", NumberReason.TOO_SHORT),
    ("+96650123", NumberReason.TOO_SHORT),
    ("+9665012345678", NumberReason.TOO_LONG),
    ("0501234567/0507654321", NumberReason.TOO_LONG),
    ("0112345678", NumberReason.FIXED_LINE),
    ("112345678", NumberReason.FIXED_LINE),
    ("+966112345678", NumberReason.FIXED_LINE),
    ("8001234567", NumberReason.TOLL_FREE),
    ("+999123456789", NumberReason.UNKNOWN_COUNTRY),
    ("5" * 65, NumberReason.TOO_LONG),
]
GOOD = [(raw, wanted) for raw, wanted in SPELLINGS if isinstance(wanted, str)]
BAD = [(raw, wanted) for raw, wanted in SPELLINGS if isinstance(wanted, NumberReason)]


def _read(raw: str, home: str = "SA") -> str | NumberReason:
    try:
        return e164.parse(raw, home).e164
    except InvalidNumber as error:
        return error.reason


@pytest.mark.parametrize(("raw", "wanted"), SPELLINGS)
def test_a_spelling(raw: str, wanted: str | NumberReason) -> None:
    assert _read(raw) == wanted


def test_without_a_default_country_a_number_needs_its_code() -> None:
    for raw, wanted in GOOD:
        spelled = characters.plain(raw).strip("\"'=([ ")
        coded = spelled.lower().removeprefix("tel:").removeprefix("sms:").startswith(("+", "00"))
        if coded or raw.endswith("+") or raw.startswith(("tel://+", "\u202b")):
            assert _read(raw, "") == wanted, raw
        else:
            assert _read(raw, "") is NumberReason.NO_COUNTRY_CODE, raw


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("966501234567", ONE),
        ("971501234567", "+971501234567"),
        ("+971501234567", "+971501234567"),
        ("971501234567.0", "+971501234567"),
        ("501634567", NumberReason.NO_COUNTRY_CODE),  # of Saudi Arabia, or Belize's?
        ("508551234", NumberReason.NO_COUNTRY_CODE),  # Saint Pierre has this number too
        ("0501234567", NumberReason.NO_COUNTRY_CODE),
        ("9.66501E+11", NumberReason.DAMAGED),
    ],
)
def test_a_list_of_numbers_with_their_codes(raw: str, wanted: str | NumberReason) -> None:
    try:
        found: str | NumberReason = e164.parse_with_code(raw, "SA").e164
    except InvalidNumber as error:
        found = error.reason
    assert found == wanted


@given(st.characters(exclude_categories=["Cs"]))
def test_invisible_characters_do_not_change_a_number(character: str) -> None:
    """By Unicode's categories, for any character."""
    category = unicodedata.category(character)
    if category in ("Cf", "Zs", "Zl", "Zp", "Pd"):
        assert _read(f"050{character}1234567") == ONE
    elif category == "Nd":
        digit = unicodedata.decimal(character)
        assert _read(f"+96650123456{character}") == f"+96650123456{digit}"


# ------------------------------------------------------------------ every door


@pytest.fixture
def customer(world: World, carrier: Carrier) -> Customer:
    return world.customer()


def _messages(customer: Customer) -> list[str]:
    return sorted(message.to for message in customer.messages())


def test_the_api(customer: Customer) -> None:
    served = [(raw, wanted) for raw, wanted in SPELLINGS if wanted not in ("+447400123456",)]
    rows = [{"to": raw, "message": "Hi"} for raw, _ in served]
    response = customer.api.post("/v1/sms/bulk", {"messages": rows}).json()
    for (raw, wanted), row in zip(served, response["messages"], strict=True):
        if isinstance(wanted, str) and wanted.startswith("+966"):
            assert row["to"] == wanted, raw
        else:
            code = "DESTINATION_BLOCKED" if isinstance(wanted, str) else "INVALID_PHONE"
            assert row["error"]["code"] == code, raw


def test_an_organization_without_a_default_country(customer: Customer) -> None:
    Organization.objects.update(default_country="")
    for raw, status in ((ONE, 202), ("0501234567", 400), ("501234567", 400), ("966501234567", 400)):
        response = customer.api.post("/v1/sms/send", {"to": raw, "message": "Hi"})
        assert response.status_code == status, raw
    Organization.objects.update(default_country="AE")
    response = customer.api.post("/v1/sms/estimate", {"to": "0501234567", "message": "Hi"})
    assert response.json()["to"] == "+971501234567"


def test_an_opt_out_applies_to_every_spelling(customer: Customer) -> None:
    """Whichever interface added the number, and whichever one sends to it."""
    for raw, wanted in GOOD:
        Suppression.objects.all().delete()
        response = customer.api.post("/v1/suppressions", {"numbers": [raw]})
        assert (response.status_code, response.json()["added"]) == (201, 1), raw
        assert Suppression.objects.get().number == wanted, raw
    Suppression.objects.all().delete()
    Suppression.objects.create(organization=customer.organization, number=ONE, source="api")
    for raw, wanted in GOOD:
        if wanted == ONE:
            response = customer.api.post("/v1/sms/send", {"to": raw, "message": "Hi"})
            assert response.json()["error"]["code"] == "DESTINATION_BLOCKED", raw
    assert _messages(customer) == []


def _file(rows: list[tuple[str, Any]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows([("phone", "name"), *((raw, "Sara") for raw, _ in rows)])
    return out.getvalue().encode()


FILED = [(raw, wanted) for raw, wanted in SPELLINGS if "\0" not in raw]


def test_a_campaign(customer: Customer) -> None:
    campaign = campaigns.checked(campaigns.uploaded(customer, [_file(FILED)], country="SA"))
    rows = [row for each in chunks.chunks_of(campaign) for row in chunks.bad_rows(each)]
    refused = {row.line: (row.kind, row.detail) for row in rows}
    for line, (raw, wanted) in enumerate(FILED, 2):
        if wanted is NumberReason.DAMAGED:
            assert refused[line] == ("rounded", ""), raw
        elif isinstance(wanted, NumberReason):
            assert refused[line] == ("number", wanted.name), raw
        else:
            assert line not in refused or refused[line][0] in ("duplicate", "destination"), raw
    good = [row for each in chunks.chunks_of(campaign) for row in chunks.good_rows(each)]
    assert {row.to for row in good} == {
        wanted for _, wanted in FILED if isinstance(wanted, str) and wanted.startswith("+966")
    }


def test_an_import_of_contacts() -> None:
    reading = Reading(lambda: [_file(FILED)], "SA", "SA")
    read = {contact.number for contact in reading.contacts()}
    assert read == {wanted for _, wanted in FILED if isinstance(wanted, str)}
    refused = {row.line: row.detail for row in reading.rejected if row.kind == "number"}
    assert refused == {
        line: wanted.name
        for line, (_, wanted) in enumerate(FILED, 2)
        if isinstance(wanted, NumberReason) and wanted is not NumberReason.DAMAGED
    }


def test_compose_and_searches(customer: Customer, settings: Any) -> None:
    settings.STORAGES = PLAIN_STATIC
    for raw, wanted in GOOD:
        if "," not in raw and "\u2028" not in raw:
            [entry] = written_numbers(raw, "SA")
            assert _read(entry) == wanted, raw
        assert search_terms(raw, "SA") == (wanted, ""), raw
    Contact.objects.create(organization=customer.organization, number=ONE, name="Sara")
    owner = browser(member(customer.organization, Role.OWNER))
    for raw in ("0501234567", "٠٥٠ ١٢٣ ٤٥٦٧", "966501234567+", "tel:0501234567", "501234567.0"):
        page = owner.get(f"/dashboard/{public_id(customer.organization)}/contacts/", {"q": raw})
        assert "Sara" in page.content.decode(), raw


@pytest.mark.parametrize(
    ("ton", "written", "wanted"),
    [
        (1, "966501234567", ONE),
        (1, "+966501234567", ONE),
        (1, "00966501234567", "00966501234567"),
        (1, "971501234567", "+971501234567"),
        (0, "966501234567", ONE),
        (0, "+966501234567", ONE),
        (0, "971501234567", "+971501234567"),
        (0, "0501234567", ONE),
        (0, "501234567", ONE),
        (0, "9665012345678", "+9665012345678"),  # refused with its reason later
        (2, "0501234567", ONE),
        (2, "501234567", ONE),
        (2, "966501234567", ONE),
        (2, "971501234567", Refused),
        (2, "5016345670", Refused),
        (2, "12", Refused),
        (3, "0501234567", Refused),
    ],
)
def test_smpp(ton: int, written: str, wanted: Any) -> None:
    address = Address(ton, 1, written)
    if wanted is Refused:
        with pytest.raises(Refused):
            number_of(address, "SA")
    else:
        assert number_of(address, "SA") == wanted


def test_smpp_without_a_default_country() -> None:
    with pytest.raises(Refused) as refused:
        number_of(Address(2, 1, "0501234567"), "")
    assert refused.value.code == "INVALID_DESTINATION_TON"
    assert number_of(Address(0, 1, "0501234567"), "") == "+0501234567"
