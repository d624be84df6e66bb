"""Admin pages of carriers: settings, live binds, figures; start, pause, drain, resume, stop."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import Count, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.audit import trail
from accounts.operators.base import (
    OperatorAdmin,
    ReadOnlyInline,
    action_page,
    badge,
    detail_action,
    operator,
)
from accounts.operators.site import site
from accounts.templatetags.shown import percent
from imissive.core import clock
from imissive.core.api.requests import client_address
from messaging.carriers import traffic, unused_receipts
from messaging.models import Carrier, CarrierBind

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList

    CarrierModelForm = forms.ModelForm[Carrier]
else:
    from unfold.views import ChangeList

    CarrierModelForm = forms.ModelForm


class CarrierForm(CarrierModelForm):
    """A carrier's settings. The stored password is never shown, and kept where none is typed."""

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
        """Return the typed password, or the stored one."""
        typed: str = self.cleaned_data["password"]
        return typed or self.stored_password

    def clean_receipt_words(self) -> dict[str, str]:
        try:
            return unused_receipts.check_words(self.cleaned_data["receipt_words"] or {})
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None


class WordForm(forms.Form):
    """The meaning of one status word of delivery receipts."""

    word = forms.CharField(
        label=_("Status word"), max_length=20, widget=UnfoldAdminTextInputWidget()
    )
    meaning = forms.ChoiceField(
        label=_("Meaning"),
        choices=[
            ("failed", _("Not delivered")),
            ("delivered", _("Delivered")),
            ("expired", _("Expired")),
            ("enroute", _("Not final: wait for another receipt")),
        ],
        widget=UnfoldAdminSelectWidget(),
    )

    def clean_word(self) -> str:
        word: str = self.cleaned_data["word"].strip().upper()
        return word


class BindInline(ReadOnlyInline):
    """A carrier's binds as its workers report them; old reports are marked."""

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
        "protocol_errors",
        "last_error",
    )

    @admin.display(description=_("Reported lately"), boolean=True)
    def fresh(self, obj: CarrierBind) -> bool:
        return bool(obj.updated_at >= _stale_before())


def _stale_before() -> Any:
    return clock.now() - timedelta(seconds=CarrierBind.STALE_AFTER_SECONDS)


def state_of(carrier: Any) -> tuple[str, Any]:
    """Return a carrier's state and its label. The carrier is from `_with_bound`."""
    if not carrier.enabled:
        return "stopped", _("Stopped")
    if not carrier.bound:
        return "down", _("Down")
    if carrier.draining:
        return "draining", _("Draining")
    return ("paused", _("Paused")) if carrier.paused else ("up", _("Up"))


def _in_flight(carrier: Carrier) -> int:
    """Return the number of submits in flight over all binds with a current report."""
    fresh = CarrierBind.objects.filter(carrier=carrier, updated_at__gte=_stale_before())
    return fresh.aggregate(all=Sum("in_flight"))["all"] or 0


def _with_bound(carriers: QuerySet[Carrier]) -> QuerySet[Carrier]:
    bound = Q(
        live_binds__state=CarrierBind.State.BOUND, live_binds__updated_at__gte=_stale_before()
    )
    return carriers.annotate(bound=Count("live_binds", filter=bound))


