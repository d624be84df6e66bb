"""The timeline of one message, from its request to each webhook about it, for people to read."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from messaging.carriers.command_statuses import status_name
from messaging.log.failure_reasons import STATUS_LABELS, STATUS_TONES, reason_of
from messaging.log.sources import how_it_came
from messaging.models import Attempt, Message, MessagePart
from messaging.routing.cache import tables
from messaging.routing.sending_hours import HELD
from messaging.states import FINAL, Status
from webhooks.models import Delivery, Event, FailedAttempt


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened at a time. `tone` colours it, `code` is for support to search,
    `next_at` is when it is tried again, `delivery` the webhook delivery that it belongs to."""

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
    """Everything that the database knows of the message's way, oldest first."""
    steps = _beginnings(message)
    for attempt in message.attempts.select_related("carrier").order_by("id"):
        steps.append(_attempt(attempt))
    for part in message.submitted_parts.select_related("carrier").order_by("number"):
        steps.extend(_part(message, part))
    steps.extend(_end(message))
    for delivery in deliveries_of(message).prefetch_related("failed_attempts"):
        steps.extend(_delivery(delivery))
    # Stable: what happened in the same moment keeps the order of this function.
    return sorted(steps, key=lambda step: step.at)


def deliveries_of(message: Message) -> QuerySet[Delivery]:
    """The webhook deliveries about a message, those of its own organization only."""
    told = Event.objects.filter(message_id=message.id, organization_id=message.organization_id)
    return (
        Delivery.objects.filter(event__in=told).select_related("event", "endpoint").order_by("id")
    )


def is_settled(message: Message) -> bool:
    """Whether nothing more is to come: the message is final and every webhook is done with."""
    under_way = [Delivery.Status.PENDING, Delivery.Status.SENDING]
    if Status(message.status) not in FINAL:
        return False
    return not deliveries_of(message).filter(status__in=under_way).exists()


def _beginnings(message: Message) -> list[Step]:
    how = how_it_came(message)
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
    answer = attempt.command_status
    return Step(
        attempt.at,
        title % {"carrier": attempt.carrier.name},
        "bad" if attempt.outcome == "refused" else "late",
        code=attempt.detail if answer is None else status_name(answer),
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


def _end(message: Message) -> list[Step]:
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
    """Each attempt at a webhook that failed, and how the delivery stands or ended."""
    failed = sorted(delivery.failed_attempts.all(), key=lambda attempt: attempt.number)
    # The last one is how the delivery stands, and told by its own row.
    earlier = [attempt for attempt in failed if attempt.number < delivery.attempts]
    if delivery.status == Delivery.Status.DELIVERED:
        earlier = failed
    return [*(_failed(delivery, attempt) for attempt in earlier), _standing(delivery)]


def _failed(delivery: Delivery, attempt: FailedAttempt) -> Step:
    names = {"event": delivery.event.type, "attempts": attempt.number}
    title = _("Webhook %(event)s: attempt %(attempts)d failed") % names
    code = _answer(attempt)
    return Step(
        attempt.at,
        title,
        "late",
        delivery.endpoint.url,
        code,
        webhook=True,
        delivery="" if delivery.endpoint.deleted_at else delivery.public_id,
    )


def _standing(delivery: Delivery) -> Step:
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
        _answer(delivery),
        webhook=True,
        next_at=next_at,
        delivery="" if delivery.endpoint.deleted_at else delivery.public_id,
    )


def _answer(attempt: Delivery | FailedAttempt) -> str:
    """What the receiver answered, and how long that took; else why there is no answer."""
    if not attempt.response_status:
        return attempt.error
    if attempt.duration_ms is None:
        return str(attempt.response_status)
    return f"{attempt.response_status} · {attempt.duration_ms} ms"
