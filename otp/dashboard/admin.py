"""Admin pages of one-time passwords: verifications (without codes), rules, held prefixes."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from accounts.models import DEFAULT_COUNTRY
from accounts.operators.base import (
    LongTableAdmin,
    OperatorAdmin,
    action_page,
    badge,
    detail_action,
    find_organizations,
    operator,
)
from accounts.operators.site import site
from accounts.templatetags.shown import ltr
from imissive.core import clock, ids
from imissive.core.api.requests import client_address
from messaging.numbers.written import search_terms
from otp.limits import sms_pumping
from otp.models import HeldPrefix, OtpSettings, Verification


@admin.register(Verification, site=site)
class VerificationAdmin(LongTableAdmin):
    list_display = (
        "public_id",
        "number",
        "organization",
        "status_badge",
        "reason",
        "attempts",
        "created_at",
    )
    list_filter = ("status", "test")
    list_select_related = ("organization",)
    # Only makes the admin show the search box; `get_search_results` does the search.
    search_fields = ("id",)
    search_help_text = _("A verification's id, or a whole number")
    fields = (
        ("public_id", "organization", "test"),
        ("number", "country", "prefix"),
        ("status", "reason", "attempts"),
        ("sender", "length", "expiry"),
        ("text", "message"),
        ("created_at", "expires_at", "ended_at"),
    )
    readonly_fields = ("public_id", "number", "message")

    @badge(
        _("status"),
        {"pending": "info", "verified": "success", "expired": "warning", "failed": "danger"},
        ordering="status",
    )
    def status_badge(self, obj: Verification) -> tuple[str, str]:
        return obj.status, obj.get_status_display()

    @admin.display(description=_("number"))
    def number(self, obj: Verification) -> str:
        return ltr(obj.phone)

    @admin.display(description=_("message"))
    def message(self, obj: Verification) -> str:
        return ids.public_id(ids.MESSAGE, obj.message_id)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Verification], search_term: str
    ) -> tuple[QuerySet[Verification], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        found = ids.parse_id(ids.OTP, term)
        if found is not None:
            return queryset.filter(pk=found), False
        number, _digits = search_terms(term, DEFAULT_COUNTRY)
        # Through the sends, because their index begins with the number.
        sent = queryset.filter(sends__phone=number).distinct() if number else queryset.none()
        return sent, False


@admin.register(OtpSettings, site=site)
class OtpSettingsAdmin(OperatorAdmin):
    autocomplete_fields = ("organization",)
    list_display = ("organization", "cooldown", "ten_minutes", "day", "countries", "pumping")
    list_filter = ("pumping",)
    list_select_related = ("organization",)
    search_fields = ("organization__name",)
    fields = (
        "organization",
        ("cooldown", "ten_minutes", "day"),
        ("countries", "chosen_countries"),
        "pumping",
        ("pumping_minutes", "pumping_minimum", "pumping_share"),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Make the organization of existing rules read-only, because it is their primary key."""
        return ("organization",) if obj else ()


class ActiveFilter(admin.SimpleListFilter):
    """Filter of the holds that are not over."""

    title = _("State")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("open", _("Not over"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "open":
            return queryset.filter(lifted_at=None, until__gt=clock.now())
        return queryset


@admin.register(HeldPrefix, site=site)
class HeldPrefixAdmin(LongTableAdmin):
    list_display = (
        "shown_prefix",
        "organization",
        "enforced",
        "sent",
        "verified",
        "created_at",
        "until",
        "lifted_at",
    )
    list_filter = (ActiveFilter, "enforced")
    list_select_related = ("organization",)
    search_fields = ("prefix", "organization__name")
    search_help_text = _("A prefix, or an organization's name")
    actions_detail = ("lift",)
    fields = (
        ("shown_prefix", "organization", "enforced"),
        ("sent", "verified"),
        ("created_at", "until"),
        ("lifted_at", "lifted_by"),
    )
    readonly_fields = ("shown_prefix",)

    @admin.display(description=_("prefix"))
    def shown_prefix(self, obj: HeldPrefix) -> str:
        return ltr(obj.prefix)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[HeldPrefix], search_term: str
    ) -> tuple[QuerySet[HeldPrefix], bool]:
        term = search_term.strip()
        if term.removeprefix("+").isdigit():
            return queryset.filter(prefix__startswith=f"+{term.removeprefix('+')}"), False
        if term:
            queryset = queryset.filter(organization__in=find_organizations(term))
        return queryset, False

    def has_lift_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("otp.change_heldprefix")

    @detail_action(_("Lift"), permission="lift", icon="lock_open")
    def lift(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return action_page(
            self,
            request,
            object_id,
            title=_("Lift this hold"),
            explanation=_("Codes go to these numbers again, and are counted anew from now on."),
            done=_("The hold was lifted."),
            do=lambda held, _values: sms_pumping.lift(
                held, operator(request), address=client_address(request)
            ),
        )


def waiting() -> int:
    """Return the number of prefixes that are currently held."""
    return HeldPrefix.objects.filter(enforced=True, lifted_at=None, until__gt=clock.now()).count()


site.waiting["otp.heldprefix"] = waiting
