"""The dashboard's overview: what is left, what became of the messages, and what needs a look."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.access.page_access import frame, member_page
from accounts.models import Balance, Member, Organization
from accounts.roles import Action, may
from accounts.ui.charts import meter
from messaging.dashboard.onboarding import TestMessageForm, steps_of
from messaging.log import pages
from messaging.models import SenderId
from messaging.senders.history import notices_for
from messaging.usage import overview as figures
from messaging.usage.overview import DAY, SPANS
from messaging.usage.usage import NOTHING, Traffic
from webhooks.endpoints.health import Health, health_of

LATEST = 5
COUNTRIES = 6
"""Countries that are named; the others are summed."""
ENDPOINTS = 4


@require_safe
@member_page(Action.READ_MESSAGES)
def overview(request: HttpRequest, member: Member) -> HttpResponse:
    organization, now = member.organization, timezone.now()
    span = SPANS.get(request.GET.get("span", ""), DAY)
    used = figures.read_traffic(organization.id, span, now)
    steps = steps_of(organization)
    begins = figures.begins(span, now)[0]
    context = {
        "page": "overview",
        "span": span,
        "spans": SPANS.values(),
        "money": _money(member, now),
        "used": used,
        "chart": figures.status_chart(used, span, now),
        "in_utc": figures.days_zone() is UTC,
        "log_query": _log_query(begins),
        "countries": _countries(used),
        "latency": figures.latency(organization.id, span, now),
        "failures": figures.failures(organization.id, begins, now),
        "webhooks": _webhooks(health_of(organization.id)),
        "latest": pages.messages_of(organization)[:LATEST],
        "steps": [] if all(done for _, done in steps) else steps,
        "test_form": TestMessageForm(),
        "sender": _example_sender(organization),
        "notices": notices_for(member),
    }
    return render(request, "messaging/dashboard/overview.html", {**frame(member), **context})


def _money(member: Member, now: datetime) -> dict[str, Any] | None:
    """The balance and how long it lasts; None for roles that may not know."""
    if not may(member.role, Action.READ_CREDITS):
        return None
    organization = member.organization
    balance = Balance.objects.filter(organization=organization).first()
    micro = balance.micro if balance else 0
    return {
        "balance": micro,
        "paid": balance is not None,
        "low": balance is not None and micro <= organization.low_balance_threshold,
        "pace": figures.pace(organization.id, micro, now),
    }


def _log_query(begins: datetime) -> str:
    """The filters of the message log for what the page counts: live messages of these days."""
    return urlencode({"mode": "live", "since": f"{timezone.localtime(begins):%Y-%m-%d}"})


def _countries(used: Traffic) -> list[dict[str, Any]]:
    """The countries that cost most; `code` is empty for all others together."""
    by_cost = sorted(
        used.by_country.items(), key=lambda pair: (-pair[1].credits, -pair[1].messages, pair[0])
    )
    rows = by_cost[:COUNTRIES]
    if len(by_cost) > COUNTRIES:
        rows.append(("", sum((each for _, each in by_cost[COUNTRIES:]), NOTHING)))
    most = max((each.messages for _, each in rows), default=0)
    dearest = max((each.credits for _, each in rows), default=0)
    return [
        {
            "code": code,
            "used": each,
            "cost_meter": meter(each.credits, dearest),
            "meter": meter(each.messages, most),
        }
        for code, each in rows
    ]


def _webhooks(endpoints: list[Health]) -> dict[str, Any] | None:
    """All endpoints together, and those that need a look; None where there is none."""
    if not endpoints:
        return None
    troubled = [each for each in endpoints if each.state != "working"]
    successes = [each.last_success for each in endpoints if each.last_success is not None]
    return {
        "endpoints": len(endpoints),
        "failing": sum(each.state == "failing" for each in endpoints),
        "disabled": sum(each.state == "disabled" for each in endpoints),
        "waiting": sum(each.waiting for each in endpoints),
        "many": any(each.many for each in endpoints),
        "last_success": max(successes, default=None),
        "troubled": troubled[:ENDPOINTS],
    }


def _example_sender(organization: Organization) -> str:
    """A sender ID for the example of a first message, where one is approved."""
    approved = organization.sender_ids.filter(status=SenderId.Status.APPROVED)
    sender = approved.order_by("-is_default", "created_at").first()
    return sender.name if sender else ""
