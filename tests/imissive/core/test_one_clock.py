"""All code takes the time from `imissive.core.clock`, which follows the database's clock."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from imissive.run.programs import ROOT

APPLICATIONS = ("accounts", "messaging", "otp", "webhooks", "imissive")
ALLOWED = {
    "imissive/core/clock.py": "corrects the machine's clock",
    "imissive/core/sql.py": "measures the machine's clock",
    "messaging/smpp/client.py": "imports no imissive; bind_status corrects its times",
    "messaging/smpp/simulator/server.py": "is a carrier, with a clock of its own",
}
"""The modules that read the machine's clock, each with the reason."""
CLOCKS = {
    "time": {"time", "time_ns", "localtime", "gmtime", "strftime", "ctime"},
    "datetime": {"now", "today", "utcnow"},
    "date": {"today"},
    "timezone": {"now"},
}
WITHOUT_ARGUMENTS = {"localtime", "localdate"}
"""Functions of Django's `timezone` that read the clock unless they are given a time."""


def uses(source: str) -> Iterator[int]:
    """Yield the lines that read the machine's clock."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            if CLOCKS["time"] & {name.name for name in node.names}:
                yield node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            place, name = node.func.value, node.func.attr
            owner = place.id if isinstance(place, ast.Name) else getattr(place, "attr", "")
            if name in CLOCKS.get(owner, ()) or (
                owner == "timezone" and name in WITHOUT_ARGUMENTS and not node.args
            ):
                yield node.lineno


def modules() -> list[Path]:
    found = [path for folder in APPLICATIONS for path in (ROOT / folder).rglob("*.py")]
    parts = ("migrations", "examples", "__pycache__")
    return [path for path in found if not set(parts) & set(path.parts)]


def test_only_a_few_modules_read_the_machines_clock() -> None:
    assert len(modules()) > 200
    found = {
        str(path.relative_to(ROOT)): lines
        for path in modules()
        if (lines := list(uses(path.read_text())))
    }
    assert {path: lines for path, lines in found.items() if path not in ALLOWED} == {}
    assert set(ALLOWED) <= set(found), "an exception is not needed any more"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("timezone.now()", True),
        ("django.utils.timezone.now()", True),
        ("datetime.now(UTC)", True),
        ("datetime.datetime.now(tz=zone)", True),
        ("date.today()", True),
        ("time.time()", True),
        ("time.time_ns()", True),
        ("from time import time", True),
        ("timezone.localtime()", True),
        ("timezone.localdate()", True),
        ("timezone.localtime(clock.now())", False),
        ("clock.now()", False),
        ("time.monotonic()", False),
        ("from time import monotonic", False),
        ("at.time()", False),
    ],
)
def test_uses_of_the_machines_clock_are_found(source: str, found: bool) -> None:
    assert bool(list(uses(source))) is found
