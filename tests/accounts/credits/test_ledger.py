"""Credit ledger: rules enforced by the database; no charge is lost or doubled under load."""

import json
import threading
import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from accounts.audit import trail
from accounts.credits import ledger
from accounts.credits.ledger import InsufficientCredits, Posting
from accounts.models import MICRO, AuditEntry, Balance, LedgerEntry, Organization
from imissive.core import ids
from messaging.sending import accept
from messaging.sending.group_commit import GroupCommit
from tests.support.factories import PHONE, Customer, in_threads

SEND = "/v1/sms/send"


def execute(sql: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def refused_by_the_database(sql: str, *parameters: Any) -> str:
    """Return the database's error for the statement."""
    execute("SET CONSTRAINTS ALL IMMEDIATE")  # as if all rows so far were committed
    with pytest.raises(DatabaseError) as caught, transaction.atomic():
        execute(sql, *parameters)
    return str(caught.value)


def running_balances(customer: Customer) -> list[tuple[int, int]]:
    rows = LedgerEntry.objects.filter(organization=customer.organization).order_by("id")
    return list(rows.values_list("amount", "balance_after"))


def assert_running(customer: Customer) -> None:
    """Assert that each row's balance is the previous one plus its amount, in the order of id."""
    balance = 0
    for amount, after in running_balances(customer):
        balance += amount
        assert after == balance
    assert balance == customer.balance()


# ---------------------------------------------------------------- rules of the database


def test_a_posting_moves_the_balance_and_keeps_what_it_came_to(customer):
    reference = ids.new_uuid()
    ledger.post([Posting(customer.id, "charge", -30 * MICRO, reference)])
    ledger.post([Posting(customer.id, "refund", 10 * MICRO, reference)])
    assert customer.balance() == 80 * MICRO
    assert running_balances(customer) == [
        (100 * MICRO, 100 * MICRO),
        (-30 * MICRO, 70 * MICRO),
        (10 * MICRO, 80 * MICRO),
    ]


def test_a_balance_never_goes_below_zero(customer):
    ledger.post([Posting(customer.id, "charge", -100 * MICRO)])
    assert customer.balance() == 0
    with pytest.raises(InsufficientCredits), transaction.atomic():
        ledger.post([Posting(customer.id, "charge", -1)])
    with pytest.raises(InsufficientCredits), transaction.atomic():
        ledger.adjust(customer.organization, -1, reason="r", actor=None)
    assert customer.balance() == 0
    assert len(running_balances(customer)) == 2


def test_one_posting_too_much_undoes_all_of_its_call(customer, outsider):
    with pytest.raises(InsufficientCredits), transaction.atomic():
        ledger.post(
            [
                Posting(customer.id, "top_up", 5),
                Posting(outsider.id, "charge", -60 * MICRO),
                Posting(outsider.id, "charge", -60 * MICRO),
            ]
        )
    assert (customer.balance(), outsider.balance()) == (100 * MICRO, 100 * MICRO)


def test_an_organization_without_a_balance_cannot_be_charged(db):
    organization = Organization.objects.create(name="New")
    with pytest.raises(InsufficientCredits), transaction.atomic():
        ledger.post([Posting(organization.id, "charge", -1)])


def test_the_first_credits_make_the_balance(world):
    organization = Organization.objects.create(name="New")
    assert not Balance.objects.filter(organization=organization).exists()
    ledger.adjust(organization, 5, reason="paid", actor=None)
    assert Balance.objects.get(organization=organization).micro == 5


MONEY = {
    "a balance raised": "UPDATE accounts_balance SET micro = micro + 1",
    "a balance lowered": "UPDATE accounts_balance SET micro = 0",
    "a balance deleted": "DELETE FROM accounts_balance",
    "a balance from nothing": (
        "INSERT INTO accounts_balance (organization_id, micro)"
        " SELECT id, 5 FROM accounts_organization WHERE name = 'Without'"
    ),
}


@pytest.mark.parametrize("case", MONEY)
def test_a_balance_changes_only_through_its_ledger(customer, case):
    Organization.objects.create(name="Without")
    error = refused_by_the_database(MONEY[case])
    assert "a balance changes only through its ledger" in error
    assert customer.balance() == 100 * MICRO


@pytest.mark.parametrize("table", ["accounts_ledgerentry", "accounts_auditentry"])
@pytest.mark.parametrize(
    "change", ["UPDATE {} SET created_at = now()", "DELETE FROM {}", "TRUNCATE {} CASCADE"]
)
def test_ledger_and_audit_log_are_append_only(customer, table, change):
    trail.record("organization.made", actor=None, organization=customer.organization)
    error = refused_by_the_database(change.format(table))
    assert f"{table} is append-only" in error
    assert LedgerEntry.objects.filter(organization=customer.organization).count() == 1
    assert AuditEntry.objects.filter(organization=customer.organization).count() == 1


def test_balances_are_not_truncated(customer):
    error = refused_by_the_database("TRUNCATE accounts_balance CASCADE")
    assert "accounts_balance is append-only" in error
    assert customer.balance() == 100 * MICRO


def test_an_organization_with_a_ledger_cannot_be_deleted(customer):
    error = refused_by_the_database("DELETE FROM accounts_organization WHERE id = %s", customer.id)
    assert "foreign key" in error


@pytest.mark.parametrize("kind", ["charge", "refund"])
def test_one_thing_is_charged_or_refunded_once(customer, kind):
    reference, amount = ids.new_uuid(), -MICRO if kind == "charge" else MICRO
    ledger.post([Posting(customer.id, kind, amount, reference)])
    balance = customer.balance()
    with pytest.raises(IntegrityError, match="ledger_once"), transaction.atomic():
        ledger.post([Posting(customer.id, kind, amount, reference)])
    assert customer.balance() == balance


def test_one_thing_is_charged_once_whoever_pays(customer, outsider):
    reference = ids.new_uuid()
    ledger.post([Posting(customer.id, "charge", -1, reference)])
    with pytest.raises(IntegrityError, match="ledger_once"), transaction.atomic():
        ledger.post([Posting(outsider.id, "charge", -1, reference)])


def test_top_ups_have_no_reference_and_may_repeat(customer):
    for _ in range(2):
        ledger.adjust(customer.organization, MICRO, reason="paid", actor=None)
    assert customer.balance() == 102 * MICRO


@pytest.mark.parametrize(
    ("kind", "amount"), [("charge", 1), ("refund", -1), ("top_up", -1), ("gift", 1)]
)
def test_a_kind_has_its_sign(customer, kind, amount):
    with pytest.raises(IntegrityError, match="ledger_sign"), transaction.atomic():
        ledger.post([Posting(customer.id, kind, amount)])


def test_a_forged_balance_after_is_ignored(customer):
    execute(
        "INSERT INTO accounts_ledgerentry (organization_id, kind, amount, balance_after, reason)"
        " VALUES (%s, 'top_up', 1, 999999999999, '')",
        customer.id,
    )
    assert running_balances(customer)[-1] == (1, 100 * MICRO + 1)


def test_postings_of_nothing_do_nothing(django_assert_num_queries, db):
    with django_assert_num_queries(0):
        ledger.post([])


# ---------------------------------------------------------------- credits as text


@pytest.mark.parametrize(
    ("micro", "text"),
    [
        (0, "0"),
        (1, "0.000001"),
        (MICRO, "1"),
        (10 * MICRO, "10"),
        (1_500_000, "1.5"),
        (-5, "-0.000005"),
    ],
)
def test_credits_are_written_exactly(micro, text):
    assert ledger.credits_text(micro) == text
    assert ledger.parse_credits(text) == micro


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_every_balance_survives_being_written(micro):
    text = ledger.credits_text(micro)
    assert ledger.parse_credits(text) == micro
    assert Decimal(text) * MICRO == micro


@pytest.mark.parametrize("text", ["0.0000001", "x", "", "1,5", "NaN", "Infinity", "-Infinity"])
def test_an_invalid_amount_of_credits_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011
        ledger.parse_credits(text)


# ---------------------------------------------------------------- under load


def test_forty_sends_at_once_with_credits_for_25_accept_exactly_25(committed_world):
    committed_world.serve()
    customer = committed_world.customer(credits=25)
    body = {"to": PHONE, "message": "Hi"}
    statuses = in_threads([lambda: customer.api.post(SEND, body).status_code] * 40)
    assert (statuses.count(202), statuses.count(402)) == (25, 15)
    assert customer.balance() == 0
    assert len(customer.messages()) == 25
    assert len(customer.ledger()) == 25
    assert_running(customer)


def test_batches_at_once_are_each_taken_whole_or_not_at_all(committed_world):
    committed_world.serve()
    customer = committed_world.customer(credits=25)
    committed_world.endpoint(customer)
    body = {"messages": [{"to": PHONE, "message": "Hi"}] * 10}
    statuses = in_threads([lambda: customer.api.post("/v1/sms/bulk", body).status_code] * 8)
    assert (statuses.count(202), statuses.count(402)) == (2, 6)
    assert customer.balance() == 5 * MICRO
    assert len(customer.messages()) == len(customer.events()) == 20
    assert_running(customer)


def test_sends_that_share_a_commit_are_each_their_own_organizations(committed_world, monkeypatch):
    """A send without enough credits does not fail the others of its group commit."""
    one = GroupCommit(accept._commit, at_most=64, alone_on=IntegrityError)
    monkeypatch.setattr(accept, "_group_commits", [one])
    committed_world.serve()
    customers = [committed_world.customer(credits=credits) for credits in (0, 3, 5, 50)]
    for customer in customers[::2]:
        committed_world.endpoint(customer)

    def send(customer: Customer) -> tuple[uuid.UUID, int]:
        return customer.id, customer.api.post(SEND, {"to": PHONE, "message": "Hi"}).status_code

    responses = in_threads([partial(send, customer) for customer in customers * 8])
    for customer, accepted in zip(customers, (0, 3, 5, 8), strict=True):
        statuses = [status for whose, status in responses if whose == customer.id]
        assert (statuses.count(202), statuses.count(402)) == (accepted, 8 - accepted)
        messages = customer.messages()
        assert sorted(customer.ledger()) == sorted(("charge", -MICRO, m.id) for m in messages)
        assert len(messages) == accepted
        assert_running(customer)
    assert len(customers[2].events()) == 5


@pytest.fixture
def naive(committed_db: None):
    """Return a charge on a plain table without a trigger, which the platform does not use."""
    execute("DROP TABLE IF EXISTS scratch_balance")
    execute("CREATE TABLE scratch_balance (micro bigint NOT NULL)")
    execute("INSERT INTO scratch_balance VALUES (25)")

    def charge(how: str) -> bool:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SELECT micro FROM scratch_balance {how}")
            [(micro,)] = cursor.fetchall()
            if micro < 1:
                return False
            time.sleep(0.002)  # some Python between read and write, as in real code
            cursor.execute("UPDATE scratch_balance SET micro = %s", [micro - 1])
            return True

    yield charge
    execute("DROP TABLE scratch_balance")


def left(charge: Callable[[str], bool], how: str) -> tuple[int, int]:
    """Return how many of forty concurrent charges succeeded, and the remaining balance."""
    taken = sum(in_threads([lambda: charge(how)] * 40))
    with connection.cursor() as cursor:
        cursor.execute("SELECT micro FROM scratch_balance")
        [(micro,)] = cursor.fetchall()
    return taken, micro


def test_the_race_is_real_reading_then_writing_loses_charges(naive):
    taken, micro = left(naive, "")
    assert 25 - taken != micro, "every charge was kept: this load does not show the race"
    assert taken > 25


def test_with_the_row_locked_the_same_code_loses_none(naive):
    assert left(naive, "FOR UPDATE") == (25, 0)


def test_running_balances_follow_the_ids_however_many_write_at_once(committed_world):
    customer = committed_world.customer(credits=1000)

    def work(index: int) -> None:
        for step in range(15):
            kind, amount = ("charge", -7) if (index + step) % 3 else ("refund", 5)
            ledger.post([Posting(customer.id, kind, amount, uuid.uuid4())])

    in_threads([partial(work, index) for index in range(8)])
    assert len(running_balances(customer)) == 1 + 8 * 15
    assert_running(customer)
    assert [d for d in ledger.discrepancies() if d.organization_id == customer.id] == []


def test_the_first_two_credits_at_once_are_both_kept(committed_db):
    """Neither finds a balance to update; the second waits until the first has inserted it."""
    organization = Organization.objects.create(name="New")
    first_posted, second_done = threading.Event(), threading.Event()

    def first():
        with transaction.atomic():
            ledger.adjust(organization, 5, reason="paid", actor=None)
            first_posted.set()
            assert not second_done.wait(0.3), "the second must wait for the first"

    def second():
        first_posted.wait(10)
        ledger.adjust(organization, 7, reason="paid", actor=None)
        second_done.set()

    in_threads([first, second])
    assert Balance.objects.get(organization=organization).micro == 12
    assert [row.balance_after for row in organization.ledger.order_by("id")] == [5, 12]


def test_postings_to_several_balances_at_once_do_not_deadlock(committed_world):
    customers = [committed_world.customer() for _ in range(6)]

    def work(index: int) -> None:
        order = customers[index % 6 :] + customers[: index % 6]
        order = order if index % 2 else order[::-1]
        for _ in range(20):
            with transaction.atomic():
                ledger.post([Posting(customer.id, "charge", -1) for customer in order])

    in_threads([partial(work, index) for index in range(8)])
    assert {customer.balance() for customer in customers} == {100 * MICRO - 160}


def test_a_charge_that_is_rolled_back_leaves_no_gap_in_the_running_balance(committed_world):
    customer = committed_world.customer()

    def work(index: int) -> None:
        try:
            with transaction.atomic():
                ledger.post([Posting(customer.id, "charge", -1)])
                if index % 2:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass

    in_threads([partial(work, index) for index in range(10)])
    assert customer.balance() == 100 * MICRO - 5
    assert_running(customer)


def test_the_response_402_says_that_nothing_was_charged(committed_world):
    committed_world.serve()
    customer = committed_world.customer(credits=0)
    response = customer.api.post(SEND, {"to": PHONE, "message": "Hi"})
    assert "Nothing was sent or charged" in json.loads(response.content)["error"]["message"]
