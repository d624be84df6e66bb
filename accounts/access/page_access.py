"""Who may see a dashboard page: the one door to everything under /dashboard/<organization>/."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.utils.translation import gettext

from accounts.audit import trail
from accounts.models import Acting, Member, Organization, User, member_organizations
from accounts.operators.impersonation import acting_as, member_for
from accounts.roles import Action, may
from imissive.core import ids
from imissive.core.api.requests import client_address

LAST_ORGANIZATION = "organization"
"""The session's key for the public id of the organization that was looked at last."""

SAFE = ("GET", "HEAD", "OPTIONS")
MAY_SHOW_SECRETS = frozenset({Action.MANAGE_WEBHOOKS})
"""Actions whose POSTs may answer with a secret."""


P = ParamSpec("P")
MemberView = Callable[Concatenate[HttpRequest, Member, P], HttpResponseBase]


def member_page(
    action: Action, *, acting: bool | None = None
) -> Callable[[MemberView[P]], Callable[..., HttpResponseBase]]:
    """A view for members whose role may do `action`; it is given the Member, not an id.

    Nobody is sent to the login; an outsider gets 404, as for an organization that does not exist;
    a member without the right gets 403. An operator who acts as the customer comes in like an
    admin; not with `acting` False, for what is about the member themself. What changes webhooks
    shows their secrets, so it needs `acting` True to be said of it.
    """

    def decorate(view: MemberView[P]) -> Callable[..., HttpResponseBase]:
        @login_required
        @wraps(view)
        def guarded(
            request: HttpRequest, organization_id: str, *args: P.args, **named: P.kwargs
        ) -> HttpResponseBase:
            member = _member(request, organization_id)
            if member is None:
                return _over(request, organization_id)
            if not may(member.role, action):
                raise PermissionDenied
            if member.acting and not _open_to_acting(request, action, acting):
                raise PermissionDenied
            if member.acting:
                return _kept_to_oneself(_acted(request, member, member.acting, *args, **named))
            if request.session.get(LAST_ORGANIZATION) != organization_id:
                request.session[LAST_ORGANIZATION] = organization_id
            return _kept_to_oneself(view(request, member, *args, **named))

        def _acted(
            request: HttpRequest, member: Member, acted: Acting, *args: P.args, **named: P.kwargs
        ) -> HttpResponseBase:
            """The view's answer to an operator, whose writes are in the audit log beforehand."""
            with trail.because(acted.reason):
                if request.method not in SAFE:
                    match = request.resolver_match
                    trail.record(
                        "acting.wrote",
                        actor=member.user,
                        organization=member.organization,
                        target=(match.url_name or "") if match else "",
                        address=client_address(request),
                    )
                return view(request, member, *args, **named)

        return guarded

    return decorate


def _open_to_acting(request: HttpRequest, action: Action, said: bool | None) -> bool:
    """Whether an operator who acts as the customer may have that view, by that method."""
    if said is not None:
        return said
    return action not in MAY_SHOW_SECRETS or request.method in SAFE


def _kept_to_oneself(response: HttpResponseBase) -> HttpResponseBase:
    """What a page shows must not be in the browser's cache for the next person at it."""
    response.headers.setdefault("Cache-Control", "private, no-store")
    return response


def _over(request: HttpRequest, organization_id: str) -> HttpResponseBase:
    """Back to the admin for an operator whose time as that customer is over; for others 404."""
    acted = _acting(request, organization_id)
    if acted is None:
        raise Http404
    told = gettext("Your time as %(organization)s is over.")
    messages.warning(request, told % {"organization": acted.organization})
    return redirect("admin:accounts_organization_change", acted.organization_id)


def _acting(request: HttpRequest, organization_id: str) -> Acting | None:
    value = ids.parse_id(ids.ORGANIZATION, organization_id)
    user = cast("User", request.user)
    return acting_as(request.session, user, value) if value else None


def _member(request: HttpRequest, organization_id: str) -> Member | None:
    """The member who asks, or the operator who acts as one."""
    value = ids.parse_id(ids.ORGANIZATION, organization_id)
    if value is None:
        return None
    user = cast("User", request.user)
    found = Member.objects.select_related("organization", "user")
    member = found.filter(user=user, organization_id=value).first()
    if member is not None:
        return member
    acted = _acting(request, organization_id)
    return member_for(acted) if acted is not None and not acted.over else None


def public_id(organization: Organization) -> str:
    """An organization's id as it stands in addresses."""
    return ids.public_id(ids.ORGANIZATION, organization.id)


def frame(member: Member) -> dict[str, Any]:
    """What the frame around every dashboard page shows: whose it is, the others, and the rights."""
    others = member_organizations(member.user).exclude(id=member.organization_id)
    return {
        "member": member,
        "acting": member.acting,
        "organization": member.organization,
        "organization_id": public_id(member.organization),
        "others": [(public_id(other), other) for other in others],
        "can": {action.value: may(member.role, action) for action in Action},
    }