class _WithFigures(ChangeList):
    """The list of carriers with each one's figures, which are read once for all."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        figures = traffic.figures()
        self.result_list = list(self.result_list)
        for carrier in self.result_list:
            carrier.figures = figures[carrier.pk]


@admin.register(Carrier, site=site)
class CarrierAdmin(OperatorAdmin):
    """Carriers. Switching one on or off is an action with its own audit entry."""

    form = CarrierForm
    inlines = (BindInline,)
    list_display = ("name", "state", "live", "waiting", "rate", "errors", "host", "is_sandbox")
    list_filter = ("enabled", "paused", "draining", "is_sandbox")
    change_form_before_template = "messaging/admin/carrier_figures.html"
    search_fields = ("name", "slug", "host")
    ordering = ("name",)
    prepopulated_fields = {"slug": ("name",)}
    secret_fields = ("password",)
    actions_detail = ("resume", "pause", "drain", "enable", "disable", "map_word")
    fieldsets = (
        (None, {"fields": (("name", "slug"), ("enabled", "paused", "draining", "is_sandbox"))}),
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
                    ("gsm_encoding", "source_coding", "service_type"),
                    ("submit_id_form", "receipt_id_form"),
                    ("source_ton_alphanumeric", "source_npi_alphanumeric"),
                    ("source_ton_numeric", "source_npi_numeric"),
                    ("source_ton_short_code", "source_npi_short_code"),
                    ("destination_ton", "destination_npi"),
                    ("destination_plus", "send_validity"),
                ),
            },
        ),
        (
            _("Receipts"),
            {
                "classes": ("collapse",),
                "fields": (
                    ("receipts_by_data_sm", "receipts_unmarked", "receipt_text_first"),
                    "receipt_words",
                ),
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Carrier]:
        return _with_bound(super().get_queryset(request))

    def get_changelist(self, request: HttpRequest, **_named: Any) -> type[ChangeList]:
        return _WithFigures

    @admin.display(description=_("Queue"))
    def waiting(self, obj: Any) -> str:
        return str(obj.figures.queued_shown)

    @admin.display(description=_("Parts a second"))
    def rate(self, obj: Any) -> str:
        return str(obj.figures.per_second_shown)

    @admin.display(description=_("Errors in the last hour"))
    def errors(self, obj: Any) -> str:
        share = obj.figures.hour.error_rate
        return "—" if share is None else percent(share)

    @badge(
        _("State"),
        {"up": "success", "down": "danger", "paused": "warning", "draining": "warning"},
        ordering="enabled",
    )
    def state(self, obj: Any) -> tuple[str, Any]:
        return state_of(obj)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        carrier = self.get_object(request, object_id)
        context = dict(extra_context or {})
        if carrier and self.has_view_permission(request):
            context["figures"] = traffic.figures().get(carrier.pk)
            context["carrier_state"] = state_of(carrier)
            context["in_flight"] = _in_flight(carrier)
            context["bound"] = carrier.bound
            context["unused"] = unused_receipts.counts(carrier.pk)
            context["unknown_words"] = unused_receipts.unknown_words(carrier.pk)
        response: HttpResponse = super().change_view(request, object_id, form_url, context)
        return response

    @admin.display(description=_("Binds up"))
    def live(self, obj: Any) -> str:
        return f"{obj.bound} / {obj.binds}"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        # The slug is part of the names of queues that workers consume; switches are actions.
        return ("slug", "enabled", "paused", "draining") if obj else ("paused", "draining")

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> dict[str, Any]:
        return {} if obj else dict(self.prepopulated_fields)

    def has_switch_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("messaging.change_carrier")

    @detail_action(_("Pause"), permission="switch", icon="pause")
    def pause(self, request: HttpRequest, object_id: str) -> HttpResponse:
        explanation = _("Nothing more is submitted; binds stay up and receipts still come.")
        title = _("Pause this carrier")
        return self._switch(request, object_id, title, explanation, paused=True, draining=False)

    @detail_action(_("Drain"), permission="switch", icon="water_drop")
    def drain(self, request: HttpRequest, object_id: str) -> HttpResponse:
        explanation = _(
            "Nothing more is submitted; what is under way finishes, and receipts still come. What"
            " waits, and what is accepted from now on, goes to the next carrier of its route, or"
            " waits here where there is none."
        )
        title = _("Drain this carrier")
        return self._switch(request, object_id, title, explanation, draining=True, paused=False)

    @detail_action(_("Resume"), permission="switch", icon="play_arrow")
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        explanation = _("Submitting goes on with what waits.")
        title = _("Resume this carrier")
        return self._switch(request, object_id, title, explanation, paused=False, draining=False)

    @detail_action(_("Start"), permission="switch", icon="power")
    def enable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        explanation = _("Its worker binds, and routes use it.")
        return self._switch(request, object_id, _("Start this carrier"), explanation, enabled=True)

    @detail_action(_("Stop"), permission="switch", icon="power_off", danger=True)
    def disable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        explanation = _(
            "Its binds close and routes pass it over. Receipts cannot come any more: drain it first"
            " where there is time."
        )
        title = _("Stop this carrier")
        return self._switch(request, object_id, title, explanation, danger=True, enabled=False)

    @detail_action(_("Map a status word"), permission="switch", icon="translate")
    def map_word(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Map a status word of the carrier's delivery receipts to a status."""

        def do(carrier: Carrier, values: dict[str, Any]) -> None:
            # The lock keeps another operator's word, as all words are in one column.
            fresh = Carrier.objects.select_for_update(no_key=True).get(pk=carrier.pk)
            word, meaning = values["word"], values["meaning"]
            fresh.receipt_words = {**fresh.receipt_words, word: meaning}
            fresh.save(update_fields=["receipt_words"])
            trail.record(
                "carrier.word_mapped",
                actor=operator(request),
                target=str(carrier),
                detail={"word": word, "meaning": meaning},
                address=client_address(request),
            )

        def initial(carrier: Carrier) -> dict[str, Any]:
            unknown = unused_receipts.unknown_words(carrier.pk)
            requested = request.GET.get("word", "")
            return {"word": requested or (unknown[0].word if unknown else "")}

        return action_page(
            self,
            request,
            object_id,
            title=_("Map a status word"),
            explanation=_(
                "What the carrier writes after “stat:” in its receipts. The kept receipts that have"
                " this word count within a minute, and all that come from now on."
            ),
            done=_("Done. Kept receipts with this word count within a minute."),
            do=do,
            form_class=WordForm,
            initial=initial,
        )

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
            # Only these columns, because another operator may be saving the others.
            Carrier.objects.filter(pk=carrier.pk).update(**to)
            trail.record(
                "carrier.switched",
                actor=operator(request),
                target=str(carrier),
                detail=to,
                address=client_address(request),
            )

        return action_page(
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
        """Return only the buttons that change something: a paused carrier has no "Pause"."""
        buttons: list[Any] = super().get_actions_detail(request, object_id)  # type: ignore[misc]
        carrier = self.get_object(request, str(object_id))
        if carrier is None:
            return buttons
        suspended = carrier.paused or carrier.draining
        offered = {
            *(["resume"] if suspended else []),
            *([] if carrier.paused else ["pause"]),
            *([] if carrier.draining else ["drain"]),
            "disable" if carrier.enabled else "enable",
            *(["map_word"] if unused_receipts.unknown_words(carrier.pk) else []),
        }
        return [b for b in buttons if b.action_name.removeprefix("messaging_carrier_") in offered]


def carriers_panel(request: HttpRequest) -> tuple[str, dict[str, Any]] | None:
    """Return the panel of carriers with their states and figures, for the admin's first page."""
    if not request.user.has_perm("messaging.view_carrier"):
        return None
    figures = traffic.figures()
    rows = [
        (carrier, state_of(carrier), figures.get(carrier.pk))
        for carrier in _with_bound(Carrier.objects.order_by("name"))
    ]
    return "messaging/admin/panels/carriers.html", {"carriers": rows}
