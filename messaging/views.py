"""The dashboard's pages about messages: overview, log, and one message with its timeline."""

from datetime import timedelta
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.access import frame, member_page, public_id
from accounts.live import live_page, query_without
from accounts.models import Balance, LedgerEntry, Member, Organization
from accounts.roles import Action, may
from imissive import ids
from messaging import log, timeline
from messaging.first_steps import TestMessageForm, steps_of
from messaging.models import Message, SenderId
from messaging.reasons import STATUS_LABELS, STATUS_TONES, reason
from messaging.states import Status

LATEST = 10


@require_safe
@member_page(Action.READ_MESSAGES)
def overview(request: HttpRequest, member: Member) -> HttpResponse:
    organization = member.organization
    balance = _balance(member)
    steps = steps_of(organization)
    totals = log.totals_since(organization, timezone.now() - timedelta(hours=24))
    context = {
        "page": "overview",
        "balance": balance,
        "low": balance is not None and balance.micro <= organization.low_balance_threshold,
        "totals": totals,
        "shares": _shares(totals.by_status),
        "latest": log.messages_of(organization)[:LATEST],
        "steps": [] if all(done for _, done in steps) else steps,
        "test_form": TestMessageForm(),
        "sender": _example_sender(organization),
    }
    return render(request, "dashboard/overview.html", {**frame(member), **context})


def _balance(member: Member) -> Balance | None:
    """What is left; None where nothing was ever paid in, and for roles that may not know."""
    if not may(member.role, Action.READ_CREDITS):
        return None
    return Balance.objects.filter(organization=member.organization).first()


def _shares(counts: dict[str, int]) -> list[dict[str, Any]]:
    """Each status that has messages, with where its part of a bar of 100 begins and ends."""
    total = sum(counts.values())
    shares, start = [], 0.0
    for status in Status:
        count = counts.get(status, 0)
        if count:
            width = 100 * count / total
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


def _example_sender(organization: Organization) -> str:
    """A sender ID for the example of a first message, where one is approved."""
    approved = organization.sender_ids.filter(status=SenderId.Status.APPROVED)
    sender = approved.order_by("-is_default", "created_at").first()
    return sender.name if sender else ""


@require_safe
@member_page(Action.READ_MESSAGES)
def message_log(request: HttpRequest, member: Member) -> HttpResponse:
    narrowed = _asked_for(request)
    wanted = ids.parse_id(ids.MESSAGE, narrowed.number)
    if wanted is not None and log.message_of(member.organization, wanted) is not None:
        return redirect("message", public_id(member.organization), narrowed.number)
    page = _read_page(request, member, narrowed)
    paused = request.GET.get("live") == "off"
    context = {
        "page": "messages",
        "log": page,
        "narrowed": narrowed,
        "live": not page.has_newer and not paused,
        "paused": paused,
        "query": query_without(request, "before", "after", "live"),
        "statuses": STATUS_LABELS.items(),
    }
    return live_page(request, member, "messages", "log", context)


def _asked_for(request: HttpRequest) -> log.Filter:
    status = request.GET.get("status", "")
    number = request.GET.get("number", "").replace("\0", "").strip()
    return log.Filter(status if status in STATUS_LABELS else "", number[:64])


def _read_page(request: HttpRequest, member: Member, narrowed: log.Filter) -> log.Page:
    before = ids.parse_id(ids.MESSAGE, request.GET.get("before", ""))
    after = ids.parse_id(ids.MESSAGE, request.GET.get("after", ""))
    page = log.page(member.organization, narrowed, before=before, after=after)
    if after is not None and not page.has_newer:
        # What is newer fits on one page: then that is the newest page, shown full and live.
        return log.page(member.organization, narrowed)
    return page


@require_safe
@member_page(Action.READ_MESSAGES)
def message_page(request: HttpRequest, member: Member, message_id: str) -> HttpResponse:
    wanted = ids.parse_id(ids.MESSAGE, message_id)
    message = log.message_of(member.organization, wanted) if wanted else None
    if message is None:
        raise Http404
    context = {
        "page": "messages",
        "message": message,
        "reason": reason(message.error_code),
        "refunded": _refunded(message),
        "timeline": timeline.steps_of(message),
        "live": not timeline.is_settled(message),
        "query": "",
    }
    return live_page(request, member, "message", "message_body", context)


def _refunded(message: Message) -> int:
    """What came back to the balance for it, in micro-credits."""
    refund = LedgerEntry.objects.filter(
        organization=message.organization_id, kind=LedgerEntry.Kind.REFUND, reference=message.id
    ).first()
    return refund.amount if refund else 0
