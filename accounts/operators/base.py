"""Base classes of the admin: audited changes, read-only and very long tables, action pages."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import unfold.decorators
from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextareaWidget

from accounts.audit import trail
from accounts.models import Organization, User
from imissive.core.api.requests import client_address
from imissive.core.errors import ApiError
from imissive.core.problems import sentence

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
    _Paginator = Paginator[Any]
else:
    from unfold.admin import ModelAdmin, TabularInline

    _Paginator = Paginator

F = TypeVar("F", bound=Callable[..., Any])

COUNTED_AT_MOST = 10_000
FILTER_LOOKUPS = ("exact", "in", "isnull", "isempty", "id__exact")
"""Lookups of a field that Django's own list filters use."""


def detail_action(
    description: Any, *, permission: str, icon: str = "", danger: bool = False
) -> Callable[[F], F]:
    """Return a decorator that makes a ModelAdmin's method a button on an object's page.

    `permission` names the admin's method `has_<permission>_permission`. (Unfold also accepts a
    permission's codename, but then queries the database for it at every start.)
    """
    variant = ActionVariant.DANGER if danger else ActionVariant.DEFAULT
    return cast(
        "Callable[[F], F]",
        unfold.decorators.action(
            description=description, permissions=[permission], icon=icon or None, variant=variant
        ),
    )


def badge(description: Any, colors: Mapping[str, str], *, ordering: str) -> Callable[[F], F]:
    """Return a decorator that shows a column as coloured labels.

    `colors` maps values to success, info, warning or danger.
    """
    return cast(
        "Callable[[F], F]",
        unfold.decorators.display(description=description, label=dict(colors), ordering=ordering),
    )


def operator(request: HttpRequest) -> User:
    """Return the operator who made the request; the admin admits only operators."""
    return cast("User", request.user)


class BoundedPaginator(_Paginator):
    """A paginator that counts at most COUNTED_AT_MOST rows; older rows are found by filters."""

    @cached_property
    def count(self) -> int:
        return cast("QuerySet[Any]", self.object_list)[:COUNTED_AT_MOST].count()


class OperatorAdmin(ModelAdmin):
    """A ModelAdmin that writes each addition, change and deletion to the audit log."""

    list_per_page = 50
    list_fullwidth = True
    compressed_fields = False  # labels above their fields: several fit on one line
    # The audit log records that these fields were changed, but never their values.
    secret_fields: tuple[str, ...] = ()
    # Lookups that other pages of the admin link to, beyond those of the list's own filters.
    linked_lookups: tuple[str, ...] = ()

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Return whether `list_filter` or `linked_lookups` has the lookup; no other is allowed.

        Django itself allows a query of any column of the table, such as `text__startswith`: that
        would reveal masked columns letter by letter, without an entry in the audit log.
        """
        allowed = set(self.linked_lookups)
        for each in self.list_filter:
            if isinstance(each, str | tuple):
                field = each if isinstance(each, str) else each[0]
                allowed |= {f"{field}__{kind}" for kind in FILTER_LOOKUPS}
            else:
                allowed.add(getattr(each, "parameter_name", ""))
        return lookup in allowed

    @admin.display(description=_("id"))
    def public_id(self, obj: Any) -> str:
        """Return the public id; the model's own property has no title to translate."""
        return str(obj.public_id)

    def organization_of(self, obj: Any) -> Organization | None:
        """Return the organization that the object belongs to, for the audit log."""
        return obj if isinstance(obj, Organization) else getattr(obj, "organization", None)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj._audited_values = {
            name: "changed"
            if name in self.secret_fields
            else [_plain(form.initial.get(name)), _plain(form.cleaned_data.get(name))]
            for name in form.changed_data
            if change
        }
        super().save_model(request, obj, form, change)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> LogEntry:
        self._audit(request, obj, "added", message)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> LogEntry:
        self._audit(request, obj, "changed", message)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[LogEntry]:
        for obj in queryset:
            self._audit(request, obj, "deleted", "")
        return super().log_deletions(request, queryset)

    def _audit(self, request: HttpRequest, obj: Any, verb: str, message: Any) -> None:
        detail: dict[str, Any] = {"id": str(getattr(obj, "public_id", obj.pk))}
        if message:
            detail["what"] = message if isinstance(message, list) else _json(message)
        if values := getattr(obj, "_audited_values", None):
            detail["values"] = values
        trail.record(
            f"{obj._meta.model_name}.{verb}",
            actor=operator(request),
            organization=self.organization_of(obj),
            target=str(obj),
            detail=detail,
            address=client_address(request),
        )


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | type(None)) else str(value)


