"""The timeline of a message, from its request to each webhook delivery, for the message's page."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from messaging.carriers.command_statuses import status_name
from messaging.log.failure_reasons import STATUS_LABELS, STATUS_TONES, reason_of
from messaging.log.sources import source_phrase
from messaging.models import Attempt, Message, MessagePart
from messaging.routing.cache import tables
from messaging.routing.sending_hours import HELD
from messaging.states import FINAL, Status
from webhooks.models import Delivery, Event, FailedAttempt


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the timeline.

    `tone` is its colour, `code` helps support to search, `next_at` is the time of a retry,
    `delivery` the public id of its webhook delivery. `end`: the message reached its final status.
    """

    at: datetime
    title: str
    tone: str = "still"
    detail: str = ""
    code: str = ""
    webhook: bool = False
    end: bool = False
    next_at: datetime | None = None
    delivery: str = ""


def steps_of(message: Message) -> list[Step]:
    """Return all steps of a message that the database has, oldest first."""
    steps = _acceptance(message)
    for attempt in message.attempts.select_related("carrier").order_by("id"):
        steps.append(_attempt(attempt))
    for part in message.submitted_parts.select_related("carrier").order_by("number"):
        steps.extend(_part(message, part))
    steps.extend(_completion(message))
    for delivery in deliveries_of(message).prefetch_related("failed_attempts"):
        steps.extend(_delivery(delivery))
    # The sort is stable: steps of the same moment keep the order of this function.
    return sorted(steps, key=lambda step: step.at)


def deliveries_of(message: Message) -> QuerySet[Delivery]:
    """Return the webhook deliveries about a message, oldest first."""
    # A message's id in an event is a number without a constraint, so the organization is compared.
    events = Event.objects.filter(message_id=message.id, organization_id=message.organization_id)
    return (
        Delivery.objects.filter(event__in=events).select_related("event", "endpoint").order_by("id")
    )


def is_settled(message: Message) -> bool:
    """Return whether the message is final and all its webhook deliveries are completed."""
    pending = [Delivery.Status.PENDING, Delivery.Status.SENDING]
    if Status(message.status) not in FINAL:
        return False
    return not deliveries_of(message).filter(status__in=pending).exists()


def _acceptance(message: Message) -> list[Step]:
    how = source_phrase(message)
    if message.api_key_id and message.api_key:
        names = {"how": how, "key": message.api_key.name, "hint": message.api_key.hint}
        how = _("%(how)s, with the key “%(key)s” (%(hint)s)") % names
    steps = [Step(message.created_at, _("Accepted and charged"), detail=how)]
    if message.test:
        steps = [Step(message.created_at, _("Accepted as a test, free of charge"), detail=how)]
    if message.scheduled_at and not message.attempts.filter(outcome=HELD).exists():
        steps.append(_waiting(message, message.scheduled_at))
    if message.queued_at:
        steps.append(Step(message.queued_at, _("Queued for the carrier")))
    return steps


def _waiting(message: Message, until: datetime) -> Step:
    hours = tables().sending_hours(message.country, message.sender)
    if hours is None or not hours.opens_at(until):
        return Step(message.created_at, _("Scheduled to go out later"))
    title = _("Held until the hours in which its country lets it go")
    return Step(message.created_at, title, detail=str(hours))


def _attempt(attempt: Attempt) -> Step:
    if attempt.outcome == HELD:
        title = _("Its country's hours ended before it was sent: held until they begin again")
        return Step(attempt.at, title, "late")
    title = {
        "throttled": _("%(carrier)s was busy; trying again"),
        "refused for now": _("%(carrier)s refused for now; trying again"),
        "refused": _("%(carrier)s refused the message"),
        "unanswered": _("%(carrier)s did not answer"),
    }.get(attempt.outcome, _("%(carrier)s did not take the message"))
    command_status = attempt.command_status
    return Step(
        attempt.at,
        title % {"carrier": attempt.carrier.name},
        "bad" if attempt.outcome == "refused" else "late",
        code=attempt.detail if command_status is None else status_name(command_status),
    )


