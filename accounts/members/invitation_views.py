"""The page that an invitation's link opens."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.access.page_access import public_id
from accounts.access.post_limits import ACCEPT_INVITATION, limit_posts
from accounts.members import invitations
from accounts.members.people import has_address
from accounts.members.team import NotAllowed
from accounts.models import Invitation, User
from imissive.core.api.requests import client_address


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@limit_posts(ACCEPT_INVITATION)
def invitation_page(request: HttpRequest, token: str) -> HttpResponse:
    """Show the invitation; on POST, accept it, or continue to sign-up without an account.

    An unknown, used, revoked or expired invitation gets 404.
    """
    invitation = invitations.find(token)
    if invitation is None:
        return render(request, "accounts/members/invitation_gone.html", status=404)
    if request.user.is_authenticated:
        return _for_user(request, invitation, request.user)
    known = User.objects.filter(email=invitation.email).exists()
    if request.method == "POST" and not known:
        invitations.keep(request, token)
        return redirect("account_signup")
    return _show(request, invitation, "sign_in" if known else "sign_up")


def _for_user(request: HttpRequest, invitation: Invitation, user: User) -> HttpResponse:
    if not has_address(user, invitation.email):
        return _show(request, invitation, "another_address")
    if request.method != "POST":
        return _show(request, invitation, "accept")
    try:
        invitations.accept(invitation, user, client_address(request))
    except NotAllowed as refusal:
        messages.error(request, str(refusal.why))
        return redirect("dashboard")
    invitations.forget(request)
    messages.success(
        request, _("Welcome to %(organization)s.") % {"organization": invitation.organization.name}
    )
    return redirect("overview", public_id(invitation.organization))


def _show(request: HttpRequest, invitation: Invitation, state: str) -> HttpResponse:
    context = {"invitation": invitation, "state": state}
    return render(request, "accounts/members/invitation_page.html", context)
