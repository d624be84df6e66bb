"""The page of a batch: its messages by status, and canceling the rest."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.access.page_access import FORM, member_page, object_or_404
from accounts.audit import trail
from accounts.models import Member
from accounts.roles import Action, may
from accounts.ui.live_fragments import live_page
from accounts.ui.pages import confirmation_page, page_url, to_page
from imissive.core import ids
from imissive.core.api.requests import client_address
from imissive.core.errors import ApiError
from messaging.log import query
from messaging.log.status_shares import shares_of
from messaging.models import Batch, Campaign
from messaging.sending import batches, cancel

LATEST = 10


@member_page(Action.READ_MESSAGES)
def batch_page(request: HttpRequest, member: Member, batch_id: str) -> HttpResponse:
    """Show a batch; redirect to the campaign where it is a campaign's. Raises Http404."""
    batch = _batch_for(member, batch_id)
    campaign = Campaign.objects.filter(batch=batch).first()
    if campaign is not None:
        # The campaign's page counts 100,000 messages in advance, and has more actions.
        return to_page(member, "campaign", campaign.public_id)
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


@member_page(Action.SEND, FORM)
def cancel_batch(request: HttpRequest, member: Member, batch_id: str) -> HttpResponse:
    """Ask for confirmation; a POST cancels the messages that no carrier has yet."""
    batch = _batch_for(member, batch_id)
    back = page_url(member, "batch", batch_id)
    if request.method == "POST":
        _cancel(request, member, batch)
        return redirect(back)
    count = batches.summary(batch).cancelable
    return confirmation_page(
        request,
        member,
        page="messages",
        title=_("Cancel the rest of this batch?"),
        text=ngettext(
            "%(count)d message waits still. It is not sent, and its credits come back.",
            "%(count)d messages wait still. They are not sent, and their credits come back.",
            count,
        )
        % {"count": count},
        details=[_("What a carrier has already goes on its way.")],
        button=_("Cancel what waits"),
        back=back,
    )


def _cancel(request: HttpRequest, member: Member, batch: Batch) -> None:
    try:
        canceled = cancel.cancel_batch(member.organization_id, batch.id, test=None)
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
    mine = Batch.objects.filter(organization=member.organization)
    return object_or_404(mine, ids.BATCH, batch_id)
