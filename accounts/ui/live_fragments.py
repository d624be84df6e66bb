"""Live pages: a fragment of the page refreshes automatically while the page is open (htmx)."""

import hashlib
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from accounts.models import Member
from accounts.ui.pages import frame


def live_page(
    request: HttpRequest, member: Member, page: str, part: str, context: dict[str, Any]
) -> HttpResponse:
    """Render a page whose fragment `part` refreshes while `live` in the context is set.

    `page` is the template's name without `.html`, such as `messaging/log/message`; the fragment's
    template is in `parts/` beside it.

    htmx polls the same URL with the context's `query` and with `seen`, a digest of the fragment
    that it shows. The response is 204, which swaps nothing, until the fragment has changed.
    """
    context = {**frame(member), **context}
    room = page.rpartition("/")[0]
    html = render_to_string(f"{room}/parts/{part}.html", context, request)
    seen = hashlib.blake2s(html.encode(), digest_size=8).hexdigest()
    template = f"{page}.html"
    if "seen" in request.GET and request.headers.get("HX-Request"):
        if request.GET["seen"] == seen:
            return HttpResponse(status=204)
        template = "accounts/ui/parts/live.html"
    return render(request, template, {**context, "live_html": html, "seen": seen})


def query_without(request: HttpRequest, *without: str) -> str:
    """Return the request's query string without the given parameters and without `seen`."""
    query = request.GET.copy()
    for key in (*without, "seen"):
        query.pop(key, None)
    return query.urlencode()
