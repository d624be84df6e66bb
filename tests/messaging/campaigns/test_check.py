"""The check of a campaign: rows, counts, and concurrent checks, of which the last one counts."""

import uuid
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from accounts.models import MICRO
from messaging.campaigns import check, chunks
from messaging.campaigns.chunks import Bad, Good
from messaging.campaigns.transitions import move
from messaging.importing.recipients import variables
from messaging.models import (
    Campaign,
    Carrier,
    Contact,
    ContactList,
    ListEntry,
    SendingRule,
    Suppression,
)
from messaging.models.campaign_states import State
from messaging.routing import cache
from tests.support import campaigns
from tests.support.campaigns import checked, fresh, numbers
from tests.support.factories import Customer, World

ONE = "+966501234567"


@pytest.fixture
def customer(world: World, carrier: Carrier) -> Customer:
    return world.customer()


def _good(campaign: Campaign) -> list[Good]:
    return [row for chunk in chunks.chunks_of(campaign) for row in chunks.good_rows(chunk)]


def _bad(campaign: Campaign) -> list[Bad]:
    return [row for chunk in chunks.chunks_of(campaign) for row in chunks.bad_rows(chunk)]


def _of(customer: Customer, content: str, **fields: Any) -> Campaign:
    return checked(campaigns.uploaded(customer, [content.encode()], **fields))


def test_the_findings_of_a_check(customer: Customer) -> None:
    rows = [("0501234567", "Sara"), ("501234568", "نورة"), ("+966501234569", "x" * 160)]
    campaign = checked(campaigns.made(customer, rows))
    assert (campaign.state, campaign.due_at, campaign.check_id) == (State.READY, None, None)
    assert (campaign.rows, campaign.good, campaign.parts) == (3, 3, 4)
    assert campaign.price == 4 * MICRO
    assert campaign.findings["encodings"] == {"gsm7": 2, "ucs2": 1}
    assert campaign.findings["encoding_parts"] == {"gsm7": 3, "ucs2": 1}
    assert campaign.findings["countries"] == {"SA": 3}
    assert _good(campaign)[:2] == [
        Good(2, "+966501234567", "Hello Sara", ""),
        Good(3, "+966501234568", "Hello نورة", ""),
    ]
    assert customer.stored()["messages"] == 0
    assert customer.balance() == 100 * MICRO


@pytest.mark.parametrize(
    ("row", "bad"),
    [
        ("12345,Sara", Bad(2, "12345", "number", "TOO_SHORT")),
        (",Sara", Bad(2, "", "number", "NOT_A_NUMBER")),
        ("Sara,0501234567", Bad(2, "Sara", "number", "NOT_A_NUMBER")),
        ("0112345678,Sara", Bad(2, "0112345678", "number", "FIXED_LINE")),
        ("9.66501E+11,Sara", Bad(2, "9.66501E+11", "rounded", "")),
        ("+447400123456,Sara", Bad(2, "+447400123456", "destination", "GB")),
        ("0501234567,", Bad(2, "0501234567", "variable", "name")),
        ("0501234567", Bad(2, "0501234567", "variable", "name")),
        (f"0501234567,{'x' * 1600}", Bad(2, "0501234567", "too_long", "11")),
        ("0501234567,Sara,more", Bad(2, "0501234567", "cells", "")),
        ('0501234567,"Sara', Bad(2, "", "quote", "")),
        ("0501234567,S\0ra", Bad(2, "0501234567", "characters", "")),
        (f"0501234567,{'x' * 5000}", Bad(2, "0501234567", "long_cell", "")),
        ("+966500000077,Sara", Bad(2, "+966500000077", "suppressed", "")),
        ("0501111111,Sara\n+966501111111,Noor", Bad(3, "+966501111111", "duplicate", "2")),
    ],
)
def test_the_problems_of_rows(customer: Customer, row: str, bad: Bad) -> None:
    Suppression.objects.create(
        organization=customer.organization, number="+966500000077", source="api"
    )
    campaign = _of(customer, f"phone,name\n{row}\n\n0509999999,Last\n")
    assert _bad(campaign) == [bad]
    assert campaign.findings["problems"] == {bad.kind: 1}
    assert _good(campaign)[-1].to == "+966509999999"


def test_an_invalid_row_does_not_count_as_the_first_of_its_number(customer: Customer) -> None:
    campaign = _of(customer, "phone,name\n0501234567,\n0501234567,Sara\n")
    assert [row.kind for row in _bad(campaign)] == ["variable"]
    assert [row.line for row in _good(campaign)] == [3]


def test_values_are_only_text(customer: Customer) -> None:
    campaign = _of(customer, "phone,name\n0501234567,{phone}=1+1\n", text="{name}")
    assert _good(campaign)[0].text == "{phone}=1+1"


def test_a_text_without_a_variable_and_a_file_without_a_heading(customer: Customer) -> None:
    campaign = _of(
        customer,
        "0501234567\n0501234568\n",
        columns=["column1"],
        has_header=False,
        text="Hello",
    )
    assert [row.line for row in _good(campaign)] == [1, 2]


def test_an_unapproved_sender_refuses_every_row(customer: Customer) -> None:
    rows = [(number, "Sara") for number in numbers(3)]
    campaign = checked(campaigns.made(customer, rows, sender="Stranger"))
    assert (campaign.good, campaign.findings["problems"]) == (0, {"sender": 3})


