"""The usage page: spans, groups, money for those who may see it, one-time passwords, the file."""

import csv
import io
import re
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.access.page_access import public_id
from accounts.credits import ledger
from accounts.models import MICRO, LedgerEntry
from accounts.roles import Role
from imissive.core import ids
from imissive.pages import usage_views
from messaging.models import Carrier, Message
from messaging.states import Status
from messaging.usage import rollups
from otp.models import Verification
from tests.support.factories import Customer, World
from tests.support.people import PLAIN_STATIC, browser, member

DAYS = {"since": "2026-05-01", "until": "2026-05-03"}


@pytest.fixture(autouse=True)
def _plain_static(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def owner(customer: Customer) -> Client:
    return browser(member(customer.organization))


def _url(customer: Customer, more: str = "") -> str:
    return f"/dashboard/{public_id(customer.organization)}/usage/{more}"


def _page(client: Client, customer: Customer, **query: str) -> str:
    response = client.get(_url(customer), query)
    assert response.status_code == 200
    return response.content.decode()


def _words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def _table(html: str) -> list[str]:
    [found] = re.findall(r'<section[^>]*aria-labelledby="table-title".*?</section>', html, re.S)
    return [_words(row) for row in re.findall(r"<tr>.*?</tr>", found, re.S)[1:]]


def _file(client: Client, customer: Customer, **query: str) -> list[list[str]]:
    response = client.get(_url(customer, "usage.csv"), query)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(response.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    return list(csv.reader(io.StringIO(text)))


def _at(day: int, hour: int = 12) -> dict[str, Any]:
    """The fields of something made at that hour of a day in May."""
    moment = datetime(2026, 5, day, hour, tzinfo=UTC)
    id_at = uuid.UUID(int=ids.first_id_at(moment).int | uuid.uuid4().int & (1 << 62) - 1)
    return {"id": id_at, "created_at": moment}


@pytest.fixture
def used(world: World, customer: Customer, carrier: Carrier) -> Customer:
    mine = customer, carrier
    world.message(*mine, status=Status.DELIVERED, price=MICRO, **_at(1))
    world.message(*mine, status=Status.DELIVERED, price=4 * MICRO, parts=2, **_at(2))
    failed = world.message(*mine, status=Status.FAILED, price=MICRO, sender="=SUM(1)", **_at(2))
    ledger.post([ledger.Posting(customer.id, LedgerEntry.Kind.REFUND, MICRO, failed.id, "x")])
    world.message(*mine, status=Status.SENT, price=MICRO // 2, country="AE", **_at(3, 22))
    world.message(*mine, status=Status.DELIVERED, test=True, **_at(3))
    world.message(*mine, status=Status.DELIVERED, price=MICRO, **_at(4, 1))
    return customer


def _verification(customer: Customer, day: int, country: str, **fields: Any) -> None:
    at = _at(day)
    fields = {
        "phone": "+966501234567",
        "country": country,
        "prefix": "96650",
        "length": 6,
        "expiry": 300,
        "text": "{code}",
        "status": Verification.Status.VERIFIED,
        "message_id": ids.new_uuid(),
        "expires_at": at["created_at"],
        "ended_at": at["created_at"],
    } | fields
    Verification.objects.create(organization=customer.organization, **at, **fields)


@pytest.fixture
def verified(used: Customer) -> Customer:
    failed = {"status": "failed", "reason": "canceled"}
    _verification(used, 1, "SA")
    _verification(used, 1, "SA", **failed)
    _verification(used, 1, "EG", **failed)
    return used


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize(
    ("by", "rows"),
    [
        (
            "day",
            ["2026-05-03 1 1 0.5", "2026-05-02 2 3 4", "2026-05-01 1 1 1", "All 4 5 5.5"],
        ),
        ("status", ["Delivered 2 3 5", "Failed 1 1 0", "Sent 1 1 0.5", "All 4 5 5.5"]),
        ("sender", ["MyCompany 3 4 5.5", "=SUM(1) 1 1 0", "All 4 5 5.5"]),
        ("country", ["Saudi Arabia 3 4 5", "United Arab Emirates 1 1 0.5", "All 4 5 5.5"]),
    ],
)
def test_groups(owner: Client, used: Customer, by: str, rows: list[str], summed: bool) -> None:
    if summed:
        rollups.roll_up()
    assert _table(_page(owner, used, by=by, **DAYS)) == rows


def test_it_says_what_the_api_says(owner: Client, used: Customer) -> None:
    body = used.api.get("/v1/usage?from=2026-05-01&to=2026-05-03&group_by=country").json()
    [*_, total] = _table(_page(owner, used, by="country", **DAYS))
    expected = body["total"]
    assert total == f"All {expected['messages']} {expected['parts']} {expected['credits']}"


def test_one_time_passwords_by_day_and_country(owner: Client, verified: Customer) -> None:
    rows = _table(_page(owner, verified, by="country", **DAYS))
    assert rows == [
        "Saudi Arabia 3 4 5 2 50.0%",
        "United Arab Emirates 1 1 0.5 0 —",
        "Egypt 0 0 0 1 0.0%",
        "All 4 5 5.5 3 33.3%",
    ]
    html = _page(owner, verified, by="day", **DAYS)
    assert "2026-05-01 1 1 1 3 33.3%" in _table(html)
    assert "1 of 3" in _words(html)
    assert "Codes sent" not in _page(owner, verified, by="sender", **DAYS)


@pytest.mark.parametrize("role", list(Role))
def test_who_sees_money(role: Role, used: Customer) -> None:
    client = browser(member(used.organization, role))
    sees = role in (Role.OWNER, Role.ADMIN, Role.FINANCE)
    html = _page(client, used, by="day", **DAYS)
    assert (_table(html)[-1] == "All 4 5 5.5") is sees
    assert ("Credits</th>" in html) is sees
    assert ("credits" in _file(client, used, by="day", **DAYS)[0]) is sees


def test_days_are_those_where_the_reader_is(used: Customer) -> None:
    user = member(used.organization)
    user.time_zone = "Asia/Riyadh"
    user.save()
    rows = _table(_page(browser(user), used, by="day", since="2026-05-04", until="2026-05-04"))
    assert rows == ["2026-05-04 2 2 1.5", "All 2 2 1.5"]


def test_spans_that_are_a_click_away() -> None:
    presets = usage_views.preset_periods(date(2026, 3, 1))
    assert {period.key: (period.first, period.last) for period, _ in presets} == {
        "month": (date(2026, 3, 1), date(2026, 3, 1)),
        "last-month": (date(2026, 2, 1), date(2026, 2, 28)),
        "30d": (date(2026, 1, 31), date(2026, 3, 1)),
    }


def test_thirty_days_unless_asked(
    owner: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    now = timezone.now()
    for days in (0, 29, 31):
        at = now - timedelta(days=days)
        world.message(customer, carrier, id=ids.first_id_at(at), created_at=at)
    for query in ({}, {"span": "30d"}, {"span": "year", "by": "week"}):
        rows = _table(_page(owner, customer, **query))
        assert len(rows) == 31
        assert rows[-1] == "All 2 2 0"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"since": "2026-05-02", "until": "2026-05-01"}, "That is before the first day."),
        ({"since": "2026-01-01", "until": "2026-04-03"}, "at most 92 days"),
        ({"since": "2026-01-01"}, "Choose both days."),
        ({"until": "2026-01-01"}, "Choose both days."),
        ({"since": "x", "until": "2026-01-01"}, "Enter a valid date."),
        ({"since": "0001-01-01", "until": "0001-01-01"}, "greater than or equal"),
        ({"since": "9999-12-31", "until": "9999-12-31"}, "less than or equal"),
    ],
)
def test_days_that_cannot_be_shown(
    owner: Client, customer: Customer, query: dict[str, str], expected: str
) -> None:
    """What was chosen is kept, and the page shows the last thirty days meanwhile."""
    for path in ("", "usage.csv"):
        response = owner.get(_url(customer, path), query)
        html = response.content.decode()
        assert expected in html
        assert all(f'value="{value}"' in html for value in query.values())


