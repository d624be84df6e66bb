"""Dashboard search of webhooks: endpoints, deliveries and events."""

from django.utils.translation import gettext as _

from accounts.models import Member
from accounts.roles import Action, may
from accounts.ui.pages import page_url
from accounts.ui.search import AT_MOST, Hit
from imissive.core import ids
from webhooks.models import Delivery, Endpoint, Event

SHORTEST_URL = 4


def find(member: Member, text: str) -> list[Hit]:
    """Return endpoints, deliveries and events by id, and endpoints by a part of their URL.

    Members who may not manage webhooks find only the message of an event or a delivery.
    """
    if not may(member.role, Action.MANAGE_WEBHOOKS):
        return _messages_of_event(member, text)
    return [*_endpoints(member, text), *_deliveries(member, text)]


def _endpoints(member: Member, text: str) -> list[Hit]:
    mine = Endpoint.objects.filter(organization=member.organization, deleted_at=None)
    endpoint_id = ids.parse_id(ids.ENDPOINT, text)
    if endpoint_id is not None:
        mine = mine.filter(id=endpoint_id)
    elif len(text) >= SHORTEST_URL:
        mine = mine.filter(url__icontains=text)
    else:
        return []
    return [
        Hit(
            _("Webhooks"),
            endpoint.url,
            page_url(member, "webhook", endpoint.public_id),
            endpoint.description,
            left_to_right=True,
        )
        for endpoint in mine.order_by("created_at")[:AT_MOST]
    ]


def _deliveries(member: Member, text: str) -> list[Hit]:
    """Return a delivery by its id, or the deliveries of an event."""
    delivery_id, event_id = ids.parse_id(ids.DELIVERY, text), ids.parse_id(ids.EVENT, text)
    mine = Delivery.objects.filter(
        endpoint__organization=member.organization, endpoint__deleted_at=None
    ).select_related("event", "endpoint")
    if delivery_id is not None:
        mine = mine.filter(id=delivery_id)
    elif event_id is not None:
        mine = mine.filter(event_id=event_id)
    else:
        return []
    return [
        Hit(
            _("Webhook deliveries"),
            f"{delivery.event.type} → {delivery.endpoint.url}",
            page_url(member, "webhook_delivery", delivery.public_id),
            str(delivery.get_status_display()),
            left_to_right=True,
        )
        for delivery in mine.order_by("id")[:AT_MOST]
    ] or _messages_of_event(member, text)


def _messages_of_event(member: Member, text: str) -> list[Hit]:
    """Return the message of an event or a delivery; its page shows its webhooks too."""
    mine = Event.objects.filter(organization=member.organization, message_id__isnull=False)
    delivery_id, event_id = ids.parse_id(ids.DELIVERY, text), ids.parse_id(ids.EVENT, text)
    if event_id is not None:
        mine = mine.filter(id=event_id)
    elif delivery_id is not None:
        mine = mine.filter(deliveries__id=delivery_id)
    else:
        return []
    return [
        Hit(
            _("Messages"),
            ids.public_id(ids.MESSAGE, event.message_id),
            page_url(member, "message", ids.public_id(ids.MESSAGE, event.message_id)),
            event.type,
            left_to_right=True,
        )
        for event in mine[:1]
        if event.message_id is not None
    ]
