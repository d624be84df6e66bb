"""Fault injection in the database: triggers that raise any SQLSTATE."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

PASSING = ("25006", "0A000", "42501", "42P01", "53100", "53300", "57014", "57P03", "XX000", "40001")
"""SQLSTATEs of errors that are not about a row: read-only, cached plan, privilege, missing table,
disk full, too many connections, canceled, starting up, internal error, serialization failure."""


@contextmanager
def failing(table: str, sqlstate: str, *, on: str = "INSERT", row: str = "") -> Iterator[None]:
    """Make `on` statements on a table fail; with `row`, an SQL condition on NEW, only such rows."""
    name = f"failing_{table}"
    each = f"FOR EACH ROW WHEN ({row})" if row else "FOR EACH STATEMENT"
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN RAISE EXCEPTION 'asked to fail' USING ERRCODE = TG_ARGV[0]; END$$"
        )
        cursor.execute(
            f"CREATE TRIGGER {name} BEFORE {on} ON {table} {each}"
            f" EXECUTE FUNCTION {name}('{sqlstate}')"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TRIGGER {name} ON {table}")
            cursor.execute(f"DROP FUNCTION {name}")
