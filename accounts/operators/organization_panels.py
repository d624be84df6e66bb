"""Panels of an organization's admin page: credits, API keys, and the audit log."""

from typing import Any

from django.http import HttpRequest

from accounts.access.page_access import public_id
from accounts.models import ApiKey, AuditEntry, Balance, Impersonation, LedgerEntry, Organization

_ROWS = 8

Panel = tuple[str, dict[str, Any]]


def money(request: HttpRequest, organization: Organization) -> Panel | None:
    """Return the panel of the balance, its alert, and the latest ledger entries."""
    if not request.user.has_perm("accounts.view_ledgerentry"):
        return None
    balance = Balance.objects.filter(organization=organization).first()
    entries = LedgerEntry.objects.filter(organization=organization).select_related("actor")
    return "accounts/operators/panels/money.html", {
        "organization": organization,
        "balance": balance.micro if balance else 0,
        "entries": entries.order_by("-id")[:_ROWS],
    }


def keys(request: HttpRequest, organization: Organization) -> Panel | None:
    """Return the panel of API keys that are not revoked, newest first."""
    if not request.user.has_perm("accounts.view_apikey"):
        return None
    found = ApiKey.objects.filter(organization=organization)
    working = found.filter(revoked_at=None)
    return "accounts/operators/panels/keys.html", {
        "organization": organization,
        "keys": working.order_by("-created_at")[:_ROWS],
        "ended": found.count() - working.count(),
    }


def audit_log(request: HttpRequest, organization: Organization) -> Panel | None:
    """Return the panel of the latest audit log entries and current impersonations."""
    if not request.user.has_perm("accounts.view_auditentry"):
        return None
    entries = AuditEntry.objects.filter(organization=organization).select_related("actor")
    running = Impersonation.objects.filter(organization=organization, ended_at=None).order_by("-id")
    return "accounts/operators/panels/acts.html", {
        "organization": organization,
        "organization_id": public_id(organization),
        "entries": entries.order_by("-id")[:_ROWS],
        "impersonations": [
            each for each in running.select_related("operator")[:5] if not each.is_over
        ],
    }
