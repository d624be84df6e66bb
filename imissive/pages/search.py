"""The dashboard's global search page, which combines the finders of all applications."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts.access.page_access import member_page
from accounts.models import Member
from accounts.roles import Action
from accounts.ui import search as accounts_search
from accounts.ui.pages import show_page
from accounts.ui.search import Finder, Hit, find_all
from messaging.dashboard import search as messaging_search
from otp.dashboard import search as otp_search
from webhooks.dashboard import search as webhooks_search

FINDERS: tuple[Finder, ...] = (
    messaging_search.find,
    otp_search.find,
    webhooks_search.find,
    accounts_search.find,
)
"""In the order in which their results are listed."""


@member_page(Action.READ_MESSAGES)
def search(request: HttpRequest, member: Member) -> HttpResponse:
    """Redirect to the only result of the query `q`, or list several results grouped by kind."""
    typed = request.GET.get("q", "").strip()
    hits = find_all(member, typed, FINDERS)
    if len(hits) == 1:
        return redirect(hits[0].url)
    groups: dict[str, list[Hit]] = {}
    for hit in hits:
        groups.setdefault(hit.kind, []).append(hit)
    context = {"page": "search", "typed": typed, "groups": list(groups.items())}
    return show_page(request, member, "imissive/pages/search.html", context)
