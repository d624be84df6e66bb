"""Running campaigns: every row once, despite concurrency, killed workers and missing credits."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from accounts.credits import ledger
from accounts.models import MICRO, LedgerEntry, Organization
from imissive.run.unprivileged import die_with_parent
from messaging.campaigns import (
    cancel,
    chunks,
    results,
    scheduler,
)
from messaging.campaigns import (
    run as running,
)
from messaging.campaigns.transitions import move
from messaging.models import Batch, Campaign, CampaignChunk, Carrier, Message, SenderId, Suppression
from messaging.models.campaign_states import TRANSITIONS, State, states_before
from messaging.sending import accept as sending
from messaging.states import Status
from tests.support import campaigns
from tests.support.campaigns import (
    fresh,
    numbers,
    run,
    running_one,
)
from tests.support.factories import SENDER, Customer, World, advance


@pytest.fixture
def customer(world: World, carrier: Carrier) -> Customer:
    """Has 100 credits, the approved sender MyCompany, and a carrier."""
    return world.customer()


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (chunks, running):
        monkeypatch.setattr(module, "CHUNK", 10)
    monkeypatch.setattr("messaging.campaigns.check.CHUNK", 10)


def _sent(campaign: Campaign) -> list[str]:
    found = Message.objects.filter(batch=campaign.batch_id) if campaign.batch_id else []
    return sorted(message.to for message in found)


def test_all_rows_become_messages_of_one_batch(customer: Customer) -> None:
    rows = [(number, f"Person {number[-2:]}") for number in numbers(25)]
    campaign = run(campaigns.started(campaigns.made(customer, rows)))
    assert (campaign.state, campaign.position, campaign.refused) == (State.DELIVERING, 25, 0)
    messages = customer.messages()
    assert {message.to: message.text for message in messages} == {
        number: f"Hello {name}" for number, name in rows
    }
    assert {message.batch_id for message in messages} == {campaign.batch_id}
    assert {(m.source, m.urgent, m.sender) for m in messages} == {("campaign", False, SENDER)}
    assert Batch.objects.filter(organization=customer.organization).count() == 1
    charges = [amount for kind, amount, _ in customer.ledger() if kind == "charge"]
    assert charges == [-10 * MICRO, -10 * MICRO, -5 * MICRO]
    assert campaign.charged == 25 * MICRO
    assert customer.balance() == 75 * MICRO
    assert not running.step(campaign.id)
    assert len(customer.messages()) == 25


def test_references_are_read_from_a_column(customer: Customer) -> None:
    rows = [(number, f"order-{index}") for index, number in enumerate(numbers(3))]
    campaign = campaigns.made(customer, rows, reference_column=1, text="Hello")
    run(campaigns.started(campaign))
    found = sorted(message.reference for message in customer.messages())
    assert found == ["order-0", "order-1", "order-2"]


# ---------------------------------------------------------------- exactly once

POINTS: dict[str, Callable[[pytest.MonkeyPatch, Callable[..., Any]], None]] = {
    "before the acceptance": lambda patch, bang: patch.setattr(sending, "accept", bang),
    "after the acceptance": lambda patch, bang: patch.setattr(running, "_store_refusals", bang),
    "before the place moves": lambda patch, bang: patch.setattr(running, "_advance", bang),
    "after the place moved": lambda patch, bang: patch.setattr(running, "_pause_after", bang),
}


@pytest.mark.parametrize("point", POINTS)
def test_a_failed_step_leaves_nothing(
    customer: Customer, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = running_one(customer, 12)
    running.step(campaign.id)
    before, place = customer.stored(), fresh(campaign).position
    assert place == 10

    def bang(*_: Any, **__: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        POINTS[point](patch, bang)
        with pytest.raises(RuntimeError, match="killed"), transaction.atomic():
            running.step(campaign.id)
    assert customer.stored() == before
    assert fresh(campaign).position == place
    campaign = run(campaign)
    assert _sent(campaign) == sorted(numbers(12))


# Kills itself between the acceptance and the move of the position, or right after the commit.
_KILLED = """
import os, signal, sys, uuid
import django
django.setup()
from messaging.sending import accept
from messaging.campaigns import check, chunks, run
for module in (chunks, check, run):
    module.CHUNK = 10
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
point, campaign = sys.argv[1], uuid.UUID(sys.argv[2])
if point == "between":
    run._advance = die
