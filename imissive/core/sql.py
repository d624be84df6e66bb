"""PostgreSQL beyond the ORM: cursors for the hot path, errors by SQLSTATE, lost connections."""

import contextlib
import threading
import time
from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar

import psycopg
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.db.backends.utils import CursorWrapper
from psycopg.abc import RV, PQGen
from psycopg_pool import PoolTimeout

from imissive.core import clock

WAIT_SECONDS = 0.1
"""How often psycopg checks for signals while it waits: its own default."""


def server_cursor() -> CursorWrapper:
    """Return a cursor on this thread's connection with server-side parameter binding.

    Django's own cursors insert the parameters into the SQL, so that PostgreSQL parses and plans
    five hundred rows of JSON every time, `prepare_threshold` never applies, and `%b` is not
    available. `events.record` with 500 events in a call took 15 µs of Python for each event instead
    of 40, and 19 µs of PostgreSQL instead of 27. Use `%b` for arrays: text arrays are escaped
    character by character.
    """
    connection.ensure_connection()
    if clock.is_due():
        _measure_clock()
    raw: Any = psycopg.Cursor(connection.connection)
    # Django's wrapper translates the exceptions, and counts queries for tests.
    wrap = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
    return wrap(raw)


def rows_of(sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Execute a statement with `server_cursor` and return all its rows."""
    with server_cursor() as cursor:
        cursor.execute(sql, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


class ImpatientConnection(psycopg.Connection[Any]):
    """A connection that gives up after `patience` seconds without a response of the server.

    A server that is stopped, or whose disk hangs, acknowledges all packets: neither does its own
    timeout end a statement then, nor TCP's the connection.
    """

    patience: ClassVar[float | None] = None

    def wait(
        self, gen: PQGen[RV], interval: float = WAIT_SECONDS, timeout: float | None = None
    ) -> RV:
        """Run a generator of psycopg. Raises OperationalError if the server does not respond."""
        patience = self.patience if timeout is None else timeout
        try:
            return super().wait(gen, interval, patience)
        except psycopg.errors._WaitTimeout:
            if timeout is not None:
                raise
            self.pgconn.finish()
            message = f"the server did not respond within {patience:g} s"
            raise psycopg.OperationalError(message) from None


PATIENCE_SECONDS = 3.0
"""How much longer than its own statement timeout the server may take to respond."""


def limit_statements() -> None:
    """Limit each statement of this process to DATABASE_STATEMENT_TIMEOUT.

    For processes that handle requests. Call it before the first connection. A `statement_timeout`
    in DATABASE_URL has priority.
    """
    seconds = settings.DATABASE_STATEMENT_TIMEOUT
    options = connection.settings_dict["OPTIONS"]
    given = options.get("options", "")
    if not seconds or "statement_timeout" in given:
        return
    options["options"] = f"{given} -c statement_timeout={seconds * 1000}".strip()
    ImpatientConnection.patience = seconds + PATIENCE_SECONDS
    options["pool"]["connection_class"] = ImpatientConnection


def own_parameters() -> dict[str, Any]:
    """Return the parameters of a connection outside Django's pool, to the same database."""
    parameters = connection.get_connection_params()
    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    return parameters


def _measure_clock() -> None:
    """Ask the database for its time, without Django, which would count the query."""
    asked = time.time()
    with contextlib.suppress(psycopg.Error):
        cursor = psycopg.Cursor(connection.connection)
        row = cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
        if row is not None:
            clock.learn(row[0], asked, time.time())


class Fault(Enum):
    """The cause of a database error."""

    ROW = "row"
    """The written values are invalid: they would fail again, and others would not."""
    DATABASE = "database"
    """The database is read-only, full, down or similar: the same work can succeed later."""


_OF_ROWS = ("22", "23")
"""SQLSTATE classes: data exception, integrity constraint violation."""
READ_ONLY = "25006"
_LOST = ("08", "57P")
"""SQLSTATE prefixes of a server that is down or shutting down."""


def fault_of(error: BaseException) -> Fault | None:
    """Return the cause of a database error; None for other errors.

    It is decided by the SQLSTATE, because Django's and psycopg's exception classes do not separate
    "the database is read-only" from "invalid cursor", or a missing privilege from a syntax error.
    Work that failed with Fault.DATABASE must be kept and retried without limit. Class 42 belongs to
    it: a table or privilege may be missing in the middle of a migration or of a restore.
    """
    cause = _psycopg_error(error)
    if cause is None:
        # Django raises "connection already closed" without an error of the driver.
        lost = isinstance(error, InterfaceError | OperationalError)
        return Fault.DATABASE if lost else None
    if cause.sqlstate:
        return Fault.ROW if cause.sqlstate.startswith(_OF_ROWS) else Fault.DATABASE
    # Without a SQLSTATE, the error is the driver's and not the server's.
    if isinstance(cause, psycopg.DataError):
        return Fault.ROW  # a value that cannot be sent, such as a text with a NUL
    lost = isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
    return Fault.DATABASE if lost else None


def sqlstate_of(error: BaseException) -> str:
    """Return the SQLSTATE of an error; empty if the server did not give one."""
    cause = _psycopg_error(error)
    return (cause.sqlstate or "") if cause is not None else ""


def is_undone(error: BaseException) -> bool:
    """Return whether a failed transaction was certainly rolled back.

    It may be committed if the connection broke before the server's response arrived.
    """
    state = sqlstate_of(error)
    if state:
        return not state.startswith(_LOST)
    return isinstance(_psycopg_error(error), PoolTimeout)


def _psycopg_error(error: BaseException) -> psycopg.Error | None:
    """Return the driver's error that caused this one; None if there is none."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, psycopg.Error):
        found = found.__cause__
    return found


DRAIN_SECONDS = 1.0
"""The least time between two replacements of all pooled connections of a process."""
_drain_lock = threading.Lock()
_drained_at = float("-inf")


def forget_broken_connections(error: BaseException) -> None:
    """Close this thread's connection, and the pool's if the error shows that they are unusable.

    Call it after Fault.DATABASE. After a restart of PostgreSQL, every pooled connection is broken
    and would make another call fail. A server that became read-only still responds on all of them,
    although another server may have replaced it.
    """
    state = sqlstate_of(error)
    unusable = not state or state.startswith(_LOST) or state == READ_ONLY
    pool: Any = getattr(connection, "pool", None)
    if unusable and pool is not None and _may_drain():
        # Before the connection is returned: older ones that are returned later are closed.
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
