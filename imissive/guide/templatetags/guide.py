"""Template tags of the guide's sections: examples in every language, and blocks of code."""

import json
import textwrap
from typing import Any

from django import template
from django.conf import settings
from django.template import Context
from django.template.base import Node, NodeList, Parser, Token
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString

from imissive.guide import calls, rendering

register = template.Library()


@register.simple_tag(takes_context=True)
def example(context: Context, name: str, answer: bool = True) -> SafeString:
    """Render an API call with a tab for each language, its response, and a Run button.

    `answer` False leaves out the response.
    """
    call = calls.load(name, context["today"])
    body = None if call.body is None else rendering.json_text(call.body)
    shown = answer and call.answer is not None
    return render_to_string(
        "imissive/guide/parts/example.html",
        {
            "place": _place(context, name),
            "call": call,
            "panels": rendering.call_panels(call, settings.PUBLIC_URL),
            "body": body,
            "body_rows": min(16, body.count("\n") + 2) if body else 0,
            "uses": json.dumps(call.uses),
            "headers": json.dumps(call.headers),
            "answer": _answer(call) if shown else None,
            "bodiless": answer and call.answer is None,
        },
    )


@register.simple_tag(takes_context=True)
def source(context: Context, name: str) -> SafeString:
    """Render a program of `examples/` with a tab for each language."""
    panels = rendering.source_panels(name, settings.PUBLIC_URL)
    return render_to_string(
        "imissive/guide/parts/source.html", {"place": _place(context, name), "panels": panels}
    )


def _answer(call: calls.Call) -> SafeString:
    text = rendering.json_text(call.answer).replace(rendering.EXAMPLE_BASE, settings.PUBLIC_URL)
    return rendering.highlighted(text, "json")


def _place(context: Context, name: str) -> str:
    """Return a unique name for this place: an example may be on the page more than once."""
    return f"{context['section']}-{name}"


@register.tag
def code(parser: Parser, token: Token) -> "CodeNode":
    """Compile `{% code json %}…{% endcode %}`: a highlighted block of code."""
    lexer = token.split_contents()[1:]
    nodes = parser.parse(("endcode",))
    parser.delete_first_token()
    return CodeNode(nodes, lexer[0] if lexer else "")


class CodeNode(Node):
    """The node of a `{% code %}` block; `lexer` is a name of pygments, or empty for plain text."""

    def __init__(self, nodelist: NodeList, lexer: str) -> None:
        self.nodelist, self.lexer = nodelist, lexer

    def render(self, context: Context) -> SafeString:
        text = textwrap.dedent(self.nodelist.render(context)).strip("\n")
        inner = rendering.highlighted(text, self.lexer)
        return format_html('<pre class="code" tabindex="0"><code>{}</code></pre>', inner)


@register.filter
def is_on(value: Any) -> str:
    """Return "true" or "false", for a data attribute."""
    return "true" if value else "false"


@register.simple_tag(takes_context=True)
def event_bodies(context: Context) -> SafeString:
    """Render the example body of every type of event, each in a collapsed section."""
    bodies = [
        (name, rendering.highlighted(rendering.json_text(body), "json"))
        for name, body in calls.events(context["today"]).items()
    ]
    return render_to_string("imissive/guide/parts/events.html", {"bodies": bodies})
