"""The SQL in the code: every string that names a table, and whether it writes that table.

The strings come from Python's parser, which leaves out comments; docstrings are skipped. The
tables' names come from the models.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.apps import apps

from imissive.run.programs import ROOT

APPS = ("accounts", "imissive", "messaging", "otp", "webhooks")
_WRITES = (
    r"(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM|TRUNCATE|MERGE\s+INTO|COPY|LOCK|ALTER\s+TABLE)"
    r'\s+(?:TABLE\s+|ONLY\s+)?"?'
)


@dataclass(frozen=True, slots=True)
class Use:
    """A statement, or a part of one, that names a table."""

    place: str
    """Its app and room, such as `messaging/sending`, or its module where it is in no room."""
    where: str
    table: str
    writes: bool
    text: str


def tables() -> list[str]:
    """Return the names of all models' tables, including those of Django and its packages."""
    return sorted({model._meta.db_table for model in apps.get_models(include_auto_created=True)})


def files() -> Iterator[Path]:
    """Yield the path of every module of the platform, relative to the repository."""
    for app in APPS:
        for path in sorted((ROOT / app).rglob("*.py")):
            yield path.relative_to(ROOT)


def uses_in(source: str, path: Path, known: list[str]) -> Iterator[Use]:
    """Yield a use for each of the tables `known` in each string of the module."""
    named = re.compile(rf"\b({'|'.join(known)})\b")
    place = "/".join(path.with_suffix("").parts[:2])
    for line, text in strings_of(ast.parse(source)):
        for table in dict.fromkeys(named.findall(text)):
            writes = re.search(rf"\b{_WRITES}{table}\b", text) is not None
            yield Use(place, f"{path}:{line}", table, writes, text)


def strings_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield each string with its line; pieces are joined, and inserted values become `{}`."""
    if isinstance(tree, ast.Expr) and isinstance(tree.value, ast.Constant):
        return  # a docstring
    if isinstance(tree, ast.Assign) and ast.unparse(tree.targets[0]) == "db_table":
        return  # a model's table name, not a statement
    text = _text(tree)
    if text is not None and isinstance(tree, ast.expr):
        yield tree.lineno, text
    for child in ast.iter_child_nodes(tree):
        if text is None:
            yield from strings_of(child)
        elif isinstance(child, ast.FormattedValue):
            yield from strings_of(child.value)


def _text(node: ast.AST) -> str | None:
    """Return the text of a string expression; None for other expressions."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(value) or "{}" for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text(node.left), _text(node.right)
        if left is not None or right is not None:
            return (left or "{}") + (right or "{}")
    return None
