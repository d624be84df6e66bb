"""PostgreSQL beyond the ORM: cursors for the hot path, errors by SQLSTATE, lost connections."""

import contextlib
import threading
import time
from enum import Enum
from typing import Any, ClassVar

import psycopg
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.db.backends.utils import CursorWrapper
from psycopg.abc import RV, PQGen
from psycopg_pool import PoolTimeout

from imissive import clock

WAIT_SECONDS = 0.1
"""How often psycopg looks for a signal while it waits; its own default."""


def server_cursor() -> CursorWrapper:
    """A cursor on Django's connection of this thread that sends parameters apart from the SQL.

    Django's own cursors put them into the text, so that PostgreSQL parses and plans five hundred
    rows of JSON anew each time, `prepare_threshold` never applies, and `%b` means nothing. Measured
    on `events.record`, 500 events a call: 40 µs of Python for each event so, 15 µs thus, and 27 and
    19 µs of PostgreSQL. Use `%b` for arrays: text arrays are escaped character by character.
    """
    connection.ensure_connection()
    if clock.is_due():
        _measure_clock()
    raw: Any = psycopg.Cursor(connection.connection)
    # Django's wrapper translates the exceptions, and counts queries where a test wants that.
    wrap = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
    return wrap(raw)


class ImpatientConnection(psycopg.Connection[Any]):
    """Waits so long for a server's answer and no longer, whatever the server does.

    A server whose disk hangs, or that is stopped, acknowledges all that is sent to it: neither its
    own timeout ends a statement then, nor TCP's the connection.
    """

    patience: ClassVar[float | None] = None

    def wait(
        self, gen: PQGen[RV], interval: float = WAIT_SECONDS, timeout: float | None = None
    ) -> RV:
        """Run a generator of psycopg's; OperationalError where the server does not answer."""
        patience = self.patience if timeout is None else timeout
        try:
            return super().wait(gen, interval, patience)
        except psycopg.errors._WaitTimeout:
            if timeout is not None:
                raise
            self.pgconn.finish()
            told = f"the server did not answer within {patience:g} s"
            raise psycopg.OperationalError(told) from None


PATIENCE_SECONDS = 3.0
"""How much longer than its own timeout the server may take to say so."""


def limit_statements() -> None:
    """Have no statement of this process take longer than DATABASE_STATEMENT_TIMEOUT.

    For processes that answer requests. To be called before the first connection; what DATABASE_URL
    says of `statement_timeout` goes first.
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
    """Return what to connect with outside of Django's pool, to the database that Django uses."""
    parameters = connection.get_connection_params()
    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    return parameters


def _measure_clock() -> None:
    """Ask the database for its time, besides what Django counts and translates."""
    asked = time.time()
    with contextlib.suppress(psycopg.Error):
        cursor = psycopg.Cursor(connection.connection)
        row = cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
        if row is not None:
            clock.learn(row[0], asked, time.time())


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
