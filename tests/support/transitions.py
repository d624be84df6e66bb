"""A trigger that refuses changes of a message's status that are not in the transition table.

It is generated from the table, and installed in each database that tests write to. Its error is not
about a row (its SQLSTATE is neither in class 22 nor 23), so no code skips the row and goes on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from messaging.states import TRANSITIONS, Status

TRIGGER = "test_message_transition"
"""The prefix shows that the trigger belongs to tests, not to the platform."""
REFUSED = "a message may not go from"


def pairs() -> str:
    """Return the transitions as an SQL list of rows (before, after)."""
    rows = [(before, after) for before, following in TRANSITIONS.items() for after in following]
    return ", ".join(f"('{before}', '{after}')" for before, after in sorted(rows))


def statements() -> list[str]:
    """Return the statements that create or replace the trigger."""
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
    """Create the trigger, by `execute`, which runs one statement."""
    for statement in statements():
        execute(statement)


@contextmanager
def disabled(execute: Callable[[str], Any]) -> Iterator[None]:
    """Disable the trigger in the meantime, for changes that no code of the platform may make."""
    # PostgreSQL refuses to alter a table while a check of its rows is deferred.
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    execute(f"ALTER TABLE messaging_message DISABLE TRIGGER {TRIGGER}")
    try:
        yield
    finally:
        execute(f"ALTER TABLE messaging_message ENABLE TRIGGER {TRIGGER}")
        execute("SET CONSTRAINTS ALL DEFERRED")


def way(before: str, after: str) -> list[Status]:
    """Return the shortest sequence of transitions to `after`, which is the last status."""
    ways: list[list[Status]] = [[Status(before)]]
    for taken in ways:
        if taken[-1] == after:
            return taken[1:]
        seen = {status for other in ways for status in other}
        ways += [[*taken, status] for status in sorted(TRANSITIONS[taken[-1]] - seen)]
    raise ValueError(f"no way leads from {before} to {after}")
