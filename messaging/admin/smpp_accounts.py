"""Customers' SMPP accounts, and their live binds."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.translation import gettext_lazy as _

from accounts import audit, networks
from accounts.admin_base import (
    OperatorAdmin,
    ReadOnlyAdmin,
    ReadOnlyInline,
    act,
    act_page,
    operator,
)
from accounts.admin_site import site
from imissive.requests import client_address
from messaging.models import SmppAccount, SmppServer, SmppSession
from messaging.smpp.server import accounts, sessions, statuses

if TYPE_CHECKING:
    AccountModelForm = forms.ModelForm[SmppAccount]
else:
    AccountModelForm = forms.ModelForm

OVERLAPS = [("0", _("At once")), ("1", _("After an hour")), ("24", _("After a day"))]


class AccountForm(AccountModelForm):
    class Meta:
        model = SmppAccount
        fields = "__all__"

    def clean_networks(self) -> list[str]:
        try:
            return networks.clean(self.cleaned_data["networks"])
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

    def clean_statuses(self) -> dict[str, int]:
        own: dict[str, int] = self.cleaned_data["statuses"] or {}
        try:
            statuses.check_own(own)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        return own


class RotateForm(forms.Form):
    overlap = forms.ChoiceField(label=_("The old password ends"), choices=OVERLAPS)


class SessionInline(ReadOnlyInline):
    """The binds that server processes have reported lately."""

    model = SmppSession
    fields = readonly_fields = (
        "kind",
        "address",
        "tls",
        "bound_at",
        "submits",
        "refused",
        "throttled",
        "receipts",
        "pending",
        "outstanding",
        "pace",
    )
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(id__in=sessions.live().values("id"))


@admin.register(SmppAccount, site=site)
class SmppAccountAdmin(OperatorAdmin):
    form = AccountForm
    inlines = (SessionInline,)
    autocomplete_fields = ("organization",)
    list_display = ("system_id", "organization", "name", "live", "enabled", "test", "last_bind_at")
    list_filter = ("enabled", "test")
    list_select_related = ("organization",)
    search_fields = ("system_id", "name", "organization__name")
    ordering = ("system_id",)
    actions_detail = ("rotate",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("organization", "system_id", "name"),
                    ("enabled", "test"),
                    ("password_changed_at", "previous_until"),
                )
            },
        ),
        (
            _("Binding"),
            {
                "fields": (
                    "networks",
                    ("tls_only", "max_binds"),
                    ("throughput", "window"),
                    ("last_bind_at", "last_bind_address"),
                )
            },
        ),
        (
            _("How it wants to be spoken to"),
            {
                "fields": (
                    ("receipt_format", "receipt_window", "receipt_hours"),
                    ("id_format", "default_coding", "country_code"),
                    ("may_be_urgent", "references_once"),
                    "statuses",
                )
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[SmppAccount]:
        since = timezone.now() - timedelta(seconds=SmppServer.LEASE_SECONDS)
        bound = Count("sessions", filter=Q(sessions__server__seen_at__gte=since))
        found: QuerySet[SmppAccount] = super().get_queryset(request)
        return found.annotate(bound=bound)

    @admin.display(description=_("Binds up"))
    def live(self, obj: Any) -> str:
        return f"{obj.bound} / {obj.max_binds}"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        always = ("password_changed_at", "previous_until", "last_bind_at", "last_bind_address")
        return (*always, "organization", "system_id", "test") if obj else always

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Its messages are asked about by its ids for a while: switch it off instead."""
        return False

    def has_rotate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("messaging.change_smppaccount")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            self._show(request, obj, accounts.rotate_password(obj))

    def _show(self, request: HttpRequest, account: SmppAccount, password: str) -> None:
        told = _("The password of %(system_id)s is %(password)s. It is not shown again.")
        messages.warning(request, told % {"system_id": account.system_id, "password": password})

    @act(_("New password"), permission="rotate", icon="key")
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def do(account: SmppAccount, values: dict[str, Any]) -> None:
            overlap = timedelta(hours=int(values["overlap"]))
            password = accounts.rotate_password(account, overlap)
            audit.record(
                "smpp_account.password_rotated",
                actor=operator(request),
                organization=account.organization,
                target=account.system_id,
                detail={"overlap_hours": int(values["overlap"])},
                address=client_address(request),
            )
            self._show(request, account, password)

        return act_page(
            self,
            request,
            object_id,
            title=_("A new password for this account"),
            explanation=_("Binds that are up stay up. The new password is shown once."),
            done=_("The password was changed."),
            do=do,
            form_class=RotateForm,
        )


@admin.register(SmppSession, site=site)
class SmppSessionAdmin(ReadOnlyAdmin):
    """The live console: what each bind does, with its last PDUs."""

    list_display = (
        "account",
        "kind",
        "address",
        "tls",
        "bound_at",
        "submits",
        "pace",
        "throttled",
        "pending",
        "receipts",
        "outstanding",
    )
    list_filter = ("kind", "tls")
    list_select_related = ("account",)
    search_fields = ("account__system_id", "account__organization__name", "address")
    fields = (
        ("account", "kind", "server"),
        ("address", "port", "tls"),
        ("interface_version", "system_type"),
        ("bound_at", "reported_at"),
        ("submits", "refused", "throttled", "pace", "pending"),
        ("receipts", "outstanding"),
        "last_pdus",
    )
    readonly_fields = ("last_pdus",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[SmppSession]:
        shown = super().get_queryset(request)
        return shown.filter(id__in=sessions.live().values("id"))

    @admin.display(description=_("Last PDUs"))
    def last_pdus(self, obj: SmppSession) -> str:
        return format_html_join("", "<div dir='ltr'>{}</div>", ((line,) for line in obj.pdus))
