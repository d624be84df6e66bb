"""Carriers with their live binds, routes, and prices."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from accounts import audit
from accounts.admin_base import (
    OperatorAdmin,
    ReadOnlyInline,
    TabularInline,
    act,
    act_page,
    operator,
)
from accounts.admin_site import site
from accounts.credits_field import CreditsField
from accounts.templatetags.shown import credits_shown
from imissive.requests import client_address
from messaging.models import Carrier, CarrierBind, Price, Route, RouteCarrier

if TYPE_CHECKING:
    CarrierModelForm = forms.ModelForm[Carrier]
    PriceModelForm = forms.ModelForm[Price]
else:
    CarrierModelForm = PriceModelForm = forms.ModelForm


class CarrierForm(CarrierModelForm):
    password = forms.CharField(
        label=_("Password"),
        required=False,
        max_length=8,  # SMPP 3.4, 4.1.1: nine octets with the terminating NUL
        widget=UnfoldAdminPasswordWidget(
            attrs={"autocomplete": "new-password"}, render_value=False
        ),
        help_text=_("Never shown. Leave it empty to keep the one that is stored."),
    )

    class Meta:
        model = Carrier
        fields = "__all__"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # The stored one must not even reach the page's context.
        self.stored_password = self.instance.password
        self.initial["password"] = ""

    def clean_password(self) -> str:
        typed: str = self.cleaned_data["password"]
        return typed or self.stored_password


class BindInline(ReadOnlyInline):
    """What the carrier workers say of their binds, with how long ago they said it."""

    model = CarrierBind
    ordering = ("worker", "number")
    fields = readonly_fields = (
        "number",
        "worker",
        "mode",
        "state",
        "fresh",
        "since",
        "in_flight",
        "submitted",
        "throttled",
        "receipts",
        "last_error",
    )

    @admin.display(description=_("Reported lately"), boolean=True)
    def fresh(self, obj: CarrierBind) -> bool:
        return bool(obj.updated_at >= _stale_before())


def _stale_before() -> Any:
    return timezone.now() - timedelta(seconds=CarrierBind.STALE_AFTER_SECONDS)


def _with_bound(carriers: QuerySet[Carrier]) -> QuerySet[Carrier]:
    bound = Q(
        live_binds__state=CarrierBind.State.BOUND, live_binds__updated_at__gte=_stale_before()
    )
    return carriers.annotate(bound=Count("live_binds", filter=bound))


@admin.register(Carrier, site=site)
class CarrierAdmin(OperatorAdmin):
    form = CarrierForm
    inlines = (BindInline,)
    list_display = ("name", "slug", "host", "port", "live", "enabled", "paused", "is_sandbox")
    list_filter = ("enabled", "paused", "is_sandbox")
    search_fields = ("name", "slug", "host")
    ordering = ("name",)
    prepopulated_fields = {"slug": ("name",)}
    secret_fields = ("password",)
    actions_detail = ("pause", "resume", "enable", "disable")
    fieldsets = (
        (None, {"fields": (("name", "slug"), ("enabled", "paused", "is_sandbox"))}),
        (
            _("Connection"),
            {
                "fields": (
                    ("host", "port"),
                    ("tls", "tls_verify"),
                    ("system_id", "password", "system_type"),
                    ("bind_mode", "binds"),
                    ("window", "throughput"),
                    ("enquire_link_interval", "response_timeout"),
                )
            },
        ),
        (
            _("How it wants to be spoken to"),
            {
                "classes": ("collapse",),
                "fields": (
                    ("gsm_encoding", "service_type"),
                    ("submit_id_form", "receipt_id_form"),
                    ("source_ton_alphanumeric", "source_npi_alphanumeric"),
                    ("source_ton_numeric", "source_npi_numeric"),
                    ("source_ton_short_code", "source_npi_short_code"),
                    ("destination_ton", "destination_npi"),
                    ("destination_plus", "send_validity"),
                ),
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Carrier]:
        return _with_bound(super().get_queryset(request))

    @admin.display(description=_("Binds up"))
    def live(self, obj: Any) -> str:
        return f"{obj.bound} / {obj.binds}"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        # The slug names queues that workers listen to; on and off are acts of their own.
        return ("slug", "enabled", "paused") if obj else ("paused",)

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> dict[str, Any]:
        return {} if obj else dict(self.prepopulated_fields)

    def has_switch_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("messaging.change_carrier")

    @act(_("Pause"), permission="switch", icon="pause")
    def pause(self, request: HttpRequest, object_id: str) -> HttpResponse:
        explanation = _("Nothing more is submitted; binds stay up and receipts still come.")
        return self._switch(request, object_id, _("Pause this carrier"), explanation, paused=True)

    @act(_("Resume"), permission="switch", icon="play_arrow")
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        explanation = _("Submitting goes on with what waits.")
        return self._switch(request, object_id, _("Resume this carrier"), explanation, paused=False)

    @act(_("Enable"), permission="switch", icon="power")
    def enable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        explanation = _("Its worker binds, and routes use it.")
        return self._switch(request, object_id, _("Enable this carrier"), explanation, enabled=True)

    @act(_("Disable"), permission="switch", icon="power_off", danger=True)
    def disable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        explanation = _("Its binds close and routes pass it over. Receipts cannot come any more.")
        title = _("Disable this carrier")
        return self._switch(request, object_id, title, explanation, danger=True, enabled=False)

    def _switch(
        self,
        request: HttpRequest,
        object_id: str,
        title: Any,
        explanation: Any,
        *,
        danger: bool = False,
        **to: bool,
    ) -> HttpResponse:
        def do(carrier: Carrier, _values: dict[str, Any]) -> None:
            # Only these columns: another operator may be saving the others.
            Carrier.objects.filter(pk=carrier.pk).update(**to)
            audit.record(
                "carrier.switched",
                actor=operator(request),
                target=str(carrier),
                detail=to,
                address=client_address(request),
            )

        return act_page(
            self,
            request,
            object_id,
            title=title,
            explanation=explanation,
            done=_("Done. The workers follow within seconds."),
            do=do,
            danger=danger,
        )

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Only what would change something: a paused carrier is not paused again."""
        buttons: list[Any] = super().get_actions_detail(request, object_id)  # type: ignore[misc]
        carrier = self.get_object(request, str(object_id))
        if carrier is None:
            return buttons
        offered = {
            "resume" if carrier.paused else "pause",
            "disable" if carrier.enabled else "enable",
        }
        return [b for b in buttons if b.action_name.removeprefix("messaging_carrier_") in offered]


