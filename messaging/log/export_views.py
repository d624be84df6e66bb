"""Pages of exports: request, progress, download, cancel."""

from typing import cast

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.access.page_access import FORM, POST, member_page, object_or_404, public_id
from accounts.access.post_limits import DOWNLOAD, limit_posts
from accounts.audit import trail
from accounts.models import Member
from accounts.roles import Action
from accounts.ui import stored_files
from accounts.ui.live_fragments import live_page
from accounts.ui.pages import confirmation_page, page_url, to_page
from accounts.ui.single_use_forms import SingleUseForm
from imissive.core import ids
from imissive.core.api.requests import client_address
from imissive.core.spreadsheets import wants_workbook
from messaging.log import exports as message_exports
from messaging.log.filters import Chip, LogFilters
from messaging.models import Export

SHOWN = 20


@member_page(Action.READ_MESSAGES)
def export_list(request: HttpRequest, member: Member) -> HttpResponse:
    """List the organization's latest exports; the page updates automatically while any runs."""
    exports = list(message_exports.exports_of(member.organization)[:SHOWN])
    context = {
        "page": "messages",
        "exports": [(export, _filter_chips(export)) for export in exports],
        "live": any(export.is_open for export in exports),
        "kept_days": message_exports.KEPT.days,
        "query": "",
    }
    return live_page(request, member, "messaging/log/exports", "export_rows", context)


def _filter_chips(export: Export) -> list[Chip]:
    """Return the export's filters in words."""
    filters = LogFilters(export.organization, QueryDict(export.query), senders=())
    return filters.chips() if filters.is_valid() else []


@member_page(Action.READ_MESSAGES, POST)
@limit_posts(DOWNLOAD)
def new_export(request: HttpRequest, member: Member) -> HttpResponse:
    """Create an export with the filters of the query string."""
    organization_id = public_id(member.organization)
    filters = LogFilters(member.organization, request.GET)
    form = SingleUseForm(request.POST)
    if not filters.is_valid() or not form.is_valid():
        messages.error(request, _("The export was not begun: look at the filters and try again."))
        return redirect("messages", organization_id)
    if form.is_first():
        try:
            with form.usable_after_failure():
                address = client_address(request)
                message_exports.request_export(member, filters.narrowed(), filters.query, address)
        except message_exports.TooManyExports:
            message = ngettext(
                "%(count)d export is under way already. Wait for it, or stop it.",
                "%(count)d exports are under way already. Wait for one, or stop one.",
                message_exports.OPEN_AT_MOST,
            )
            messages.error(request, message % {"count": message_exports.OPEN_AT_MOST})
    return redirect("exports", organization_id)


@member_page(Action.READ_MESSAGES)
def fetch_export(request: HttpRequest, member: Member, export_id: str) -> HttpResponse:
    """Download the file of a completed export. It is audited."""
    export = _export_for(member, export_id)
    file = None
    if export.status == Export.Status.DONE and export.file_id:
        file = stored_files.file_of(member.organization, export.file_id)
    if file is None:
        messages.error(request, _("There is no file: it is not ready yet, or kept no longer."))
        return to_page(member, "exports")
    if request.method == "GET":
        trail.record(
            "messages.export_fetched",
            actor=member.user,
            organization=member.organization,
            target=export_id,
            detail={"messages": export.written},
            address=client_address(request),
        )
    return cast("HttpResponse", stored_files.download(file, workbook=wants_workbook(request)))


@member_page(Action.READ_MESSAGES, FORM)
def cancel_export(request: HttpRequest, member: Member, export_id: str) -> HttpResponse:
    """Ask for confirmation; a POST cancels the export."""
    export = _export_for(member, export_id)
    if request.method != "POST":
        return confirmation_page(
            request,
            member,
            page="messages",
            title=_("Stop this export?"),
            text=_("What was written so far is dropped. You can ask for it again."),
            button=_("Stop it"),
            back=page_url(member, "exports"),
        )
    if message_exports.cancel(export, member, client_address(request)):
        messages.success(request, _("The export was stopped."))
    else:
        messages.warning(request, _("It is over already."))
    return to_page(member, "exports")


def _export_for(member: Member, export_id: str) -> Export:
    return object_or_404(message_exports.exports_of(member.organization), ids.EXPORT, export_id)
