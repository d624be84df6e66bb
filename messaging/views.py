"""The dashboard's overview."""

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.access import frame, member_page
from accounts.models import Balance, Member, Organization
from accounts.roles import Action, may
from messaging import log
from messaging.first_steps import TestMessageForm, steps_of
from messaging.models import SenderId
from messaging.reasons import STATUS_LABELS, STATUS_TONES
from messaging.sender_history import notices_for
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
        "notices": notices_for(member),
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
