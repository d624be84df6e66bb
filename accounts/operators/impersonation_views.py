"""The view that ends an impersonation; the organization's admin page starts it."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from accounts.operators import impersonation
from accounts.operators.base import operator
from imissive.core.api.requests import client_address


@require_POST
@login_required
def end(request: HttpRequest) -> HttpResponse:
    """End the impersonation; redirect to the organization's admin page, or home without one."""
    ended = impersonation.end(request.session, operator(request), address=client_address(request))
    if ended is None:
        return redirect("home")
    return redirect("admin:accounts_organization_change", ended.organization_id)
