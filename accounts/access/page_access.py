"""Access control of dashboard pages: membership, role permissions and operator impersonation.

Every view under /dashboard/<organization>/ passes through `member_page`.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods

from accounts.audit import trail
from accounts.models import Impersonation, Member, Organization, User
from accounts.operators.impersonation import impersonation_of, member_for
from accounts.roles import Action, may
from imissive.core import ids
from imissive.core.api.requests import client_address
from imissive.core.lookups import ModelT, row_of

LAST_ORGANIZATION = "organization"
"""Session key of the public id of the organization that was visited last."""

READ, POST, FORM = ("GET", "HEAD"), ("POST",), ("GET", "HEAD", "POST")
"""Methods of a page: one that shows, one that acts, and a form that does both."""
SAFE = ("GET", "HEAD", "OPTIONS")
MAY_SHOW_SECRETS = frozenset({Action.MANAGE_WEBHOOKS})
"""Actions whose POSTs may show a secret in their response."""


P = ParamSpec("P")
MemberView = Callable[Concatenate[HttpRequest, Member, P], HttpResponseBase]


def member_page(
    action: Action, methods: Sequence[str] = READ, *, impersonation: bool | None = None
) -> Callable[[MemberView[P]], Callable[..., HttpResponseBase]]:
    """Return a decorator that restricts a view to members whose role may do `action`.

    The view receives the Member instead of the organization's id. Other methods than `methods` are
    refused with 405. An anonymous request is redirected to the login page, an outsider gets 404 as
    for an organization that does not exist, and a member without the permission gets 403.

    An impersonating operator has an admin's access, except with `impersonation=False`, for
    pages about the member personally. POSTs that change webhooks may show their secrets, so an
    operator may make them only with `impersonation=True`.
    """

    def decorate(view: MemberView[P]) -> Callable[..., HttpResponseBase]:
        @require_http_methods(list(methods))
        @login_required
        @wraps(view)
        def guarded(
            request: HttpRequest, organization_id: str, *args: P.args, **named: P.kwargs
        ) -> HttpResponseBase:
            member = _member(request, organization_id)
            if member is None:
                return _impersonation_over(request, organization_id)
            if not may(member.role, action):
                raise PermissionDenied
            if member.impersonation and not _open_to_impersonators(request, action, impersonation):
                raise PermissionDenied
            if member.impersonation:
                return _not_stored(
                    _impersonated(request, member, member.impersonation, *args, **named)
                )
            if request.session.get(LAST_ORGANIZATION) != organization_id:
                request.session[LAST_ORGANIZATION] = organization_id
            return _not_stored(view(request, member, *args, **named))

        def _impersonated(
            request: HttpRequest,
            member: Member,
            running: Impersonation,
            *args: P.args,
            **named: P.kwargs,
        ) -> HttpResponseBase:
            """Call the view for an impersonating operator; record writes in the audit log first."""
            with trail.impersonating(running.reason):
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


def _open_to_impersonators(request: HttpRequest, action: Action, allowed: bool | None) -> bool:
    """Return whether an impersonating operator may call the view with the request's method."""
    if allowed is not None:
        return allowed
    return action not in MAY_SHOW_SECRETS or request.method in SAFE


def _not_stored(response: HttpResponseBase) -> HttpResponseBase:
    """Mark the response as private and not to be stored.

    The next person at a shared computer must not find the page in the browser's cache.
    """
    response.headers.setdefault("Cache-Control", "private, no-store")
    return response


def _impersonation_over(request: HttpRequest, organization_id: str) -> HttpResponseBase:
    """Redirect an operator whose impersonation has expired to the admin; raise Http404 for others.

    A message says that the impersonation has expired.
    """
    impersonation = _impersonation(request, organization_id)
    if impersonation is None:
        raise Http404
    message = gettext("Your time as %(organization)s is over.")
    messages.warning(request, message % {"organization": impersonation.organization})
    return redirect("admin:accounts_organization_change", impersonation.organization_id)


def _impersonation(request: HttpRequest, organization_id: str) -> Impersonation | None:
    value = ids.parse_id(ids.ORGANIZATION, organization_id)
    user = cast("User", request.user)
    return impersonation_of(request.session, user, value) if value else None


def _member(request: HttpRequest, organization_id: str) -> Member | None:
    """Return the user's membership, the operator's impersonated one, or None."""
    value = ids.parse_id(ids.ORGANIZATION, organization_id)
    if value is None:
        return None
    user = cast("User", request.user)
    found = Member.objects.select_related("organization", "user")
    member = found.filter(user=user, organization_id=value).first()
    if member is not None:
        return member
    impersonation = _impersonation(request, organization_id)
    return member_for(impersonation) if impersonation and not impersonation.is_over else None


def public_id(organization: Organization) -> str:
    """Return the organization's id as it appears in URLs, `org_…`."""
    return ids.public_id(ids.ORGANIZATION, organization.id)


def object_or_404(rows: QuerySet[ModelT], prefix: str, object_id: str) -> ModelT:
    """Return the row with that public id of a URL. Raises Http404, also for what is not an id."""
    found = row_of(rows, ids.parse_id(prefix, object_id))
    if found is None:
        raise Http404
    return found
