"""Operators' top-ups and corrections: confirmed, once for each form, large ones by two people."""

import uuid
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from accounts.credits import changes
from accounts.models import MICRO, AuditEntry, CreditChange, LedgerEntry
from imissive.core.errors import ApiError
from tests.support.factories import Customer, World, in_threads
from tests.support.people import PLAIN_STATIC, browser, operator, person
from tests.support.top_ups import confirmed, filled, hidden, page_of


@pytest.fixture(autouse=True)
def _plain(settings: Any) -> None:
    settings.STORAGES = PLAIN_STATIC
    settings.CREDITS_SECOND_OPERATOR_ABOVE = 1_000 * MICRO


@pytest.fixture
def admin(db: None) -> Client:
    return browser(operator())


@pytest.fixture
def second(db: None) -> Client:
    return browser(operator())


def _act(name: str, change: CreditChange) -> str:
    return reverse(f"admin:accounts_creditchange_{name}", args=(change.pk,))


def _waiting(customer: Customer) -> CreditChange:
    return CreditChange.objects.get(organization=customer.organization, status="waiting")


def _actions(customer: Customer) -> list[str]:
    mine = AuditEntry.objects.filter(organization=customer.organization).order_by("id")
    return list(mine.values_list("action", flat=True))


# ---------------------------------------------------------------- confirmed, and once


def test_a_change_is_confirmed_with_the_balance_before_and_after(
    admin: Client, customer: Customer
) -> None:
    page = filled(admin, customer, "12.5").content.decode()
    for text in ("Balance before", "Balance after", ">100<", ">+12.5<", ">112.5<", "Invoice 7"):
        assert text in page, text
    assert customer.balance() == 100 * MICRO, "nothing happens before the confirmation"
    assert not CreditChange.objects.exists()
    response = confirmed(admin, customer, "12.5")
    assert response.status_code == 302
    assert customer.balance() == 112_500_000
    change = CreditChange.objects.get()
    assert customer.ledger() == [("top_up", 12_500_000, change.id)]