class StepInline(TabularInline):
    model = RouteCarrier
    extra = 1
    ordering = ("position", "id")
    fields = ("position", "carrier")
    verbose_name = _("carrier")
    verbose_name_plural = _("carriers, the lowest position first")


@admin.register(Route, site=site)
class RouteAdmin(OperatorAdmin):
    inlines = (StepInline,)
    autocomplete_fields = ("organization",)
    list_display = ("__str__", "organization", "order", "enabled")
    list_filter = ("enabled",)
    list_select_related = ("organization",)
    search_fields = ("prefix", "organization__name")
    ordering = ("prefix", "organization")
    fields = ("prefix", "organization", "enabled")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Route]:
        return super().get_queryset(request).prefetch_related("steps__carrier")

    @admin.display(description=_("carriers"))
    def order(self, obj: Route) -> str:
        return " → ".join(step.carrier.name for step in obj.steps.all()) or "—"


class PriceForm(PriceModelForm):
    micro = CreditsField(
        label=_("Credits for one part"), min_value=0, widget=UnfoldAdminTextInputWidget
    )

    class Meta:
        model = Price
        fields = ("prefix", "organization", "micro")
        widgets = {"prefix": UnfoldAdminTextInputWidget}


@admin.register(Price, site=site)
class PriceAdmin(OperatorAdmin):
    form = PriceForm
    autocomplete_fields = ("organization",)
    list_display = ("destination", "organization", "credits")
    list_select_related = ("organization",)
    search_fields = ("prefix", "organization__name")
    ordering = ("prefix", "organization")

    @admin.display(description=_("prefix"), ordering="prefix")
    def destination(self, obj: Price) -> str:
        return f"+{obj.prefix}" if obj.prefix else str(_("every number"))

    @admin.display(description=_("Credits for one part"), ordering="micro")
    def credits(self, obj: Price) -> str:
        return credits_shown(obj.micro)


def carriers_panel(request: HttpRequest) -> tuple[str, dict[str, Any]] | None:
    """Which carriers are up, for the admin's first page."""
    if not request.user.has_perm("messaging.view_carrier"):
        return None
    return "admin/panels/carriers.html", {"carriers": _with_bound(Carrier.objects.order_by("name"))}
