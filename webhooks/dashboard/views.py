"""The webhooks' pages: the endpoints, one with its deliveries, and what is done with them."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access.page_access import frame, member_page, public_id
from accounts.access.post_limits import TEST_EVENT, limit_posts
from accounts.models import Member
from accounts.roles import Action
from accounts.ui.live_fragments import live_page, query_without
from imissive.core import ids
from imissive.core.api.requests import client_address
from imissive.core.errors import ApiError
from webhooks.dashboard import audited_actions, feed, labels
from webhooks.dashboard.forms import (
    ROTATIONS,
    EndpointForm,
    LogForm,
    RotationForm,
)
from webhooks.delivery import log, replay
from webhooks.endpoints import endpoints
from webhooks.models import Endpoint

PAGE = 50
"""Test events of an organization: a person who reads the answers presses the button less often."""


@require_safe
@member_page(Action.MANAGE_WEBHOOKS)
def endpoint_list(request: HttpRequest, member: Member) -> HttpResponse:
    mine = list(endpoints.endpoints_of(member.organization_id))
    health = feed.health_of([endpoint.id for endpoint in mine])
    context = {
        "page": "webhooks",
        "rows": [_with_health(endpoint, health[endpoint.id]) for endpoint in mine],
        "full": len(mine) >= endpoints.MOST,
        "most": endpoints.MOST,
    }
    return render(request, "webhooks/dashboard/webhooks.html", {**frame(member), **context})


def _with_health(endpoint: Endpoint, health: feed.Health) -> dict[str, Any]:
    state = labels.endpoint_state(endpoint, used=health.ended > 0)
    return {"endpoint": endpoint, "health": health, "state": state}


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Action.MANAGE_WEBHOOKS, acting=False)
def new_endpoint(request: HttpRequest, member: Member) -> HttpResponse:
    """Ask for its URL and events; a POST makes it and shows its secret, once."""
    form = EndpointForm(request.POST if request.method == "POST" else None)
    if not form.is_bound or not form.is_valid():
        context = {"page": "webhooks", "form": form}
        return render(request, "webhooks/dashboard/webhook_new.html", {**frame(member), **context})
    if not form.is_first():
        return _shown_already(request, member)
    try:
        endpoint = audited_actions.create(member, client_address(request), **_asked(form))
    except ApiError as refusal:
        messages.error(request, labels.translated(refusal.problem.message))
        return redirect("webhooks", public_id(member.organization))
    return _show_secret(request, member, endpoint)


def _asked(form: EndpointForm) -> dict[str, Any]:
    return {name: form.cleaned_data[name] for name in ("url", "description", "events")}


@require_safe
@member_page(Action.MANAGE_WEBHOOKS)
def endpoint_page(request: HttpRequest, member: Member, webhook_id: str) -> HttpResponse:
    """The endpoint's state and its deliveries, filtered, live while open."""
    endpoint = endpoint_of(member, webhook_id)
    form = LogForm(request.GET)
    form.is_valid()
    below = ids.parse_id(ids.DELIVERY, request.GET.get("before", ""))
    rows = log.newest(endpoint.id, _wanted(form, below), PAGE + 1)
    health = feed.health_of([endpoint.id])[endpoint.id]
    paused = request.GET.get("live") == "off"
    context = {
        "page": "webhooks",
        **_with_health(endpoint, health),
        "form": form,
        "narrowed": any(form.cleaned_data.values()),
        "rows": [labels.row(delivery) for delivery in rows[:PAGE]],
        "older": rows[PAGE - 1].public_id if len(rows) > PAGE else "",
        "newest": below is None,
        "live": below is None and not paused,
        "paused": paused,
        "query": query_without(request, "before", "live"),
    }
    return live_page(request, member, "webhooks/dashboard/webhook", "webhook_body", context)


