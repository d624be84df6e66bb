"""The page for closing an organization."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.access.page_access import FORM, member_page
from accounts.members.team import NotAllowed
from accounts.models import Balance, Member
from accounts.roles import Action
from accounts.ui.pages import show_page
from imissive.core.api.requests import client_address
from messaging.dashboard.account_closure import close


class CloseForm(forms.Form):
    """The confirmation: the organization's name has to be typed."""

    name = forms.CharField(
        label=gettext_lazy("Type the organization's name"),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, organization_name: str, data: Any = None) -> None:
        super().__init__(data)
        self.organization_name = organization_name

    def clean_name(self) -> str:
        """Return the typed name; refuse another than the organization's."""
        name: str = self.cleaned_data["name"]
        if name.split() != self.organization_name.split():
            raise forms.ValidationError(_("That is not its name."))
        return name


@member_page(Action.MANAGE_ORGANIZATION, FORM)
def close_organization(request: HttpRequest, member: Member) -> HttpResponse:
    """Show the consequences; a POST with the organization's name closes it."""
    organization = member.organization
    form = CloseForm(organization.name, request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        try:
            close(member, client_address(request))
        except NotAllowed as refusal:
            form.add_error(None, str(refusal.why))
        else:
            messages.success(request, _("%(name)s is closed.") % {"name": organization.name})
            return redirect("dashboard")
    balance = Balance.objects.filter(organization=organization).first()
    context = {"page": "settings", "form": form, "balance": balance.micro if balance else 0}
    return show_page(request, member, "messaging/dashboard/account_closure.html", context)
