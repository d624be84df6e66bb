"""Endpoints and deliveries as the REST API shows them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema

from imissive import clock, ids, outbound
from imissive.rendering import time_text
from webhooks.models import Delivery, Endpoint, EventType, FailedAttempt


def _event(name: str) -> str:
    if name not in EventType.values:
        raise ValueError(f"is not an event; the events are {', '.join(EventType.values)}")
    return name


EventName = Annotated[
    str,
    AfterValidator(_event),
    WithJsonSchema({"type": "string", "enum": list(EventType.values)}),
]
StatusName = Literal["pending", "delivered", "failed"]
"""Delivery.Status as callers see it: one that is being posted is pending too, for an instant."""


class Webhook(BaseModel):
    id: str = Field(examples=["whk_01hm6v0q8nfj2r4t6v8x0z2a4c"])
    url: str
    description: str
    events: list[EventName] = Field(description="The events it wants; none listed means all.")
    enabled: bool
    disabled_reason: str | None = Field(
        description="Why the platform disabled it; null if you did, or while it is enabled."
    )
    failing_since: datetime | None = Field(
        description="Since when no post has succeeded. After five days the endpoint is disabled."
    )
    paused_until: datetime | None = Field(
        description="The receiver asked for a rest (Retry-After); nothing is posted before."
    )
    previous_secret_until: datetime | None = Field(
        description="Until then the secret before the last rotation signs too."
    )
    created_at: datetime


class NewWebhook(Webhook):
    secret: str = Field(
        description="Signs every post (Standard Webhooks). Shown this once.",
        examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"],
    )


class Webhooks(BaseModel):
    data: list[Webhook]
    next_cursor: str | None = Field(description="Asks for the next page; null on the last one.")


class WebhookRequest(BaseModel):
    headers: dict[str, str] | None = Field(
        description="Those of the last attempt; null before the first one."
    )
    body: str = Field(description="The JSON text, byte by byte as it is signed and posted.")


class WebhookAttempt(BaseModel):
    number: int
    at: datetime
    response_status: int | None = Field(description="Null where there was no answer: see error.")
    response_body: str | None = Field(description="Its first 4 KiB.")
    error: str | None
    duration_ms: int


class WebhookDelivery(BaseModel):
    id: str = Field(examples=["dlv_01hm6v0q8nfj2r4t6v8x0z2a4c"])
    webhook_id: str
    event_id: str = Field(description="The webhook-id header: the same in every replay.")
    event: EventName
    message_id: str | None
    status: StatusName
    created_at: datetime
    finished_at: datetime | None
    next_attempt_at: datetime | None = Field(
        description="Null if there is none: ended, being posted now, or the endpoint is disabled."
    )
    request: WebhookRequest
    attempts: list[WebhookAttempt] = Field(description="In their order.")


class WebhookDeliveries(BaseModel):
    data: list[WebhookDelivery]
    next_cursor: str | None = Field(description="Asks for the next page; null on the last one.")


class WebhookReplay(BaseModel):
    replayed: int = Field(description="How many events are delivered again.")
    next_cursor: str | None = Field(
        description="Where there is more in the span: repeat the call with this as its cursor."
    )


def endpoint_json(endpoint: Endpoint) -> dict[str, Any]:
    """A Webhook."""
    return {
        "id": endpoint.public_id,
        "url": endpoint.url,
        "description": endpoint.description,
        "events": endpoint.events,
        "enabled": endpoint.enabled,
        "disabled_reason": endpoint.disabled_reason or None,
        "failing_since": time_text(endpoint.failing_since),
        "paused_until": _ahead(endpoint.paused_until),
        "previous_secret_until": _ahead(endpoint.previous_secret_until),
        "created_at": time_text(endpoint.created_at),
    }


def _ahead(at: datetime | None) -> str | None:
    return time_text(at) if at is not None and at > clock.now() else None


def delivery_json(delivery: Delivery) -> dict[str, Any]:
    """A WebhookDelivery, of one that was read with its event, endpoint and failed attempts."""
    event = delivery.event
    message_id = event.message_id
    return {
        "id": delivery.public_id,
        "webhook_id": delivery.endpoint.public_id,
        "event_id": ids.public_id(ids.EVENT, event.id),
        "event": event.type,
        "message_id": ids.public_id(ids.MESSAGE, message_id) if message_id else None,
        "status": "pending" if delivery.status == "sending" else delivery.status,
        # What the log is filtered by.
        "created_at": time_text(ids.time_of(delivery.id)),
        "finished_at": time_text(delivery.finished_at),
        "next_attempt_at": time_text(next_attempt_at(delivery)),
        "request": {"headers": request_headers(delivery), "body": event.body},
        "attempts": [_attempt_json(one) for one in attempts_of(delivery)],
    }


def next_attempt_at(delivery: Delivery) -> datetime | None:
    """When it is tried next; None where it ended, is being posted, or its endpoint is off."""
    due, endpoint = delivery.next_attempt_at, delivery.endpoint
    if delivery.status != Delivery.Status.PENDING or due is None or not endpoint.enabled:
        return None
    return max(due, endpoint.paused_until) if endpoint.paused_until else due


def request_headers(delivery: Delivery) -> dict[str, str] | None:
    """Those of the last attempt. Its signature is kept; the secret never was in it."""
    if delivery.attempted_at is None:
        return None
    headers = outbound.HEADERS | {
        "webhook-id": ids.public_id(ids.EVENT, delivery.event_id),
        "webhook-timestamp": str(int(delivery.attempted_at.timestamp())),
    }
    return headers | ({"webhook-signature": delivery.signature} if delivery.signature else {})


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt and how it went; `body` is None where there was no answer."""

    number: int
    at: datetime
    status: int | None
    body: str | None
    error: str
    milliseconds: int

    @property
    def ok(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300


def attempts_of(delivery: Delivery) -> list[Tried]:
    """Each attempt, in their order."""
    attempts = [
        _tried(earlier, earlier.number, earlier.at)
        for earlier in sorted(delivery.failed_attempts.all(), key=lambda attempt: attempt.number)
    ]
    # How the last one went is always in the row itself; if it failed, it is among the others too.
    if delivery.attempted_at and delivery.attempts > (attempts[-1].number if attempts else 0):
        attempts.append(_tried(delivery, delivery.attempts, delivery.attempted_at))
    return attempts


def _tried(row: Delivery | FailedAttempt, number: int, at: datetime) -> Tried:
    body = row.response_body if row.response_status else None
    return Tried(number, at, row.response_status, body, row.error, row.duration_ms or 0)


def _attempt_json(tried: Tried) -> dict[str, Any]:
    return {
        "number": tried.number,
        "at": time_text(tried.at),
        "response_status": tried.status,
        "response_body": tried.body,
        "error": tried.error or None,
        "duration_ms": tried.milliseconds,
    }
