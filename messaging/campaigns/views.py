"""The pages of campaigns: the list, one campaign with its progress and results, and its actions."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from accounts.access.page_access import FORM, POST, member_page, object_or_404, public_id
from accounts.models import Balance, Member
from accounts.roles import Action, may
from accounts.ui.live_fragments import live_page
from accounts.ui.pages import confirmation_page, page_url, show_page, to_page
from imissive.core import ids
from imissive.core.api.requests import client_address
from imissive.core.spreadsheets import download
from messaging.campaigns import drafts, exports
from messaging.campaigns.labels import (
    LABELS,
    PAUSED,
    TONES,
    next_step,
)
from messaging.campaigns.results import Results, results_of
from messaging.log.failure_reasons import STATUS_LABELS, STATUS_TONES, reason
from messaging.models import Campaign
from messaging.models.campaign_states import UNDER_WAY, UNSENT, State
from messaging.states import Status

PAGE = 25


def campaign_or_404(member: Member, campaign_id: str) -> Campaign:
    """Return the campaign of an address. Raise Http404 if there is none."""
    campaigns = drafts.campaigns_of(member.organization)
    campaigns = campaigns.select_related("file", "organization", "created_by", "batch")
    return object_or_404(campaigns, ids.CAMPAIGN, campaign_id)


@member_page(Action.READ_MESSAGES)
def campaign_list(request: HttpRequest, member: Member) -> HttpResponse:
    campaigns = drafts.campaigns_of(member.organization)
    before = ids.parse_id(ids.CAMPAIGN, request.GET.get("before", ""))
    rows = list((campaigns.filter(id__lt=before) if before else campaigns)[: PAGE + 1])
    listed = [
        {
            "campaign": row,
            "results": results_of(row),
            "at": ids.time_of(row.id),
            "label": LABELS[row.state],
            "tone": TONES.get(row.state, "still"),
        }
        for row in rows[:PAGE]
    ]
    context = {
        "page": "campaigns",
        "rows": listed,
        "older": rows[PAGE - 1].public_id if len(rows) > PAGE else "",
        "newer": before is not None,
    }
    return show_page(request, member, "messaging/campaigns/campaigns.html", context)


@member_page(Action.READ_MESSAGES)
def campaign_page(request: HttpRequest, member: Member, campaign_id: str) -> HttpResponse:
    """Show progress and results; redirect to the next step of a draft."""
    campaign = campaign_or_404(member, campaign_id)
    if campaign.state in UNSENT and may(member.role, Action.SEND):
        return redirect(next_step(campaign), public_id(member.organization), campaign.public_id)
    return live_page(
        request, member, "messaging/campaigns/campaign", "campaign_body", _context(campaign, member)
    )


def _context(campaign: Campaign, member: Member) -> dict[str, Any]:
    results = results_of(campaign)
    pause_texts = PAUSED.get(campaign.pause) if campaign.state == State.PAUSED else None
    return {
        "page": "campaigns",
        "campaign": campaign,
        "results": results,
        "label": LABELS[campaign.state],
        "tone": TONES.get(campaign.state, "still"),
        "done_share": _share(campaign.position, campaign.good),
        "left": campaign.good - campaign.position,
        "shares": _shares(results),
        "reasons": [(code, count, reason(code)) for code, count in results.by_reason.items()],
        "why": pause_texts,
        "short": _short(campaign, member) if campaign.pause == Campaign.Pause.CREDITS else None,
        "not_sent": campaign.rows - campaign.good + campaign.refused,
        "batch_id": ids.public_id(ids.BATCH, campaign.batch_id) if campaign.batch_id else "",
        "may_pause": campaign.state == State.RUNNING,
        "may_resume": campaign.state == State.PAUSED,
        "may_cancel": campaign.state in UNDER_WAY - {State.CANCELING}
        and (campaign.state != State.DELIVERING or results.cancelable > 0),
        "may_change": campaign.state == State.SCHEDULED,
        "live": campaign.state in UNDER_WAY or campaign.due_at is not None,
        "query": "",
        "every": "2s",
    }


def _short(campaign: Campaign, member: Member) -> int | None:
    """Return the missing micro-credits, about; None for members without the permission."""
    if not may(member.role, Action.READ_CREDITS) or campaign.state != State.PAUSED:
        return None
    balance = Balance.objects.filter(organization=member.organization).first()
    rest = campaign.price - campaign.charged
    return max(0, rest - (balance.micro if balance else 0))


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3f}" if whole else "0"


def _shares(results: Results) -> list[dict[str, Any]]:
    """Return each status with messages, with its position and width in a bar of 100."""
    shares, start = [], 0.0
    for status in Status:
        count = results.by_status.get(status, 0)
        if count:
            width = 100 * count / results.messages
            shares.append(
                {
                    "status": str(status),
                    "label": STATUS_LABELS[status],
                    "tone": STATUS_TONES[status],
                    "count": count,
                    "start": f"{start:.3f}",
                    "width": f"{width:.3f}",
                }
            )
            start += width
    return shares


# ---------------------------------------------------------------- actions


def _run_action(
    request: HttpRequest,
    member: Member,
    campaign: Campaign,
    action: Callable[[Member, Campaign, str], bool],
    done: str,
) -> HttpResponse:
    """Run an action and return to the campaign's page, which shows its state if it is too late."""
    if action(member, campaign, client_address(request)):
        messages.success(request, done)
    return _back(member, campaign)