def _part(message: Message, part: MessagePart) -> list[Step]:
    names = {"number": part.number, "total": message.parts, "carrier": part.carrier.name}
    if message.parts == 1:
        sent = _("Sent to %(carrier)s") % names
    else:
        sent = _("Part %(number)d of %(total)d sent to %(carrier)s") % names
    steps = [Step(part.submitted_at, sent, "moving", code=part.carrier_message_id)]
    if part.final_at:
        steps.append(
            Step(
                part.final_at,
                _receipt(message, part),
                STATUS_TONES[part.status],
                code=part.error_code,
            )
        )
    return steps


def _receipt(message: Message, part: MessagePart) -> str:
    status = STATUS_LABELS[part.status]
    if message.parts == 1:
        return _("Receipt: %(status)s") % {"status": status}
    names = {"number": part.number, "total": message.parts, "status": status}
    return _("Receipt for part %(number)d of %(total)d: %(status)s") % names


def _completion(message: Message) -> list[Step]:
    if message.final_at is None or Status(message.status) not in FINAL:
        return []
    title = {
        Status.DELIVERED: pgettext("message", "Delivered"),
        Status.FAILED: pgettext("message", "Failed"),
        Status.EXPIRED: pgettext("message", "Expired"),
        Status.CANCELED: _("Canceled; the credits came back"),
    }[Status(message.status)]
    why = reason_of(message)
    detail = str(why.what) if why else ""
    tone = STATUS_TONES[message.status]
    return [Step(message.final_at, title, tone, detail, message.error_code, end=True)]


def _delivery(delivery: Delivery) -> list[Step]:
    """Return each failed attempt of a webhook delivery, and its current or final state."""
    failed = sorted(delivery.failed_attempts.all(), key=lambda attempt: attempt.number)
    # The delivery's own row has the last attempt.
    earlier = [attempt for attempt in failed if attempt.number < delivery.attempts]
    if delivery.status == Delivery.Status.DELIVERED:
        earlier = failed
    return [*(_failed(delivery, attempt) for attempt in earlier), _current_state(delivery)]


def _failed(delivery: Delivery, attempt: FailedAttempt) -> Step:
    names = {"event": delivery.event.type, "attempts": attempt.number}
    title = _("Webhook %(event)s: attempt %(attempts)d failed") % names
    code = _response(attempt)
    return Step(
        attempt.at,
        title,
        "late",
        delivery.endpoint.url,
        code,
        webhook=True,
        delivery="" if delivery.endpoint.deleted_at else delivery.public_id,
    )


def _current_state(delivery: Delivery) -> Step:
    names = {"event": delivery.event.type, "attempts": delivery.attempts}
    at, next_at = delivery.finished_at or delivery.created_at, None
    if delivery.status == Delivery.Status.DELIVERED:
        title, tone = _("Webhook %(event)s: received by your server"), "good"
        if delivery.attempts > 1:
            title = _("Webhook %(event)s: received by your server at attempt %(attempts)d")
    elif delivery.status == Delivery.Status.FAILED:
        title, tone = _("Webhook %(event)s: given up after attempt %(attempts)d"), "bad"
    elif delivery.attempts:
        title, tone = _("Webhook %(event)s: attempt %(attempts)d failed, trying again"), "late"
        at = delivery.attempted_at or at
        if delivery.status == Delivery.Status.PENDING:
            next_at = delivery.next_attempt_at
    else:
        title, tone = _("Webhook %(event)s: on its way"), "still"
    return Step(
        at,
        title % names,
        tone,
        delivery.endpoint.url,
        _response(delivery),
        webhook=True,
        next_at=next_at,
        delivery="" if delivery.endpoint.deleted_at else delivery.public_id,
    )


def _response(attempt: Delivery | FailedAttempt) -> str:
    """Return the receiver's status with its duration, or the error where there is no response."""
    if not attempt.response_status:
        return attempt.error
    if attempt.duration_ms is None:
        return str(attempt.response_status)
    return f"{attempt.response_status} · {attempt.duration_ms} ms"
