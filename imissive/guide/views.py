"""The guide at /docs, and the reader's test key for its examples."""

from typing import cast

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_cache_control
from django.utils.translation import get_language
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_POST, require_safe

from accounts.access.page_access import public_id
from accounts.models import Member, User
from accounts.roles import Action, may
from imissive.core import ids
from imissive.guide import keys
from imissive.guide.page import page


@gzip_page
@require_safe
def guide(request: HttpRequest) -> HttpResponse:
    """The whole guide, for everybody; with the reader's own test key in it where there is one."""
    user = request.user if request.user.is_authenticated else None
    kept = keys.current(request, user) if user else None
    sender = keys.plain_sender(kept.key.organization) if kept else None
    made = page(get_language() or "en")
    context = {
        "base": settings.PUBLIC_URL,
        "contents": made.contents,
        "body": made.for_reader(kept.secret, sender) if kept else made.for_nobody,
        "kept": kept,
        "sender": sender,
        "login_url": f"{reverse(settings.LOGIN_URL)}?next={reverse('guide')}",
        "organizations": [
            (public_id(organization), organization.name)
            for organization in (keys.organizations(user) if user else [])
        ],
    }
    response = render(request, "imissive/guide/page.html", context)
    # A key must not be in the browser's cache for the next person at it.
    patch_cache_control(response, private=True, no_store=True)
    return response


@require_POST
@login_required
def make_key(request: HttpRequest) -> HttpResponse:
    """Make a test key for the examples: for a member whose role may make keys."""
    user = cast("User", request.user)
    asked = ids.parse_id(ids.ORGANIZATION, request.POST.get("organization", ""))
    member = Member.objects.filter(user=user, organization_id=asked).first() if asked else None
    if member is None:
        raise Http404
    if not may(member.role, Action.MANAGE_KEYS):
        raise PermissionDenied
    keys.make(request, user, member.organization)
    return redirect(f"{reverse('guide')}#your-key")


@require_POST
@login_required
def drop_key(request: HttpRequest) -> HttpResponse:
    """Revoke the key that was made for the examples."""
    keys.drop(request, cast("User", request.user))
    return redirect(f"{reverse('guide')}#your-key")
