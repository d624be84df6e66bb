"""Labels of endpoints, deliveries and events for people: states with their tones, and meanings."""

import json
from dataclasses import dataclass
from datetime import datetime

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from imissive.core import clock, ids
from imissive.core.problems import Problem, sentence
from imissive.core.reasons import PostReason
from webhooks.api.representations import next_attempt_at
from webhooks.endpoints.reasons import DisabledReason
from webhooks.models import Delivery, Endpoint, EventType

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
"""Short description of each event type."""

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
"""Statuses by which the delivery log is filtered."""


@dataclass(frozen=True, slots=True)
class State:
    """A short label with its tone, a sentence of detail where there is one, and a time for it."""

    tone: str
    label: str
    detail: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A delivery as a row of a table."""

    id: str
    event: str
    message_id: str
    state: State
    response: str
    milliseconds: int | None
    attempts: int
    created_at: datetime
    next_at: datetime | None


def row(delivery: Delivery) -> Row:
    """Return the table row of a delivery that was read with its event and endpoint."""
    message_id = delivery.event.message_id
    return Row(
        delivery.public_id,
        delivery.event.type,
        ids.public_id(ids.MESSAGE, message_id) if message_id else "",
        delivery_state(delivery),
        str(delivery.response_status or "") or in_words(PostReason.named(delivery.error)),
        delivery.duration_ms,
        delivery.attempts,
        ids.time_of(delivery.id),
        next_attempt_at(delivery),
    )


def in_words(problem: Problem | None) -> str:
    """Return a problem's sentence in the reader's language; empty where there is none."""
    return sentence(problem) if problem else ""


def delivery_state(delivery: Delivery) -> State:
    """Return the state of a delivery that was read with its endpoint."""
    name = str(delivery.status)
    if name not in (Delivery.Status.DELIVERED, Delivery.Status.FAILED):
        name = "trying" if delivery.attempts else "pending"
        if not delivery.endpoint.enabled:
            name = "waiting"
    tone, label = _STATUSES[name]
    return State(tone, str(label))


def endpoint_state(endpoint: Endpoint, *, used: bool) -> State:
    """Return the state of an endpoint. `used`: a delivery to it has already finished."""
    if not endpoint.enabled:
        reason = in_words(DisabledReason.named(endpoint.disabled_reason))
        return State("bad" if reason else "still", pgettext("webhook", "Disabled"), reason)
    if endpoint.failing_since:
        detail = _("No post has succeeded since then. After five days the endpoint is disabled.")
        return State("bad", _("Failing"), detail, endpoint.failing_since)
    if endpoint.paused_until and endpoint.paused_until > clock.now():
        detail = _("The receiver asked for a rest; nothing is posted before then.")
        return State("late", _("Resting"), detail, endpoint.paused_until)
    if used:
        return State("good", _("Working"))
    return State("still", _("Not used yet"))


def pretty(body: str) -> str:
    """Return JSON indented for reading, and any other text unchanged."""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body
