"""The credits page: balance, spending rate, the ledger by kind and page, its export, prices."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from accounts.access.page_access import public_id
from accounts.credits import ledger
from accounts.models import MICRO, LedgerEntry, Organization
from imissive.core import ids
from messaging.billing import statement
from messaging.billing.price_list import price_list, search
from messaging.models import Batch, Carrier
from messaging.routing import cache
from messaging.states import Status
from tests.support.factories import Customer, World
from tests.support.people import (
    PLAIN_STATIC,
    browser,
    member,
    operator,
)

Kind = LedgerEntry.Kind


@pytest.fixture(autouse=True)
def _plain_static(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def owner(customer: Customer) -> Client:
    return browser(member(customer.organization))


def _url(customer: Customer, more: str = "") -> str:
    return f"/dashboard/{public_id(customer.organization)}/credits/{more}"


def _page(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


def _text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def _section(html: str, heading: str) -> str:
    [found] = re.findall(rf'<section[^>]*aria-labelledby="{heading}".*?</section>', html, re.S)
    return found


def post(customer: Customer, kind: str, micro: int, reference: Any = None, reason: str = "") -> int:
    ledger.post([ledger.Posting(customer.id, kind, micro, reference, reason)])
    return LedgerEntry.objects.filter(organization=customer.id).latest("id").id


def _rows(html: str) -> list[str]:
    table = _section(html, "ledger-title")
    return [_text(row).strip() for row in re.findall(r"<tr>.*?</tr>", table, re.S)[1:]]


# ---------------------------------------------------------------- balance


def test_balance_spending_rate_and_alert(
    owner: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    world.message(customer, carrier, status=Status.SENT, price=4 * MICRO)
    Organization.objects.filter(pk=customer.id).update(low_balance_threshold=97 * MICRO)
    html = _page(owner, _url(customer))
    shown = _text(_section(html, "balance"))
    assert "96 credits" in shown
    assert "24 days left at today's pace" in shown
    assert "The balance is low" in shown
    assert "97 credits" in _text(_section(html, "alert"))
    assert "settings/#alert" in html
    assert "4 credits in 30 days" in _text(_section(html, "spent"))


def test_the_empty_page_says_what_to_do(db: None) -> None:
    organization = Organization.objects.create(name="New")
    html = _page(browser(member(organization)), f"/dashboard/{public_id(organization)}/credits/")
    for words in ("ask support for credits", "Nothing was spent", "No entries yet"):
        assert words in html
    assert "Export the ledger" not in html


def test_how_to_top_up_is_the_installations_text(owner: Client, customer: Customer, settings):
    settings.TOP_UP_TEXT = "Pay to IBAN <SA03>.\n\nThen write to billing@imissive.example"
    shown = _section(_page(owner, _url(customer)), "top-up")
    assert "Pay to IBAN &lt;SA03&gt;." in shown
    assert 'href="mailto:billing@imissive.example"' in shown


# ---------------------------------------------------------------- ledger


def test_each_entry_leads_to_its_message_or_batch(
    owner: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    message = world.message(customer, carrier, price=MICRO, status=Status.FAILED)
    batch = Batch.objects.create(organization=customer.organization)
    post(customer, Kind.CHARGE, -3 * MICRO, batch.id)
    post(customer, Kind.REFUND, MICRO, message.id, "not accepted")
    post(customer, Kind.CORRECTION, -MICRO // 2, None, "Invoice <7>")
    html = _page(owner, _url(customer))
    batch_id = ids.public_id(ids.BATCH, batch.id)
    assert f'messages/{message.public_id}/">A message</a>' in html
    assert f'messages/?batch={batch_id}">Messages sent together</a>' in html
    assert [row.split(" ", 2)[2] for row in _rows(html)] == [
        "UTC Correction Invoice &lt;7&gt; −0.5 96.5",
        "UTC Refund A message Not accepted by the carrier +1 97",
        "UTC Charge Messages sent together −3 96",
        "UTC Charge A message −1 99",
        "UTC Top-up paid +100 100",
    ]


def test_another_organizations_reference_has_no_link(
    owner: Client, world: World, customer: Customer, outsider: Customer, carrier: Carrier
) -> None:
    """A reference is an id, which must not lead into another organization."""
    theirs = world.message(outsider, carrier)
    post(customer, Kind.CHARGE, -MICRO, theirs.id)
    assert theirs.public_id not in _page(owner, _url(customer))


def test_the_ledger_is_narrowed_to_a_kind(owner: Client, customer: Customer) -> None:
    post(customer, Kind.CHARGE, -MICRO)
    post(customer, Kind.REFUND, MICRO)
    for kind, label in Kind.choices:
        html = _page(owner, _url(customer, f"?kind={kind}"))
        rows = _rows(html) if "<tbody>" in _section(html, "ledger-title") else []
        assert all(f" {label} " in row for row in rows)
        assert len(rows) == (0 if kind == "correction" else 1)
        assert ("No entry of this kind" in html) is (kind == "correction")
    assert len(_rows(_page(owner, _url(customer, "?kind=x&before=y&after=²")))) == 3


@pytest.mark.parametrize("kind", ["", "charge", "refund"])
def test_pages_hold_every_entry_once(customer: Customer, kind: str) -> None:
    for _ in range(7):
        post(customer, Kind.CHARGE, -MICRO)
        post(customer, Kind.REFUND, MICRO)
    organization = customer.organization
    every = LedgerEntry.objects.filter(organization=organization).order_by("-id")
    expected = [entry.id for entry in every if not kind or entry.kind == kind]
    seen: list[int] = []
    page = statement.page(organization, kind, size=3)
    assert not page.has_newer
    while True:
        seen += [line.entry.id for line in page.lines]
        if not page.has_older:
            break
        page = statement.page(organization, kind, before=seen[-1], size=3)
        assert page.has_newer
    assert seen == expected
    back = statement.page(organization, kind, after=seen[5], size=3)
    assert [line.entry.id for line in back.lines] == expected[2:5]
    assert back.has_newer
    newest = statement.page(organization, kind, after=seen[2], size=3)
    assert [line.entry.id for line in newest.lines] == expected[:3], "full, and the newest page"
    assert not newest.has_newer


def test_another_organizations_ledger_is_not_shown(
    owner: Client, customer: Customer, outsider: Customer
) -> None:
    post(outsider, Kind.CORRECTION, -MICRO, None, "theirs")
    assert "theirs" not in _page(owner, _url(customer))
    assert "theirs" not in _file(owner, customer)[-1][-1]


# ---------------------------------------------------------------- the export


def _file(client: Client, customer: Customer, **query: str) -> list[list[str]]:
    response = client.get(_url(customer, "ledger.csv"), query)
    assert response.status_code == 200
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(response.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    return list(csv.reader(io.StringIO(text)))


def test_the_file_holds_the_ledger(
    owner: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    message = world.message(customer, carrier, price=MICRO // 4)
    post(customer, Kind.CORRECTION, -MICRO, None, "=1+1")
    header, *rows = _file(owner, customer)
    assert header == list(statement.COLUMNS)
    assert [row[2:] for row in rows] == [
        ["top_up", "100", "100", "", "paid"],
        ["charge", "-0.25", "99.75", message.public_id, ""],
        ["correction", "-1", "98.75", "", "'=1+1"],
    ]
    assert all(row[1].endswith("Z") for row in rows)
    assert [row[2] for row in _file(owner, customer, kind="charge")[1:]] == ["charge"]


def test_the_file_is_read_in_pieces(
    owner: Client, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statement, "_CHUNK", 2)
    for _ in range(5):
        post(customer, Kind.CHARGE, -MICRO)
    assert [row[4] for row in _file(owner, customer)[1:]] == ["100", "99", "98", "97", "96", "95"]


@pytest.fixture
def dated(customer: Customer) -> Customer:
    """Insert twelve hourly charges around midnight with SQL: a ledger entry cannot be updated, so
    its time must be right from the start."""
    with connection.cursor() as cursor:
        for hour in range(12):
            cursor.execute(
                "INSERT INTO accounts_ledgerentry (organization_id, kind, amount, balance_after,"
                " reason, created_at) VALUES (%s, 'charge', -1, 0, %s, %s)",
                [
                    customer.id,
                    f"h{hour}",
                    datetime(2030, 5, 1, 18, tzinfo=UTC) + timedelta(hours=hour),
                ],
            )
    return customer


@pytest.mark.parametrize(
    ("query", "hours"),
    [
        ({"since": "2030-05-01", "until": "2030-05-01"}, range(6)),
        ({"since": "2030-05-02", "until": "2030-05-02"}, range(6, 12)),
        ({"since": "2030-05-02"}, range(6, 12)),
        ({"since": "2030-05-03"}, range(0)),
        ({"since": "2029-01-01", "until": "2030-04-30"}, range(0)),
        ({"since": "2029-01-01", "until": "2031-01-01", "kind": "charge"}, range(12)),
    ],
)
def test_the_file_holds_chosen_days(
    owner: Client, dated: Customer, query: dict[str, str], hours: range
) -> None:
    rows = _file(owner, dated, **query)[1:]
    assert [row[6] for row in rows] == [f"h{hour}" for hour in hours]


def test_a_moment_in_the_ledger_is_found_by_bisection(dated: Customer) -> None:
    rows = list(LedgerEntry.objects.filter(organization=dated.id).order_by("id"))
    first = rows[1].created_at
    for at in range(1, 12):
        moment = first + timedelta(hours=at)
        assert ledger.number_before(dated.id, moment) in range(rows[at].id, rows[at + 1].id)
    assert ledger.number_before(dated.id, rows[0].created_at) < rows[0].id
    assert ledger.number_before(dated.id, moment + timedelta(days=1)) == rows[-1].id


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("since=2026-05-02&until=2026-05-01", "That is before the first day."),
        ("since=yesterday", "Enter a valid date."),
        ("since=0001-01-01", "2000-01-01"),
        ("kind=gift", "not one of the available choices"),
    ],
)
def test_invalid_days(owner: Client, customer: Customer, query: str, shown: str) -> None:
    html = _page(owner, _url(customer, f"ledger.csv?{query}"))
    assert shown in html.replace("Jan. 1, 2000", "2000-01-01")


# ---------------------------------------------------------------- prices


@pytest.fixture
def priced(world: World, customer: Customer, outsider: Customer, carrier: Carrier) -> Customer:
    world.price("971", 2 * MICRO)
    world.price("97150", 3 * MICRO)
    world.price("1242", 5 * MICRO)
    world.price("96656", MICRO // 2, owner=customer)
    world.price("1", 7 * MICRO, owner=customer)
    world.price("971", 9 * MICRO, owner=outsider)
    world.route("971", carrier)
    return customer


def test_the_prices_that_apply(priced: Customer) -> None:
    """They are the same as for accepting: own prices first, then the longest prefix."""
    rows = {row.prefix: (row.micro, row.own, row.served) for row in price_list(priced.id)}
    assert {prefix: rows.get(prefix) for prefix in ("966", "96656", "971", "97150", "1")} == {
        "966": (MICRO, False, True),
        "96656": (MICRO // 2, True, True),
        "971": (2 * MICRO, False, True),
        "97150": (3 * MICRO, False, True),
        "1": (7 * MICRO, True, False),
    }
    assert "1242" not in rows, "one's own price of +1 goes before"


@pytest.mark.parametrize(
    ("query", "prefixes"),
    [
        ("+966 56 123 4567", ["96656"]),
        ("+966501234567", ["966"]),
        ("00971501234567", ["97150"]),
        ("٩٦٦", ["966", "96656"]),
        ("97150", ["971", "97150"]),
        ("emirates", ["971", "97150"]),
        ("sa", ["966", "96656"]),
        ("bahamas", ["1"]),
        ("atlantis", []),
    ],
)
def test_a_price_is_found_by_country_and_number(
    priced: Customer, query: str, prefixes: list[str]
) -> None:
    found = search(price_list(priced.id), query)
    assert [row.prefix for row in found if row.prefix] == prefixes


def test_the_price_of_a_searched_number_is_the_one_charged(priced: Customer) -> None:
    for number in ("+966561234567", "+966501234567", "+971501234567", "+971561234567"):
        [row] = search(price_list(priced.id), number)
        assert row.micro == cache.tables().price(number, priced.id, test=False)


def test_the_pages_of_prices(owner: Client, priced: Customer) -> None:
    html = _page(owner, _url(priced))
    assert "Saudi Arabia Your own price +96656… 0.5" in _text(_section(html, "prices"))
    html = _page(owner, _url(priced, "prices/?q=emirates"))
    shown = _text(_section(html, "prices"))
    assert "United Arab Emirates +971… 2" in shown
    assert "Saudi" not in shown
    assert "No price matches" in _page(owner, _url(priced, "prices/?q=atlantis%00"))
    with translation.override("ar"):
        assert search(price_list(priced.id), "السعودية")[0].prefix == "966"


# ---------------------------------------------------------------- cost


def test_a_fixed_number_of_queries(
    owner: Client,
    world: World,
    customer: Customer,
    carrier: Carrier,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries,
) -> None:
    monkeypatch.setattr(cache, "MAX_AGE_SECONDS", 600.0)
    world.message(customer, carrier, price=1)
    owner.get(_url(customer))
    with CaptureQueriesContext(connection) as queries:
        owner.get(_url(customer))
    assert len(queries) < 20
    ledger.adjust(customer.organization, MICRO, reason="more", actor=operator())
    for _ in range(20):
        world.message(customer, carrier, price=1, created_at=timezone.now())
    with django_assert_num_queries(len(queries)):
        owner.get(_url(customer))


def test_a_rare_kind_is_found_by_its_index(customer: Customer) -> None:
    with connection.cursor() as cursor:
        # Enough charges that the planner does not scan them for another kind.
        cursor.execute(
            "INSERT INTO accounts_ledgerentry"
            " (organization_id, kind, amount, balance_after, reference, reason, created_at)"
            " SELECT %s, 'charge', -1, 0, gen_random_uuid(), '', now()"
            "   FROM generate_series(1, 3000)",
            [customer.organization.pk],
        )
        cursor.execute("ANALYZE accounts_ledgerentry")
    for kind in (Kind.TOP_UP, Kind.CORRECTION, Kind.REFUND):
        rows = statement._rows(customer.organization, kind).order_by("-id")[:50]
        assert "ledger_but_charges" in rows.explain()