elif point == "committed":
    accept.wake_carrier = die
run.step(campaign)
print("lived", flush=True)
"""


def test_a_killed_worker_neither_loses_nor_repeats_a_row(committed_world: World) -> None:
    committed_world.serve()
    taken = {"between": 0, "committed": 10}
    customers = {point: committed_world.customer() for point in taken}
    started = {point: running_one(customers[point], 15) for point in taken}
    workers = {point: _worker(point, campaign) for point, campaign in started.items()}
    for point, worker in workers.items():
        _, output = worker.communicate(timeout=60)
        assert worker.returncode == -signal.SIGKILL, (point, output)
    for point, campaign in started.items():
        customer = customers[point]
        assert fresh(campaign).position == len(customer.messages()) == taken[point], point
        assert customer.balance() == (100 - taken[point]) * MICRO
        campaign = run(campaign)
        assert campaign.state == State.DELIVERING
        assert _sent(campaign) == sorted(numbers(15))
        assert customer.balance() == 85 * MICRO


def _worker(point: str, campaign: Campaign) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _KILLED, point, str(campaign.id)],
        env=os.environ | {"DATABASE_URL": _address(connection.settings_dict)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent(signal.SIGKILL),
    )


def _address(database: dict[str, Any]) -> str:
    host = database["HOST"].replace("/", "%2F")
    return (
        f"postgresql://{database['USER']}:{database['PASSWORD']}@{host}:{database['PORT']}"
        f"/{database['NAME']}"
    )


def _together(campaign: Campaign, count: int) -> list[BaseException]:
    """That many workers step until nothing is left, at once."""
    errors: list[BaseException] = []
    ready = threading.Barrier(count)

    def work() -> None:
        try:
            ready.wait(10)
            for _ in range(20):
                running.step(campaign.id)
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors


@pytest.mark.parametrize("locked", [False, True])
def test_concurrent_workers(
    committed_world: World, locked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the campaign's lock two of them take the same rows; with it each row is sent once."""
    customer = committed_world.customer()
    committed_world.serve()
    campaign = running_one(customer, 40)
    if not locked:
        due = Campaign.objects.select_related("organization")
        monkeypatch.setattr(
            running,
            "_locked",
            lambda campaign_id: due.filter(pk=campaign_id, state=State.RUNNING).first(),
        )
    accept, meeting = sending.accept, threading.Barrier(2)

    def slowly(*arguments: Any) -> Any:
        if not locked:
            # The race is there; this only makes it happen each time.
            with contextlib.suppress(threading.BrokenBarrierError):
                meeting.wait(1)
        return accept(*arguments)

    monkeypatch.setattr(sending, "accept", slowly)
    errors = _together(campaign, 3)
    sent = [message.to for message in customer.messages()]
    if locked:
        assert errors == []
        assert sorted(sent) == sorted(numbers(40))
        assert customer.balance() == 60 * MICRO
        assert fresh(campaign).state == State.DELIVERING
    else:
        assert len(sent) > len(set(sent))


# ---------------------------------------------------------------- pauses and limits


def test_insufficient_credits_pause_the_campaign(world: World, carrier: Carrier) -> None:
    customer = world.customer(credits=14)
    campaign = run(running_one(customer, 25))
    assert (campaign.state, campaign.pause) == (State.PAUSED, Campaign.Pause.CREDITS)
    assert campaign.position == 10
    assert len(customer.messages()) == 10
    assert customer.balance() == 4 * MICRO
    ledger.adjust(customer.organization, 100 * MICRO, reason="paid", actor=None)
    assert move(campaign.id, State.RUNNING, pause="", due_at=datetime.now(UTC))
    campaign = run(campaign)
    assert campaign.state == State.DELIVERING
    assert _sent(campaign) == sorted(numbers(25))
    assert customer.balance() == 89 * MICRO


