"""What tests read out of HTML."""

import re
from html.parser import HTMLParser


class Elements(HTMLParser):
    """A page's elements: (tag, attributes) in their order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def values(self, attribute: str) -> list[str]:
        return [str(has[attribute]) for _, has in self.found if attribute in has]


def beyond_the_policy(html: str) -> list[object]:
    """What the Content-Security-Policy forbids, or is loaded from elsewhere."""
    wrong: list[object] = list(re.findall(r"<script(?![^>]*\ssrc=)", html))
    for tag, has in Elements(html).found:
        loaded = [has.get("src"), has.get("href") if tag == "link" else None]
        inline = {"style", "onclick", "onchange", "onsubmit"} & has.keys() or tag == "style"
        if inline or any(url and not url.startswith("/static/") for url in loaded):
            wrong.append((tag, has))
    return wrong
