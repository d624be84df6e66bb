"""Admin pages of sending hours, numbering ranges, and customers' suppression lists."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.models import DEFAULT_COUNTRY
from accounts.operators.base import LongTableAdmin, OperatorAdmin, find_organizations
from accounts.operators.site import site
from accounts.templatetags.shown import ltr
from messaging.models import NumberRange, SendingRule, Suppression
from messaging.numbers.written import search_terms


@admin.register(SendingRule, site=site)
class SendingRuleAdmin(OperatorAdmin):
    """Countries' sending hours."""

    list_display = ("country", "sender_suffix", "opens", "closes", "time_zone", "enabled")
    list_filter = ("enabled",)
    search_fields = ("country",)
    ordering = ("country", "sender_suffix")
    fields = (
        ("country", "sender_suffix"),
        ("opens", "closes", "time_zone"),
        "enabled",
    )


@admin.register(NumberRange, site=site)
class NumberRangeAdmin(OperatorAdmin):
    """Numbering ranges that the phone library does not know yet, or knows otherwise."""

    list_display = ("shown_prefix", "country", "shortest", "longest", "reachable", "enabled")
    list_filter = ("enabled", "reachable")
    search_fields = ("prefix", "country", "note")
    ordering = ("prefix",)
    fields = (
        ("country", "prefix"),
        ("shortest", "longest"),
        ("reachable", "enabled"),
        "note",
    )

    @admin.display(description=_("begins with"), ordering="prefix")
    def shown_prefix(self, obj: NumberRange) -> str:
        return ltr(f"+{obj.prefix}")


@admin.register(Suppression, site=site)
class SuppressionAdmin(LongTableAdmin):
    """Customers' suppression lists: operators look up numbers, and change nothing."""

    list_display = ("shown_number", "organization", "test", "reason", "source", "created_at")
    list_filter = ("test",)
    list_select_related = ("organization",)
    # Required for the search box; `get_search_results` does the search.
    search_fields = ("number",)
    search_help_text = _("A whole number, or an organization's name")
    fields = ("shown_number", "organization", "test", "reason", "source", "created_at")

    @admin.display(description=_("number"))
    def shown_number(self, obj: Suppression) -> str:
        return ltr(obj.number)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Suppression], search_term: str
    ) -> tuple[QuerySet[Suppression], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        number, _digits = search_terms(term, DEFAULT_COUNTRY)
        if number:
            return queryset.filter(number=number), False
        return queryset.filter(organization__in=find_organizations(term)), False
