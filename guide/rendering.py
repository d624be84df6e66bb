"""Code as the guide shows it: highlighted on the server, by classes alone."""

import functools
from dataclasses import dataclass
from datetime import UTC, date, datetime

from django.utils.safestring import SafeString, mark_safe
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

from guide.calls import FOLDER, Call
from guide.languages import LANGUAGES, Language
from guide.literals import JSON, write

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


@functools.lru_cache(maxsize=1000)
def highlighted(code: str, lexer: str) -> SafeString:
    """Code as HTML; `lexer` is a name of pygments' or empty for plain text."""
    made = get_lexer_by_name(lexer or "text", stripnl=False, ensurenl=False)
    html: str = highlight(code, made, HtmlFormatter(nowrap=True))
    # The lexer's tokens are escaped by the formatter; there is nothing else in it.
    return mark_safe(html.rstrip("\n"))  # noqa: S308


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
