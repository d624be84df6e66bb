"""Ids are ordered by creation and unique, and their public form can be parsed."""

import itertools
import re
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imissive.core import ids
from tests.support.factories import in_threads

MANY = 5_000


def _milliseconds(value: uuid.UUID) -> int:
    return value.int >> 80


def test_ids_are_uuids_of_version_7() -> None:
    before = time.time_ns() // 1_000_000
    created = [ids.new_uuid() for _ in range(MANY)]
    after = time.time_ns() // 1_000_000
    assert {(value.version, value.variant) for value in created} == {(7, uuid.RFC_4122)}
    assert all(before <= _milliseconds(value) <= after for value in created)


def test_ids_of_one_millisecond_are_in_order() -> None:
    created = [ids.new_uuid() for _ in range(MANY)]
    assert created == sorted(set(created))
    within = [a for a, b in itertools.pairwise(created) if _milliseconds(a) == _milliseconds(b)]
    assert len(within) > MANY / 10, "many shared a millisecond"


def test_the_next_of_a_millisecond_cannot_be_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_800_000_000_000_000_000)
    created = [ids.new_uuid() for _ in range(MANY)]
    assert {_milliseconds(value) for value in created} == {1_800_000_000_000}
    assert created == sorted(set(created))
    steps = [b.int - a.int for a, b in itertools.pairwise(created)]
    assert len(set(steps)) == len(steps)
    # 58 random bits: one step in a quarter of a million is below 2^40.
    assert sum(step < 1 << 40 for step in steps) < 3


def test_a_full_millisecond_starts_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_800_000_000_000_000_000)
    monkeypatch.setattr(ids, "_last", (1_800_000_000_000, (1 << 74) - 1))
    value = ids.new_uuid()
    assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert _milliseconds(value) == 1_800_000_000_000


def test_threads_create_unique_ids_in_order() -> None:
    def make() -> list[uuid.UUID]:
        return [ids.new_uuid() for _ in range(MANY)]

    mine = in_threads([make] * 8)
    assert all(created == sorted(created) for created in mine)
    assert len(set(itertools.chain(*mine))) == 8 * MANY


@given(st.uuids().filter(lambda value: value.int >> 125 < 7))
def test_public_ids_are_parsed(value: uuid.UUID) -> None:
    shown = ids.public_id("msg", value)
    assert re.fullmatch(ids.pattern("msg"), shown)
    assert ids.parse_id("msg", shown) == value
    assert ids.parse_id("bat", shown) is None


@given(st.uuids(), st.uuids())
def test_public_ids_sort_like_their_uuids(one: uuid.UUID, other: uuid.UUID) -> None:
    assert (one < other) == (ids.public_id("msg", one) < ids.public_id("msg", other))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "msg",
        "msg_",
        "msg_" + "0" * 25,
        "msg_" + "0" * 27,
        "msg_" + "u" * 26,
        "msg_8" + "0" * 25,
        # A time after the year 9999.
        "cam_7" + "z" * 25,
        "msg_7" + "z" * 25,
    ],
)
def test_invalid_ids(text: str) -> None:
    assert ids.parse_id("msg", text) is None


@given(st.datetimes(datetime(1970, 1, 1), datetime(2900, 1, 1), timezones=st.just(UTC)))
def test_the_time_of_an_id(moment: datetime) -> None:
    first = ids.first_id_at(moment)
    assert timedelta(0) <= moment - ids.time_of(first) < timedelta(milliseconds=1)