def _back(member: Member, campaign: Campaign) -> HttpResponse:
    return to_page(member, "campaign", campaign.public_id)


@member_page(Action.SEND, POST)
def pause(request: HttpRequest, member: Member, campaign_id: str) -> HttpResponse:
    campaign = campaign_or_404(member, campaign_id)
    return _run_action(request, member, campaign, drafts.pause, _("The campaign is paused."))


@member_page(Action.SEND, POST)
def resume(request: HttpRequest, member: Member, campaign_id: str) -> HttpResponse:
    campaign = campaign_or_404(member, campaign_id)
    return _run_action(request, member, campaign, drafts.resume, _("The campaign goes on."))


@member_page(Action.SEND, POST)
def unschedule(request: HttpRequest, member: Member, campaign_id: str) -> HttpResponse:
    """Unschedule a campaign, so that its time or text can be changed."""
    campaign = campaign_or_404(member, campaign_id)
    done = _("The campaign is not scheduled any more.")
    return _run_action(request, member, campaign, drafts.unschedule, done)


@member_page(Action.SEND, FORM)
def cancel(request: HttpRequest, member: Member, campaign_id: str) -> HttpResponse:
    """Ask for confirmation; a POST cancels the campaign."""
    campaign = campaign_or_404(member, campaign_id)
    if request.method == "POST":
        return _run_action(request, member, campaign, drafts.cancel, _("The campaign is canceled."))
    lines = []
    if campaign.position:
        lines.append(
            _("Messages that wait still are taken back, and their credits come back. What a carrier"
              " has already is sent.")
        )  # fmt: skip
    return confirmation_page(
        request,
        member,
        page="campaigns",
        title=_("Cancel %(name)s?") % {"name": campaign.name},
        text=_("Nothing more of it is sent. It cannot be undone."),
        details=lines,
        button=_("Cancel the campaign"),
        back=page_url(member, "campaign", campaign.public_id),
    )


@member_page(Action.SEND, FORM)
def delete(request: HttpRequest, member: Member, campaign_id: str) -> HttpResponse:
    """Ask for confirmation; a POST deletes an unsent campaign."""
    campaign = campaign_or_404(member, campaign_id)
    if campaign.state not in UNSENT:
        return _back(member, campaign)
    if request.method == "POST":
        if drafts.delete(member, campaign, client_address(request)):
            done = _("%(name)s is deleted.") % {"name": campaign.name}
            messages.success(request, done)
        return to_page(member, "campaigns")
    return confirmation_page(
        request,
        member,
        page="campaigns",
        title=_("Delete %(name)s?") % {"name": campaign.name},
        text=_("Its file goes with it. Nothing of it was sent."),
        button=_("Delete"),
        back=page_url(member, "campaign", campaign.public_id),
    )


# ---------------------------------------------------------------- files


@member_page(Action.READ_MESSAGES)
def problems_file(request: HttpRequest, member: Member, campaign_id: str) -> StreamingHttpResponse:
    """Download the rows that the check refused, as CSV or XLSX."""
    campaign = campaign_or_404(member, campaign_id)
    return download(request, f"{campaign.name} - problems", exports.problems(campaign))


@member_page(Action.READ_MESSAGES)
def failures_file(request: HttpRequest, member: Member, campaign_id: str) -> StreamingHttpResponse:
    """Download the undelivered recipients with the reasons, as CSV or XLSX."""
    campaign = campaign_or_404(member, campaign_id)
    return download(request, f"{campaign.name} - failures", exports.failures(campaign))
