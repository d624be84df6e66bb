"""A trigger that refuses a message's change of status that the transition table does not have.

It is made from the table, in each database that tests write to. What it raises blames no row
(its SQLSTATE is neither of class 22 nor 23), so nobody passes over it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from messaging.states import TRANSITIONS, Status

TRIGGER = "test_message_transition"
"""A rule of this prefix is of tests, not of the platform."""
REFUSED = "a message may not go from"


def pairs() -> str:
    """Return the table as SQL writes a list of rows: (before, after)."""
    rows = [(before, after) for before, following in TRANSITIONS.items() for after in following]
    return ", ".join(f"('{before}', '{after}')" for before, after in sorted(rows))


def statements() -> list[str]:
    """Return what makes the trigger, or makes it anew."""
    return [
        f"""
        CREATE OR REPLACE FUNCTION {TRIGGER}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '{REFUSED} % to %', OLD.status, NEW.status;
        END $$
        """,
        f"""
        CREATE OR REPLACE TRIGGER {TRIGGER} AFTER UPDATE ON messaging_message FOR EACH ROW
        WHEN (OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN ({pairs()}))
        EXECUTE FUNCTION {TRIGGER}()
        """,
    ]


def install(execute: Callable[[str], Any]) -> None:
    """Make the trigger in the database in which `execute` runs a statement."""
    for statement in statements():
        execute(statement)


@contextmanager
def stand_aside(execute: Callable[[str], Any]) -> Iterator[None]:
    """Let any change of status happen meanwhile, for what no code of the platform may do."""
    # A table is not altered while a check of its rows is deferred.
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    execute(f"ALTER TABLE messaging_message DISABLE TRIGGER {TRIGGER}")
    try:
        yield
    finally:
        execute(f"ALTER TABLE messaging_message ENABLE TRIGGER {TRIGGER}")
        execute("SET CONSTRAINTS ALL DEFERRED")


def way(before: str, after: str) -> list[Status]:
    """Return the statuses on the shortest way that the table has, `after` as the last."""
    ways: list[list[Status]] = [[Status(before)]]
    for taken in ways:
        if taken[-1] == after:
            return taken[1:]
        seen = {status for other in ways for status in other}
        ways += [[*taken, status] for status in sorted(TRANSITIONS[taken[-1]] - seen)]
    raise ValueError(f"no way leads from {before} to {after}")