def _json(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return str(text)


class ReadOnly:
    """Mixin of a ModelAdmin or an inline: nobody may add, change or delete, superusers included."""

    def has_add_permission(self, *_arguments: Any) -> bool:
        return False

    def has_change_permission(self, *_arguments: Any, **_named: Any) -> bool:
        return False

    def has_delete_permission(self, *_arguments: Any, **_named: Any) -> bool:
        return False


class ReadOnlyAdmin(ReadOnly, OperatorAdmin):
    """A read-only table."""


class LongTableAdmin(ReadOnlyAdmin):
    """A read-only table of millions of rows: newest first, not fully counted, searched by index."""

    ordering = ("-id",)
    show_full_result_count = False
    paginator = BoundedPaginator

    linked_lookups = ("organization__id__exact",)

    def get_sortable_by(self, request: HttpRequest) -> tuple[str, ...]:
        # Ordering by a column without an index would sort the whole table.
        return ()


class ReadOnlyInline(ReadOnly, TabularInline):
    """A read-only table of the rows that belong to an object."""

    extra = 0
    can_delete = False
    show_change_link = False
    hide_title = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Select the related objects of the shown columns, to avoid a query for each row."""
        shown = self.get_fields(request)
        names = [field.name for field in self.model._meta.fields if field.is_relation]
        return super().get_queryset(request).select_related(*(n for n in names if n in shown))


class ConfirmForm(forms.Form):
    """A confirmation without any field."""


class ReasonForm(forms.Form):
    """The reason for an action."""

    reason = forms.CharField(
        label=_("Reason"), max_length=200, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3})
    )


def action_page(
    admin: ModelAdmin,
    request: HttpRequest,
    object_id: str,
    *,
    title: Any,
    explanation: Any,
    done: Any,
    do: Callable[[Any, dict[str, Any]], object],
    form_class: type[forms.Form] = ConfirmForm,
    initial: Callable[[Any], dict[str, Any]] = lambda _obj: {},
    facts: list[tuple[Any, str]] | None = None,
    danger: bool = False,
) -> HttpResponse:
    """Show the page of an action on one object: GET asks, POST does it in one transaction.

    `do` takes the object and the form's values; an ApiError that it raises is shown in the form,
    and a response that it returns replaces the redirect to the object. `initial` returns the form's
    initial values; `facts` are shown above it, each with its label. Raises Http404.
    """
    obj = admin.get_object(request, object_id)
    if obj is None:
        raise Http404
    form = form_class(request.POST if request.method == "POST" else None, initial=initial(obj))
    url = reverse(_name(admin, obj, "change"), args=(obj.pk,))
    if request.method == "POST" and form.is_valid():
        try:
            with transaction.atomic():
                response = do(obj, form.cleaned_data)
        except ApiError as error:
            form.add_error(None, sentence(error.problem))
        else:
            if isinstance(response, HttpResponse):
                return response
            messages.success(request, done)
            return HttpResponseRedirect(url)
    context = {
        **admin.admin_site.each_context(request),
        "title": title,
        "subtitle": str(obj),
        "explanation": explanation,
        "facts": facts,
        "form": form,
        "object": obj,
        "back": url,
        "danger": danger,
        "opts": admin.model._meta,
    }
    return TemplateResponse(request, "accounts/operators/act.html", context)


def secret_page(
    admin: ModelAdmin,
    request: HttpRequest,
    obj: Model,
    secret: str,
    *,
    title: Any,
    heading: str,
    advice: Any,
) -> HttpResponse:
    """Show a secret in this response only: Django's messages would store it in a cookie."""
    context = {
        **admin.admin_site.each_context(request),
        "title": title,
        "subtitle": str(obj),
        "heading": heading,
        "advice": advice,
        "secret": secret,
        "back": reverse(_name(admin, obj, "change"), args=(obj.pk,)),
        "opts": admin.model._meta,
    }
    response = TemplateResponse(request, "accounts/operators/secret.html", context)
    add_never_cache_headers(response)
    return response


def _name(admin: ModelAdmin, obj: Model, page: str) -> str:
    return f"{admin.admin_site.name}:{obj._meta.app_label}_{obj._meta.model_name}_{page}"


def find_organizations(term: str) -> list[Any]:
    """Return the ids of up to 50 organizations matching the term, for tables too long to join."""
    found = Organization.objects.filter(name__icontains=term).values_list("id", flat=True)
    return list(found[:50])
