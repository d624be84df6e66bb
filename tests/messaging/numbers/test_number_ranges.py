"""Numbering ranges that operators enter, in the admin and on every page that reads numbers."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.access.page_access import public_id
from accounts.models import AuditEntry
from messaging.gateway.submit_parser import Address, number_of
from messaging.models import Carrier, Contact, NumberRange, Suppression
from messaging.numbers import e164
from messaging.numbers.reasons import InvalidNumber, NumberReason
from messaging.routing import numbering
from tests.support.factories import Customer, World
from tests.support.people import PLAIN_STATIC, browser, member, operator

pytestmark = pytest.mark.usefixtures("number_ranges")

ADD = "/admin/messaging/numberrange/add/"
RANGE = {
    "country": "SA", "prefix": "96652", "shortest": "12", "longest": "12",
    "reachable": "on", "enabled": "on", "note": "https://www.cst.gov.sa/",
}  # fmt: skip
NEW = "+966520001234"


@pytest.fixture(autouse=True)
def _plain(settings: Any) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def admin() -> Client:
    return browser(operator())


@pytest.fixture
def customer(world: World, carrier: Carrier) -> Customer:
    return world.customer()


def _reason(written: str, home: str = "SA") -> NumberReason:
    with pytest.raises(InvalidNumber) as refused:
        e164.parse(written, home)
    return refused.value.reason


def _add(**fields: Any) -> NumberRange:
    known = {"country": "SA", "prefix": "96652", "shortest": 12, "longest": 12, "note": "x"}
    made = NumberRange.objects.create(**known | fields)
    numbering.reload()
    return made


def test_an_operator_adds_changes_and_ends_a_range(admin: Client) -> None:
    assert _reason(NEW) is NumberReason.NOT_IN_PLAN
    assert admin.post(ADD, RANGE).status_code == 302
    numbering.reload()
    assert e164.parse(NEW) == e164.Number(NEW, "SA", 966)
    made = NumberRange.objects.get()
    url = reverse("admin:messaging_numberrange_change", args=(made.pk,))
    assert admin.post(url, RANGE | {"enabled": ""}).status_code == 302
    numbering.reload()
    assert _reason(NEW) is NumberReason.NOT_IN_PLAN
    added, changed = AuditEntry.objects.filter(action__startswith="numberrange").order_by("id")
    assert (added.action, changed.action) == ("numberrange.added", "numberrange.changed")
    assert "96652" in admin.get("/admin/messaging/numberrange/").content.decode()


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("country", "sa", "Two capital letters"),
        ("country", "QQ", "No country has this code."),
        ("prefix", "+96652", "Digits, such as 96657."),
        ("prefix", "966", "It has to begin with 966, the calling code of that country."),
        ("prefix", "97152", "It has to begin with 966, the calling code of that country."),
        ("shortest", "5", "More digits than the prefix has, and at most 15."),
        ("shortest", "13", "More digits than the prefix has, and at most 15."),
        ("longest", "16", "More digits than the prefix has, and at most 15."),
        ("note", "", "This field is required."),
    ],
)
def test_invalid_ranges_are_refused(admin: Client, field: str, value: str, error: str) -> None:
    response = admin.post(ADD, RANGE | {field: value})
    assert response.status_code == 200
    assert error in response.content.decode()
    assert not NumberRange.objects.exists()


@pytest.mark.parametrize(
    ("written", "home"),
    [
        (NEW, ""),
        ("00966520001234", ""),
        ("0520001234", "SA"),
        ("520001234", "SA"),
        ("520001234.0", "SA"),
        ("966520001234", "SA"),
        ("٠٥٢ ٠٠٠ ١٢٣٤", "SA"),
        ("tel:+966-52-000-1234", "AE"),
    ],
)
def test_every_spelling_of_a_new_number(written: str, home: str) -> None:
    with pytest.raises(InvalidNumber):
        e164.parse(written, home)
    _add()
    assert e164.parse(written, home).e164 == NEW


@pytest.mark.parametrize("written", ["+96652000123", "+9665200012345", "052000123", "+971520001"])
def test_other_lengths_and_countries_stay_as_they_were(written: str) -> None:
    _add()
    with pytest.raises(InvalidNumber):
        e164.parse(written, "SA")


@pytest.mark.parametrize(
    ("home", "code", "dialed"),
    [
        ("AR", 54, "0191234567"),
        ("BR", 55, "0191234567"),
        ("MX", 52, "191234567"),
        ("IT", 39, "191234567"),
        ("SA", 966, "0191234567"),
    ],
)
def test_countries_with_and_without_trunk_prefixes(home: str, code: int, dialed: str) -> None:
    digits = len(f"{code}191234567")
    _add(country=home, prefix=f"{code}19", shortest=digits, longest=digits)
    wanted = e164.Number(f"+{code}191234567", home, code)
    for written in (dialed, "191234567", f"{code}191234567", f"+{code} 19 123 4567"):
        assert e164.parse(written, home) == wanted, written


def test_a_range_is_corrected() -> None:
    """SMS do not reach numbers that the library treats as mobile; a longer prefix counts."""
    assert e164.parse("0501234567", "SA").e164 == "+966501234567"
    _add(prefix="96650", reachable=False)
    _add(prefix="966509", reachable=True)
    assert _reason("0501234567") is NumberReason.RANGE_NOT_SERVED
    assert _reason("+966501234567") is NumberReason.RANGE_NOT_SERVED
    assert e164.parse("0509234567", "SA").e164 == "+966509234567"


def test_new_ranges_apply_everywhere(customer: Customer) -> None:
    refused = customer.api.post("/v1/sms/send", {"to": "0520001234", "message": "Hi"})
    assert refused.json()["error"]["code"] == "INVALID_PHONE"
    _add()
    sent = customer.api.post("/v1/sms/send", {"to": "0520001234", "message": "Hi"})
    assert (sent.status_code, sent.json()["to"]) == (202, NEW)
    assert customer.api.post("/v1/suppressions", {"numbers": ["0520001235"]}).json()["added"] == 1
    assert Suppression.objects.get().number == "+966520001235"
    owner = browser(member(customer.organization))
    home = f"/dashboard/{public_id(customer.organization)}/"
    owner.post(f"{home}contacts/new/", {"number": "0520001234", "name": "Sara"})
    assert Contact.objects.get().number == NEW
    assert "Sara" in owner.get(f"{home}contacts/", {"q": "052 000 1234"}).content.decode()
    for ton, written in ((0, "0520001234"), (1, "966520001234"), (2, "520001234")):
        assert e164.parse(number_of(Address(ton, 1, written), "SA")).e164 == NEW


def test_ranges_are_read_once_a_second(django_assert_num_queries: Any) -> None:
    numbering.reload()
    with django_assert_num_queries(0):
        for _ in range(50):
            e164.parse("+966501234567")
    numbering._cached = (0.0, numbering._cached[1])
    with django_assert_num_queries(1):
        for _ in range(50):
            e164.parse("+966501234567")
