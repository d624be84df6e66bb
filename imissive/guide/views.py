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
    """Show the guide to everybody, with the reader's test key filled in where there is one."""
    user = request.user if request.user.is_authenticated else None
    reader_key = keys.current(request, user) if user else None
    sender = keys.plain_sender(reader_key.key.organization) if reader_key else None
    content = page(get_language() or "en")
    body = content.for_reader(reader_key.secret, sender) if reader_key else content.without_key
    context = {
        "base": settings.PUBLIC_URL,
        "contents": content.contents,
        "body": body,
        "kept": reader_key,
        "sender": sender,
        "login_url": f"{reverse(settings.LOGIN_URL)}?next={reverse('guide')}",
        "organizations": [
            (public_id(organization), organization.name)
            for organization in (keys.organizations(user) if user else [])
        ],
    }
    response = render(request, "imissive/guide/page.html", context)
    # The next person at a shared computer must not find a key in the browser's cache.
    patch_cache_control(response, private=True, no_store=True)
    return response


@require_POST
@login_required
def make_key(request: HttpRequest) -> HttpResponse:
    """Create a test key for the examples, for a member whose role may create keys.

    Raises Http404 for others than members, PermissionDenied for members without the permission.
    """
    user = cast("User", request.user)
    given = ids.parse_id(ids.ORGANIZATION, request.POST.get("organization", ""))
    member = Member.objects.filter(user=user, organization_id=given).first() if given else None
    if member is None:
        raise Http404
    if not may(member.role, Action.MANAGE_KEYS):
        raise PermissionDenied
    keys.create(request, user, member.organization)
    return redirect(f"{reverse('guide')}#your-key")


@require_POST
@login_required
def drop_key(request: HttpRequest) -> HttpResponse:
    """Revoke the key that was created for the examples."""
    keys.revoke(request, cast("User", request.user))
    return redirect(f"{reverse('guide')}#your-key")
