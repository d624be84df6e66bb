"""Admin pages of webhook endpoints and deliveries, read-only, without secrets and bodies."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from accounts.operators.base import LongTableAdmin, ReadOnlyAdmin, badge
from accounts.operators.site import site
from imissive.core.reasons import PostReason
from webhooks.dashboard.labels import in_words
from webhooks.endpoints.reasons import DisabledReason
from webhooks.models import Delivery, Endpoint


@admin.register(Endpoint, site=site)
class EndpointAdmin(ReadOnlyAdmin):
    list_display = ("url", "organization", "test", "enabled", "failing_since", "created_at")
    list_filter = ("test", "enabled", ("deleted_at", admin.EmptyFieldListFilter))
    list_select_related = ("organization",)
    search_fields = ("url", "organization__name")
    ordering = ("-created_at",)
    fields = (
        ("public_id", "organization", "test"),
        ("url", "description"),
        "events",
        ("enabled", "why_disabled"),
        ("created_at", "failing_since", "paused_until", "deleted_at"),
    )

    @admin.display(description=_("why it is disabled"))
    def why_disabled(self, obj: Endpoint) -> str:
        return in_words(DisabledReason.named(obj.disabled_reason))


@admin.register(Delivery, site=site)
class DeliveryAdmin(LongTableAdmin):
    list_display = (
        "__str__",
        "created_at",
        "event_type",
        "endpoint",
        "status_badge",
        "attempts",
        "response_status",
        "next_attempt_at",
    )
    list_filter = ("status",)
    list_select_related = ("event", "endpoint")
    search_fields = ("=endpoint__url",)
    search_help_text = _("An endpoint's whole URL")
    fields = (
        ("__str__", "event_type", "endpoint"),
        ("status", "attempts", "next_attempt_at"),
        ("response_status", "failure", "duration_ms"),
        ("created_at", "finished_at"),
    )

    @admin.display(description=_("error"))
    def failure(self, obj: Delivery) -> str:
        return in_words(PostReason.named(obj.error))

    @admin.display(description=_("event"))
    def event_type(self, obj: Delivery) -> str:
        return obj.event.type

    @badge(
        _("status"),
        {"pending": "info", "sending": "info", "delivered": "success", "failed": "danger"},
        ordering="status",
    )
    def status_badge(self, obj: Delivery) -> tuple[str, str]:
        return obj.status, obj.get_status_display()
