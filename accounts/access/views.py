"""Pages outside an organization: landing page, dashboard redirect, new organization, theme."""

import sys
from typing import cast

from django import forms
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render
from django.template.loader import get_template
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django.views.defaults import server_error

from accounts.access.page_access import LAST_ORGANIZATION, public_id
from accounts.members.people import check_name, open_organization
from accounts.models import Member, User, member_organizations
from accounts.roles import Role
from imissive.core.api.requests import client_address
from imissive.core.errors import RETRY_AFTER, note_unavailable
from imissive.core.sql import Fault, fault_of

OWNED_AT_MOST = 10
THEMES = ("light", "dark", "auto")
_YEAR = 365 * 24 * 3600


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the landing page, or redirect a logged-in user to the dashboard."""
    if request.user.is_authenticated:
        return dashboard(request)
    return render(request, "accounts/access/landing.html")


@require_safe
@login_required
def dashboard(request: HttpRequest) -> HttpResponse:
    """Redirect to the overview of the organization visited last, otherwise of the user's first one.

    An operator without an organization is redirected to the admin.
    """
    user = cast("User", request.user)
    organizations = {public_id(each): each for each in member_organizations(user)}
    last = request.session.get(LAST_ORGANIZATION)
    if organizations:
        return redirect("overview", last if last in organizations else next(iter(organizations)))
    if user.is_staff:
        return redirect("admin:index")
    return render(request, "accounts/access/no_organization.html", {"form": OrganizationForm()})


class OrganizationForm(forms.Form):
    """The name of a new organization."""

    name = forms.CharField(
        label=_("Organization"),
        max_length=120,
        validators=[check_name],
        widget=forms.TextInput(attrs={"autocomplete": "organization"}),
    )


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new_organization(request: HttpRequest) -> HttpResponse:
    """Show the form for another organization; on POST, create it with the user as its owner.

    Raises PermissionDenied where sign-up is closed.
    """
    if not settings.SIGNUP_OPEN:
        raise PermissionDenied
    user = cast("User", request.user)
    form = OrganizationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        if Member.objects.filter(user=user, role=Role.OWNER).count() < OWNED_AT_MOST:
            name = form.cleaned_data["name"]
            organization = open_organization(user, name, client_address(request))
            return redirect("overview", public_id(organization))
        form.add_error("name", _("You own too many organizations already. Ask support for more."))
    return render(request, "accounts/access/new_organization.html", {"form": form})


@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Save the chosen theme in a cookie, and redirect to the page where it was chosen."""
    theme = request.POST.get("theme")
    if theme not in THEMES:
        return HttpResponseBadRequest()
    back = request.POST.get("next", "/")
    here = {request.get_host()}
    if not url_has_allowed_host_and_scheme(back, here, require_https=request.is_secure()):
        back = "/"
    response = redirect(back)
    if theme == "auto":
        response.delete_cookie("theme", samesite="Lax")
    else:
        response.set_cookie(
            "theme", theme, _YEAR, secure=request.is_secure(), httponly=True, samesite="Lax"
        )
    return response


def failed(request: HttpRequest) -> HttpResponse:
    """Return the page of an error that nobody handled: 503 where the database cannot do it now.

    Django calls it (`handler500`) while it handles the exception. Nothing here asks the database.
    """
    cause = sys.exception()
    if not isinstance(cause, Exception) or fault_of(cause) is not Fault.DATABASE:
        return server_error(request)
    note_unavailable(cause)
    page = get_template("500.html").render({"status": 503})
    response = HttpResponse(page, status=503, headers={"Retry-After": RETRY_AFTER})
    # Django would log it once more, as a mistake of ours.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response
