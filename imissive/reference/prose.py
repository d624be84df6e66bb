"""The schema's texts as HTML: paragraphs, `code` and **strong text**, and nothing else."""

import re

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

_CODE = re.compile(r"`([^`]+)`")
_STRONG = re.compile(r"\*\*([^*]+)\*\*")


def inline(text: str) -> SafeString:
    """Return a line of text as HTML, with `code` and **strong text**."""
    html = _CODE.sub(r"<code>\1</code>", str(escape(text)))
    # The text is escaped above; only the two kinds of markup become elements.
    return mark_safe(_STRONG.sub(r"<strong>\1</strong>", html))  # noqa: S308


def paragraphs(text: str) -> list[SafeString]:
    """Return each paragraph of a text as HTML; a line break within one becomes a blank."""
    return [inline(" ".join(part.split())) for part in re.split(r"\n\s*\n", text) if part.strip()]
