"""The schema's texts as HTML: paragraphs, `code` and **strong words**, and nothing else."""

import re

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

_CODE = re.compile(r"`([^`]+)`")
_STRONG = re.compile(r"\*\*([^*]+)\*\*")


def inline(text: str) -> SafeString:
    """A line of text."""
    html = _CODE.sub(r"<code>\1</code>", str(escape(text)))
    # Escaped above; only the two kinds of marks become elements.
    return mark_safe(_STRONG.sub(r"<strong>\1</strong>", html))  # noqa: S308


def paragraphs(text: str) -> list[SafeString]:
    """A text by its paragraphs; a line break within one is a blank."""
    return [inline(" ".join(part.split())) for part in re.split(r"\n\s*\n", text) if part.strip()]