@pytest.mark.parametrize("credits", ["12.5", "-12.5"])
def test_a_form_that_is_posted_twice_changes_the_balance_once(
    admin: Client, customer: Customer, credits: str
) -> None:
    values = hidden(filled(admin, customer, credits))
    answers = [admin.post(page_of(customer), values) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [302, 200, 200]
    assert "sent already" in answers[1].content.decode()
    assert len(customer.ledger()) == 1
    assert _actions(customer) == ["credits.adjusted"]
    # Nor with other values: the reference is the form's.
    assert admin.post(page_of(customer), values | {"credits": "1"}).status_code == 200
    assert len(customer.ledger()) == 1


def test_two_forms_are_two_changes(admin: Client, customer: Customer) -> None:
    for _ in range(2):
        assert confirmed(admin, customer, "5").status_code == 302
    assert customer.balance() == 110 * MICRO


def test_a_form_without_a_reference_changes_nothing(admin: Client, customer: Customer) -> None:
    values = {"credits": "5", "reason": "x", "confirmed": "on"}
    for reference in ({}, {"reference": ""}, {"reference": "x"}):
        assert admin.post(page_of(customer), values | reference).status_code == 200
    assert customer.ledger() == []


def test_concurrent_posts_of_one_form_pay_once(committed_world: World) -> None:
    customer, boss, reference = committed_world.customer(), operator(), uuid.uuid4()

    def change() -> str:
        try:
            changes.request_change(
                reference, customer.organization, 5 * MICRO, "Invoice", actor=boss
            )
        except ApiError as refusal:
            return refusal.problem.code
        return "done"

    assert sorted(in_threads([change] * 6)) == ["CONFLICT"] * 5 + ["done"]
    assert customer.balance() == 105 * MICRO


def test_the_database_refuses_a_reference_twice(customer: Customer) -> None:
    boss, reference = operator(), uuid.uuid4()
    change = partial(
        changes.request_change, reference, customer.organization, MICRO, "x", actor=boss
    )
    change()
    CreditChange.objects.all().delete()
    with pytest.raises(IntegrityError), transaction.atomic():
        change()
    assert customer.balance() == 101 * MICRO


# ---------------------------------------------------------------- a second operator


@pytest.mark.parametrize("credits", ["1000.000001", "50000"])
def test_a_large_change_waits_for_a_second_operator(
    admin: Client, second: Client, customer: Customer, credits: str
) -> None:
    assert "Request this change" in filled(admin, customer, credits).content.decode()
    response = confirmed(admin, customer, credits)
    change = _waiting(customer)
    assert response["Location"] == _act("change", change)
    assert customer.ledger() == []
    own = admin.post(_act("approve", change))
    assert "another operator" in own.content.decode()
    assert customer.ledger() == []
    asked = second.get(_act("approve", change)).content.decode()
    assert "Balance after" in asked
    assert second.post(_act("approve", change)).status_code == 302
    assert customer.ledger() == [("top_up", change.micro, change.id)]
    change.refresh_from_db()
    assert (change.status, change.decided_by != change.requested_by) == ("applied", True)
    again = second.post(_act("approve", change)).content.decode()
    assert "decided already" in again
    assert len(customer.ledger()) == 1
    assert _actions(customer) == ["credits.requested", "credits.adjusted"]


def test_up_to_the_limit_one_operator_is_enough(admin: Client, customer: Customer) -> None:
    assert confirmed(admin, customer, "1000").status_code == 302
    assert customer.balance() == 1_100 * MICRO


def test_a_large_change_cannot_be_split(
    admin: Client, second: Client, customer: Customer, outsider: Customer
) -> None:
    for credits in ("600", "-400"):
        confirmed(admin, customer, credits)
    confirmed(second, customer, "1")
    assert _waiting(customer).micro == MICRO, "of another operator too"
    confirmed(admin, outsider, "600")
    assert outsider.balance() == 700 * MICRO, "organizations are counted separately"


def test_approved_changes_do_not_count(admin: Client, second: Client, customer: Customer) -> None:
    confirmed(admin, customer, "5000")
    second.post(_act("approve", _waiting(customer)))
    confirmed(admin, customer, "900")
    assert customer.balance() == 6_000 * MICRO


def test_a_change_is_declined(admin: Client, second: Client, customer: Customer) -> None:
    confirmed(admin, customer, "5000")
    change = _waiting(customer)
    assert second.post(_act("decline", change)).status_code == 302
    assert "decided already" in second.post(_act("approve", change)).content.decode()
    assert customer.ledger() == []
    assert _actions(customer) == ["credits.requested", "credits.declined"]


def test_a_correction_that_is_no_longer_covered_stays_waiting(
    admin: Client, second: Client, customer: Customer, settings: Any
) -> None:
    settings.CREDITS_SECOND_OPERATOR_ABOVE = 0
    confirmed(admin, customer, "-90")
    change = _waiting(customer)
    settings.CREDITS_SECOND_OPERATOR_ABOVE = 1_000 * MICRO
    confirmed(admin, customer, "-20")
    assert "does not cover" in second.post(_act("approve", change)).content.decode()
    assert customer.balance() == 80 * MICRO
    assert _waiting(customer) == change


@pytest.mark.parametrize("name", ["approve", "decline"])
def test_deciding_needs_the_permission(admin: Client, customer: Customer, name: str) -> None:
    confirmed(admin, customer, "5000")
    change = _waiting(customer)
    reader = person(is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="view_ledgerentry"))
    assert browser(reader).get(_act("change", change)).status_code == 200
    assert browser(reader).post(_act(name, change)).status_code == 403
    assert browser(person(is_staff=True)).get(_act("change", change)).status_code == 403
    assert _waiting(customer) == change


def test_the_database_refuses_ones_own_approval(customer: Customer) -> None:
    boss = operator()
    with pytest.raises(IntegrityError, match="credit_change_second_operator"):
        CreditChange.objects.create(
            id=uuid.uuid4(),
            organization=customer.organization,
            micro=1,
            reason="x",
            status="applied",
            requested_by=boss,
            decided_by=boss,
        )


def test_the_menu_says_how_many_wait(admin: Client, second: Client, customer: Customer) -> None:
    confirmed(admin, customer, "5000")
    page = second.get(reverse("admin:accounts_creditchange_changelist")).content.decode()
    assert "Waiting for approval" in page
    assert not LedgerEntry.objects.filter(reference=_waiting(customer).pk).exists()
