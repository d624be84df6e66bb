"""The page of a batch: its messages by status, and canceling the rest."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access.page_access import frame, member_page, public_id
from accounts.audit import trail
from accounts.models import Member
from accounts.roles import Action, may
from accounts.ui.live_fragments import live_page
from imissive.core import ids
from imissive.core.api.requests import client_address
from imissive.core.errors import ApiError
from messaging.log import query
from messaging.log.status_shares import shares_of
from messaging.models import Batch, Campaign
from messaging.sending import batches, cancel

LATEST = 10


@require_safe
@member_page(Action.READ_MESSAGES)
def batch_page(request: HttpRequest, member: Member, batch_id: str) -> HttpResponse:
    """Show a batch; redirect to the campaign where it is a campaign's. Raises Http404."""
    batch = _batch_for(member, batch_id)
    campaign = Campaign.objects.filter(batch=batch).first()
    if campaign is not None:
        # The campaign's page counts 100,000 messages in advance, and has more actions.
        return redirect("campaign", public_id(member.organization), campaign.public_id)
    summary = batches.summary(batch)
    narrowed = query.Filter(batch_id=batch.id)
    latest = query.read(member.organization_id, narrowed, LATEST)
    context = {
        "page": "messages",
        "batch": batch,
        "batch_id": batch_id,
        "summary": summary,
        "first": latest[-1] if latest else None,
        "percent": 100 * summary.ended / summary.total if summary.total else 100,
        "shares": shares_of(summary.counts),
        "latest": latest,
        "cancelable": summary.cancelable and may(member.role, Action.SEND),
        "live": summary.ended < summary.total,
        "query": "",
    }
    return live_page(request, member, "messaging/log/batch", "batch_body", context)


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Action.SEND)
def cancel_batch(request: HttpRequest, member: Member, batch_id: str) -> HttpResponse:
    """Ask for confirmation; a POST cancels the messages that no carrier has yet."""
    batch = _batch_for(member, batch_id)
    back = reverse("batch", args=[public_id(member.organization), batch_id])
    if request.method == "POST":
        _cancel(request, member, batch)
        return redirect(back)
    count = batches.summary(batch).cancelable
    context = {
        "page": "messages",
        "title": _("Cancel the rest of this batch?"),
        "text": ngettext(
            "%(count)d message waits still. It is not sent, and its credits come back.",
            "%(count)d messages wait still. They are not sent, and their credits come back.",
            count,
        )
        % {"count": count},
        "lines": [_("What a carrier has already goes on its way.")],
        "act": _("Cancel what waits"),
        "back_to": back,
    }
    return render(request, "accounts/ui/confirm.html", {**frame(member), **context})


def _cancel(request: HttpRequest, member: Member, batch: Batch) -> None:
    try:
        canceled = cancel.cancel_batch(member.organization_id, batch.id)
    except ApiError:
        messages.error(request, _("Nothing of it waits any more."))
        return
    trail.record(
        "batch.canceled",
        actor=member.user,
        organization=member.organization,
        target=str(batch),
        detail={"messages": canceled.count},
        address=client_address(request),
    )
    message = ngettext(
        "%(count)d message was canceled. Its credits came back.",
        "%(count)d messages were canceled. Their credits came back.",
        canceled.count,
    )
    messages.success(request, message % {"count": canceled.count})


def _batch_for(member: Member, batch_id: str) -> Batch:
    parsed = ids.parse_id(ids.BATCH, batch_id)
    try:
        return batches.find(member.organization_id, parsed)
    except ApiError:
        raise Http404 from None
