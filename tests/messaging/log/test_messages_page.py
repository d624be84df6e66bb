"""The message log narrowed: each filter, all at once, by pages, by hand-written addresses."""

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from accounts.access.page_access import public_id
from imissive.core import ids
from messaging.log import pages
from messaging.log import query as message_query
from messaging.models import Batch, Carrier, Message
from messaging.states import Status
from tests.support.factories import Customer, World
from tests.support.people import PLAIN_STATIC, browser, member


@pytest.fixture(autouse=True)
def _plain_static(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def owner(customer: Customer) -> Client:
    return browser(member(customer.organization))


def _url(customer: Customer) -> str:
    return f"/dashboard/{public_id(customer.organization)}/messages/"


def _page(client: Client, customer: Customer, **query: str) -> str:
    response = client.get(_url(customer), query)
    assert response.status_code == 200
    return response.content.decode()


def _ids(page: str) -> list[str]:
    return re.findall(r'<a id="(msg_\w+)"', page)


def _at(moment: datetime, number: int = 0) -> dict:
    """The id and the time of a message that was accepted then."""
    value = ids.first_id_at(moment).int | number
    return {"id": uuid.UUID(int=value), "created_at": moment}


@pytest.fixture
def batch(customer: Customer) -> Batch:
    return Batch.objects.create(organization=customer.organization)


@pytest.fixture
def matching(world: World, customer: Customer, carrier: Carrier, batch: Batch) -> Message:
    """One message among others that differ from it in one thing each."""
    day = datetime(2026, 3, 10, 12, tzinfo=UTC)
    common: dict[str, Any] = {
        "to": "+966500000042",
        "status": Status.FAILED,
        "sender": "NAJD",
        "country": "SA",
        "source": "api",
        "batch": batch,
        "reference": "order-7",
        "test": False,
    }
    differing: list[dict[str, Any]] = [
        {"to": "+966500000043"},
        {"status": Status.SENT},
        {"sender": "Other"},
        {"country": "AE"},
        {"source": "otp"},
        {"batch": None},
        {"reference": "order-8"},
        {"test": True},
        _at(day - timedelta(days=1)),
        _at(day + timedelta(days=1)),
    ]
    for number, fields in enumerate(differing):
        world.message(customer, carrier, **(common | _at(day, number + 1) | fields))
    return world.message(customer, carrier, **(common | _at(day)))


def _all(batch: Batch) -> dict[str, str]:
    return {
        "number": "٠٠٩٦٦ 50 000 0042",
        "status": "failed",
        "sender": "najd",
        "country": "SA",
        "source": "bulk",
        "mode": "live",
        "reference": "order-7",
        "batch": str(batch),
        "since": "2026-03-10",
        "until": "2026-03-10",
    }


def test_all_filters_at_once_find_the_one(
    owner: Client, customer: Customer, matching: Message, batch: Batch
) -> None:
    page = _page(owner, customer, **_all(batch))
    assert _ids(page) == [matching.public_id]
    chips = re.findall(r'class="chip" href="\?([^"]*)"', page)
    assert len(chips) == len(_all(batch))


@pytest.mark.parametrize("name", ["number", "status", "sender", "country", "source", "mode",
                                  "reference", "batch", "since", "until"])  # fmt: skip
def test_each_filter_keeps_one_out(
    owner: Client, customer: Customer, matching: Message, batch: Batch, name: str
) -> None:
    """Without it, what differs in just that is found too; and a chip leads there."""
    page = _page(owner, customer, **_all(batch))
    chips = [
        each.replace("&amp;", "&") for each in re.findall(r'class="chip" href="\?([^"]*)', page)
    ]
    [without] = [chip for chip in chips if f"{name}=" not in chip]
    found = _ids(owner.get(f"{_url(customer)}?{without}").content.decode())
    # What is no batch came by the API one by one, and so it is not of that source either.
    expected = {"batch": 1, "source": 2}.get(name, 2)
    assert len(found) == expected
    assert matching.public_id in found


@pytest.mark.parametrize(
    ("source", "count"),
    [("api", 1), ("bulk", 9), ("otp", 1), ("smpp", 0), ("campaign", 0), ("nonsense", 11)],
)
def test_sources(
    owner: Client, customer: Customer, matching: Message, source: str, count: int
) -> None:
    assert len(_ids(_page(owner, customer, source=source))) == count


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"since": "yesterday"}, "Enter a valid date"),
        ({"until": "2026-02-30"}, "Enter a valid date"),
        ({"until": "9999-12-31"}, "less than or equal"),
        ({"since": "2026-03-10", "until": "2026-03-09"}, "before the first day"),
        ({"batch": "msg_1"}, "That is no batch id"),
        ({"reference": "x" * 101}, "at most 100"),
    ],
)
def test_what_is_no_filter_is_told_and_kept(
    owner: Client, customer: Customer, matching: Message, query: dict[str, str], expected: str
) -> None:
    page = _page(owner, customer, **query)
    assert expected in page
    assert "A filter above is not right yet" in page
    assert _ids(page) == []
    assert all(f'value="{value}"' in page for value in query.values())


