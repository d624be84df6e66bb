"""The guide's page: its sections in both languages, and the table of contents from them."""

import functools
import re
from dataclasses import dataclass
from datetime import date
from html import unescape

from django.conf import settings
from django.template.loader import render_to_string
from django.utils.html import strip_tags
from django.utils.safestring import SafeString, mark_safe

from imissive.guide import calls, rendering

SECTIONS = (
    "quick-start",
    "authentication",
    "test-keys",
    "sms",
    "text",
    "sender-ids",
    "rules",
    "otp",
    "webhooks",
    "balance",
    "idempotency",
    "smpp",
    "rate-limits",
    "errors",
    "faq",
    "code-examples",
)
"""The sections in order: each is a template of that name in each language's folder."""

_HEADING = re.compile(r'<h(?P<level>[23]) id="(?P<id>[^"]+)">(?P<title>.*?)</h[23]>', re.S)
_CODE = re.compile(r"<(pre|textarea)\b.*?</\1>", re.S)
# The sender ID in a request's body, with the comma before or after it.
_NAMED = re.compile(
    rf"\s*&quot;sender_id&quot;: &quot;{calls.SENDER}&quot;,"
    rf"|,\s*&quot;sender_id&quot;: &quot;{calls.SENDER}&quot;"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the table of contents with its subentries."""

    id: str
    title: str
    parts: tuple["Entry", ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """The guide in one language, the same for every reader except for the key."""

    html: str
    contents: tuple[Entry, ...]

    def for_reader(self, key: str, sender: str | None) -> SafeString:
        """Return the page with a reader's key, and an approved sender ID, in its examples.

        Without a sender ID, the examples that run omit the field. The key is hexadecimal and the
        sender plain (`keys.plain_sender`), so both need no escaping in the code.
        """

        def fill(code: re.Match[str]) -> str:
            text = code[0].replace(calls.KEY, key)
            if sender is not None:
                return text.replace(calls.SENDER, sender)
            return _NAMED.sub("", text) if code[1] == "textarea" else text

        return mark_safe(_CODE.sub(fill, self.html))  # noqa: S308

    @property
    def without_key(self) -> SafeString:
        """The page with the placeholders in its examples."""
        return mark_safe(self.html)  # noqa: S308 - output of the project's templates


def page(language: str) -> Page:
    """Return the guide in that language, or in English where it does not exist in it."""
    available = language if language in dict(settings.LANGUAGES) else "en"
    return _page(available, rendering.today(), settings.PUBLIC_URL)


@functools.lru_cache(maxsize=8)
def _page(language: str, today: date, base: str) -> Page:
    sections, contents = [], []
    for slug in SECTIONS:
        context = {"section": slug, "today": today, "base": base}
        html = render_to_string(f"imissive/guide/{language}/{slug}.html", context)
        sections.append(f'<section class="guide-section" aria-labelledby="{slug}">{html}</section>')
        contents.append(_entry(html))
    return Page("\n".join(sections), tuple(contents))


def _entry(html: str) -> Entry:
    """Return a section's entry in the table of contents: its h2, and each h3 that has an id."""
    found = [
        (match["level"], match["id"], unescape(strip_tags(match["title"])).strip())
        for match in _HEADING.finditer(html)
    ]
    (_, slug, title), *parts = found
    return Entry(slug, title, tuple(Entry(part, name) for _, part, name in parts))
