"""Endpoints and deliveries in words, for people: their state, its tone, and what events mean."""

import json
from dataclasses import dataclass
from datetime import datetime

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop, pgettext

from imissive import clock, ids
from webhooks.models import Delivery, Endpoint, EventType
from webhooks.presenting import next_attempt_at

MEANINGS: dict[str, str | Promise] = {
    EventType.MESSAGE_QUEUED: gettext_lazy("accepted, or its time has come"),
    EventType.MESSAGE_SENT: gettext_lazy("the carrier took all parts"),
    EventType.MESSAGE_DELIVERED: gettext_lazy("it is on the handset"),
    EventType.MESSAGE_FAILED: gettext_lazy("refused, or undeliverable"),
    EventType.MESSAGE_EXPIRED: gettext_lazy("no final receipt came in time"),
    EventType.MESSAGE_CANCELED: gettext_lazy("canceled before it was sent"),
    EventType.OTP_VERIFIED: gettext_lazy("the right code was given back"),
    EventType.OTP_FAILED: gettext_lazy("expired, or too many wrong codes"),
    EventType.SENDER_APPROVED: gettext_lazy("a sender ID may be used"),
    EventType.SENDER_REJECTED: gettext_lazy("a sender ID was refused"),
    EventType.BALANCE_LOW: gettext_lazy("the balance fell to its threshold"),
    EventType.WEBHOOK_TEST: gettext_lazy("sent by the test button"),
    EventType.ENDPOINT_DISABLED: gettext_lazy("another endpoint was given up"),
}
"""When an event comes, in a few words."""

# What endpoints and replays are refused for, in the API's own words, so that they are translated.
_REFUSALS = (
    gettext_noop("The URL has more than 500 characters."),
    gettext_noop("The URL has a character that is not allowed in one."),
    gettext_noop("This is not a valid URL."),
    gettext_noop("The URL must begin with https://."),
    gettext_noop("The URL has no host."),
    gettext_noop("The URL must not hold a user name or password."),
    gettext_noop("Webhooks are not posted to loopback addresses."),
    gettext_noop("Webhooks are not posted to that address."),
    gettext_noop("An organization has at most 50 webhook endpoints."),
    gettext_noop("The endpoint is disabled. Enable it first."),
    gettext_noop("The event is still on its way to this endpoint."),
)
# Why an attempt got no answer, as `imissive.outbound` says it.
_ERRORS = (
    gettext_noop("address not allowed"),
    gettext_noop("host name not found"),
    gettext_noop("TLS certificate not valid"),
    gettext_noop("TLS handshake failed"),
    gettext_noop("connection refused"),
    gettext_noop("connection closed without an answer"),
    gettext_noop("connection reset"),
    gettext_noop("connection failed"),
    gettext_noop("answer cut short"),
    gettext_noop("answer is not valid HTTP"),
    gettext_noop("URL not valid"),
    gettext_noop("no answer within 10 s"),
)

_STATUSES = {
    "delivered": ("good", gettext_lazy("Received")),
    "failed": ("bad", gettext_lazy("Given up")),
    "trying": ("late", gettext_lazy("Trying again")),
    "pending": ("moving", gettext_lazy("On its way")),
    "waiting": ("still", gettext_lazy("Waits for the endpoint")),
}
FILTERS = {
    "pending": gettext_lazy("Under way"),
    "delivered": gettext_lazy("Received"),
    "failed": gettext_lazy("Given up"),
}
"""The delivery log's statuses that it is filtered by."""


@dataclass(frozen=True, slots=True)
class State:
    """A word or two with their tone, and a sentence where there is more to say."""

    tone: str
    label: str
    detail: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A delivery in a table."""

    id: str
    event: str
    message_id: str
    state: State
    answer: str
    milliseconds: int | None
    attempts: int
    created_at: datetime
    next_at: datetime | None


def row(delivery: Delivery) -> Row:
    """A delivery that was read with its event and endpoint."""
    message_id = delivery.event.message_id
    return Row(
        delivery.public_id,
        delivery.event.type,
        ids.public_id(ids.MESSAGE, message_id) if message_id else "",
        delivery_state(delivery),
        str(delivery.response_status or "") or translated(delivery.error),
        delivery.duration_ms,
        delivery.attempts,
        ids.time_of(delivery.id),
        next_attempt_at(delivery),
    )


def translated(words: str) -> str:
    """Words of the platform's own in the reader's language; empty stays empty."""
    return _(words) if words else ""


def delivery_state(delivery: Delivery) -> State:
    """How a delivery stands, of one that was read with its endpoint."""
    name = str(delivery.status)
    if name not in (Delivery.Status.DELIVERED, Delivery.Status.FAILED):
        name = "trying" if delivery.attempts else "pending"
        if not delivery.endpoint.enabled:
            name = "waiting"
    tone, label = _STATUSES[name]
    return State(tone, str(label))


def endpoint_state(endpoint: Endpoint, *, used: bool) -> State:
    """How an endpoint fares. `used`: whether a delivery to it has ever ended."""
    if not endpoint.enabled:
        reason = translated(endpoint.disabled_reason)
        return State("bad" if reason else "still", pgettext("webhook", "Disabled"), reason)
    if endpoint.failing_since:
        told = _("No post has succeeded since then. After five days the endpoint is disabled.")
        return State("bad", _("Failing"), told, endpoint.failing_since)
    if endpoint.paused_until and endpoint.paused_until > clock.now():
        told = _("The receiver asked for a rest; nothing is posted before then.")
        return State("late", _("Resting"), told, endpoint.paused_until)
    if used:
        return State("good", _("Working"))
    return State("still", _("Not used yet"))


def pretty(body: str) -> str:
    """JSON with its lines indented, for reading; what is none, as it is."""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body
