"""Code in the guide: highlighted on the server, with CSS classes only."""

import functools
import itertools
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Literal, Name, Operator

from imissive.core import clock
from imissive.guide.calls import FOLDER, Call
from imissive.guide.languages import LANGUAGES, Language
from imissive.guide.literals import JSON, write

EXAMPLE_BASE = "https://api.example.com"
"""The placeholder in a program of `examples/` for the platform's URL."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One example in one language."""

    language: Language
    name: str
    code: SafeString


def today() -> date:
    """Return the day whose dates the examples have: today in UTC."""
    return clock.now().date()


# The classes of guide.css. Other tokens get no element: pygments' own formatter would wrap every
# bracket and space, which more than doubles the page's size.
_CLASSES = (
    ("c", (Comment,)),
    ("k", (Keyword, Name.Builtin, Operator.Word)),
    ("s", (Literal.String,)),
    ("m", (Literal.Number,)),
    ("n", (Name.Attribute, Name.Tag, Name.Class, Name.Function, Name.Decorator)),
)


@functools.lru_cache(maxsize=1000)
def highlighted(code: str, lexer: str) -> SafeString:
    """Return code as highlighted HTML; `lexer` is a name of pygments, or empty for plain text."""
    parser = get_lexer_by_name(lexer or "text", stripnl=False, ensurenl=False)
    runs = itertools.groupby(parser.get_tokens(code), lambda token: _class_of(token[0]))
    html = []
    for name, tokens in runs:
        text = escape("".join(text for _, text in tokens))
        html.append(f'<span class="{name}">{text}</span>' if name else text)
    # Every piece of the code was escaped.
    return mark_safe("".join(html).rstrip("\n"))  # noqa: S308


def _class_of(kind: Any) -> str:
    return next((name for name, groups in _CLASSES if any(kind in one for one in groups)), "")


def sources(name: str, base: str) -> dict[str, str]:
    """Return a program of `examples/` by the slugs of the languages that have it.

    `base` is the platform's URL.
    """
    found = {}
    for language in LANGUAGES:
        file = FOLDER / f"{name}.{language.suffix}"
        if file.exists():
            text = file.read_text(encoding="utf-8").rstrip("\n")
            found[language.slug] = text.replace(EXAMPLE_BASE, base)
    return found


def call_panels(call: Call, base: str) -> list[Panel]:
    """Return the call in every language; `base` is the platform's URL."""
    return [
        Panel(language, language.name, highlighted(language.call(call, base), language.lexer))
        for language in LANGUAGES
    ]


def source_panels(name: str, base: str) -> list[Panel]:
    """Return a program of `examples/` in every language that has it."""
    panels = []
    for language in LANGUAGES:
        code = sources(name, base).get(language.slug)
        if code is not None:
            shell = language.lexer == "bash" and "curl " not in code
            title = "Shell" if shell else language.name
            panels.append(Panel(language, title, highlighted(code, language.lexer)))
    return panels


def json_text(value: object) -> str:
    """Return a value as JSON in the guide's layout."""
    return write(value, JSON)