@pytest.mark.parametrize(
    "query",
    [{"status": "'; DROP"}, {"country": "xx"}, {"mode": "?"}, {"before": "x"}, {"seen": "1"}],
)
def test_what_means_nothing_narrows_nothing(
    owner: Client, customer: Customer, matching: Message, query: dict[str, str]
) -> None:
    assert len(_ids(_page(owner, customer, **query))) == 11


@pytest.mark.parametrize("name", ["number", "sender", "reference", "batch", "since", "country"])
def test_no_text_breaks_the_page(owner: Client, customer: Customer, name: str) -> None:
    for value in ("\0", "%", "' OR 1=1", '"><script>alert(1)</script>', "é" * 16, "\ud7ff"):
        assert "<script>alert" not in _page(owner, customer, **{name: value})


def test_days_are_the_readers(
    owner: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    late = world.message(customer, carrier, **_at(datetime(2026, 3, 9, 22, tzinfo=UTC)))
    assert _ids(_page(owner, customer, since="2026-03-10")) == []
    reader = member(customer.organization)
    reader.time_zone = "Asia/Riyadh"
    reader.save()
    assert _ids(_page(browser(reader), customer, since="2026-03-10")) == [late.public_id]


def test_what_no_index_serves_is_searched_on(
    owner: Client,
    world: World,
    customer: Customer,
    carrier: Carrier,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Among so many at a time, and each of the pages leads to the next."""
    monkeypatch.setattr(message_query, "SEARCHED", 40)
    for index in range(100):
        world.message(customer, carrier, country="EG" if index % 33 == 0 else "SA")
    every = list(pages.messages_of(customer.organization))
    expected = [each.public_id for each in every if each.country == "EG"]
    page, found, sizes = _page(owner, customer, country="EG"), [], []
    assert "among" in page
    while True:
        sizes.append(len(_ids(page)))
        found += _ids(page)
        link = re.search(r'rel="next" href="([^"]+)"', page)
        if link is None:
            break
        page = owner.get(_url(customer) + link[1].replace("&amp;", "&")).content.decode()
    assert found == expected
    assert len(sizes) == 3
    back = re.search(r'rel="prev" href="([^"]+)"', page)
    assert back
    page = owner.get(_url(customer) + back[1].replace("&amp;", "&")).content.decode()
    assert set(_ids(page)) <= set(expected)


def test_nothing_of_another_organization_is_found(
    customer: Customer, outsider: Customer, matching: Message, batch: Batch
) -> None:
    stranger = browser(member(outsider.organization))
    for query in ({"batch": str(batch)}, {"reference": "order-7"}, {"number": matching.to}, {}):
        response = stranger.get(_url(outsider), query)
        assert _ids(response.content.decode()) == []
    assert stranger.get(_url(customer)).status_code == 404


def test_every_page_has_so_many_queries(
    owner: Client,
    customer: Customer,
    matching: Message,
    batch: Batch,
    django_assert_max_num_queries,
) -> None:
    _page(owner, customer)
    with django_assert_max_num_queries(9):
        _page(owner, customer)
    with django_assert_max_num_queries(10):
        _page(owner, customer, **_all(batch))