def test_ninety_two_days_are_not_too_long(owner: Client, customer: Customer) -> None:
    assert len(_table(_page(owner, customer, since="2026-01-01", until="2026-04-02"))) == 93


def test_the_file_is_safe_to_open(owner: Client, verified: Customer) -> None:
    assert _file(owner, verified, by="sender", **DAYS) == [
        ["sender", "messages", "parts", "credits"],
        ["MyCompany", "3", "4", "5.5"],
        ["'=SUM(1)", "1", "1", "0"],
    ]
    assert _file(owner, verified, by="country", **DAYS)[1] == ["SA", "3", "4", "5", "2", "1"]


def test_another_organizations_are_not_counted(outsider: Customer, used: Customer) -> None:
    html = _page(browser(member(outsider.organization)), outsider, by="status", **DAYS)
    assert "Nothing was sent in this span." in html


@pytest.mark.parametrize("by", ["day", "status", "sender", "country"])
def test_a_fixed_number_of_queries(
    owner: Client,
    world: World,
    carrier: Carrier,
    used: Customer,
    by: str,
    django_assert_num_queries,
) -> None:
    _page(owner, used)
    with CaptureQueriesContext(connection) as queries:
        _page(owner, used, by=by, **DAYS)
    assert len(queries) < 15
    for country in ("SA", "KW", "EG"):
        world.message(used, carrier, country=country, sender=country, **_at(2))
    with django_assert_num_queries(len(queries)):
        _page(owner, used, by=by, **DAYS)
    rollups.roll_up()
    with django_assert_num_queries(len(queries)):
        _page(owner, used, by=by, **DAYS)
    assert Message.objects.filter(organization=used.id).count() == 9
