"""Who may see a dashboard page: the one door to everything under /dashboard/<organization>/."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase

from accounts.models import Member, Organization, User, member_organizations
from accounts.roles import Action, may
from imissive import ids

LAST_ORGANIZATION = "organization"
"""The session's key for the public id of the organization that was looked at last."""

P = ParamSpec("P")
MemberView = Callable[Concatenate[HttpRequest, Member, P], HttpResponseBase]


def member_page(action: Action) -> Callable[[MemberView[P]], Callable[..., HttpResponseBase]]:
    """A view for members whose role may do `action`; it is given the Member, not an id.

    Nobody is sent to the login; an outsider gets 404, as for an organization that does not exist;
    a member without the right gets 403.
    """

    def decorate(view: MemberView[P]) -> Callable[..., HttpResponseBase]:
        @login_required
        @wraps(view)
        def guarded(
            request: HttpRequest, organization_id: str, *args: P.args, **named: P.kwargs
        ) -> HttpResponseBase:
            member = _member(cast("User", request.user), organization_id)
            if member is None:
                raise Http404
            if not may(member.role, action):
                raise PermissionDenied
            if request.session.get(LAST_ORGANIZATION) != organization_id:
                request.session[LAST_ORGANIZATION] = organization_id
            response = view(request, member, *args, **named)
            # What a page shows must not be in the browser's cache for the next person at it.
            response.headers.setdefault("Cache-Control", "private, no-store")
            return response

        return guarded

    return decorate


def _member(user: User, organization_id: str) -> Member | None:
    value = ids.parse_id(ids.ORGANIZATION, organization_id)
    if value is None:
        return None
    found = Member.objects.select_related("organization", "user")
    return found.filter(user=user, organization_id=value).first()


def public_id(organization: Organization) -> str:
    """An organization's id as it stands in addresses."""
    return ids.public_id(ids.ORGANIZATION, organization.id)


def frame(member: Member) -> dict[str, Any]:
    """What the frame around every dashboard page shows: whose it is, the others, and the rights."""
    others = member_organizations(member.user).exclude(id=member.organization_id)
    return {
        "member": member,
        "organization": member.organization,
        "organization_id": public_id(member.organization),
        "others": [(public_id(other), other) for other in others],
        "can": {action.value: may(member.role, action) for action in Action},
    }
