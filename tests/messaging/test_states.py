"""The statuses of a message: the one table, and that the database is held to it."""

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from messaging.models import Message
from messaging.models.messages import UNFINISHED
from messaging.states import CANCELABLE, FINAL, TRANSITIONS, Status, statuses_before, swap
from tests.support import transitions

# Written out once more by hand: a slip in the table must not pass because the test reads it.
ALLOWED = {
    ("scheduled", "queued"),
    ("scheduled", "canceled"),
    ("scheduled", "expired"),
    ("queued", "sending"),
    ("queued", "canceled"),
    ("queued", "expired"),
    ("queued", "failed"),
    ("sending", "queued"),
    ("queued", "scheduled"),
    ("sending", "sent"),
    ("sending", "delivered"),
    ("sending", "failed"),
    ("sending", "expired"),
    ("sent", "delivered"),
    ("sent", "failed"),
    ("sent", "expired"),
}


@pytest.mark.parametrize("before", Status)
@pytest.mark.parametrize("after", Status)
def test_each_change_is_allowed_or_not(before, after):
    assert (after in TRANSITIONS[before]) is ((before, after) in ALLOWED)


def test_every_state_is_in_the_table():
    assert set(TRANSITIONS) == set(Status)


def test_what_is_final_stays():
    assert {"delivered", "failed", "expired", "canceled"} == FINAL
    assert not {before for before, _ in ALLOWED} & FINAL
    assert set(UNFINISHED) == set(Status) - FINAL


def test_only_what_was_not_submitted_can_be_canceled():
    assert {"scheduled", "queued"} == CANCELABLE


@pytest.mark.parametrize("target", Status)
def test_what_comes_before_is_the_table_read_backwards(target):
    assert sorted(statuses_before(target)) == sorted(b for b, after in ALLOWED if after == target)


def test_what_comes_before_several_comes_before_each():
    assert statuses_before(Status.DELIVERED, Status.FAILED) == [Status.SENDING, Status.SENT]


def test_a_swap_starts_wherever_the_table_lets_it():
    assert swap(Status.CANCELED).before_sql == "('scheduled', 'queued')"
    assert swap(Status.SENDING).before_sql == "('queued')"
    assert swap(Status.CANCELED).after_sql == "'canceled'"
    assert swap(Status.QUEUED, before=[Status.SENDING]).before_sql == "('sending')"


@pytest.mark.parametrize("before", Status)
@pytest.mark.parametrize("after", Status)
def test_no_swap_leads_past_the_table(before, after):
    if (before, after) in ALLOWED:
        assert swap(after, before=[before]).before == {before}
    else:
        with pytest.raises(ValueError, match="the table has no change"):
            swap(after, before=[before])


@pytest.mark.parametrize("after", [[], [Status.SCHEDULED, Status.SENT]])
def test_no_swap_leads_nowhere(after):
    with pytest.raises(ValueError, match="the table has no change"):
        swap(*after)


def test_a_swap_to_several_takes_these_only():
    ended = swap(Status.DELIVERED, Status.FAILED)
    assert ended.values([Status.FAILED, Status.DELIVERED, Status.FAILED]) == [
        "failed",
        "delivered",
        "failed",
    ]
    with pytest.raises(ValueError, match="queued"):
        ended.values([Status.FAILED, Status.QUEUED])


@pytest.mark.parametrize("before", Status)
@pytest.mark.parametrize("after", Status)
def test_the_database_of_tests_refuses_what_the_table_does_not_have(
    customer, carrier, world, before, after
):
    message = world.message(customer, carrier, status=before)
    change = Message.objects.filter(id=message.id)
    if before == after or (before, after) in ALLOWED:
        change.update(status=after)
        assert change.get().status == after
    else:
        refused = f"{transitions.REFUSED} {before} to {after}"
        with pytest.raises(DatabaseError, match=refused), transaction.atomic():
            change.update(status=after)
        assert change.get().status == before


def test_what_is_refused_blames_no_row(customer, carrier, world):
    message = world.message(customer, carrier, status="sent")
    with pytest.raises(DatabaseError) as caught, transaction.atomic():
        Message.objects.filter(id=message.id).update(status="queued")
    assert getattr(caught.value.__cause__, "sqlstate", None) == "P0001"


def test_what_is_refused_is_read_from_the_table(customer, carrier, world, monkeypatch):
    message = world.message(customer, carrier)
    change = Message.objects.filter(id=message.id)
    change.update(status="sending")
    change.update(status="queued")
    monkeypatch.setitem(TRANSITIONS, Status.QUEUED, frozenset({Status.CANCELED}))
    with connection.cursor() as cursor:
        transitions.install(cursor.execute)
    with pytest.raises(DatabaseError, match=transitions.REFUSED), transaction.atomic():
        change.update(status="sending")
    change.update(status="canceled")


def test_every_state_is_reached_from_the_two_that_messages_begin_in():
    reached = {"scheduled", "queued"}
    before: set[str] = set()
    while reached != before:
        before = set(reached)
        reached |= {after for source, after in ALLOWED if source in before}
    assert reached == set(Status)


@pytest.mark.parametrize("status", Status)
def test_the_database_takes_each_state(customer, carrier, world, status):
    assert world.message(customer, carrier, status=status).status == status


@pytest.mark.parametrize("status", ["", "lost", "Queued", "QUEUED"])
def test_the_database_takes_no_other(customer, carrier, world, status):
    message = world.message(customer, carrier)
    with pytest.raises(IntegrityError, match="message_status"), transaction.atomic():
        Message.objects.filter(id=message.id).update(status=status)
