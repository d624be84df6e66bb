"""Dashboard pages of webhook endpoints: list, create, edit, rotate, test, delivery log, delete."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from accounts.access.page_access import FORM, POST, member_page, object_or_404
from accounts.access.post_limits import TEST_EVENT, limit_posts
from accounts.models import Member
from accounts.roles import Action
from accounts.ui.live_fragments import live_page, query_without
from accounts.ui.pages import confirmation_page, page_url, show_page, to_page
from imissive.core import ids
from imissive.core.api.requests import client_address
from imissive.core.errors import ApiError
from imissive.core.problems import sentence
from webhooks.dashboard import audited_actions, feed, labels
from webhooks.dashboard.forms import (
    OVERLAP_HOURS,
    EndpointForm,
    LogForm,
    NewEndpointForm,
    RotationForm,
)
from webhooks.delivery import log, replay
from webhooks.endpoints import endpoints
from webhooks.models import Endpoint

PAGE = 50


@member_page(Action.MANAGE_WEBHOOKS)
def endpoint_list(request: HttpRequest, member: Member) -> HttpResponse:
    """Show the organization's endpoints with their health."""
    mine = list(endpoints.endpoints_of(member.organization_id, test=None))
    in_test = sum(endpoint.test for endpoint in mine)
    health = feed.health_of([endpoint.id for endpoint in mine])
    context = {
        "page": "webhooks",
        "rows": [_with_health(endpoint, health[endpoint.id]) for endpoint in mine],
        "full": min(in_test, len(mine) - in_test) >= endpoints.MOST,
        "most": endpoints.MOST,
    }
    return show_page(request, member, "webhooks/dashboard/webhooks.html", context)


def _with_health(endpoint: Endpoint, health: feed.Health) -> dict[str, Any]:
    state = labels.endpoint_state(endpoint, used=health.ended > 0)
    return {"endpoint": endpoint, "health": health, "state": state}


@member_page(Action.MANAGE_WEBHOOKS, FORM, impersonation=False)
def new_endpoint(request: HttpRequest, member: Member) -> HttpResponse:
    """Show the form for a new endpoint; on POST, create it and show its signing secret once."""
    form = NewEndpointForm(request.POST if request.method == "POST" else None)
    if not form.is_bound or not form.is_valid():
        context = {"page": "webhooks", "form": form}
        return show_page(request, member, "webhooks/dashboard/webhook_new.html", context)
    if not form.is_first():
        return _secret_shown_already(request, member)
    try:
        with form.usable_after_failure():
            endpoint = audited_actions.create(
                member,
                client_address(request),
                test=form.cleaned_data["mode"] == "test",
                **_fields(form),
            )
    except ApiError as refusal:
        messages.error(request, sentence(refusal.problem))
        return to_page(member, "webhooks")
    return _show_secret(request, member, endpoint)


def _fields(form: EndpointForm) -> dict[str, Any]:
    return {name: form.cleaned_data[name] for name in ("url", "description", "events")}


@member_page(Action.MANAGE_WEBHOOKS)
def endpoint_page(request: HttpRequest, member: Member, webhook_id: str) -> HttpResponse:
    """Show an endpoint's state and its filtered delivery log; the page refreshes."""
    endpoint = endpoint_of(member, webhook_id)
    form = LogForm(request.GET)
    form.is_valid()
    below = ids.parse_id(ids.DELIVERY, request.GET.get("before", ""))
    rows = log.newest(endpoint.id, _filter(form, below), PAGE + 1)
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


def _filter(form: LogForm, below: Any) -> log.Filter:
    """Return the filter of the form; invalid fields do not filter."""
    values = form.cleaned_data
    return log.Filter(
        status=values.get("status") or None,
        event_type=values.get("event") or None,
        message_id=values.get("message"),
        after=values.get("since"),
        until=values.get("until"),
        below=below,
    )


@member_page(Action.MANAGE_WEBHOOKS, FORM, impersonation=True)
def edit_endpoint(request: HttpRequest, member: Member, webhook_id: str) -> HttpResponse:
    """Show the endpoint's fields as a form; on POST, save them."""
    endpoint = endpoint_of(member, webhook_id)
    current = {
        "url": endpoint.url,
        "description": endpoint.description,
        "events": endpoint.events,
    }
    form = EndpointForm(request.POST if request.method == "POST" else None, initial=current)
    if form.is_bound and form.is_valid():
        audited_actions.change(member, client_address(request), endpoint, **_fields(form))
        messages.success(request, _("Saved."))
        return _to_endpoint(member, endpoint)
    context = {"page": "webhooks", "form": form, "endpoint": endpoint}
    return show_page(request, member, "webhooks/dashboard/webhook_edit.html", context)


