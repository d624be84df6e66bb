"""Messaging's panels on an organization's page in the admin: traffic, sender IDs, routing."""

from datetime import timedelta
from typing import Any

from django.db.models import Count
from django.http import HttpRequest

from accounts.access.page_access import public_id
from accounts.models import Organization
from imissive.core import clock
from messaging.log.failure_reasons import STATUS_LABELS
from messaging.models import Price, Route, SenderId, SmppAccount
from messaging.states import Status
from messaging.usage import usage

DAYS = 7
_ROWS = 20

Panel = tuple[str, dict[str, Any]]


def traffic(request: HttpRequest, organization: Organization) -> Panel | None:
    """Return the panel of live messages of the last DAYS days, by day and by status.

    None for operators who may not view messages.
    """
    if not request.user.has_perm("messaging.view_message"):
        return None
    now = clock.now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    start = midnight - timedelta(days=DAYS - 1)
    by_status = usage.used_by(organization.id, start, now, "status")
    return "messaging/admin/panels/traffic.html", {
        "organization": organization,
        "days": list(reversed(usage.used_by(organization.id, start, now, "day").items())),
        "statuses": [
            (STATUS_LABELS[status], by_status[status].messages)
            for status in Status
            if status in by_status
        ],
    }


def sender_ids(request: HttpRequest, organization: Organization) -> Panel | None:
    """Return the panel of sender IDs: numbers by status, approved and pending ones.

    None for operators who may not view sender IDs.
    """
    if not request.user.has_perm("messaging.view_senderid"):
        return None
    mine = SenderId.objects.filter(organization=organization)
    counts = mine.values("status").annotate(count=Count("id")).order_by()
    by_status = {row["status"]: row["count"] for row in counts}
    labels = SenderId.Status
    return "messaging/admin/panels/organization_senders.html", {
        "organization": organization,
        "counts": [(s.label, by_status[s.value]) for s in labels if s.value in by_status],
        "approved": mine.filter(status=labels.APPROVED).order_by("-is_default", "name")[:_ROWS],
        "waiting": mine.filter(status=labels.PENDING).order_by("created_at")[:_ROWS],
    }


def routing(request: HttpRequest, organization: Organization) -> Panel | None:
    """Return the panel of the organization's own prices, routes and SMPP accounts.

    None for operators who may not view prices.
    """
    if not request.user.has_perm("messaging.view_price"):
        return None
    routes = Route.objects.filter(organization=organization).prefetch_related("steps__carrier")
    return "messaging/admin/panels/organization_routing.html", {
        "organization": organization,
        "organization_id": public_id(organization),
        "prices": Price.objects.filter(organization=organization).order_by("prefix")[:_ROWS],
        "routes": routes.order_by("prefix")[:_ROWS],
        "accounts": SmppAccount.objects.filter(organization=organization)[:_ROWS],
    }
