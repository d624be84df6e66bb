"""The states of a message: the one table, and that the database knows the same states."""

import pytest
from django.db import IntegrityError, transaction

from messaging.models import Message
from messaging.models.messages import UNFINISHED
from messaging.states import CANCELABLE, FINAL, TRANSITIONS, Status, sources

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
def test_sources_are_the_table_read_backwards(target):
    assert sorted(sources(target)) == sorted(b for b, after in ALLOWED if after == target)


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
