"""Settings pages of an organization: name, low-balance alert, rate limits, keys' IP allow-lists."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.access.page_access import POST, member_page
from accounts.api import rate_limits
from accounts.api.rate_limits import LimitClass
from accounts.audit import trail
from accounts.credits.field import CreditsField
from accounts.credits.ledger import credits_text
from accounts.members.people import check_name
from accounts.models import ApiKey, Member, Organization
from accounts.roles import Action, may
from accounts.ui.pages import show_page, to_page
from imissive.core import clock
from imissive.core.api.requests import client_address
from imissive.core.countries import home_choices, name_of


class NameForm(forms.Form):
    """The name of an organization."""

    name = forms.CharField(
        label=gettext_lazy("Organization"), max_length=120, validators=[check_name]
    )


def _countries() -> list[tuple[str, str]]:
    return [("", _("None (all numbers include a country code)")), *home_choices()]


class CountryForm(forms.Form):
    """The country of numbers that are written without their calling code."""

    default_country = forms.ChoiceField(
        label=gettext_lazy("Default country for numbers without a code"),
        choices=_countries,
        required=False,
        help_text=gettext_lazy(
            "0501234567 is read as a number of this country, on pages, in files, over the API and"
            " SMPP."
        ),
    )


class AlertForm(forms.Form):
    """The balance at which the low-balance alert is sent."""

    low_balance_threshold = CreditsField(
        label=gettext_lazy("Tell us when the balance falls to"),
        min_value=0,
        help_text=gettext_lazy("Credits. At 0 you are told when nothing is left."),
    )


@member_page(Action.SEE_MEMBERS)
def settings_page(request: HttpRequest, member: Member) -> HttpResponse:
    """Show the organization's settings."""
    return _show(request, member)


def _show(
    request: HttpRequest,
    member: Member,
    name_form: NameForm | None = None,
    alert_form: AlertForm | None = None,
    country_form: CountryForm | None = None,
) -> HttpResponse:
    """Render the page, with the given forms and their errors in the place of fresh ones."""
    organization = member.organization
    threshold = {"low_balance_threshold": organization.low_balance_threshold}
    context = {
        "page": "settings",
        "name_form": name_form or NameForm(initial={"name": organization.name}),
        "country_form": country_form
        or CountryForm(initial={"default_country": organization.default_country}),
        "country": name_of(organization.default_country),
        "alert_form": alert_form or AlertForm(initial=threshold),
        "limits": _limit_classes(organization),
        "restricted": _restricted(member),
        "time_zone": member.user.time_zone.replace("_", " "),
    }
    return show_page(request, member, "accounts/members/settings.html", context)


_LIMIT_CLASSES = {
    LimitClass.SEND: gettext_lazy("Messages sent singly, and one-time passwords"),
    LimitClass.BULK: gettext_lazy("Messages sent in bulk"),
    LimitClass.CALLS: gettext_lazy("Other calls of the API"),
}


def _limit_classes(organization: Organization) -> list[dict[str, Any]]:
    """Return each limit per minute and how much of it is used now (None: unknown)."""
    own = rate_limits.Limits(
        organization.send_per_minute, organization.bulk_per_minute, organization.calls_per_minute
    )
    shown = []
    for limit_class, name in _LIMIT_CLASSES.items():
        now = rate_limits.take(organization.id, limit_class, own.of(limit_class), cost=0)
        used = now.limit - now.remaining if now.known else None
        width = f"{100 * (used or 0) / now.limit:.2f}"
        shown.append({"name": name, "limit": now.limit, "used": used, "width": width})
    return shown


def _restricted(member: Member) -> dict[str, Any]:
    """Return the working keys with an IP allow-list, and the number of keys without one."""
    if not may(member.role, Action.MANAGE_KEYS):
        return {}
    working = ApiKey.objects.filter(organization=member.organization, revoked_at=None).filter(
        Q(expires_at=None) | Q(expires_at__gt=clock.now())
    )
    keys = list(working.order_by("name"))
    bound = [key for key in keys if key.networks]
    return {"keys": bound, "free": len(keys) - len(bound), "any": bool(keys)}


@member_page(Action.MANAGE_ORGANIZATION, POST)
def rename(request: HttpRequest, member: Member) -> HttpResponse:
    """Rename the organization."""
    form = NameForm(request.POST)
    if not form.is_valid():
        return _show(request, member, name_form=form)
    _change(request, member, "organization.renamed", name=form.cleaned_data["name"])
    return _saved(request, member)


@member_page(Action.MANAGE_ORGANIZATION, POST)
def set_country(request: HttpRequest, member: Member) -> HttpResponse:
    form = CountryForm(request.POST)
    if not form.is_valid():
        return _show(request, member, country_form=form)
    country = form.cleaned_data["default_country"]
    _change(request, member, "organization.country_changed", default_country=country)
    return _saved(request, member)


@member_page(Action.SET_ALERTS, POST)
def set_alert(request: HttpRequest, member: Member) -> HttpResponse:
    """Set the threshold of the low-balance alert."""
    form = AlertForm(request.POST)
    if not form.is_valid():
        return _show(request, member, alert_form=form)
    micro = form.cleaned_data["low_balance_threshold"]
    _change(request, member, "organization.alert_changed", low_balance_threshold=micro)
    return _saved(request, member)


@transaction.atomic
def _change(request: HttpRequest, member: Member, action: str, **fields: str | int) -> None:
    """Update the organization's fields and record the change in the audit log.

    Unchanged fields are neither written nor recorded.
    """
    organization = Organization.objects.select_for_update(no_key=True).get(
        pk=member.organization_id
    )
    old = {name: getattr(organization, name) for name in fields}
    if old == fields:
        return
    Organization.objects.filter(pk=organization.pk).update(**fields)
    trail.record(
        action,
        actor=member.user,
        organization=organization,
        target=organization.name,
        detail={
            name: {"from": _text(old[name]), "to": _text(value)} for name, value in fields.items()
        },
        address=client_address(request),
    )


def _text(value: str | int) -> str:
    return credits_text(value) if isinstance(value, int) else value


def _saved(request: HttpRequest, member: Member) -> HttpResponse:
    messages.success(request, _("Saved."))
    return to_page(member, "settings")
