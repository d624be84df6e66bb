"""Admin pages of accounts: organizations, users, balances, the ledger, and the audit log."""

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import Field, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext_lazy as _
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import (
    UnfoldAdminEmailInputWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.access.page_access import public_id
from accounts.credits.field import CreditsField
from accounts.members.people import vouch_for_address
from accounts.models import (
    AuditEntry,
    Balance,
    LedgerEntry,
    Member,
    Organization,
    User,
)
from accounts.operators import credit_changes, impersonation, organization_panels, suspension
from accounts.operators.api_keys import ApiKeyAdmin
from accounts.operators.base import (
    LongTableAdmin,
    OperatorAdmin,
    ReadOnlyAdmin,
    ReasonForm,
    TabularInline,
    action_page,
    badge,
    detail_action,
    find_organizations,
    operator,
)
from accounts.operators.site import site
from accounts.templatetags.shown import credits_shown
from imissive.core.api.requests import client_address
from imissive.core.countries import home_choices

if TYPE_CHECKING:
    _UserAdmin = DjangoUserAdmin[User]
    OrganizationModelForm = forms.ModelForm[Organization]
    MemberModelForm = forms.ModelForm[Member]
else:
    _UserAdmin = DjangoUserAdmin
    OrganizationModelForm = forms.ModelForm
    MemberModelForm = forms.ModelForm

__all__ = ["ApiKeyAdmin"]  # registered by being imported

site.organization_panels += [
    organization_panels.money,
    organization_panels.keys,
    organization_panels.audit_log,
]


class OrganizationForm(OrganizationModelForm):
    """The fields of an organization that operators change."""

    low_balance_threshold = CreditsField(
        label=_("Low balance threshold"),
        min_value=0,
        widget=UnfoldAdminTextInputWidget,
    )

    default_country = forms.ChoiceField(
        label=_("Default country"),
        choices=lambda: [("", "—"), *home_choices()],
        required=False,
        widget=UnfoldAdminSelectWidget,
    )

    class Meta:
        model = Organization
        fields = (
            "name",
            "default_country",
            "max_parts",
            "low_balance_threshold",
            "send_per_minute",
            "bulk_per_minute",
            "calls_per_minute",
        )

    def clean_max_parts(self) -> int:
        parts: int = self.cleaned_data["max_parts"]
        if not 1 <= parts <= 10:
            raise forms.ValidationError(_("A message may have 1 to 10 parts."))
        return parts


class MemberForm(MemberModelForm):
    """The role of a member. The user of an existing member is fixed, so that rows need no choices
    of users."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        user = self.fields.get("user")
        if self.instance.pk and isinstance(user, forms.ModelChoiceField):
            names = {"aria-label": str(user.label)}
            # The inner widget: the outer one adds the links to the user's page.
            user.widget.widget = UnfoldAdminSelectWidget(attrs=names)
            user.choices = [(self.instance.user_id, str(self.instance.user))]
            user.disabled = True


class MemberInline(TabularInline):
    model = Member
    form = MemberForm
    extra = 0
    hide_title = True
    autocomplete_fields = ("user",)
    fields = ("user", "role")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Member]:
        found: QuerySet[Member] = super().get_queryset(request)
        return found.select_related("user")

    def formfield_for_choice_field(
        self, db_field: "Field[Any, Any]", request: HttpRequest, **options: Any
    ) -> forms.TypedChoiceField | None:
        """Add an accessible name to each select, because the column heading does not label it."""
        field = super().formfield_for_choice_field(db_field, request, **options)
        if field is not None:
            field.widget.attrs["aria-label"] = str(db_field.verbose_name)
        return field


@admin.register(Organization, site=site)
class OrganizationAdmin(OperatorAdmin):
    form = OrganizationForm
    inlines = (MemberInline,)
    list_display = ("name", "status_badge", "balance_credits", "created_at")
    list_filter = ("status",)
    list_select_related = ("balance",)
    search_fields = ("name",)
    readonly_fields = ("status", "suspended_because", "created_at")
    change_form_before_template = "accounts/operators/organization.html"
    fields = (
        ("name", "created_at"),
        ("status", "suspended_because"),
        ("default_country", "max_parts", "low_balance_threshold"),
        ("send_per_minute", "bulk_per_minute", "calls_per_minute"),
    )
    actions_detail = ("adjust_credits", "suspend", "reinstate", "act_as")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the organization with the panels that the operator has permission to see."""
        organization = self.get_object(request, object_id)
        panels = []
        if organization and self.has_view_permission(request, organization):
            panels = [build(request, organization) for build in site.organization_panels]
        context = {**(extra_context or {}), "organization_panels": filter(None, panels)}
        shown: HttpResponse = super().change_view(request, object_id, form_url, context)
        return shown

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Return only the actions that the organization's status allows."""
        buttons: list[Any] = super().get_actions_detail(request, object_id)  # type: ignore[misc]
        organization = self.get_object(request, str(object_id))
        if organization is None:
            return buttons
        offered = {
            Organization.Status.ACTIVE: {"adjust_credits", "suspend", "act_as"},
            Organization.Status.SUSPENDED: {"adjust_credits", "reinstate", "act_as"},
            Organization.Status.CLOSED: {"adjust_credits", "act_as"},
        }[Organization.Status(organization.status)]
        prefix = "accounts_organization_"
        return [b for b in buttons if b.action_name.removeprefix(prefix) in offered]

    @badge(_("status"), {"active": "success", "suspended": "danger"}, ordering="status")
    def status_badge(self, obj: Organization) -> tuple[str, str]:
        return obj.status, obj.get_status_display()

    @admin.display(description=_("Balance"), ordering="balance__micro")
    def balance_credits(self, obj: Organization) -> str:
        balance = getattr(obj, "balance", None)
        return credits_shown(balance.micro if balance else 0)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: ledger and messages are kept, so an organization is only suspended."""
        return False

    def has_adjust_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("accounts.add_ledgerentry")

    @detail_action(_("Top up or correct"), permission="adjust", icon="payments")
    def adjust_credits(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return credit_changes.change_page(self, request, object_id)

    def has_suspend_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return operator(request).has_perm("accounts.change_organization")

    @detail_action(_("Suspend"), permission="suspend", icon="block", danger=True)
    def suspend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return action_page(
            self,
            request,
            object_id,
            title=_("Suspend this organization"),
            explanation=_(
                "Its calls and new messages are refused at once; what is queued still goes. Its"
                " members read the reason on every page."
            ),
            done=_("The organization is suspended."),
            do=lambda organization, values: suspension.suspend(
                organization,
                operator(request),
                values["reason"],
                address=client_address(request),
            ),
            form_class=ReasonForm,
            danger=True,
        )

    @detail_action(_("Lift the suspension"), permission="suspend", icon="check_circle")
    def reinstate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return action_page(
            self,
            request,
            object_id,
            title=_("Lift the suspension"),
            explanation=_("Its calls and messages are accepted again. The reason is for the log."),
            done=_("The organization is active again."),
            do=lambda organization, values: suspension.reinstate(
                organization,
                operator(request),
                values["reason"],
                address=client_address(request),
            ),
            form_class=ReasonForm,
        )

    def has_impersonate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return operator(request).has_perm(impersonation.PERMISSION)

    @detail_action(_("Act as this customer"), permission="impersonate", icon="person_search")
    def act_as(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def do(organization: Organization, values: dict[str, Any]) -> HttpResponse:
            impersonation.start(
                request.session,
                operator(request),
                organization,
                values["reason"],
                address=client_address(request),
            )
            return redirect("overview", public_id(organization))

        return action_page(
            self,
            request,
            object_id,
            title=_("Act as this customer"),
            explanation=_(
                "For half an hour you see and do what an admin of the organization does, without"
                " its keys, secrets and members. Its members read in their audit log that you did,"
                " what you changed, and the reason."
            ),
            done="",
            do=do,
            form_class=ReasonForm,
        )


class _LowerCaseEmail:
    """Store email addresses in lower case, so that they are unique without regard to case."""

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
        """Make operator fields read-only for all but superusers, against privilege escalation."""
        if operator(request).is_superuser:
            return self.readonly_fields
        return (*self.readonly_fields, "is_staff", "is_superuser", "groups", "user_permissions")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if isinstance(obj, User) and obj.is_staff and not operator(request).is_superuser:
            return False
        return bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: ledger and audit log refer to users, who are deactivated instead."""
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change or "email" in form.changed_data:
            vouch_for_address(obj)


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


class ActorKind(admin.SimpleListFilter):
    """Filter of the audit log by the kind of actor; operators are looked for most."""

    title = _("who")
    parameter_name = "who"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("operator", _("Operators")),
            ("acting", _("Operators acting as a customer")),
            ("member", _("Members")),
            ("platform", _("Programs and the platform itself")),
        ]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry]
    ) -> QuerySet[AuditEntry]:
        impersonations = Q(action__startswith="acting.") | Q(detail__has_key="acting_because")
        kinds = {
            "operator": Q(actor__is_staff=True),
            "acting": impersonations,
            "member": Q(actor__is_staff=False),
            "platform": Q(actor=None),
        }
        return queryset.filter(kinds.get(self.value() or "", Q()))


