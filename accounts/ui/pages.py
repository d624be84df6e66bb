"""Pages of an organization's dashboard: in its frame, with addresses of its own."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts.access.page_access import public_id
from accounts.models import Member, member_organizations
from accounts.roles import Action, may


def frame(member: Member) -> dict[str, Any]:
    """Return the template context that every dashboard page needs.

    It holds the member, the organization, the user's other organizations, and the permissions of
    the member's role by action.
    """
    others = member_organizations(member.user).exclude(id=member.organization_id)
    return {
        "member": member,
        "impersonation": member.impersonation,
        "organization": member.organization,
        "organization_id": public_id(member.organization),
        "others": [(public_id(other), other) for other in others],
        "can": {action.value: may(member.role, action) for action in Action},
    }


def show_page(
    request: HttpRequest, member: Member, template: str, context: dict[str, Any]
) -> HttpResponse:
    """Render a page inside the dashboard's frame. `page` in the context is its navigation entry."""
    return render(request, template, {**frame(member), **context})


def confirmation_page(
    request: HttpRequest,
    member: Member,
    *,
    page: str,
    title: str,
    text: str,
    button: str,
    back: str,
    details: Sequence[str] = (),
    form: forms.Form | None = None,
    danger: bool = True,
) -> HttpResponse:
    """Render the page that asks before it acts: its button posts to the page's own address.

    `back`: the URL of the page that the question came from. `danger`: whether something is lost.
    """
    context = {
        "page": page,
        "title": title,
        "text": text,
        "button": button,
        "back": back,
        "details": details,
        "form": form,
        "danger": danger,
    }
    return show_page(request, member, "accounts/ui/confirm.html", context)


def page_url(member: Member, name: str, *more: object, query: str = "") -> str:
    """Return the URL of a page of the member's organization. `more`: the ids after that one's."""
    url = reverse(name, args=[public_id(member.organization), *more])
    return f"{url}?{query}" if query else url


def to_page(member: Member, name: str, *more: object) -> HttpResponse:
    """Redirect to a page of the member's organization."""
    return redirect(page_url(member, name, *more))
