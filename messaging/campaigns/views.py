"""The pages of campaigns: all of them, one with its progress and results, and what can be done."""

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


def found(member: Member, campaign_id: str) -> Campaign:
    """Return the campaign of an address. Raises Http404."""
    mine = drafts.campaigns_of(member.organization)
    shown = mine.select_related("file", "organization", "created_by", "batch")
    return object_or_404(shown, ids.CAMPAIGN, campaign_id)


@member_page(Action.READ_MESSAGES)
def campaign_list(request: HttpRequest, member: Member) -> HttpResponse:
    mine = drafts.campaigns_of(member.organization)
    before = ids.parse_id(ids.CAMPAIGN, request.GET.get("before", ""))
    rows = list((mine.filter(id__lt=before) if before else mine)[: PAGE + 1])
    shown = [
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
        "rows": shown,
        "older": rows[PAGE - 1].public_id if len(rows) > PAGE else "",
        "newer": before is not None,
    }
    return show_page(request, member, "messaging/campaigns/campaigns.html", context)


@member_page(Action.READ_MESSAGES)
def campaign_page(request: HttpRequest, member: Member, campaign_id: str) -> HttpResponse:
    """Its progress and results; what is written still goes on where it was left."""
    campaign = found(member, campaign_id)
    if campaign.state in UNSENT and may(member.role, Action.SEND):
        return redirect(next_step(campaign), public_id(member.organization), campaign.public_id)
    return live_page(
        request, member, "messaging/campaigns/campaign", "campaign_body", _context(campaign, member)
    )


def _context(campaign: Campaign, member: Member) -> dict[str, Any]:
    counted = results_of(campaign)
    why = PAUSED.get(campaign.pause) if campaign.state == State.PAUSED else None
    return {
        "page": "campaigns",
        "campaign": campaign,
        "results": counted,
        "label": LABELS[campaign.state],
        "tone": TONES.get(campaign.state, "still"),
        "done_share": _share(campaign.position, campaign.good),
        "left": campaign.good - campaign.position,
        "shares": _shares(counted),
        "reasons": [(code, count, reason(code)) for code, count in counted.by_reason.items()],
        "why": why,
        "short": _short(campaign, member) if campaign.pause == Campaign.Pause.CREDITS else None,
        "not_sent": campaign.rows - campaign.good + campaign.refused,
        "batch_id": ids.public_id(ids.BATCH, campaign.batch_id) if campaign.batch_id else "",
        "may_pause": campaign.state == State.RUNNING,
        "may_resume": campaign.state == State.PAUSED,
        "may_cancel": campaign.state in UNDER_WAY - {State.CANCELING}
        and (campaign.state != State.DELIVERING or counted.cancelable > 0),
        "may_change": campaign.state == State.SCHEDULED,
        "live": campaign.state in UNDER_WAY or campaign.due_at is not None,
        "query": "",
        "every": "2s",
    }


def _short(campaign: Campaign, member: Member) -> int | None:
    """About what is missing for the rest, in micro-credits; None for who may not know."""
    if not may(member.role, Action.READ_CREDITS) or campaign.state != State.PAUSED:
        return None
    balance = Balance.objects.filter(organization=member.organization).first()
    rest = campaign.price - campaign.charged
    return max(0, rest - (balance.micro if balance else 0))


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3f}" if whole else "0"


def _shares(counted: Results) -> list[dict[str, Any]]:
    """Each status that has messages, with where its part of a bar of 100 begins and ends."""
    shares, start = [], 0.0
    for status in Status:
        count = counted.by_status.get(status, 0)
        if count:
            width = 100 * count / counted.messages
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


# ---------------------------------------------------------------- what can be done


def _act(
    request: HttpRequest,
    member: Member,
    campaign: Campaign,
    act: Callable[[Member, Campaign, str], bool],
    done: str,
) -> HttpResponse:
    """Do it and go back to its page; where it is too late, that page says what has become of it."""
    if act(member, campaign, client_address(request)):
        messages.success(request, done)
    return _back(member, campaign)


def _back(member: Member, campaign: Campaign) -> HttpResponse:
    return to_page(member, "campaign", campaign.public_id)


@member_page(Action.SEND, POST)
def pause(request: HttpRequest, member: Member, campaign_id: str) -> HttpResponse:
    campaign = found(member, campaign_id)
    return _act(request, member, campaign, drafts.pause, _("The campaign is paused."))


@member_page(Action.SEND, POST)
def resume(request: HttpRequest, member: Member, campaign_id: str) -> HttpResponse:
    campaign = found(member, campaign_id)
    return _act(request, member, campaign, drafts.resume, _("The campaign goes on."))


@member_page(Action.SEND, POST)
def unschedule(request: HttpRequest, member: Member, campaign_id: str) -> HttpResponse:
    """Take a scheduled campaign back, to choose another time or text."""
    campaign = found(member, campaign_id)
    told = _("The campaign is not scheduled any more.")
    return _act(request, member, campaign, drafts.unschedule, told)


@member_page(Action.SEND, FORM)
def cancel(request: HttpRequest, member: Member, campaign_id: str) -> HttpResponse:
    """Say what is taken back; a POST cancels."""
    campaign = found(member, campaign_id)
    if request.method == "POST":
        return _act(request, member, campaign, drafts.cancel, _("The campaign is canceled."))
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
    """Ask first; a POST deletes what was never sent."""
    campaign = found(member, campaign_id)
    if campaign.state not in UNSENT:
        return _back(member, campaign)
    if request.method == "POST":
        if drafts.delete(member, campaign, client_address(request)):
            told = _("%(name)s is deleted.") % {"name": campaign.name}
            messages.success(request, told)
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
    campaign = found(member, campaign_id)
    return download(request, f"{campaign.name} - problems", exports.problems(campaign))


@member_page(Action.READ_MESSAGES)
def failures_file(request: HttpRequest, member: Member, campaign_id: str) -> StreamingHttpResponse:
    """Download the undelivered recipients with the reasons, as CSV or XLSX."""
    campaign = found(member, campaign_id)
    return download(request, f"{campaign.name} - failures", exports.failures(campaign))