@admin.register(AuditEntry, site=site)
class AuditAdmin(LongTableAdmin):
    """The audit log, read-only: a database trigger refuses every change."""

    list_display = ("created_at", "action", "target", "organization", "actor", "address", "why")
    list_filter = (ActorKind,)
    list_select_related = ("organization", "actor")
    search_fields = ("action",)
    search_help_text = _(
        "An action, a target, a reason, an organization, a person's e-mail or an address"
    )
    fields = ("created_at", "action", "target", "organization", "actor", "address", "detail")

    @admin.display(description=_("reason"))
    def why(self, obj: AuditEntry) -> str:
        return str(obj.detail.get("acting_because") or obj.detail.get("reason") or "—")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry], search_term: str
    ) -> tuple[QuerySet[AuditEntry], bool]:
        """Filter by all words of the search term; each must match some field of the entry."""
        for word in search_term.replace("\0", "").split():
            people = User.objects.filter(Q(email__icontains=word) | Q(name__icontains=word))
            queryset = queryset.filter(
                Q(action__icontains=word)
                | Q(target__icontains=word)
                | Q(detail__reason__icontains=word)
                | Q(detail__acting_because__icontains=word)
                | (Q(address=word) if _is_address(word) else Q())
                | Q(organization__in=find_organizations(word))
                | Q(actor__in=list(people.values_list("pk", flat=True)[:50]))
            )
        return queryset, False


def _is_address(word: str) -> bool:
    try:
        ip_address(word)
    except ValueError:
        return False
    return True


@admin.register(Group, site=site)
class GroupAdmin(DjangoGroupAdmin, OperatorAdmin):
    """Groups of permissions of operators who are not superusers."""
