"""Customers' SMPP accounts, and their live binds."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
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
from messaging import smpp_console
from messaging.admin import smpp_panels
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
    actions_detail = ("console", "rotate")
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
                    ("id_format", "default_coding", "ascii_coding", "country_code"),
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

    @act(_("Console"), permission="view", icon="monitor_heart")
    def console(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What its owner sees too: binds, errors, the last PDUs."""
        account = self.get_object(request, object_id)
        if account is None:
            raise Http404
        (standing,) = smpp_console.standings([account])
        context = {
            **self.admin_site.each_context(request),
            "title": _("SMPP console"),
            "subtitle": f"{account.organization}: {account.system_id}",
            "standing": standing,
            "opts": self.model._meta,
            **smpp_panels.panels(standing),
        }
        return TemplateResponse(request, "admin/smpp_console.html", context)

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
    """Every live bind: what it does, with its last PDUs. An operator may end it."""

    actions_detail = ("end",)

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
        "heard_at",
    )
    list_filter = ("kind", "tls")
    list_select_related = ("account",)
    search_fields = ("account__system_id", "account__organization__name", "address")
    fields = (
        ("account", "kind", "server"),
        ("address", "port", "tls"),
        ("interface_version", "system_type"),
        ("bound_at", "heard_at", "reported_at"),
        ("submits", "refused", "throttled", "protocol_errors", "pace", "pending"),
        ("receipts", "outstanding"),
        "last_errors",
        "last_pdus",
    )
    readonly_fields = ("last_errors", "last_pdus")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SmppSession]:
        shown = super().get_queryset(request)
        return shown.filter(id__in=sessions.live().values("id"))

    @admin.display(description=_("Last PDUs"))
    def last_pdus(self, obj: SmppSession) -> str:
        return smpp_panels.written(smpp_console.lines(obj.pdus))

    @admin.display(description=_("Last errors"))
    def last_errors(self, obj: SmppSession) -> str:
        return smpp_panels.written(smpp_console.lines(obj.errors))

    def has_end_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("messaging.change_smppaccount")

    @act(_("End this bind"), permission="end", icon="link_off", danger=True)
    def end(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def do(session: SmppSession, _values: dict[str, Any]) -> HttpResponse:
            sessions.end(session)
            audit.record(
                "smpp_bind.ended",
                actor=operator(request),
                organization=session.account.organization,
                target=session.account.system_id,
                detail={"kind": session.kind, "address": f"{session.address}:{session.port}"},
                address=client_address(request),
            )
            messages.success(request, _("The bind ends within two seconds."))
            # Its own page is gone in a moment.
            return HttpResponseRedirect(reverse("admin:messaging_smppsession_changelist"))

        return act_page(
            self,
            request,
            object_id,
            title=_("End this bind"),
            explanation=_(
                "It is answered what it is owed, then unbound. Clients usually bind again at once:"
                " to keep one out, switch its account off."
            ),
            done="",
            do=do,
            danger=True,
        )