@member_page(Action.MANAGE_WEBHOOKS, FORM, impersonation=False)
def rotate(request: HttpRequest, member: Member, webhook_id: str) -> HttpResponse:
    """Ask for the overlap; on POST, create the new secret and show it once."""
    endpoint = endpoint_of(member, webhook_id)
    form = RotationForm(request.POST if request.method == "POST" else None)
    if not form.is_bound or not form.is_valid():
        return confirmation_page(
            request,
            member,
            page="webhooks",
            title=_("Rotate the signing secret?"),
            text=_(
                "You get a new secret. Until the old one ends, each post is signed with both:"
                " put the new one into your receiver in that time."
            ),
            details=[endpoint.url],
            button=_("Make the new secret"),
            danger=False,
            back=_address(member, endpoint),
            form=form,
        )
    if not form.is_first():
        return _secret_shown_already(request, member)
    overlap = timedelta(hours=OVERLAP_HOURS[form.cleaned_data["overlap"]])
    with form.usable_after_failure():
        rotated = audited_actions.rotate(member, client_address(request), endpoint, overlap)
    return _show_secret(request, member, rotated, rotated=True)


@member_page(Action.MANAGE_WEBHOOKS, POST, impersonation=True)
def switch(request: HttpRequest, member: Member, webhook_id: str) -> HttpResponse:
    """Enable (`enabled` is 1) or disable the endpoint."""
    endpoint = endpoint_of(member, webhook_id)
    enabled = request.POST.get("enabled") == "1"
    audited_actions.switch(member, client_address(request), endpoint, enabled=enabled)
    if enabled:
        messages.success(request, _("The endpoint is enabled. What waited for it goes out now."))
    else:
        text = _("The endpoint is disabled. Nothing more is posted to it, and no new events are"
                 " kept for it.")  # fmt: skip
        messages.success(request, text)
    return _to_endpoint(member, endpoint)


@member_page(Action.MANAGE_WEBHOOKS, FORM)
def delete(request: HttpRequest, member: Member, webhook_id: str) -> HttpResponse:
    """Ask for confirmation; on POST, delete the endpoint."""
    endpoint = endpoint_of(member, webhook_id)
    if request.method == "POST":
        audited_actions.delete(member, client_address(request), endpoint)
        messages.success(request, _("The endpoint is deleted."))
        return to_page(member, "webhooks")
    return confirmation_page(
        request,
        member,
        page="webhooks",
        title=_("Delete this endpoint?"),
        text=_(
            "Nothing more is posted to it, and its deliveries are gone too. It cannot be undone."
        ),
        details=[endpoint.url],
        button=_("Delete"),
        back=_address(member, endpoint),
    )


@member_page(Action.MANAGE_WEBHOOKS, POST, impersonation=True)
@limit_posts(TEST_EVENT)
def send_test(request: HttpRequest, member: Member, webhook_id: str) -> HttpResponse:
    """Send a test event, and redirect to its delivery, which shows the response."""
    endpoint = endpoint_of(member, webhook_id)
    try:
        delivery_id = replay.send_test(member.organization_id, endpoint.id, test=None)
    except ApiError as refusal:
        messages.error(request, sentence(refusal.problem))
        return _to_endpoint(member, endpoint)
    public = ids.public_id(ids.DELIVERY, delivery_id)
    return to_page(member, "webhook_delivery", public)


def endpoint_of(member: Member, webhook_id: str) -> Endpoint:
    """Return the organization's endpoint with that public id. Raises Http404."""
    mine = endpoints.endpoints_of(member.organization_id, test=None)
    return object_or_404(mine, ids.ENDPOINT, webhook_id)


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
    return show_page(request, member, "webhooks/dashboard/webhook_secret.html", context)


def _secret_shown_already(request: HttpRequest, member: Member) -> HttpResponse:
    text = _("That was done already. The secret was shown then; if you lost it, rotate it.")
    messages.warning(request, text)
    return to_page(member, "webhooks")


def _address(member: Member, endpoint: Endpoint) -> str:
    return page_url(member, "webhook", endpoint.public_id)


def _to_endpoint(member: Member, endpoint: Endpoint) -> HttpResponse:
    return redirect(_address(member, endpoint))
