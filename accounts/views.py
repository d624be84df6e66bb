"""Pages for people that belong to no app in particular: the front door and the theme."""

from typing import cast

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from accounts.access import public_id
from accounts.models import User, member_organizations

THEMES = ("light", "dark", "auto")
_YEAR = 365 * 24 * 3600


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """What the platform is, or the dashboard of who is logged in."""
    if request.user.is_authenticated:
        return dashboard(request)
    return render(request, "landing.html", {"public_url": settings.PUBLIC_URL})


@require_safe
@login_required
def dashboard(request: HttpRequest) -> HttpResponse:
    """To the first organization of the user's; an operator without one to the admin."""
    user = cast("User", request.user)
    organization = member_organizations(user).first()
    if organization is not None:
        return redirect("overview", public_id(organization))
    if user.is_staff:
        return redirect("admin:index")
    return render(request, "dashboard/no_organization.html")


@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Keep the chosen theme in a cookie and go back to where it was chosen."""
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
