"""Routing tables: longest prefix match, an organization's own routes and prices first."""

import uuid

import pytest
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from messaging.models import Carrier, Price, Route
from messaging.routing import cache
from messaging.routing.tables import CarrierChoice, PrefixTable, Tables

MINE, THEIRS = uuid.UUID(int=1), uuid.UUID(int=2)
A, B, C, SANDBOX = (CarrierChoice(number, slug) for number, slug in enumerate("abcs", start=1))
SAUDI = "+966501234567"


# ---------------------------------------------------------------- the longest prefix

ROWS = [
    (None, "", "world"),
    (None, "9", "nine"),
    (None, "966", "saudi"),
    (None, "96650", "stc"),
    (None, "966501234567", "this very number"),
    (MINE, "966", "my saudi"),
    (MINE, "96655", "my mobily"),
    (THEIRS, "966501", "theirs"),
]


@pytest.mark.parametrize(
    ("number", "owner", "found"),
    [
        ("+966501234567", uuid.uuid4(), "this very number"),
        ("+966501234568", uuid.uuid4(), "stc"),
        ("+966591234567", uuid.uuid4(), "saudi"),
        ("+971501234567", uuid.uuid4(), "nine"),
        ("+201001234567", uuid.uuid4(), "world"),
        # The organization's own takes precedence, however short its prefix.
        ("+966501234567", MINE, "my saudi"),
        ("+966551234567", MINE, "my mobily"),
        ("+971501234567", MINE, "nine"),
        ("+966501234567", THEIRS, "theirs"),
        ("+966591234567", THEIRS, "saudi"),
    ],
)
def test_the_longest_prefix_wins_and_own_rows_come_first(number, owner, found):
    assert PrefixTable(ROWS).find(number, owner) == found


def test_no_match():
    table = PrefixTable([(None, "966", 1), (THEIRS, "20", 2)])
    assert table.find("+201001234567", MINE) is None
    assert table.find("+96", MINE) is None
    assert PrefixTable[int]([]).find(SAUDI, MINE) is None


def test_a_price_of_zero_is_a_price():
    table = PrefixTable([(None, "966", 5), (MINE, "966", 0)])
    assert table.find(SAUDI, MINE) == 0


prefixes = st.text("0123456789", max_size=6)


@given(
    st.lists(st.tuples(st.sampled_from([None, MINE, THEIRS]), prefixes, st.integers(0, 99))),
    st.text("0123456789", min_size=7, max_size=15),
)
def test_find_agrees_with_a_linear_search(rows, digits):
    last = {(owner, prefix): value for owner, prefix, value in rows}
    expected = None
    for whose in (MINE, None):
        fitting = [p for owner, p in last if owner == whose and digits.startswith(p)]
        if fitting:
            expected = last[whose, max(fitting, key=len)]
            break
    table = PrefixTable(rows)
    assert table.find("+" + digits, MINE) == expected
    assert table.find("+" + digits[: table.longest], MINE) == expected


# ---------------------------------------------------------------- carriers and prices

TABLES = Tables(
    {carrier.id: carrier for carrier in (A, B, C, SANDBOX)},
    PrefixTable([(None, "966", (A, B, C)), (MINE, "96655", (C,))]),
    PrefixTable([(None, "966", 50), (MINE, "966", 40)]),
    SANDBOX,
)


def test_carriers_are_in_the_route_s_order():
    assert TABLES.carriers_for(SAUDI, MINE, test=False) == (A, B, C)
    assert TABLES.carriers_for("+966551234567", MINE, test=False) == (C,)
    assert TABLES.carriers_for("+201001234567", MINE, test=False) == ()


def test_a_test_message_uses_only_the_sandbox_and_is_free():
    for number in (SAUDI, "+201001234567"):
        assert TABLES.carriers_for(number, MINE, test=True) == (SANDBOX,)
        assert TABLES.price(number, MINE, test=True) == 0
    assert Tables({}).carriers_for(SAUDI, MINE, test=True) == ()


def test_own_prices_come_first():
    assert TABLES.price(SAUDI, MINE, test=False) == 40
    assert TABLES.price(SAUDI, THEIRS, test=False) == 50
    assert TABLES.price("+201001234567", MINE, test=False) is None


