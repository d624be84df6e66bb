"""Search everywhere: the page that finds what a person types, composed of all areas' finders."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from accounts.access.page_access import frame, member_page
from accounts.models import Member
from accounts.roles import Action
from accounts.ui import search as accounts_finding
from accounts.ui.search import Finder, Hit, find_all
from messaging.dashboard import search as messaging_finding
from otp.dashboard import search as otp_finding
from webhooks.dashboard import search as webhooks_finding

FINDERS: tuple[Finder, ...] = (
    messaging_finding.find,
    otp_finding.find,
    webhooks_finding.find,
    accounts_finding.find,
)
"""In the order in which what they find is shown."""


@require_safe
@member_page(Action.READ_MESSAGES)
def search(request: HttpRequest, member: Member) -> HttpResponse:
    """To the page of the one thing that is found; several are listed by their kind."""
    typed = request.GET.get("q", "").strip()
    hits = find_all(member, typed, FINDERS)
    if len(hits) == 1:
        return redirect(hits[0].url)
    groups: dict[str, list[Hit]] = {}
    for hit in hits:
        groups.setdefault(hit.kind, []).append(hit)
    context = {"page": "search", "typed": typed, "groups": list(groups.items())}
    return render(request, "imissive/pages/search.html", {**frame(member), **context})
