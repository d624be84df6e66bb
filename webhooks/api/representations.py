"""Representations of endpoints and deliveries in the REST API: their types and builders."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from imissive.core import clock, ids, outbound
from imissive.core.api.fields import NextCursor, OneOf, Time
from imissive.core.api.rendering import time_text
from imissive.core.problems import Problem, english
from imissive.core.reasons import PostReason
from webhooks.endpoints.reasons import DisabledReason
from webhooks.models import Delivery, Endpoint, EventType, FailedAttempt

EventName = Annotated[str, OneOf(EventType)]
StatusName = Annotated[str, OneOf(["pending", "delivered", "failed"])]
"""Delivery.Status as shown to callers: a delivery that is being posted is still pending."""


class Webhook(TypedDict):
    id: Annotated[str, Field(examples=["whk_01hm6v0q8nfj2r4t6v8x0z2a4c"])]
    test: Annotated[
        bool, Field(description="Whether it gets the events of test messages, or of live ones.")
    ]
    url: str
    description: str
    events: Annotated[list[EventName], Field(description="The subscribed events; empty means all.")]
    enabled: bool
    disabled_reason: Annotated[
        str | None,
        Field(description="Why we disabled it; null if you did, or while it is enabled."),
    ]
    failing_since: Annotated[
        Time | None,
        Field(
            description="The time since which no post has succeeded. After five days the endpoint"
            " is disabled."
        ),
    ]
    paused_until: Annotated[
        Time | None,
        Field(description="Posts are paused until then because the receiver sent Retry-After."),
    ]
    previous_secret_until: Annotated[
        Time | None,
        Field(description="The secret before the last rotation also signs until then."),
    ]
    created_at: Time


class NewWebhook(Webhook):
    secret: Annotated[
        str,
        Field(
            description="Signs every post (Standard Webhooks). Only shown in this response.",
            examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"],
        ),
    ]


class Webhooks(TypedDict):
    data: list[Webhook]
    next_cursor: NextCursor


class WebhookRequest(TypedDict):
    headers: Annotated[
        dict[str, str] | None,
        Field(description="Headers of the last attempt; null before the first one."),
    ]
    body: Annotated[str, Field(description="The JSON text exactly as it is signed and posted.")]


class WebhookAttempt(TypedDict):
    number: int
    at: Time
    response_status: Annotated[
        int | None, Field(description="Null if there was no response: see error.")
    ]
    response_body: Annotated[str | None, Field(description="The first 4 KiB.")]
    error: str | None
    duration_ms: int


class WebhookDelivery(TypedDict):
    id: Annotated[str, Field(examples=["dlv_01hm6v0q8nfj2r4t6v8x0z2a4c"])]
    webhook_id: str
    event_id: Annotated[str, Field(description="The webhook-id header, the same in every replay.")]
    event: EventName
    message_id: str | None
    status: StatusName
    created_at: Time
    finished_at: Time | None
    next_attempt_at: Annotated[
        Time | None,
        Field(
            description="Null if there is none: finished, being posted now, or the endpoint is"
            " disabled."
        ),
    ]
    request: WebhookRequest
    attempts: Annotated[list[WebhookAttempt], Field(description="All attempts in their order.")]


class WebhookDeliveries(TypedDict):
    data: list[WebhookDelivery]
    next_cursor: NextCursor


class WebhookReplay(TypedDict):
    replayed: Annotated[int, Field(description="The number of events that are delivered again.")]
    next_cursor: Annotated[
        str | None,
        Field(
            description="If the period has more events: repeat the call with this as its cursor."
        ),
    ]


def endpoint_json(endpoint: Endpoint) -> Webhook:
    return {
        "id": endpoint.public_id,
        "test": endpoint.test,
        "url": endpoint.url,
        "description": endpoint.description,
        "events": endpoint.events,
        "enabled": endpoint.enabled,
        "disabled_reason": _english(DisabledReason.named(endpoint.disabled_reason)),
        "failing_since": time_text(endpoint.failing_since),
        "paused_until": _ahead(endpoint.paused_until),
        "previous_secret_until": _ahead(endpoint.previous_secret_until),
        "created_at": time_text(endpoint.created_at),
    }


def new_endpoint_json(endpoint: Endpoint) -> NewWebhook:
    """Return an endpoint with its signing secret, which is shown once."""
    return {**endpoint_json(endpoint), "secret": endpoint.secret}


def _ahead(at: datetime | None) -> str | None:
    return time_text(at) if at is not None and at > clock.now() else None


def delivery_json(delivery: Delivery) -> WebhookDelivery:
    """Return a delivery that was read with its event, endpoint and failed attempts."""
    event = delivery.event
    message_id = event.message_id
    return {
        "id": delivery.public_id,
        "webhook_id": delivery.endpoint.public_id,
        "event_id": ids.public_id(ids.EVENT, event.id),
        "event": event.type,
        "message_id": ids.public_id(ids.MESSAGE, message_id) if message_id else None,
        "status": "pending" if delivery.status == "sending" else delivery.status,
        # The time that the log is filtered by.
        "created_at": time_text(ids.time_of(delivery.id)),
        "finished_at": time_text(delivery.finished_at),
        "next_attempt_at": time_text(next_attempt_at(delivery)),
        "request": {"headers": request_headers(delivery), "body": event.body},
        "attempts": [_attempt_json(one) for one in attempts_of(delivery)],
    }


def next_attempt_at(delivery: Delivery) -> datetime | None:
    """Return the time of the next attempt; None if finished, being posted, or disabled."""
    due, endpoint = delivery.next_attempt_at, delivery.endpoint
    if delivery.status != Delivery.Status.PENDING or due is None or not endpoint.enabled:
        return None
    return max(due, endpoint.paused_until) if endpoint.paused_until else due


def request_headers(delivery: Delivery) -> dict[str, str] | None:
    """Return the request headers of the last attempt, with its signature; None before the first."""
    if delivery.attempted_at is None:
        return None
    headers = outbound.HEADERS | {
        "webhook-id": ids.public_id(ids.EVENT, delivery.event_id),
        "webhook-timestamp": str(int(delivery.attempted_at.timestamp())),
    }
    return headers | ({"webhook-signature": delivery.signature} if delivery.signature else {})


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """An attempt with its result; without a response, `body` is None and `failure` is set."""

    number: int
    at: datetime
    status: int | None
    body: str | None
    failure: Problem | None
    milliseconds: int

    @property
    def ok(self) -> bool:
        """Return whether the receiver accepted it, with a 2xx status."""
        return self.status is not None and 200 <= self.status < 300


def attempts_of(delivery: Delivery) -> list[AttemptResult]:
    """Return all attempts in their order."""
    attempts = [
        _result_of(earlier, earlier.number, earlier.at)
        for earlier in sorted(delivery.failed_attempts.all(), key=lambda attempt: attempt.number)
    ]
    # The last attempt is always in the row itself; if it failed, it is among the others too.
    if delivery.attempted_at and delivery.attempts > (attempts[-1].number if attempts else 0):
        attempts.append(_result_of(delivery, delivery.attempts, delivery.attempted_at))
    return attempts


def _result_of(row: Delivery | FailedAttempt, number: int, at: datetime) -> AttemptResult:
    body = row.response_body if row.response_status else None
    failure = PostReason.named(row.error)
    return AttemptResult(number, at, row.response_status, body, failure, row.duration_ms or 0)


def _english(problem: Problem | None) -> str | None:
    return english(problem) if problem else None


def _attempt_json(attempt: AttemptResult) -> WebhookAttempt:
    return {
        "number": attempt.number,
        "at": time_text(attempt.at),
        "response_status": attempt.status,
        "response_body": attempt.body,
        "error": _english(attempt.failure),
        "duration_ms": attempt.milliseconds,
    }
