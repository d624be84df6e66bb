"""Operators' numbering ranges, read at most once a second in each process."""

import asyncio
import threading
import time

import phonenumbers
import structlog
from django.db import DatabaseError, connection

from messaging.models import NumberRange
from messaging.numbers.e164 import Range

log = structlog.get_logger(__name__)

MAX_AGE_SECONDS = 1.0

_cached: tuple[float, tuple[Range, ...]] = (float("-inf"), ())
_reading = threading.Lock()


def ranges() -> tuple[Range, ...]:
    """Return the operators' ranges, at most MAX_AGE_SECONDS old.

    An event loop must not wait for the database: there, old ones are returned while a thread reads.
    """
    if time.monotonic() - _cached[0] < MAX_AGE_SECONDS:
        return _cached[1]
    if _in_event_loop():
        if _reading.acquire(blocking=False):
            threading.Thread(target=_reload_and_release, daemon=True).start()
    elif not connection.needs_rollback:
        reload()
    return _cached[1]


def reload() -> None:
    """Read the ranges from the database and cache them."""
    global _cached
    _cached = (time.monotonic(), _read())


def _read() -> tuple[Range, ...]:
    found = [
        Range(
            f"+{row.prefix}",
            row.country,
            phonenumbers.country_code_for_region(row.country),
            row.shortest + 1,
            row.longest + 1,
            row.reachable,
        )
        for row in NumberRange.objects.filter(enabled=True)
    ]
    return tuple(sorted(found, key=lambda each: -len(each.prefix)))


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _reload_and_release() -> None:
    try:
        reload()
    except DatabaseError as error:
        log.warning("numbering.not_read", error=type(error).__name__)
    finally:
        connection.close()
        _reading.release()
