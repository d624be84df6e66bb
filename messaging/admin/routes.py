"""Admin pages of routes, with the route preview, and of prices."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from accounts.access.page_access import public_id
from accounts.credits.field import CreditsField
from accounts.models import Organization
from accounts.operators.base import OperatorAdmin, TabularInline, detail_action
from accounts.operators.site import site
from accounts.templatetags.shown import credits_shown
from imissive.core import ids
from messaging.admin.route_preview import preview_route
from messaging.models import Price, Route, RouteCarrier
from messaging.sending.evaluation import Draft

if TYPE_CHECKING:
    PriceModelForm = forms.ModelForm[Price]
else:
    PriceModelForm = forms.ModelForm


class RoutePreviewForm(forms.Form):
    """A message as a customer would send it."""

    organization = forms.CharField(
        label=_("Organization"),
        max_length=120,
        widget=UnfoldAdminTextInputWidget,
        help_text=_("Its name or its id."),
    )
    to = forms.CharField(
        label=_("Number"),
        max_length=40,
        widget=UnfoldAdminTextInputWidget(attrs={"dir": "ltr", "inputmode": "tel"}),
        help_text=_("Such as +966501234567."),
    )
    sender = forms.CharField(
        label=_("Sender ID"),
        required=False,
        max_length=16,
        widget=UnfoldAdminTextInputWidget(attrs={"dir": "ltr"}),
        help_text=_("Empty: the organization's default."),
    )
    text = forms.CharField(
        label=_("Text"),
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "dir": "auto"}),
        strip=False,
    )
    test = forms.BooleanField(
        label=_("With a test key"), required=False, widget=UnfoldBooleanSwitchWidget
    )

    def clean_organization(self) -> Organization:
        """Return the organization with that id or name; refuse an ambiguous name."""
        typed: str = self.cleaned_data["organization"]
        parsed = ids.parse_id(ids.ORGANIZATION, typed)
        condition = Q(id=parsed) if parsed else Q(name__iexact=typed) | Q(name__icontains=typed)
        found = list(Organization.objects.filter(condition).order_by("name")[:6])
        exact = [each for each in found if each.name.casefold() == typed.casefold()]
        if len(exact) == 1 or len(found) == 1:
            return (exact or found)[0]
        if not found:
            raise forms.ValidationError(_("There is no such organization."))
        message = gettext("Several are called so: %(names)s. Give the id of one.")
        names = ", ".join(f"{each} ({public_id(each)})" for each in found)
        raise forms.ValidationError(message % {"names": names})


class StepInline(TabularInline):
    model = RouteCarrier
    extra = 1
    ordering = ("position", "id")
    fields = ("position", "carrier")
    verbose_name = _("carrier")
    verbose_name_plural = _("carriers, the lowest position first")


@admin.register(Route, site=site)
class RouteAdmin(OperatorAdmin):
    """Routes with their carriers in the order of failover."""

    inlines = (StepInline,)
    actions_list = ("try_it",)
    autocomplete_fields = ("organization",)
    list_display = ("__str__", "organization", "order", "enabled")
    list_filter = ("enabled",)
    list_select_related = ("organization",)
    search_fields = ("prefix", "organization__name")
    ordering = ("prefix", "organization")
    fields = ("prefix", "organization", "enabled")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Route]:
        return super().get_queryset(request).prefetch_related("steps__carrier")

    def has_try_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_view_permission(request)

    @detail_action(_("Try it"), permission="try", icon="science")
    def try_it(self, request: HttpRequest) -> HttpResponse:
        """Show the route preview: the carriers and price of a message, and why. Nothing is sent."""
        data = request.GET if "to" in request.GET else None
        initial = {"organization": request.GET.get("organization", "")}
        form = RoutePreviewForm(data, initial=initial)
        preview = None
        if data is not None and form.is_valid():
            values = form.cleaned_data
            draft = Draft(values["to"], values["text"], values["sender"] or None)
            preview = preview_route(values["organization"], draft, test=values["test"])
        context = {
            **self.admin_site.each_context(request),
            "title": _("Try a route"),
            "form": form,
            "trial": preview,
            "opts": self.model._meta,
        }
        return TemplateResponse(request, "messaging/admin/route_preview.html", context)

    @admin.display(description=_("carriers"))
    def order(self, obj: Route) -> str:
        return " → ".join(step.carrier.name for step in obj.steps.all()) or "—"


class PriceForm(PriceModelForm):
    """A price, entered in credits and stored in micro-credits."""

    micro = CreditsField(
        label=_("Credits for one part"), min_value=0, widget=UnfoldAdminTextInputWidget
    )

    class Meta:
        model = Price
        fields = ("prefix", "organization", "micro")
        widgets = {"prefix": UnfoldAdminTextInputWidget}


@admin.register(Price, site=site)
class PriceAdmin(OperatorAdmin):
    """Prices of one part by prefix, general or an organization's own."""

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
