"""The time by the database's clock: several machines share its rows.

A process measures how far its own machine's clock differs from the database's every EVERY_SECONDS
in which it uses the database, and adds the difference. A difference below TOLERATED_SECONDS is not
added, so that the times that a process reads one after the other stay in that order.
"""

import threading
import time
from datetime import UTC, datetime
from typing import Final

import structlog

log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 10.0
"""The least time between two measurements."""
TOLERATED_SECONDS: Final = 0.25
"""The difference that is not corrected, and the tolerated one between two measurements."""
ALARM_SECONDS: Final = 2.0
UNSURE_SECONDS: Final = 0.2
"""A measurement that took longer is too inexact."""
_ALARM_EVERY: Final = 60.0

_guard = threading.Lock()
_offset = 0.0
_measured = 0.0
_due_at = float("-inf")
_alarm_at = float("-inf")


def now() -> datetime:
    """Return the time, in UTC."""
    return moment(time.time())


def seconds() -> float:
    """Return the seconds since 1970."""
    return time.time() + _offset


def time_ns() -> int:
    """Return the nanoseconds since 1970."""
    return time.time_ns() + int(_offset * 1_000_000_000)


def moment(machine_seconds: float) -> datetime:
    """Return the database's time for a time of this machine's clock, in seconds since 1970."""
    return datetime.fromtimestamp(machine_seconds + _offset, UTC)


def offset() -> float:
    """Return the seconds by which this machine's clock is behind the database's, or ahead (< 0)."""
    return _measured


def is_due() -> bool:
    """Return whether to measure again; only one caller gets True."""
    global _due_at
    if time.monotonic() < _due_at:
        return False
    with _guard:
        if time.monotonic() < _due_at:
            return False
        _due_at = time.monotonic() + EVERY_SECONDS
        return True


def learn(database: float, before: float, after: float) -> None:
    """Use a measurement: the database's time, and this machine's before and after the query."""
    global _offset, _measured, _due_at, _alarm_at
    with _guard:
        if not 0 <= after - before <= UNSURE_SECONDS:
            _due_at = time.monotonic() + 1.0
            return
        _measured = database - (before + after) / 2
        if abs(_measured - _offset) > TOLERATED_SECONDS:
            _offset = _measured if abs(_measured) > TOLERATED_SECONDS else 0.0
        alarm = abs(_measured) > ALARM_SECONDS and time.monotonic() >= _alarm_at
        if alarm:
            _alarm_at = time.monotonic() + _ALARM_EVERY
    if alarm:
        log.error("clock_is_off", seconds=round(_measured, 1), effect="the database's is used")
