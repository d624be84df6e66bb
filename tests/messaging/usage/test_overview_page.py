"""The overview: counts, money, latency, failures and webhooks, in each span, and who sees which."""

import re
import uuid
from datetime import UTC, datetime, timedelta
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
from messaging.models import Carrier, Message
from messaging.states import Status
from messaging.usage import overview, rollups
from tests.support.factories import Customer, World
from tests.support.people import PLAIN_STATIC, browser, member
from webhooks.models import Delivery, Endpoint, Event

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _plain_static(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def owner(customer: Customer) -> Client:
    return browser(member(customer.organization))


def _home(customer: Customer, period: str = "") -> str:
    return f"/dashboard/{public_id(customer.organization)}/" + (f"?span={period}" if period else "")


def _page(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


def _words(html: str) -> str:
    """The page's text, with one space between words."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def _section(html: str, heading: str) -> str:
    """The words of the section that is labelled by that heading."""
    [found] = re.findall(rf'<section[^>]*aria-labelledby="{heading}".*?</section>', html, re.S)
    return _words(found)


def _ago(back: timedelta, **fields: Any) -> dict[str, Any]:
    at = timezone.now() - back
    id_at = uuid.UUID(int=ids.first_id_at(at).int | uuid.uuid4().int & (1 << 62) - 1)
    return {"id": id_at, "created_at": at, "queued_at": at} | fields


@pytest.fixture
def sent(world: World, customer: Customer, carrier: Carrier) -> Customer:
    """Delivered, failed and queued ones of the last hours and weeks, and a test message."""
    mine, second = (customer, carrier), timedelta(seconds=1)
    for after in (2, 4, 60):
        fields = _ago(HOUR, status=Status.DELIVERED, price=MICRO // 2)
        world.message(*mine, **fields, final_at=fields["queued_at"] + after * second)
    world.message(*mine, **_ago(2 * HOUR, status=Status.FAILED, error_code="UNDELIV:069"))
    world.message(*mine, **_ago(2 * HOUR, status=Status.QUEUED, price=MICRO, country="AE"))
    world.message(*mine, **_ago(3 * HOUR, status=Status.DELIVERED, test=True))
    world.message(*mine, **_ago(3 * HOUR, status=Status.EXPIRED, error_code="EXPIRED", test=True))
    world.message(*mine, **_ago(5 * 24 * HOUR, status=Status.EXPIRED, error_code="EXPIRED"))
    world.message(*mine, **_ago(20 * 24 * HOUR, status=Status.DELIVERED, price=7 * MICRO))
    return customer


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize(
    ("period", "messages", "rate"), [("", 5, "75.0%"), ("7d", 6, "60.0%"), ("30d", 7, "66.6%")]
)
def test_counts_of_each_span(
    owner: Client, sent: Customer, period: str, messages: int, rate: str, summed: bool
) -> None:
    if summed:
        rollups.roll_up()
    html = _page(owner, _home(sent, period))
    assert f"{messages} live messages" in _section(html, "traffic")
    assert rate in _section(html, "rate")
    assert f'?span={period or "24h"}" aria-current="true"' in html


def test_the_chart_has_its_numbers_as_a_table(owner: Client, sent: Customer) -> None:
    html = _page(owner, _home(sent, "7d"))
    table = html[html.index('id="by-status-about"') :]
    table = table[table.index("<table>") : table.index("</table>")]
    rows = [_words(row).split() for row in table.split("<tr>")[2:]]
    assert len(rows) == 8
    assert rows[-1] == ["All", "3", "1", "1", "1", "6"], "delivered, queued, expired, failed, all"
    days = [row[0] for row in rows[:-1]]
    assert days == sorted(days)
    assert days[-1] == f"{datetime.now(UTC):%Y-%m-%d}"


def test_a_span_that_is_none_is_the_last_day(owner: Client, sent: Customer) -> None:
    assert "5 live messages" in _words(_page(owner, _home(sent, "year")))


def test_days_begin_where_the_reader_is(
    customer: Customer, world: World, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 6, 10, 12, tzinfo=UTC)
    late = datetime(2026, 6, 9, 22, tzinfo=UTC)
    id_at = ids.first_id_at(late)
    world.message(customer, carrier, id=id_at, created_at=late, status=Status.DELIVERED)
    counted = {}
    for zone in ("UTC", "Asia/Riyadh", "Asia/Kolkata"):
        with timezone.override(zone):
            used = overview.read_traffic(customer.id, overview.PERIODS["7d"], now)
            chart = overview.status_chart(used, overview.PERIODS["7d"], now)
        counted[zone] = [place for place, values, _ in chart.rows if values == ["1"]]
    assert counted == {
        "UTC": ["2026-06-09"],
        "Asia/Riyadh": ["2026-06-10"],
        "Asia/Kolkata": ["2026-06-09"],  # No whole hours away: in UTC.
    }


def test_a_page_in_utc_says_so(owner: Client, sent: Customer, customer: Customer) -> None:
    assert "Hours and days are in UTC." in _page(owner, _home(sent))
    user = member(customer.organization)
    user.time_zone = "Asia/Riyadh"
    user.save()
    assert "Hours and days are in UTC." not in _page(browser(user), _home(sent))


# ---------------------------------------------------------------- money


def test_the_balance_lasts_so_many_days(owner: Client, sent: Customer) -> None:
    """100 credits, 9.5 spent, 2.5 of it today."""
    balance = _section(_page(owner, _home(sent)), "balance")
    assert "90.5 credits" in balance
    assert "36 days left at today's pace" in balance
    assert "2.5 spent in the last 24 hours" in balance


def test_what_came_back_was_not_spent(
    owner: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    failed = world.message(
        customer, carrier, **_ago(HOUR, status=Status.FAILED, price=MICRO, error_code="UNDELIV")
    )
    refund = LedgerEntry.Kind.REFUND
    ledger.post([ledger.Posting(customer.id, refund, MICRO, failed.id, "not accepted")])
    assert "Nothing was spent in the last 24 hours" in _page(owner, _home(customer))


def test_a_day_that_costs_more_than_is_left(
    owner: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    world.message(customer, carrier, **_ago(HOUR, status=Status.SENT, price=60 * MICRO))
    assert "Less than a day left" in _words(_page(owner, _home(customer)))


@pytest.mark.parametrize("role", list(Role))
def test_who_sees_money(role: Role, sent: Customer) -> None:
    html = _page(browser(member(sent.organization, role)), _home(sent))
    sees = role in (Role.OWNER, Role.ADMIN, Role.FINANCE)
    for word in ("Balance", "spent in the last", "Cost by country", "Credits</th>"):
        assert (word in html) is sees, word
    assert "Saudi Arabia" in _section(html, "countries")


def test_cost_by_country(owner: Client, sent: Customer) -> None:
    html = _page(owner, _home(sent))
    assert "Saudi Arabia 4 1.5" in _section(html, "countries")
    assert "United Arab Emirates 1 1" in _section(html, "countries")
    assert re.search(r"\?country=AE&amp;mode=live&amp;since=\d{4}-\d\d-\d\d", html)


def test_many_countries_are_summed(
    owner: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    for country in ("SA", "AE", "EG", "KW", "BH", "OM", "JO", "QA"):
        world.message(customer, carrier, **_ago(HOUR, country=country, price=MICRO))
    words = _section(_page(owner, _home(customer)), "countries")
    assert "All others 2 2" in words
    assert "Saudi Arabia" not in words, "the last by its code"


# ---------------------------------------------------------------- latency, failures, webhooks


def test_latency_from_accept_to_delivered(owner: Client, sent: Customer) -> None:
    words = _section(_page(owner, _home(sent)), "latency")
    assert "Half within 4.0 s" in words
    assert "95 of 100 within 60 s" in words
    assert "Measured on 3 messages" in words, "no test, none undelivered"


def test_a_scheduled_message_is_measured_from_its_time(
    owner: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    now = timezone.now()
    fields = _ago(5 * HOUR, status=Status.DELIVERED)
    fields |= {"queued_at": now - HOUR, "final_at": now - HOUR + timedelta(seconds=3)}
    world.message(customer, carrier, **fields)
    assert "Half within 3.0 s" in _section(_page(owner, _home(customer)), "latency")


def test_latency_is_of_all_the_span(
    world: World, customer: Customer, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "SAMPLED", 2)
    for day in range(3):
        for seconds in (1, 2, 3, 4):
            fields = _ago(day * 24 * HOUR + seconds * timedelta(seconds=1), status=Status.DELIVERED)
            late = timedelta(seconds=10 * day + seconds)
            world.message(customer, carrier, **fields, final_at=fields["queued_at"] + late)
    now = timezone.now()
    measured = overview.latency(customer.id, overview.PERIODS["30d"], now)
    assert measured is not None
    assert measured.measured == 6, "the newest two of each day"
    assert measured.p95 > 20


def test_failures_are_told_in_plain_words_with_their_messages(
    owner: Client, sent: Customer
) -> None:
    html = _page(owner, _home(sent))
    words = _section(html, "failures")
    assert "The carrier could not deliver the message" in words
    assert "UNDELIV:069" in words
    assert "validity" not in words, "the expired one is a test"
    assert re.search(r"\?status=failed&amp;mode=live&amp;since=\d{4}-\d\d-\d\d\"", html)
    week = _section(_page(owner, _home(sent, "7d")), "failures")
    assert "not delivered within its validity" in week


def test_codes_of_one_reason_are_one_failure(
    world: World, customer: Customer, carrier: Carrier
) -> None:
    for code in ("UNDELIV:001", "UNDELIV:001", "UNDELIVRD", "ESME_RTHROTTLED", ""):
        world.message(customer, carrier, **_ago(HOUR, status=Status.FAILED, error_code=code))
    now = timezone.now()
    found = overview.failures(customer.id, now - 24 * HOUR, now)
    assert [one.messages for one in found] == [3, 1, 1]
    assert found[0].codes == ["UNDELIV:001", "UNDELIVRD"]


def test_without_any_message_every_part_says_so(owner: Client, customer: Customer) -> None:
    html = _page(owner, _home(customer))
    for words in (
        "No live messages in this span",
        "Nothing was delivered in this span",
        "Nothing was sent in this span",
        "Nothing failed or expired in this span",
        "No endpoint yet",
        "No messages yet",
    ):
        assert words in html


def _delivery(endpoint: Endpoint, status: Delivery.Status, at: datetime) -> None:
    event = Event.objects.create(organization=endpoint.organization, type="message.sent", body="{}")
    pending = status == Delivery.Status.PENDING
    Delivery.objects.create(
        event=event,
        endpoint=endpoint,
        event_type=event.type,
        status=status,
        finished_at=None if pending else at,
        next_attempt_at=at if pending else None,
    )


def test_health_of_webhooks(owner: Client, world: World, customer: Customer) -> None:
    now = timezone.now()
    working, failing, disabled, gone = (world.endpoint(customer) for _ in range(4))
    Endpoint.objects.filter(pk=failing.pk).update(failing_since=now - HOUR, url="https://f.example")
    Endpoint.objects.filter(pk=disabled.pk).update(enabled=False)
    Endpoint.objects.filter(pk=gone.pk).update(enabled=False, deleted_at=now)
    for minutes in (5, 3):
        at = now - timedelta(minutes=minutes)
        _delivery(working, Delivery.Status.DELIVERED, at)
    for status in (Delivery.Status.PENDING, Delivery.Status.FAILED):
        _delivery(failing, status, now)
    html = _page(owner, _home(customer))
    words = _section(html, "hooks")
    assert "Endpoints 3 Failing 1 Disabled 1 Waiting deliveries 1" in words
    assert f"Last success {now - timedelta(minutes=3):%Y-%m-%d %H:%M:%S}" in words
    assert "https://f.example" in words
    assert "Failing since" in words


# ---------------------------------------------------------------- cost


@pytest.mark.parametrize("period", ["24h", "7d", "30d"])
def test_a_fixed_number_of_queries(
    owner: Client,
    world: World,
    customer: Customer,
    carrier: Carrier,
    sent: Customer,
    period: str,
    django_assert_num_queries,
) -> None:
    """However many messages, countries, senders and endpoints there are, summed or not."""
    for sender in ("One", "Two"):
        world.message(customer, carrier, **_ago(HOUR, sender=sender))
    owner.get(_home(customer))  # The session remembers where it was.
    with CaptureQueriesContext(connection) as queries:
        owner.get(_home(customer, period))
    assert len(queries) < 30
    for country in ("SA", "EG", "KW"):
        for status in (Status.FAILED, Status.DELIVERED):
            for back in (HOUR, 30 * HOUR, 300 * HOUR):
                fields = _ago(back, country=country, status=status, sender=f"S{country}")
                world.message(customer, carrier, **fields)
    world.endpoint(customer)
    world.endpoint(customer)
    for _ in range(2):
        with django_assert_num_queries(len(queries)):
            owner.get(_home(customer, period))
        rollups.roll_up()
    assert Message.objects.filter(organization=customer.id).count() > 20