def test_a_suspended_organization_pauses_the_campaign(customer: Customer) -> None:
    campaign = running_one(customer, 25)
    running.step(campaign.id)
    Organization.objects.filter(pk=customer.id).update(status=Organization.Status.SUSPENDED)
    campaign = run(campaign)
    assert (campaign.state, campaign.pause) == (State.PAUSED, Campaign.Pause.SUSPENDED)
    assert len(customer.messages()) == 10


def test_a_revoked_sender_pauses_the_campaign_and_refuses_no_row(customer: Customer) -> None:
    campaign = running_one(customer, 25)
    running.step(campaign.id)
    SenderId.objects.filter(organization=customer.organization).update(
        status=SenderId.Status.REVOKED, reason="misused"
    )
    campaign = run(campaign)
    assert (campaign.state, campaign.pause) == (State.PAUSED, Campaign.Pause.SENDER)
    assert (campaign.position, campaign.refused) == (10, 0)


def test_a_number_that_opts_out_meanwhile_gets_nothing(customer: Customer) -> None:
    campaign = running_one(customer, 12)
    who = numbers(12)[3]
    Suppression.objects.create(organization=customer.organization, number=who, source="api")
    campaign = run(campaign)
    assert (campaign.state, campaign.position, campaign.refused) == (State.DELIVERING, 12, 1)
    assert campaign.accepted == 11
    assert who not in _sent(campaign)
    chunk = CampaignChunk.objects.get(campaign=campaign, number=0)
    assert chunks.refused_rows(chunk) == [chunks.Bad(5, who, "suppressed", "")]


def test_the_limit_per_minute_is_respected(customer: Customer) -> None:
    Organization.objects.filter(pk=customer.id).update(bulk_per_minute=15)
    campaign = run(running_one(customer, 25))
    assert campaign.state == State.RUNNING
    # 10 rows, then all the others a moment later: 6 rows need part of a minute's refill of 15.
    assert campaign.position == 10
    assert campaign.due_at is not None
    wait = campaign.due_at - datetime.now(UTC)
    assert timedelta(seconds=10) < wait <= timedelta(seconds=25)
    Organization.objects.filter(pk=customer.id).update(bulk_per_minute=4)
    assert not running.step(campaign.id)


def test_a_limit_below_the_step_size_still_progresses(customer: Customer) -> None:
    Organization.objects.filter(pk=customer.id).update(bulk_per_minute=4)
    campaign = run(running_one(customer, 25))
    assert campaign.position == 4


def test_the_campaigns_own_rate(customer: Customer) -> None:
    campaign = running_one(customer, 25, per_minute=36)
    assert running.step(campaign.id)
    assert not running.step(campaign.id)
    campaign = fresh(campaign)
    assert campaign.position == 3
    assert campaign.due_at is not None
    wait = campaign.due_at - datetime.now(UTC)
    assert timedelta(seconds=3) < wait <= timedelta(seconds=5)


def test_a_scheduled_campaign_starts_when_due(customer: Customer) -> None:
    campaign = running_one(customer, 3)
    later = datetime.now(UTC) + timedelta(hours=1)
    mine = Campaign.objects.filter(pk=campaign.pk)
    mine.update(state=State.SCHEDULED, due_at=later, scheduled_at=later)
    scheduler.run(0)
    assert fresh(campaign).state == State.SCHEDULED
    mine.update(due_at=datetime.now(UTC))
    scheduler.run(5)
    assert fresh(campaign).state == State.DELIVERING
    assert len(customer.messages()) == 3


# ---------------------------------------------------------------- the end