def test_rows_outside_sending_hours_are_counted(customer: Customer) -> None:
    now = datetime.now(UTC)
    opens = (now + timedelta(hours=2)).time().replace(microsecond=0)
    closes = (now + timedelta(hours=3)).time().replace(microsecond=0)
    if opens == time(0) or opens > closes:
        closes = opens.replace(minute=(opens.minute + 1) % 60)
    SendingRule.objects.create(
        country="SA", sender_suffix="", opens=opens, closes=closes, time_zone="UTC"
    )
    cache.reload()
    rows = [(number, "Sara") for number in numbers(3)]
    campaign = checked(campaigns.made(customer, rows))
    assert (campaign.good, campaign.findings["held"]) == (3, 3)


def test_the_limit_of_rows(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "MOST_ROWS", 5)
    monkeypatch.setattr(check, "CHUNK", 2)
    rows = [(number, "Sara") for number in numbers(9)]
    campaign = checked(campaigns.made(customer, rows))
    assert (campaign.rows, campaign.good, campaign.findings["too_many"]) == (5, 5, True)


def test_chunks_are_full_despite_invalid_rows(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place of a row is its chunk's number times CHUNK: no chunk but the last is short."""
    monkeypatch.setattr(check, "CHUNK", 4)
    rows = [(number, "Sara" if index % 3 else "") for index, number in enumerate(numbers(20))]
    campaign = checked(campaigns.made(customer, rows))
    sizes = [len(chunks.good_rows(chunk)) for chunk in chunks.chunks_of(campaign)]
    assert sizes == [4, 4, 4, 1]
    assert len(_bad(campaign)) == 7
    assert [row.line for row in _good(campaign)] == sorted(row.line for row in _good(campaign))


def test_the_check_that_started_last_counts(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = campaigns.made(customer, [(ONE, "Sara")])
    mine = Campaign.objects.filter(pk=campaign.pk)
    mine.update(state=State.CHECKING, due_at=datetime.now(UTC))
    goes_on = check._renew

    def overtaken(campaign_id: uuid.UUID, check_id: uuid.UUID, rows: int) -> bool:
        held = goes_on(campaign_id, check_id, rows)
        # The text is changed while the first check is at its last row.
        assert move(campaign_id, State.DRAFT, text="Changed", check_id=None, due_at=None)
        return held

    monkeypatch.setattr(check, "_renew", overtaken)
    assert check.check(campaign.id)
    campaign = fresh(campaign)
    assert (campaign.state, campaign.good) == (State.DRAFT, 0)
    assert not campaign.chunks.exists()
    monkeypatch.setattr(check, "_renew", goes_on)
    assert _good(checked(campaign))[0].text == "Changed"


def test_a_check_without_valid_rows_renews_its_lease_too(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "CHUNK", 2)
    renewed: list[int] = []
    goes_on = check._renew

    def noting(campaign_id: uuid.UUID, check_id: uuid.UUID, rows: int) -> bool:
        renewed.append(rows)
        return goes_on(campaign_id, check_id, rows)

    monkeypatch.setattr(check, "_renew", noting)
    campaign = checked(campaigns.made(customer, [("12345", "Sara")] * 7))
    assert renewed == [2, 4, 6, 7]
    assert (campaign.state, campaign.good, len(_bad(campaign))) == (State.READY, 0, 7)


def test_a_check_whose_worker_died_is_started_again(customer: Customer) -> None:
    campaign = campaigns.made(customer, [(ONE, "Sara")])
    mine = Campaign.objects.filter(pk=campaign.pk)
    mine.update(state=State.CHECKING, due_at=datetime.now(UTC))
    assert check._start(campaign.id) is not None
    assert not check.check(campaign.id)
    mine.update(due_at=datetime.now(UTC))
    assert check.check(campaign.id)
    assert fresh(campaign).state == State.READY


def test_contact_lists(customer: Customer, outsider: Customer, monkeypatch) -> None:
    monkeypatch.setattr("messaging.importing.recipients._PAGE", 2)
    mine, theirs = customer.organization, outsider.organization
    lists = [ContactList.objects.create(organization=mine, name=name) for name in ("A", "B")]
    people = []
    for number, fields in zip(numbers(5), [{"city": "Jeddah"}] * 4 + [{}], strict=True):
        people.append(
            Contact.objects.create(organization=mine, number=number, name="Sara", fields=fields)
        )
    for person in people:
        ListEntry.objects.create(contact_list=lists[0], contact=person)
    ListEntry.objects.create(contact_list=lists[1], contact=people[0])
    Contact.objects.create(organization=mine, number=ONE, name="On no list")
    Contact.objects.create(organization=theirs, number=ONE, name="Another's")
    campaign = campaigns.made(customer, [], file=None, text="{name}, {city}", columns=[])
    campaign.lists.set(lists)
    campaign = checked(campaign)
    assert sorted(row.to for row in _good(campaign)) == numbers(4)
    assert {row.text for row in _good(campaign)} == {"Sara, Jeddah"}
    assert [(row.written, row.detail) for row in _bad(campaign)] == [(numbers(5)[4], "city")]


def test_the_variable_names_of_columns() -> None:
    headings = ["Phone", "First name", "first_name", "الاسم الأول", "12", "", "column5"]
    assert variables(headings) == [
        "phone", "first_name", "first_name_2", "الاسم_الأول", "column5", "column6", "column5_2",
    ]  # fmt: skip
