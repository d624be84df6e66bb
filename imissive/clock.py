"""The time, as the database has it: several machines share its rows, and so its clock.

A process measures how far its own machine's clock is off whenever it has used the database for a
while, and adds that. As long as it is off by less than anybody would notice, nothing is added: two
times that a process takes one after the other are in that order.
"""

import threading
import time
from datetime import UTC, datetime
from typing import Final

import structlog

log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 10.0
"""How often it is measured."""
TOLERATED_SECONDS: Final = 0.25
"""What is not corrected, and how far two measurements may differ."""
ALARM_SECONDS: Final = 2.0
UNSURE_SECONDS: Final = 0.2
"""An answer that took longer says too little."""
_ALARM_EVERY: Final = 60.0

_guard = threading.Lock()
_offset = 0.0
_measured = 0.0
_due_at = float("-inf")
_alarm_at = float("-inf")


def now() -> datetime:
    """Return the time, in UTC."""
    return moment(time.time())


def time_ns() -> int:
    """Return the nanoseconds since 1970."""
    return time.time_ns() + int(_offset * 1_000_000_000)


def moment(seconds: float) -> datetime:
    """Return what the database calls a moment that this machine's clock gave as such seconds."""
    return datetime.fromtimestamp(seconds + _offset, UTC)


def offset() -> float:
    """Return how many seconds this machine's clock is behind the database's; ahead is negative."""
    return _measured


def is_due() -> bool:
    """Return whether to measure again; True to one caller only."""
    global _due_at
    if time.monotonic() < _due_at:
        return False
    with _guard:
        if time.monotonic() < _due_at:
            return False
        _due_at = time.monotonic() + EVERY_SECONDS
        return True


def learn(database: float, asked: float, answered: float) -> None:
    """Take in the database's time, between two of this machine's: before and after the question."""
    global _offset, _measured, _due_at, _alarm_at
    with _guard:
        if not 0 <= answered - asked <= UNSURE_SECONDS:
            _due_at = time.monotonic() + 1.0
            return
        _measured = database - (asked + answered) / 2
        if abs(_measured - _offset) > TOLERATED_SECONDS:
            _offset = _measured if abs(_measured) > TOLERATED_SECONDS else 0.0
        alarm = abs(_measured) > ALARM_SECONDS and time.monotonic() >= _alarm_at
        if alarm:
            _alarm_at = time.monotonic() + _ALARM_EVERY
    if alarm:
        log.error("clock_is_off", seconds=round(_measured, 1), effect="the database's is used")
