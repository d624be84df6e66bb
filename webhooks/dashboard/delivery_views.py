"""Dashboard pages of deliveries: one with its attempts, replays, and the live feed of events."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.access.page_access import FORM, POST, member_page
from accounts.models import Member
from accounts.roles import Action
from accounts.ui.live_fragments import live_page, query_without
from accounts.ui.pages import page_url, show_page, to_page
from imissive.core import clock, ids
from imissive.core.api.requests import client_address
from imissive.core.cursors import CURSOR, encode_cursor
from imissive.core.errors import ApiError
from imissive.core.problems import sentence
from webhooks.api.representations import attempts_of, request_headers
from webhooks.dashboard import audited_actions, feed, labels
from webhooks.dashboard.forms import FeedForm, ReplayForm
from webhooks.dashboard.views import PAGE, endpoint_of
from webhooks.delivery import log, replay
from webhooks.endpoints import endpoints
from webhooks.models import Delivery

_FINISHED = (Delivery.Status.DELIVERED, Delivery.Status.FAILED)


@member_page(Action.MANAGE_WEBHOOKS)
def delivery_page(request: HttpRequest, member: Member, delivery_id: str) -> HttpResponse:
    """Show a delivery with its payload and attempts; it refreshes until it is finished."""
    delivery = _delivery_of(member, delivery_id)
    row = labels.row(delivery)
    finished = delivery.status in _FINISHED
    context = {
        "page": "webhooks",
        "delivery": delivery,
        "endpoint": delivery.endpoint,
        "row": row,
        "event_id": ids.public_id(ids.EVENT, delivery.event_id),
        "meaning": labels.MEANINGS.get(delivery.event.type, ""),
        "headers": request_headers(delivery),
        "payload": labels.pretty(delivery.event.body),
        "attempts": attempts_of(delivery),
        "may_replay": finished and delivery.endpoint.enabled,
        "live": not finished and delivery.endpoint.enabled,
        "query": "",
    }
    return live_page(
        request, member, "webhooks/dashboard/webhook_delivery", "webhook_delivery_body", context
    )


@member_page(Action.MANAGE_WEBHOOKS, POST, impersonation=True)
def replay_delivery(request: HttpRequest, member: Member, delivery_id: str) -> HttpResponse:
    """Replay a delivery, and redirect to the new one.

    A second click is refused, because the event is already on its way.
    """
    delivery = _delivery_of(member, delivery_id)
    try:
        new_id = audited_actions.replay(member, client_address(request), delivery)
    except ApiError as refusal:
        messages.error(request, sentence(refusal.problem))
        return to_page(member, "webhook_delivery", delivery_id)
    messages.success(request, _("The event is on its way again."))
    public = ids.public_id(ids.DELIVERY, new_id)
    return to_page(member, "webhook_delivery", public)


@member_page(Action.MANAGE_WEBHOOKS, FORM, impersonation=True)
def replay_period(request: HttpRequest, member: Member, webhook_id: str) -> HttpResponse:
    """Ask for a period; on POST, replay its deliveries, as many as one call may."""
    endpoint = endpoint_of(member, webhook_id)
    form = ReplayForm(request.POST) if request.method == "POST" else _form_from_query(request)
    if not form.is_bound or not form.is_valid():
        context = {
            "page": "webhooks",
            "form": form,
            "endpoint": endpoint,
            "more": "cursor" in request.GET and not form.is_bound,
        }
        return show_page(request, member, "webhooks/dashboard/webhook_replay.html", context)
    to_endpoint = to_page(member, "webhook", webhook_id)
    if not form.is_first():
        messages.warning(request, _("That was done already."))
        return to_endpoint
    try:
        with form.usable_after_failure():
            replayed, last = audited_actions.replay_period(
                member, client_address(request), endpoint, _period(form.cleaned_data)
            )
    except ApiError as refusal:
        messages.error(request, sentence(refusal.problem))
        return to_endpoint
    text = ngettext(
        "%(count)d event is on its way again.", "%(count)d events are on their way again.", replayed
    )
    messages.success(request, text % {"count": replayed})
    if last is None:
        return to_endpoint
    url = page_url(member, "replay_webhook", webhook_id)
    return redirect(f"{url}?{_next_query(request, encode_cursor(last))}")


def _form_from_query(request: HttpRequest) -> ReplayForm:
    """Return the form filled from the query string; by default for the last day."""
    now = timezone.localtime(clock.now())
    initial: dict[str, Any] = {
        "since": now - timedelta(days=1),
        "until": now + timedelta(minutes=1),
    }
    for name in ("since", "until", "status", "cursor"):
        if name in request.GET:
            initial[name] = request.GET[name]
    initial["events"] = request.GET.getlist("events")
    return ReplayForm(initial=initial)


def _next_query(request: HttpRequest, cursor: str) -> str:
    """Return the query string that fills the form again for the rest of the period."""
    fields = [(name, request.POST.get(name, "")) for name in ("since", "until", "status")]
    events = [("events", event) for event in request.POST.getlist("events")]
    return urlencode([*fields, *events, ("cursor", cursor)])


def _period(values: dict[str, Any]) -> replay.ReplayPeriod:
    return replay.ReplayPeriod(
        since=values["since"],
        until=values["until"],
        delivered_too=values["status"] == "all",
        event_types=values["events"],
        above=ids.parse_id(CURSOR, values["cursor"]),
    )


@member_page(Action.MANAGE_WEBHOOKS)
def event_feed(request: HttpRequest, member: Member) -> HttpResponse:
    """Show the latest events of all endpoints with their payloads; the page refreshes."""
    form = FeedForm(request.GET)
    form.is_valid()
    below = ids.parse_id(ids.DELIVERY, request.GET.get("before", ""))
    event_type = form.cleaned_data.get("event") or None
    found = feed.newest(member.organization_id, event_type=event_type, below=below, limit=PAGE)
    paused = request.GET.get("live") == "off"
    context = {
        "page": "webhooks",
        "form": form,
        "narrowed": bool(event_type),
        "events": [_event_row(each) for each in found.events],
        "older": ids.public_id(ids.DELIVERY, found.older_than) if found.older_than else "",
        "newest": below is None,
        "live": below is None and not paused,
        "paused": paused,
        "query": query_without(request, "before", "live"),
        "any_endpoint": endpoints.endpoints_of(member.organization_id, test=None).exists(),
    }
    return live_page(request, member, "webhooks/dashboard/event_feed", "event_feed_body", context)


def _event_row(feed_event: feed.FeedEvent) -> dict[str, Any]:
    event = feed_event.event
    return {
        "id": ids.public_id(ids.EVENT, event.id),
        "type": event.type,
        "meaning": labels.MEANINGS.get(event.type, ""),
        "at": event.created_at,
        "message_id": ids.public_id(ids.MESSAGE, event.message_id) if event.message_id else "",
        "payload": labels.pretty(event.body),
        "raw": event.body,
        "deliveries": [
            {
                "id": delivery.public_id,
                "url": delivery.endpoint.url,
                "state": labels.delivery_state(delivery),
            }
            for delivery in feed_event.deliveries
        ],
    }


def _delivery_of(member: Member, delivery_id: str) -> Delivery:
    try:
        found = ids.parse_id(ids.DELIVERY, delivery_id)
        return log.find(member.organization_id, found, test=None)
    except ApiError as error:
        raise Http404 from error