def test_canceling_cancels_messages_that_no_carrier_has(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messaging.sending.cancel.STEP", 8)
    campaign = running_one(customer, 25)
    running.step(campaign.id)
    running.step(campaign.id)
    first = customer.messages()[0]
    Message.objects.filter(pk=first.pk).update(status=Status.SENDING)
    assert move(campaign.id, State.CANCELING, due_at=datetime.now(UTC))
    assert not running.step(campaign.id)
    while cancel.step(campaign.id):
        pass
    campaign = fresh(campaign)
    assert campaign.state == State.CANCELED
    assert results.count(campaign.id)
    found = results.results_of(fresh(campaign))
    assert found.by_status == {"sending": 1, "canceled": 19}
    assert (found.price, found.refunded, found.cost) == (20 * MICRO, 19 * MICRO, MICRO)
    assert customer.balance() == 99 * MICRO
    # A message that was being submitted and was throttled is requeued: it is not sent either.
    Message.objects.filter(pk=first.pk).update(status=Status.QUEUED)
    Campaign.objects.filter(pk=campaign.pk).update(due_at=datetime.now(UTC))
    assert cancel.recheck(campaign.id)
    assert results.results_of(fresh(campaign)).by_status == {"canceled": 20}
    assert fresh(campaign).due_at is None
    assert customer.balance() == 100 * MICRO


def test_a_campaign_finishes_with_its_last_message(customer: Customer) -> None:
    campaign = run(running_one(customer, 6))
    assert results.count(campaign.id)
    assert fresh(campaign).state == State.DELIVERING
    ends = [
        (Status.DELIVERED, ""), (Status.DELIVERED, ""), (Status.DELIVERED, ""),
        (Status.FAILED, "UNDELIV"), (Status.FAILED, "UNDELIV"), (Status.EXPIRED, ""),
    ]  # fmt: skip
    for message, (status, code) in zip(customer.messages(), ends, strict=True):
        advance(Message.objects.filter(pk=message.pk), status, error_code=code, due_at=None)
    assert not results.count(campaign.id)
    Campaign.objects.filter(pk=campaign.pk).update(due_at=datetime.now(UTC))
    assert results.count(campaign.id)
    campaign = fresh(campaign)
    assert (campaign.state, campaign.due_at) == (State.FINISHED, None)
    found = results.results_of(campaign)
    assert found.by_status == {"delivered": 3, "failed": 2, "expired": 1}
    assert found.by_reason == {"UNDELIV": 2, "EXPIRED": 1}
    assert found.delivery_rate == 50


def test_a_failing_campaign_does_not_block_others(customer: Customer) -> None:
    broken, fine = running_one(customer, 3), running_one(customer, 4)
    CampaignChunk.objects.filter(campaign=broken).delete()
    scheduler.run(5)
    broken, fine = fresh(broken), fresh(fine)
    assert fine.state == State.DELIVERING
    assert broken.state == State.RUNNING
    assert broken.due_at is not None
    assert broken.due_at > datetime.now(UTC) + timedelta(seconds=20)


def test_the_table_of_states() -> None:
    assert set(TRANSITIONS) == set(State)
    over = {state for state, following in TRANSITIONS.items() if not following}
    assert over == {State.FINISHED, State.CANCELED}
    reached, found = {State.DRAFT}, {State.DRAFT}
    while found:
        found = {after for state in found for after in TRANSITIONS[state]} - reached
        reached |= found
    assert reached == set(State)


@pytest.mark.parametrize("target", list(State))
def test_only_transitions_in_the_table_are_allowed(customer: Customer, target: State) -> None:
    campaign = campaigns.made(customer, [(numbers(1)[0], "Sara")])
    for state in State:
        pause = "member" if state == State.PAUSED else ""
        Campaign.objects.filter(pk=campaign.pk).update(state=state, pause=pause)
        moved = move(campaign.id, target, pause="member")
        assert moved is (state in states_before(target))
        assert fresh(campaign).state == (target if moved else state)


def test_no_charge_is_lost_or_duplicated(customer: Customer) -> None:
    run(running_one(customer, 25))
    entries = LedgerEntry.objects.filter(organization=customer.organization, kind="charge")
    references = set(entries.values_list("reference", flat=True))
    assert len(references) == 3
    assert references <= set(Message.objects.values_list("id", flat=True))
    assert not [each for each in ledger.discrepancies() if each.organization_id == customer.id]
