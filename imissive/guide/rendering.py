"""Code as the guide shows it: highlighted on the server, by classes alone."""

import functools
import itertools
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Literal, Name, Operator

from imissive.guide.calls import FOLDER, Call
from imissive.guide.languages import LANGUAGES, Language
from imissive.guide.literals import JSON, write

EXAMPLE_BASE = "https://api.example.com"
"""What stands in a written-out example where the platform's address belongs."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One example in one language."""

    language: Language
    name: str
    code: SafeString


def today() -> date:
    """The day whose dates the examples have."""
    return datetime.now(UTC).date()


# The classes of guide.css. Whatever is in none of these kinds is left as it is: pygments' own
# formatter would put every bracket and space into an element, which more than doubles the page.
_CLASSES = (
    ("c", (Comment,)),
    ("k", (Keyword, Name.Builtin, Operator.Word)),
    ("s", (Literal.String,)),
    ("m", (Literal.Number,)),
    ("n", (Name.Attribute, Name.Tag, Name.Class, Name.Function, Name.Decorator)),
)


@functools.lru_cache(maxsize=1000)
def highlighted(code: str, lexer: str) -> SafeString:
    """Code as HTML; `lexer` is a name of pygments' or empty for plain text."""
    made = get_lexer_by_name(lexer or "text", stripnl=False, ensurenl=False)
    runs = itertools.groupby(made.get_tokens(code), lambda token: _class_of(token[0]))
    html = []
    for name, tokens in runs:
        text = escape("".join(text for _, text in tokens))
        html.append(f'<span class="{name}">{text}</span>' if name else text)
    # Every piece of the code was escaped.
    return mark_safe("".join(html).rstrip("\n"))  # noqa: S308


def _class_of(kind: Any) -> str:
    return next((name for name, groups in _CLASSES if any(kind in one for one in groups)), "")


def sources(name: str, base: str) -> dict[str, str]:
    """A written-out example's code by the language's slug, for the languages that have one."""
    found = {}
    for language in LANGUAGES:
        file = FOLDER / f"{name}.{language.suffix}"
        if file.exists():
            text = file.read_text(encoding="utf-8").rstrip("\n")
            found[language.slug] = text.replace(EXAMPLE_BASE, base)
    return found


def call_panels(call: Call, base: str) -> list[Panel]:
    """The call in every language."""
    return [
        Panel(language, language.name, highlighted(language.call(call, base), language.lexer))
        for language in LANGUAGES
    ]


def source_panels(name: str, base: str) -> list[Panel]:
    """A written-out example in every language that it is written in."""
    panels = []
    for language in LANGUAGES:
        code = sources(name, base).get(language.slug)
        if code is not None:
            shell = language.lexer == "bash" and "curl " not in code
            title = "Shell" if shell else language.name
            panels.append(Panel(language, title, highlighted(code, language.lexer)))
    return panels


def json_text(value: object) -> str:
    """A value as the guide prints JSON."""
    return write(value, JSON)