def _wanted(form: LogForm, below: Any) -> log.Filter:
    """What the form narrows to; what was filled in wrongly narrows nothing."""
    asked = form.cleaned_data
    return log.Filter(
        status=asked.get("status") or None,
        event_type=asked.get("event") or None,
        message_id=asked.get("message"),
        after=asked.get("since"),
        until=asked.get("until"),
        below=below,
    )


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Action.MANAGE_WEBHOOKS, acting=True)
def edit_endpoint(request: HttpRequest, member: Member, webhook_id: str) -> HttpResponse:
    endpoint = endpoint_of(member, webhook_id)
    now = {
        "url": endpoint.url,
        "description": endpoint.description,
        "events": endpoint.events,
    }
    form = EndpointForm(request.POST if request.method == "POST" else None, initial=now)
    if form.is_bound and form.is_valid():
        audited_actions.change(member, client_address(request), endpoint, **_asked(form))
        messages.success(request, _("Saved."))
        return _to_endpoint(member, endpoint)
    context = {"page": "webhooks", "form": form, "endpoint": endpoint}
    return render(request, "webhooks/dashboard/webhook_edit.html", {**frame(member), **context})


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Action.MANAGE_WEBHOOKS, acting=False)
def rotate(request: HttpRequest, member: Member, webhook_id: str) -> HttpResponse:
    """Ask how long both secrets shall sign; a POST makes the new one and shows it, once."""
    endpoint = endpoint_of(member, webhook_id)
    form = RotationForm(request.POST if request.method == "POST" else None)
    if not form.is_bound or not form.is_valid():
        context = {
            "page": "webhooks",
            "title": _("Rotate the signing secret?"),
            "text": _("You get a new secret. Until the old one ends, each post is signed with both:"
                      " put the new one into your receiver in that time."),
            "lines": [endpoint.url],
            "act": _("Make the new secret"),
            "calm": True,
            "back_to": _address(member, endpoint),
            "form": form,
        }  # fmt: skip
        return render(request, "accounts/ui/confirm.html", {**frame(member), **context})
    if not form.is_first():
        return _shown_already(request, member)
    overlap = timedelta(hours=ROTATIONS[form.cleaned_data["overlap"]])
    rotated = audited_actions.rotate(member, client_address(request), endpoint, overlap)
    return _show_secret(request, member, rotated, rotated=True)


@require_POST
@member_page(Action.MANAGE_WEBHOOKS, acting=True)
def switch(request: HttpRequest, member: Member, webhook_id: str) -> HttpResponse:
    """Enable or disable, by `enabled`: 1 or 0."""
    endpoint = endpoint_of(member, webhook_id)
    enabled = request.POST.get("enabled") == "1"
    audited_actions.switch(member, client_address(request), endpoint, enabled=enabled)
    if enabled:
        messages.success(request, _("The endpoint is enabled. What waited for it goes out now."))
    else:
        told = _("The endpoint is disabled. Nothing more is posted to it, and no new events are"
                 " kept for it.")  # fmt: skip
        messages.success(request, told)
    return _to_endpoint(member, endpoint)


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Action.MANAGE_WEBHOOKS)
def delete(request: HttpRequest, member: Member, webhook_id: str) -> HttpResponse:
    """Ask first; a POST deletes."""
    endpoint = endpoint_of(member, webhook_id)
    if request.method == "POST":
        audited_actions.delete(member, client_address(request), endpoint)
        messages.success(request, _("The endpoint is deleted."))
        return redirect("webhooks", public_id(member.organization))
    context = {
        "page": "webhooks",
        "title": _("Delete this endpoint?"),
        "text": _("Nothing more is posted to it, and its deliveries are gone too. It cannot be"
                  " undone."),
        "lines": [endpoint.url],
        "act": _("Delete"),
        "back_to": _address(member, endpoint),
    }  # fmt: skip
    return render(request, "accounts/ui/confirm.html", {**frame(member), **context})


@require_POST
@member_page(Action.MANAGE_WEBHOOKS, acting=True)
@limit_posts(TEST_EVENT)
def send_test(request: HttpRequest, member: Member, webhook_id: str) -> HttpResponse:
    """Send a test event, and show what the receiver answers."""
    endpoint = endpoint_of(member, webhook_id)
    try:
        delivery_id = replay.send_test(member.organization_id, endpoint.id)
    except ApiError as refusal:
        messages.error(request, labels.translated(refusal.problem.message))
        return _to_endpoint(member, endpoint)
    public = ids.public_id(ids.DELIVERY, delivery_id)
    return redirect("webhook_delivery", public_id(member.organization), public)


def endpoint_of(member: Member, webhook_id: str) -> Endpoint:
    """The organization's endpoint of that public id. Raises Http404."""
    try:
        return endpoints.find(member.organization_id, ids.parse_id(ids.ENDPOINT, webhook_id))
    except ApiError as error:
        raise Http404 from error


def _show_secret(
    request: HttpRequest, member: Member, endpoint: Endpoint, *, rotated: bool = False
) -> HttpResponse:
    context = {
        "page": "webhooks",
        "endpoint": endpoint,
        "secret": endpoint.secret,
        "rotated": rotated,
        "public_url": settings.PUBLIC_URL,
    }
    return render(request, "webhooks/dashboard/webhook_secret.html", {**frame(member), **context})


def _shown_already(request: HttpRequest, member: Member) -> HttpResponse:
    told = _("That was done already. The secret was shown then; if you lost it, rotate it.")
    messages.warning(request, told)
    return redirect("webhooks", public_id(member.organization))


def _address(member: Member, endpoint: Endpoint) -> str:
    return reverse("webhook", args=[public_id(member.organization), endpoint.public_id])


def _to_endpoint(member: Member, endpoint: Endpoint) -> HttpResponse:
    return redirect(_address(member, endpoint))
