"""The message log's page."""

from django.http import HttpRequest, HttpResponse

from accounts.access.page_access import member_page
from accounts.models import Member
from accounts.roles import Action
from accounts.ui.live_fragments import live_page, query_without
from accounts.ui.pages import to_page
from accounts.ui.single_use_forms import SingleUseForm
from imissive.core import ids
from imissive.core.lookups import row_of
from messaging.log import pages, query
from messaging.log.filters import LogFilters


@member_page(Action.READ_MESSAGES)
def message_log(request: HttpRequest, member: Member) -> HttpResponse:
    """Show the message log with its filters; the newest page updates automatically.

    A message's id in the field of the number redirects to the message.
    """
    typed = request.GET.get("number", "").strip()
    if row_of(pages.messages_of(member.organization), ids.parse_id(ids.MESSAGE, typed)):
        return to_page(member, "message", typed)
    filters = LogFilters(member.organization, request.GET)
    page = _read_page(request, member, filters.narrowed()) if filters.is_valid() else None
    paused = request.GET.get("live") == "off"
    context = {
        "page": "messages",
        "log": page,
        "filters": filters,
        "live": page is not None and page.newer is None and not paused,
        "paused": paused,
        "searched": query.SEARCHED,
        "export_form": SingleUseForm(),
        "query": query_without(request, "before", "after", "live"),
    }
    return live_page(request, member, "messaging/log/messages", "log", context)


def _read_page(request: HttpRequest, member: Member, narrowed: query.Filter) -> pages.Page:
    before = ids.parse_id(ids.MESSAGE, request.GET.get("before", ""))
    after = ids.parse_id(ids.MESSAGE, request.GET.get("after", ""))
    page = pages.page(member.organization, narrowed, before=before, after=after)
    if after is not None and page.newer is None:
        # All newer messages fit on one page: show the newest page, filled up and updating.
        return pages.page(member.organization, narrowed)
    return page