@pytest.mark.parametrize(
    ("tried", "following"),
    [
        ([], A),
        ([A.id], B),
        ([A.id, B.id], C),
        ([B.id], A),
        ([A.id, B.id, C.id], None),
        ([99], A),
        ([C.id, A.id], B),
    ],
)
def test_failover_goes_to_the_first_untried_carrier(tried, following):
    assert TABLES.after(SAUDI, MINE, tried, test=False) == following


def test_the_sandbox_has_no_failover():
    assert TABLES.after(SAUDI, MINE, [SANDBOX.id], test=True) is None


# ---------------------------------------------------------------- as stored


def slugs(number: str, customer, *, test: bool = False) -> list[str]:
    return [c.slug for c in cache.read().carriers_for(number, customer.id, test=test)]


def test_stored_routes_are_read_in_the_order_of_their_positions(world):
    customer = world.customer()
    first, second, third = (world.carrier() for _ in range(3))
    route = world.route("966", third, first)
    route.steps.create(carrier=second, position=0)
    route.steps.filter(carrier=third).update(position=7)
    assert slugs(SAUDI, customer) == [second.slug, first.slug, third.slug]


def test_disabled_carriers_and_routes_are_not_used(world):
    customer = world.customer()
    first, second = world.carrier(), world.carrier()
    world.route("966", first, second)
    specific = world.route("96650", first)
    assert slugs(SAUDI, customer) == [first.slug]
    Route.objects.filter(id=specific.id).update(enabled=False)
    assert slugs(SAUDI, customer) == [first.slug, second.slug]
    Carrier.objects.filter(id=first.id).update(enabled=False)
    assert slugs(SAUDI, customer) == [second.slug]
    assert cache.read().after(SAUDI, customer.id, [second.id], test=False) is None
    Carrier.objects.filter(id=second.id).update(enabled=False)
    assert slugs(SAUDI, customer) == []


def test_a_paused_carrier_keeps_its_messages(world):
    customer = world.customer()
    carrier = world.carrier(paused=True)
    world.route("966", carrier)
    assert slugs(SAUDI, customer) == [carrier.slug]


def test_a_disabled_sandbox_takes_no_test_messages(world):
    customer = world.customer()
    sandbox = world.carrier(is_sandbox=True)
    assert slugs(SAUDI, customer, test=True) == [sandbox.slug]
    Carrier.objects.filter(id=sandbox.id).update(enabled=False)
    assert slugs(SAUDI, customer, test=True) == []


def test_an_organization_s_routes_and_prices_apply_only_to_it(world):
    mine, theirs = world.customer(), world.customer()
    shared, own = world.carrier(), world.carrier()
    world.route("96650", shared)
    world.route("966", own, owner=mine)
    world.price("96650", 50)
    world.price("", 1, owner=mine)
    assert (slugs(SAUDI, mine), slugs(SAUDI, theirs)) == ([own.slug], [shared.slug])
    found = cache.read()
    assert found.price(SAUDI, mine.id, test=False) == 1
    assert found.price(SAUDI, theirs.id, test=False) == 50
    assert found.price("+201001234567", theirs.id, test=False) is None


def test_a_prefix_is_unique_among_general_rows_and_per_organization(world):
    mine = world.customer()
    world.price("966", 1)
    world.price("966", 2, owner=mine)
    world.route("966")
    for make in (
        lambda: Price.objects.create(prefix="966", micro=3),
        lambda: Price.objects.create(prefix="966", micro=3, organization=mine.organization),
        lambda: Route.objects.create(prefix="966"),
    ):
        with pytest.raises(IntegrityError, match="once"), transaction.atomic():
            make()


def test_a_negative_price_is_refused_by_the_database(db):
    with pytest.raises(IntegrityError, match="price_not_negative"), transaction.atomic():
        Price.objects.create(prefix="966", micro=-1)


def test_the_tables_are_read_once_a_second_at_most(world, monkeypatch, django_assert_num_queries):
    now = [100.0]
    monkeypatch.setattr("messaging.routing.cache.time.monotonic", lambda: now[0])
    carrier = world.carrier()
    first = cache.tables()
    world_of_others = Carrier.objects.filter(id=carrier.id)
    world_of_others.update(enabled=False)
    now[0] += 0.9
    with django_assert_num_queries(0):
        assert cache.tables() is first
    now[0] += 0.2
    assert carrier.id not in cache.tables().carriers
