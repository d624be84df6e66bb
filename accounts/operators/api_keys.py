"""Admin pages of API keys: create, rotate, revoke, and change the IP allow-list, all audited."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
)

from accounts.keys import api_keys, ip_allow_list
from accounts.models import ApiKey
from accounts.operators.base import (
    OperatorAdmin,
    action_page,
    badge,
    detail_action,
    operator,
    secret_page,
)
from accounts.operators.site import site
from accounts.roles import Scope
from imissive.core import clock
from imissive.core.api.requests import client_address
from imissive.core.problems import sentence

if TYPE_CHECKING:
    ApiKeyModelForm = forms.ModelForm[ApiKey]
else:
    ApiKeyModelForm = forms.ModelForm

_OVERLAPS = [
    ("0", _("At once")),
    ("1", _("After an hour")),
    ("24", _("After a day")),
    ("168", _("After a week")),
]


class IpAllowListField(forms.CharField):
    """Form field for an IP allow-list, with lines, spaces, commas or semicolons between entries.

    The value is the list of entries in their canonical form.
    """

    def __init__(self) -> None:
        super().__init__(
            label=_("Addresses"),
            required=False,
            widget=UnfoldAdminTextareaWidget(attrs={"rows": 4, "dir": "ltr"}),
            help_text=_(
                "Addresses and networks it may be used from, one a line; none means everywhere."
            ),
        )

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        written = [entry for entry in re.split(r"[\s,;]+", super().clean(value)) if entry]
        try:
            return ip_allow_list.clean(written)
        except ip_allow_list.NotAList as error:
            raise forms.ValidationError(sentence(error.problem)) from None


class ApiKeyForm(ApiKeyModelForm):
    """A new API key."""

    scopes = forms.MultipleChoiceField(
        label=_("Scopes"),
        choices=Scope.choices,
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text=_("None ticked means everything."),
    )
    networks = IpAllowListField()

    class Meta:
        model = ApiKey
        fields = ("organization", "name", "test", "scopes", "networks", "expires_at")

    def clean_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= clock.now():
            raise forms.ValidationError(_("That time has passed."))
        return expires_at


class RotateForm(forms.Form):
    """The overlap in which the old key works beside the new one."""

    overlap = forms.ChoiceField(
        label=_("The old key ends"),
        choices=_OVERLAPS,
        initial="24",
        widget=UnfoldAdminSelectWidget,
    )


class RestrictForm(forms.Form):
    """The IP allow-list of a key."""

    networks = IpAllowListField()


@admin.register(ApiKey, site=site)
class ApiKeyAdmin(OperatorAdmin):
    """API keys. The secret is shown once, at creation; keys are revoked, never deleted."""

    form = ApiKeyForm
    autocomplete_fields = ("organization",)
    list_display = ("name", "hint", "organization", "test", "last_used_at", "expires_at", "state")
    list_filter = ("test", ("revoked_at", admin.EmptyFieldListFilter))
    list_select_related = ("organization",)
    ordering = ("-created_at",)
    search_fields = ("name", "hint", "organization__name")
    actions = ("revoke_selected",)
    actions_detail = ("rotate", "restrict", "revoke")
    fields = ("organization", "name", "test", "scopes", "networks", "expires_at")
    view_fields = (
        "organization",
        "name",
        "hint",
        "test",
        "scopes",
        "networks",
        "replaces",
        "created_by",
        "created_at",
        "expires_at",
        "revoked_at",
        "last_used_at",
        "last_used_address",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        found: QuerySet[ApiKey] = super().get_queryset(request)
        return found.annotate(rotated=Exists(ApiKey.objects.filter(replaces=OuterRef("pk"))))

    @badge(
        _("State"),
        {"active": "success", "rotated": "warning", "expired": "danger", "revoked": "danger"},
        ordering="revoked_at",
    )
    def state(self, obj: Any) -> tuple[str, Any]:
        if obj.revoked_at:
            return "revoked", _("Revoked")
        if obj.expires_at and obj.expires_at <= clock.now():
            return "expired", _("Expired")
        return ("rotated", _("Rotated")) if obj.rotated else ("active", _("Active"))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.view_fields if obj else self.fields

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Return only the actions that the key's state allows."""
        buttons: list[Any] = super().get_actions_detail(request, object_id)  # type: ignore[misc]
        key = self.get_object(request, str(object_id))
        if key is None:
            return buttons
        offered = {
            "active": {"rotate", "restrict", "revoke"},
            "rotated": {"restrict", "revoke"},
            "expired": {"revoke"},
            "revoked": set(),
        }[self.state(key)[0]]
        return [b for b in buttons if b.action_name.removeprefix("accounts_apikey_") in offered]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_decide_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("accounts.change_apikey")

    def has_rotate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the operator may add keys too, since a rotation shows a new secret."""
        may: bool = self.has_add_permission(request)
        return may and self.has_decide_permission(request)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        values = form.cleaned_data
        key, secret = api_keys.create_key(
            values["organization"],
            values["name"],
            test=values["test"],
            scopes=values["scopes"],
            allowed=values["networks"],
            expires_at=values["expires_at"],
            **_by(request, "created_by"),
        )
        obj.__dict__.update(key.__dict__)
        obj._secret = secret  # type: ignore[attr-defined]

    def _audit(self, request: HttpRequest, obj: Any, verb: str, message: Any) -> None:
        """Record nothing: `accounts.keys.api_keys` writes the audit log itself."""

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._show(request, obj, obj._secret)  # type: ignore[attr-defined]

    def _show(self, request: HttpRequest, key: ApiKey, secret: str) -> HttpResponse:
        return secret_page(
            self,
            request,
            key,
            secret,
            title=_("API key created"),
            heading=f"{key.name} · {key.organization}",
            advice=_(
                "This is the only time that the key can be seen. Hand it over by a safe way;"
                " nobody can read it again."
            ),
        )

    @detail_action(_("Rotate"), permission="rotate", icon="autorenew")
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def do(key: ApiKey, values: dict[str, Any]) -> HttpResponse:
            overlap = timedelta(hours=int(values["overlap"]))
            return self._show(request, *api_keys.rotate_key(key, overlap, **_by(request)))

        return action_page(
            self,
            request,
            object_id,
            title=_("Rotate this key"),
            explanation=_(
                "A new key with the same name, scopes and addresses is shown once. Both work until"
                " the old one ends."
            ),
            done=_("The key was rotated."),
            do=do,
            form_class=RotateForm,
        )

    @detail_action(_("Change addresses"), permission="decide", icon="lan")
    def restrict(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return action_page(
            self,
            request,
            object_id,
            title=_("Change where this key may be used from"),
            explanation=_("Requests from other addresses are refused from now on."),
            done=_("The key's addresses were changed."),
            do=lambda key, values: api_keys.restrict_key(key, values["networks"], **_by(request)),
            form_class=RestrictForm,
            initial=lambda key: {"networks": key.networks},
        )

    @detail_action(_("Revoke"), permission="decide", icon="key_off", danger=True)
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return action_page(
            self,
            request,
            object_id,
            title=_("Revoke this key"),
            explanation=_("Requests with it are refused from now on. It cannot be undone."),
            done=_("The key was revoked."),
            do=lambda key, _values: api_keys.revoke_key(key, **_by(request)),
            danger=True,
        )

    @admin.action(description=_("Revoke the selected keys"), permissions=["decide"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset.filter(revoked_at=None):
            api_keys.revoke_key(key, **_by(request))
        messages.success(request, _("The keys were revoked."))


def _by(request: HttpRequest, name: str = "actor") -> Mapping[str, Any]:
    """Return the operator and the IP address as keyword arguments for `accounts.keys.api_keys`."""
    return {name: operator(request), "address": client_address(request)}
