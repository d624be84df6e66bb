"""Admin pages of customers' SMPP accounts and their live binds."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from accounts.audit import trail
from accounts.keys import ip_allow_list
from accounts.operators.base import (
    OperatorAdmin,
    ReadOnlyAdmin,
    ReadOnlyInline,
    action_page,
    detail_action,
    operator,
    secret_page,
)
from accounts.operators.site import site
from imissive.core import clock
from imissive.core.api.requests import client_address
from imissive.core.problems import sentence
from messaging.admin import smpp_panels
from messaging.gateway import accounts, command_statuses, live_console, sessions
from messaging.models import SmppAccount, SmppServer, SmppSession

if TYPE_CHECKING:
    AccountModelForm = forms.ModelForm[SmppAccount]
else:
    AccountModelForm = forms.ModelForm

OVERLAPS = [("0", _("At once")), ("1", _("After an hour")), ("24", _("After a day"))]


class AccountForm(AccountModelForm):
    """An SMPP account's settings."""

    class Meta:
        model = SmppAccount
        fields = "__all__"

    def clean_networks(self) -> list[str]:
        """Return the IP allow-list in canonical form."""
        try:
            return ip_allow_list.clean(self.cleaned_data["networks"])
        except ip_allow_list.NotAList as error:
            raise forms.ValidationError(sentence(error.problem)) from None

    def clean_statuses(self) -> dict[str, int]:
        """Return the account's own command statuses; refuse unknown codes or statuses."""
        own: dict[str, int] = self.cleaned_data["statuses"] or {}
        problem = command_statuses.problem_with(own)
        if problem is not None:
            raise forms.ValidationError(sentence(problem))
        return own


class RotateForm(forms.Form):
    overlap = forms.ChoiceField(label=_("The old password ends"), choices=OVERLAPS)


class SessionInline(ReadOnlyInline):
    """The account's live binds, as the server processes report them."""

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
    """SMPP accounts, with the console and the rotation of passwords."""

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
        since = clock.now() - timedelta(seconds=SmppServer.LEASE_SECONDS)
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
        """Return False: customers still query messages by its ids. It can be disabled instead."""
        return False

    def has_rotate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("messaging.change_smppaccount")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            obj._password = accounts.rotate_password(obj)

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._show(request, obj, obj._password)

    def _show(self, request: HttpRequest, account: SmppAccount, password: str) -> HttpResponse:
        return secret_page(
            self,
            request,
            account,
            password,
            title=_("The account's password"),
            heading=f"{account.system_id} · {account.organization}",
            advice=_(
                "This is the only time that the password can be seen. Hand it over by a safe way;"
                " nobody can read it again."
            ),
        )

    @detail_action(_("Console"), permission="view", icon="monitor_heart")
    def console(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the console that its owner sees: binds, errors, the last PDUs."""
        account = self.get_object(request, object_id)
        if account is None:
            raise Http404
        (overview,) = live_console.overviews([account])
        context = {
            **self.admin_site.each_context(request),
            "title": _("SMPP console"),
            "subtitle": f"{account.organization}: {account.system_id}",
            "overview": overview,
            "opts": self.model._meta,
            **smpp_panels.panels(overview),
        }
        return TemplateResponse(request, "messaging/admin/smpp_console.html", context)

    @detail_action(_("New password"), permission="rotate", icon="key")
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def do(account: SmppAccount, values: dict[str, Any]) -> HttpResponse:
            overlap = timedelta(hours=int(values["overlap"]))
            password = accounts.rotate_password(account, overlap)
            trail.record(
                "smpp_account.password_rotated",
                actor=operator(request),
                organization=account.organization,
                target=account.system_id,
                detail={"overlap_hours": int(values["overlap"])},
                address=client_address(request),
            )
            return self._show(request, account, password)

        return action_page(
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
    """Live binds with their counters and last PDUs. An operator may end one."""

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
        return smpp_panels.written(live_console.lines(obj.pdus))

    @admin.display(description=_("Last errors"))
    def last_errors(self, obj: SmppSession) -> str:
        return smpp_panels.written(live_console.lines(obj.errors))

    def has_end_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("messaging.change_smppaccount")

    @detail_action(_("End this bind"), permission="end", icon="link_off", danger=True)
    def end(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def do(session: SmppSession, _values: dict[str, Any]) -> HttpResponse:
            sessions.end(session)
            trail.record(
                "smpp_bind.ended",
                actor=operator(request),
                organization=session.account.organization,
                target=session.account.system_id,
                detail={"kind": session.kind, "address": f"{session.address}:{session.port}"},
                address=client_address(request),
            )
            messages.success(request, _("The bind ends within two seconds."))
            # Its own page disappears with the bind.
            return HttpResponseRedirect(reverse("admin:messaging_smppsession_changelist"))

        return action_page(
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
