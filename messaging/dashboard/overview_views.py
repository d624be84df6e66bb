"""The dashboard's overview: balance, messages by status, delivery time, failures, webhooks."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts.access.page_access import member_page
from accounts.models import Balance, Member, Organization
from accounts.roles import Action, may
from accounts.ui.charts import meter
from accounts.ui.pages import show_page
from imissive.core import clock
from messaging.dashboard.onboarding import TestMessageForm, steps_of
from messaging.log import pages
from messaging.models import SenderId
from messaging.senders.history import notices_for
from messaging.usage import overview as figures
from messaging.usage.overview import LAST_DAY, PERIODS
from messaging.usage.usage import NOTHING, Traffic
from webhooks.endpoints.health import Health, health_of

LATEST = 5
COUNTRIES = 6
"""The number of countries that are listed; the others are summed."""
ENDPOINTS = 4


@member_page(Action.READ_MESSAGES)
def overview(request: HttpRequest, member: Member) -> HttpResponse:
    """Show the overview for the period of the parameter `span`."""
    organization, now = member.organization, clock.now()
    period = PERIODS.get(request.GET.get("span", ""), LAST_DAY)
    used = figures.read_traffic(organization.id, period, now)
    steps = steps_of(organization)
    start = figures.period_starts(period, now)[0]
    context = {
        "page": "overview",
        "span": period,
        "spans": PERIODS.values(),
        "money": _money(member, now),
        "used": used,
        "chart": figures.status_chart(used, period, now),
        "in_utc": figures.days_zone() is UTC,
        "log_query": _log_query(start),
        "countries": _countries(used),
        "latency": figures.latency(organization.id, period, now),
        "failures": figures.failures(organization.id, start, now),
        "webhooks": _webhooks(health_of(organization.id)),
        "latest": pages.messages_of(organization)[:LATEST],
        "steps": [] if all(done for _, done in steps) else steps,
        "test_form": TestMessageForm(),
        "sender": _example_sender(organization),
        "notices": notices_for(member),
    }
    return show_page(request, member, "messaging/dashboard/overview.html", context)


def _money(member: Member, now: datetime) -> dict[str, Any] | None:
    """Return the balance and the spending rate; None for roles that may not read them."""
    if not may(member.role, Action.READ_CREDITS):
        return None
    organization = member.organization
    balance = Balance.objects.filter(organization=organization).first()
    micro = balance.micro if balance else 0
    return {
        "balance": micro,
        "paid": balance is not None,
        "low": balance is not None and micro <= organization.low_balance_threshold,
        "pace": figures.spending_rate(organization.id, micro, now),
    }


def _log_query(start: datetime) -> str:
    """Return the message log's query string for the page's messages: live ones of these days."""
    return urlencode({"mode": "live", "since": f"{timezone.localtime(start):%Y-%m-%d}"})


def _countries(used: Traffic) -> list[dict[str, Any]]:
    """Return the countries with the highest cost; `code` is empty for the sum of all others."""
    by_cost = sorted(
        used.by_country.items(), key=lambda pair: (-pair[1].credits, -pair[1].messages, pair[0])
    )
    rows = by_cost[:COUNTRIES]
    if len(by_cost) > COUNTRIES:
        rows.append(("", sum((each for _, each in by_cost[COUNTRIES:]), NOTHING)))
    most = max((each.messages for _, each in rows), default=0)
    highest_cost = max((each.credits for _, each in rows), default=0)
    return [
        {
            "code": code,
            "used": each,
            "cost_meter": meter(each.credits, highest_cost),
            "meter": meter(each.messages, most),
        }
        for code, each in rows
    ]


def _webhooks(endpoints: list[Health]) -> dict[str, Any] | None:
    """Return a summary of all endpoints, and those that do not work; None without endpoints."""
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
    """Return an approved sender ID for the example of a first message, or an empty text."""
    approved = organization.sender_ids.filter(status=SenderId.Status.APPROVED)
    sender = approved.order_by("-is_default", "created_at").first()
    return sender.name if sender else ""
