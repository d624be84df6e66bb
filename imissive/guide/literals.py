"""JSON values as literals of the examples' languages, laid out as a person would."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_WIDTH = 64
"""A literal stays on one line up to this number of characters."""


def _double(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _single(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _javascript_key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z_]\w*", text) else _double(text)


@dataclass(frozen=True, slots=True)
class Style:
    """The syntax of one language's literals."""

    indent: int
    string: Callable[[str], str] = _double
    key: Callable[[str], str] = _double
    colon: str = ": "
    braces: tuple[str, str] = ("{", "}")
    padded: bool = True  # { "a": 1 } instead of {"a": 1}
    last_comma: bool = True
    constants: tuple[str, str, str] = ("null", "true", "false")


JSON = Style(2, last_comma=False)
PYTHON = Style(4, padded=False, constants=("None", "True", "False"))
JAVASCRIPT = Style(2, key=_javascript_key)
PHP = Style(4, string=_single, key=_single, colon=" => ", braces=("[", "]"), padded=False)


def write(value: Any, style: Style, depth: int = 0, *, prefix: int = 0) -> str:
    """Return the value as a literal whose first line is at that depth, after `prefix` characters.

    An object at the top of an example is never put on one line, so that its fields stand out.
    """
    if not isinstance(value, dict | list):
        return _scalar(value, style)
    flat = _flat(value, style)
    if not value:
        return flat
    whole = isinstance(value, dict) and depth == prefix == 0
    if not whole and depth * style.indent + prefix + len(flat) <= _WIDTH:
        return flat
    pad = " " * style.indent * (depth + 1)
    lines = []
    for key, item in _items(value, style):
        lines.append(f"{pad}{key}{write(item, style, depth + 1, prefix=len(key))}")
    first, last = style.braces if isinstance(value, dict) else ("[", "]")
    end = "," if style.last_comma else ""
    body = ",\n".join(lines)
    return f"{first}\n{body}{end}\n{' ' * style.indent * depth}{last}"


def _flat(value: Any, style: Style) -> str:
    if not isinstance(value, dict | list):
        return _scalar(value, style)
    first, last = style.braces if isinstance(value, dict) else ("[", "]")
    body = ", ".join(f"{key}{_flat(item, style)}" for key, item in _items(value, style))
    pad = " " if body and style.padded and isinstance(value, dict) else ""
    return f"{first}{pad}{body}{pad}{last}"


def _items(value: Any, style: Style) -> list[tuple[str, Any]]:
    """Return each item with the text before it: its key and a colon, or nothing in a list."""
    if isinstance(value, dict):
        return [(style.key(key) + style.colon, item) for key, item in value.items()]
    return [("", item) for item in value]


def _scalar(value: Any, style: Style) -> str:
    null, true, false = style.constants
    if value is None:
        return null
    if isinstance(value, bool):
        return true if value else false
    return style.string(value) if isinstance(value, str) else str(value)
