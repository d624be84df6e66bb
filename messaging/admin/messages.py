"""Admin pages of messages, with search by id, number or reference, and of unmatched receipts.

Texts are hidden: reading one needs a reason, which goes into the audit log.
"""

import uuid
from copy import copy
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts.audit import trail
from accounts.credits.ledger import credits_text
from accounts.models import DEFAULT_COUNTRY
from accounts.operators.base import (
    LongTableAdmin,
    ReadOnlyInline,
    ReasonForm,
    badge,
    detail_action,
    operator,
)
from accounts.operators.site import site
from accounts.templatetags.shown import ltr
from imissive.core import clock, ids
from imissive.core.api.requests import client_address
from imissive.core.spreadsheets import download
from messaging.carriers import unused_receipts
from messaging.models import Attempt, EarlyReceipt, Message, MessagePart
from messaging.numbers.written import search_terms

_COLORS = {
    "scheduled": "info",
    "queued": "info",
    "sending": "info",
    "sent": "info",
    "delivered": "success",
    "failed": "danger",
    "expired": "warning",
    "canceled": "warning",
}


class AcceptedFilter(admin.SimpleListFilter):
    """A period, by default the last day. It is a range of ids, so the primary key serves it.

    It limits how many messages a search or another filter reads.
    """

    title = _("accepted")
    parameter_name = "accepted"
    hours = {"day": 24, "week": 24 * 7, "month": 24 * 30}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("day", _("Last 24 hours")),
            ("week", _("Last 7 days")),
            ("month", _("Last 30 days")),
            ("ever", _("Ever")),
        ]

    def choices(self, changelist: Any) -> Any:
        """Yield the choices without "All": the default is a day, and "Ever" is explicit."""
        for value, title in self.lookup_choices:
            yield {
                "selected": (self.value() or "day") == value,
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": title,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Message]) -> QuerySet[Message]:
        hours = self.hours.get(self.value() or "day")
        if hours is None:
            return queryset
        return queryset.filter(id__gte=ids.first_id_at(clock.now() - timedelta(hours=hours)))


class PartInline(ReadOnlyInline):
    model = MessagePart
    ordering = ("number",)
    verbose_name_plural = _("parts that a carrier accepted")
    fields = readonly_fields = (
        "number",
        "carrier",
        "carrier_message_id",
        "status",
        "error_code",
        "submitted_at",
        "final_at",
    )


class AttemptInline(ReadOnlyInline):
    model = Attempt
    ordering = ("id",)
    verbose_name_plural = _("submits that did not succeed")
    fields = readonly_fields = ("at", "carrier", "outcome", "command_status", "detail")


@admin.register(Message, site=site)
class MessageAdmin(LongTableAdmin):
    """Messages, read-only, with their parts and unsuccessful submits."""

    inlines = (PartInline, AttemptInline)
    list_display = (
        "public_id",
        "number",
        "organization",
        "sender",
        "status_badge",
        "created_at",
    )
    list_filter = (AcceptedFilter, "status", "test")
    list_select_related = ("organization", "carrier")
    # Required for the search box; `get_search_results` does the search.
    search_fields = ("id",)
    search_help_text = _("A message id, a whole number, or a reference")
    actions_detail = ("read_text",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("public_id", "status", "organization"),
                    ("number", "country", "sender"),
                    ("hidden_text", "encoding", "parts"),
                    ("credits", "reference", "batch"),
                    ("source", "api_key", "test", "urgent"),
                )
            },
        ),
        (
            _("Times"),
            {
                "fields": (
                    ("created_at", "scheduled_at", "queued_at"),
                    ("sent_at", "final_at", "expires_at", "due_at"),
                )
            },
        ),
        (
            _("Carrier"),
            {"fields": (("carrier", "submits", "unanswered"), ("error_code", "error"))},
        ),
    )

    @badge(_("status"), _COLORS, ordering="status")
    def status_badge(self, obj: Message) -> tuple[str, str]:
        return obj.status, obj.get_status_display()

    @admin.display(description=_("to"))
    def number(self, obj: Message) -> str:
        return ltr(obj.to)

    @admin.display(description=_("price"))
    def credits(self, obj: Message) -> str:
        return ltr(credits_text(obj.price))

    @admin.display(description=_("text"))
    def hidden_text(self, obj: Message) -> str:
        """Return dots and the text's length: a text may contain a password or a diagnosis."""
        length = len(obj.text)
        shown = ngettext("%(count)d character", "%(count)d characters", length)
        return f"•••••• ({shown % {'count': length}})"

    @admin.display(description=_("error"))
    def error(self, obj: Message) -> str:
        """Return the error in English, as in the API."""
        return ltr(obj.error_message) if obj.error_message else "—"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Message], search_term: str
    ) -> tuple[QuerySet[Message], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        message_id = ids.parse_id(ids.MESSAGE, term) or _uuid(term)
        if message_id is not None:
            # An id is found whatever the other filters are.
            return self.get_queryset(request).filter(pk=message_id), False
        number, _digits = search_terms(term, DEFAULT_COUNTRY)
        return queryset.filter(to=number) if number else queryset.filter(reference=term), False

    def has_read_text_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("messaging.change_message")

    @detail_action(_("Read the text"), permission="read_text", icon="visibility")
    def read_text(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for a reason, record it in the audit log, and show the text in the response."""
        message = self.get_object(request, object_id)
        if message is None:
            raise Http404
        form = ReasonForm(request.POST if request.method == "POST" else None)
        text = None
        if request.method == "POST" and form.is_valid():
            trail.record(
                "message.text_read",
                actor=operator(request),
                organization=message.organization,
                target=message.public_id,
                detail={"reason": form.cleaned_data["reason"]},
                address=client_address(request),
            )
            text = message.shown_text
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": _("Read the text"),
            "subtitle": message.public_id,
            "explanation": _("That you read it goes into the audit log, with your reason."),
            "form": form,
            "text": text,
            "back": reverse("admin:messaging_message_change", args=(message.pk,)),
            "opts": self.model._meta,
        }
        return TemplateResponse(request, "accounts/operators/act.html", context)


def _uuid(term: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(term)
    except ValueError:
        return None


@admin.register(EarlyReceipt, site=site)
class EarlyReceiptAdmin(LongTableAdmin):
    """Unused delivery receipts with the reason: early, unmatched, or unclear."""

    list_display = (
        "received_at",
        "carrier",
        "reason",
        "carrier_message_id",
        "word",
        "status",
        "error_code",
    )
    list_filter = ("reason", "carrier", "status")
    list_select_related = ("carrier",)
    list_before_template = "messaging/admin/unused_receipts_export.html"
    search_fields = ("=carrier_message_id", "=word")

    def get_urls(self) -> list[Any]:
        export = path(
            "export/",
            self.admin_site.admin_view(self.export),
            name="messaging_earlyreceipt_export",
        )
        return [export, *super().get_urls()]

    def export(self, request: HttpRequest) -> HttpResponseBase:
        """Download the filtered rows as CSV or XLSX. It is audited."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        # To the list, every parameter is a filter.
        filters = request.GET.copy()
        filters.pop("format", None)
        narrowed = copy(request)
        narrowed.GET = filters  # type: ignore[assignment]
        found = self.get_changelist_instance(narrowed).get_queryset(narrowed)
        trail.record(
            "receipts.exported",
            actor=operator(request),
            detail={"filters": filters.urlencode()},
            address=client_address(request),
        )
        return download(request, "receipts-not-used", unused_receipts.rows(found))
