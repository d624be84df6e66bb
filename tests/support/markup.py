"""Reads HTML for tests: elements, attributes, violations of the Content-Security-Policy."""

import re
from html.parser import HTMLParser


class Elements(HTMLParser):
    """A page's elements in order, as tag and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def values(self, attribute: str) -> list[str]:
        """Return all values of an attribute, in order."""
        return [str(has[attribute]) for _, has in self.found if attribute in has]


def csp_violations(html: str) -> list[object]:
    """Return what the Content-Security-Policy forbids, or what is loaded from other servers."""
    wrong: list[object] = list(re.findall(r"<script(?![^>]*\ssrc=)", html))
    for tag, has in Elements(html).found:
        loaded = [has.get("src"), has.get("href") if tag == "link" else None]
        inline = {"style", "onclick", "onchange", "onsubmit"} & has.keys() or tag == "style"
        if inline or any(url and not url.startswith("/static/") for url in loaded):
            wrong.append((tag, has))
    return wrong
