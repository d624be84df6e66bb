"""Operators' pages: organizations, people, API keys, money, and the audit log."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminEmailInputWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts import audit, keys, ledger
from accounts.admin_base import (
    LongTableAdmin,
    OperatorAdmin,
    ReadOnlyAdmin,
    TabularInline,
    act,
    act_page,
    badge,
    find_organizations,
    operator,
)
from accounts.admin_site import site
from accounts.credits_field import CreditsField
from accounts.models import (
    ApiKey,
    AuditEntry,
    Balance,
    LedgerEntry,
    Member,
    Organization,
    User,
)
from accounts.people import vouch_for_address
from accounts.roles import Scope
from accounts.templatetags.shown import credits_shown
from imissive.errors import ApiError
from imissive.requests import client_address

if TYPE_CHECKING:
    _UserAdmin = DjangoUserAdmin[User]
    OrganizationModelForm = forms.ModelForm[Organization]
    ApiKeyModelForm = forms.ModelForm[ApiKey]
else:
    _UserAdmin = DjangoUserAdmin
    OrganizationModelForm = ApiKeyModelForm = forms.ModelForm


class AdjustForm(forms.Form):
    credits = CreditsField(
        label=_("Credits"),
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}),
        help_text=_("Positive tops up; negative corrects. Six decimals at most."),
    )
    reason = forms.CharField(
        label=_("Reason"), max_length=200, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3})
    )

    def clean_credits(self) -> int:
        micro: int = self.cleaned_data["credits"]
        if micro == 0:
            raise forms.ValidationError(_("Zero would change nothing."))
        return micro


class OrganizationForm(OrganizationModelForm):
    low_balance_threshold = CreditsField(
        label=_("Low balance threshold"),
        min_value=0,
        widget=UnfoldAdminTextInputWidget,
    )

    class Meta:
        model = Organization
        fields = ("name", "status", "max_parts", "low_balance_threshold")


class MemberInline(TabularInline):
    model = Member
    extra = 0
    autocomplete_fields = ("user",)
    fields = ("user", "role")


@admin.register(Organization, site=site)
class OrganizationAdmin(OperatorAdmin):
    form = OrganizationForm
    inlines = (MemberInline,)
    list_display = ("name", "status_badge", "balance_credits", "created_at")
    list_filter = ("status",)
    list_select_related = ("balance",)
    search_fields = ("name",)
    readonly_fields = ("balance_credits", "created_at")
    fields = (
        ("name", "status"),
        ("max_parts", "low_balance_threshold"),
        ("balance_credits", "created_at"),
    )
    actions_detail = ("adjust_credits",)

    @badge(_("status"), {"active": "success", "suspended": "danger"}, ordering="status")
    def status_badge(self, obj: Organization) -> tuple[str, str]:
        return obj.status, obj.get_status_display()

    @admin.display(description=_("Balance"), ordering="balance__micro")
    def balance_credits(self, obj: Organization) -> str:
        balance = getattr(obj, "balance", None)
        return credits_shown(balance.micro if balance else 0)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Its ledger and messages stay: an organization is suspended, not deleted."""
        return False

    def has_adjust_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("accounts.add_ledgerentry")

    @act(_("Top up or correct"), permission="adjust", icon="payments")
    def adjust_credits(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def do(organization: Organization, values: dict[str, Any]) -> None:
            micro, reason = values["credits"], values["reason"]
            try:
                ledger.adjust(organization, micro, reason=reason, actor=operator(request))
            except ledger.InsufficientCredits:
                told = "The balance does not cover that correction."
                raise ApiError("INSUFFICIENT_CREDITS", told) from None
            audit.record(
                "credits.adjusted",
                actor=operator(request),
                organization=organization,
                target=str(organization),
                detail={"credits": ledger.credits_text(micro), "reason": reason},
                address=client_address(request),
            )

        return act_page(
            self,
            request,
            object_id,
            title=_("Top up or correct"),
            explanation=_("The change and its reason stay in the ledger and cannot be undone."),
            done=_("The balance was changed."),
            do=do,
            form_class=AdjustForm,
        )


class _LowerCaseEmail:
    """Addresses that differ only in case are one address."""

    cleaned_data: dict[str, Any]

    def clean_email(self) -> str:
        return str(self.cleaned_data["email"]).strip().lower()


class AddUserForm(_LowerCaseEmail, UserCreationForm):  # type: ignore[misc]
    class Meta:
        model = User
        fields = ("email", "name", "language")
        widgets = {"email": UnfoldAdminEmailInputWidget}


class ChangeUserForm(_LowerCaseEmail, UserChangeForm):  # type: ignore[misc]
    class Meta:
        model = User
        fields = "__all__"


@admin.register(User, site=site)
class UserAdmin(_UserAdmin, OperatorAdmin):
    form = ChangeUserForm
    add_form = AddUserForm
    change_password_form = AdminPasswordChangeForm
    ordering = ("email",)
    list_display = ("email", "name", "is_active", "is_staff", "last_login")
    list_filter = ("is_staff", "is_active")
    search_fields = ("email", "name")
    readonly_fields = ("last_login", "date_joined")
    secret_fields = ("password",)
    fieldsets = (
        (None, {"fields": ("email", "password", "name", "language", "is_active")}),
        (_("Operator"), {"fields": ("is_staff", "is_superuser", "groups", "user_permissions")}),
        (_("Dates"), {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "language", "password1", "password2")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Only a superuser makes operators; else whoever may change users could become one."""
        if operator(request).is_superuser:
            return self.readonly_fields
        return (*self.readonly_fields, "is_staff", "is_superuser", "groups", "user_permissions")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if isinstance(obj, User) and obj.is_staff and not operator(request).is_superuser:
            return False
        return bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The ledger and the audit log name people for ever: a user is made inactive instead."""
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change or "email" in form.changed_data:
            vouch_for_address(obj)


class ApiKeyForm(ApiKeyModelForm):
    scopes = forms.MultipleChoiceField(
        label=_("Scopes"),
        choices=Scope.choices,
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text=_("None ticked means everything."),
    )

    class Meta:
        model = ApiKey
        fields = ("organization", "name", "test", "scopes", "expires_at")


@admin.register(ApiKey, site=site)
class ApiKeyAdmin(OperatorAdmin):
    """Keys are made, shown once, and revoked; never changed, deleted or shown again."""

    form = ApiKeyForm
    autocomplete_fields = ("organization",)
    list_display = ("name", "hint", "organization", "test", "last_used_at", "expires_at", "state")
    list_filter = ("test", ("revoked_at", admin.EmptyFieldListFilter))
    list_select_related = ("organization",)
    ordering = ("-created_at",)
    search_fields = ("name", "hint", "organization__name")
    actions = ("revoke_selected",)
    actions_detail = ("revoke",)
    fields = ("organization", "name", "test", "scopes", "expires_at")
    view_fields = (
        "organization",
        "name",
        "hint",
        "test",
        "scopes",
        "created_by",
        "created_at",
        "expires_at",
        "revoked_at",
        "last_used_at",
        "last_used_address",
    )

    @badge(_("State"), {"active": "success", "revoked": "danger"}, ordering="revoked_at")
    def state(self, obj: ApiKey) -> tuple[str, Any]:
        return ("revoked", _("Revoked")) if obj.revoked_at else ("active", _("Active"))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.view_fields if obj else self.fields

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("accounts.change_apikey")

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        values = form.cleaned_data
        key, secret = keys.create_key(
            values["organization"],
            values["name"],
            test=values["test"],
            scopes=values["scopes"],
            expires_at=values["expires_at"],
            created_by=operator(request),
        )
        obj.__dict__.update(key.__dict__)
        obj._secret = secret  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """The secret is in this one answer: a message would leave it in a cookie or a session."""
        context = {
            **self.admin_site.each_context(request),
            "title": _("API key created"),
            "subtitle": str(obj),
            "key": obj,
            "secret": obj._secret,  # type: ignore[attr-defined]
            "opts": self.model._meta,
        }
        return TemplateResponse(request, "admin/key_created.html", context)

    @act(_("Revoke"), permission="revoke", icon="key_off", danger=True)
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return act_page(
            self,
            request,
            object_id,
            title=_("Revoke this key"),
            explanation=_("Requests with it are refused from now on. It cannot be undone."),
            done=_("The key was revoked."),
            do=lambda key, _values: self._revoke(request, key),
            danger=True,
        )

    @admin.action(description=_("Revoke the selected keys"), permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset.filter(revoked_at=None):
            self._revoke(request, key)
        messages.success(request, _("The keys were revoked."))

    def _revoke(self, request: HttpRequest, key: ApiKey) -> None:
        keys.revoke_key(key)
        audit.record(
            "apikey.revoked",
            actor=operator(request),
            organization=key.organization,
            target=str(key),
            detail={"id": key.public_id},
            address=client_address(request),
        )


@admin.register(Balance, site=site)
class BalanceAdmin(ReadOnlyAdmin):
    list_display = ("organization", "credits")
    list_select_related = ("organization",)
    search_fields = ("organization__name",)
    ordering = ("micro",)
    fields = ("organization", "credits")

    @admin.display(description=_("Balance"), ordering="micro")
    def credits(self, obj: Balance) -> str:
        return credits_shown(obj.micro)


@admin.register(LedgerEntry, site=site)
class LedgerAdmin(LongTableAdmin):
    list_display = ("created_at", "organization", "kind", "credits", "after", "reason", "actor")
    list_filter = ("kind",)
    list_select_related = ("organization", "actor")
    search_fields = ("organization__name",)
    search_help_text = _("An organization's name")
    fields = (
        "created_at",
        "organization",
        "kind",
        "credits",
        "after",
        "reference",
        "reason",
        "actor",
    )

    @admin.display(description=_("amount"))
    def credits(self, obj: LedgerEntry) -> str:
        return credits_shown(obj.amount)

    @admin.display(description=_("balance after"))
    def after(self, obj: LedgerEntry) -> str:
        return credits_shown(obj.balance_after)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LedgerEntry], search_term: str
    ) -> tuple[QuerySet[LedgerEntry], bool]:
        if search_term:
            queryset = queryset.filter(organization__in=find_organizations(search_term))
        return queryset, False


@admin.register(AuditEntry, site=site)
class AuditAdmin(LongTableAdmin):
    list_display = ("created_at", "action", "target", "organization", "actor", "address")
    list_select_related = ("organization", "actor")
    search_fields = ("action", "target", "actor__email")
    search_help_text = _("An action, a target or an operator's e-mail")
    fields = ("created_at", "action", "target", "organization", "actor", "address", "detail")


@admin.register(Group, site=site)
class GroupAdmin(DjangoGroupAdmin, OperatorAdmin):
    """What operators who are no superusers may do."""
