"""PostgreSQL beyond the ORM: cursors for the hot path, errors by SQLSTATE, lost connections."""

import contextlib
import threading
import time
from collections.abc import Mapping
from enum import Enum
from typing import Any

import psycopg
from django.db import InterfaceError, OperationalError, connection
from django.db.backends.utils import CursorWrapper
from psycopg_pool import PoolTimeout


def server_cursor() -> CursorWrapper:
    """A cursor on Django's connection of this thread that sends parameters apart from the SQL.

    Django's own cursors put them into the text, so that PostgreSQL parses and plans five hundred
    rows of JSON anew each time, `prepare_threshold` never applies, and `%b` means nothing. Measured
    on `events.record`, 500 events a call: 40 µs of Python for each event so, 15 µs thus, and 27 and
    19 µs of PostgreSQL. Use `%b` for arrays: text arrays are escaped character by character.
    """
    connection.ensure_connection()
    raw: Any = psycopg.Cursor(connection.connection)
    # Django's wrapper translates the exceptions, and counts queries where a test wants that.
    wrap = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
    return wrap(raw)


def rows_of(sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Execute a statement with `server_cursor` and return all its rows."""
    with server_cursor() as cursor:
        cursor.execute(sql, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


class Fault(Enum):
    """What a failure of the database is about."""

    ROW = "row"
    """The values that were written: the same ones fail again, and others do not."""
    DATABASE = "database"
    """The database as it is now, such as read-only, full or away: the same work passes later."""


_OF_ROWS = ("22", "23")
"""SQLSTATE classes: data exception, integrity constraint violation."""
READ_ONLY = "25006"
_LOST = ("08", "57P")
"""SQLSTATE prefixes of a server that is gone or going."""


def fault_of(error: BaseException) -> Fault | None:
    """Return what the error says about the database; None if it does not come from there.

    Only the SQLSTATE tells: Django's and psycopg's classes put "the database is read-only" beside
    "invalid cursor", and a missing privilege beside a syntax error. Work that failed by
    Fault.DATABASE has to be kept and done again, however long that takes. Class 42 is among them:
    a table or privilege may be missing in the middle of a migration or of a restore.
    """
    cause = _psycopg_error(error)
    if cause is None:
        # Django's own: "connection already closed".
        lost = isinstance(error, InterfaceError | OperationalError)
        return Fault.DATABASE if lost else None
    if cause.sqlstate:
        return Fault.ROW if cause.sqlstate.startswith(_OF_ROWS) else Fault.DATABASE
    # Without a SQLSTATE it was not the server that refused.
    if isinstance(cause, psycopg.DataError):
        return Fault.ROW  # a value that cannot be sent, such as a text with a NUL
    lost = isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
    return Fault.DATABASE if lost else None


def sqlstate_of(error: BaseException) -> str:
    """Return the SQLSTATE of an error; empty if the server did not give one."""
    cause = _psycopg_error(error)
    return (cause.sqlstate or "") if cause is not None else ""


def is_undone(error: BaseException) -> bool:
    """Return whether a failed transaction surely left nothing behind.

    It may be committed only where the connection broke before the server's answer came.
    """
    state = sqlstate_of(error)
    if state:
        return not state.startswith(_LOST)
    return isinstance(_psycopg_error(error), PoolTimeout)


def _psycopg_error(error: BaseException) -> psycopg.Error | None:
    """Return the driver's error below Django's."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, psycopg.Error):
        found = found.__cause__
    return found


DRAIN_SECONDS = 1.0
"""How often a process replaces its pool's connections at most, however many calls fail."""
_drain_lock = threading.Lock()
_drained_at = float("-inf")


def forget_broken_connections(error: BaseException) -> None:
    """Drop this thread's connection, and those of the pool if the error says they are of no use.

    To be called after Fault.DATABASE. After a restart of PostgreSQL every pooled connection is
    dead, and each would fail one call more; a server that has become read-only answers on all of
    them, while another one may have taken its place.
    """
    state = sqlstate_of(error)
    useless = not state or state.startswith(_LOST) or state == READ_ONLY
    pool: Any = getattr(connection, "pool", None)
    if useless and pool is not None and _may_drain():
        # First: what is given back afterwards and is older than this is closed.
        pool.drain()
    with contextlib.suppress(psycopg.Error, OperationalError, InterfaceError):
        connection.close()


def _may_drain() -> bool:
    global _drained_at
    with _drain_lock:
        now = time.monotonic()
        if now - _drained_at < DRAIN_SECONDS:
            return False
        _drained_at = now
        return True
