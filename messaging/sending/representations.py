"""A message as the REST API shows it, with its parts and timeline."""

import uuid
from typing import Any

from accounts.credits.ledger import credits_text
from imissive.core import ids
from imissive.core.api.rendering import time_text
from imissive.core.errors import problem_json
from messaging.models import Attempt, Message, MessagePart
from messaging.routing.cache import tables
from messaging.routing.sending_hours import HELD
from messaging.sending.accept import Acceptance, Accepted
from messaging.sending.evaluation import Refusal
from messaging.sending.schemas import (
    BulkResult,
    MessageDetail,
    MessageError,
    MessageSegment,
    RejectedMessage,
    TimelineEntry,
)
from messaging.sending.schemas import Message as MessageAnswer
from messaging.states import Status


def _message(
    *,
    id: uuid.UUID,
    to: str,
    sender: str,
    status: str,
    parts: int,
    encoding: str,
    price: int,
    reference: str,
    batch_id: str | None,
    test: bool,
    created_at: str,
    scheduled_at: str | None,
    queued_at: str | None,
    sent_at: str | None = None,
    delivered_at: str | None = None,
    failed_at: str | None = None,
    error: MessageError | None = None,
) -> MessageAnswer:
    return {
        "message_id": ids.public_id(ids.MESSAGE, id),
        "to": to,
        "sender_id": sender,
        "status": status,
        "parts": parts,
        "encoding": encoding,
        "credits": credits_text(price),
        "reference": reference or None,
        "batch_id": batch_id,
        "test": test,
        "created_at": created_at,
        "scheduled_at": scheduled_at,
        "queued_at": queued_at,
        "sent_at": sent_at,
        "delivered_at": delivered_at,
        "failed_at": failed_at,
        "error": error,
    }


def accepted_messages(acceptance: Acceptance) -> list[MessageAnswer | RejectedMessage]:
    """Return a row for each draft in its order: the message, or why it was refused."""
    send_request = acceptance.send_request
    shared: dict[str, Any] = {
        "batch_id": ids.public_id(ids.BATCH, acceptance.batch_id) if acceptance.batch_id else None,
        "test": send_request.test,
        "created_at": time_text(acceptance.created_at),
    }
    return [
        _accepted(outcome, shared) if isinstance(outcome, Accepted) else _rejected(outcome)
        for outcome in acceptance.outcomes
    ]


def _accepted(outcome: Accepted, shared: dict[str, Any]) -> MessageAnswer:
    evaluation = outcome.evaluation
    return _message(
        id=outcome.id,
        to=evaluation.to,
        sender=evaluation.sender,
        parts=evaluation.parts,
        encoding=evaluation.encoding,
        price=evaluation.price,
        reference=evaluation.reference,
        status=str(outcome.status),
        scheduled_at=time_text(outcome.scheduled_at),
        queued_at=None if outcome.scheduled_at else shared["created_at"],
        **shared,
    )


def _rejected(refusal: Refusal) -> RejectedMessage:
    return {"to": refusal.to, "status": "rejected", "error": problem_json(refusal.problems[0])}


def bulk_json(acceptance: Acceptance) -> BulkResult:
    """Return what was accepted and refused of a bulk call."""
    accepted = sum(isinstance(outcome, Accepted) for outcome in acceptance.outcomes)
    batch_id = acceptance.batch_id
    return {
        "batch_id": ids.public_id(ids.BATCH, batch_id) if batch_id else None,
        "accepted": accepted,
        "rejected": len(acceptance.outcomes) - accepted,
        "credits": credits_text(acceptance.price),
        "messages": accepted_messages(acceptance),
    }


def message_json(message: Message) -> MessageAnswer:
    """Return a stored message, without its parts and timeline."""
    final_at = time_text(message.final_at)
    return _message(
        id=message.id,
        to=message.to,
        sender=message.sender,
        status=message.status,
        parts=message.parts,
        encoding=message.encoding,
        price=message.price,
        reference=message.reference,
        batch_id=ids.public_id(ids.BATCH, message.batch_id) if message.batch_id else None,
        test=message.test,
        created_at=time_text(message.created_at),
        scheduled_at=time_text(message.scheduled_at),
        queued_at=time_text(message.queued_at),
        sent_at=time_text(message.sent_at),
        delivered_at=final_at if message.status == Status.DELIVERED else None,
        failed_at=final_at if message.status == Status.FAILED else None,
        error={"code": message.error_code, "message": message.error_message}
        if message.error_code
        else None,
    )


def message_detail_json(message: Message) -> MessageDetail:
    """Return a stored message with what the carrier said of each part, and its timeline."""
    parts = list(message.submitted_parts.order_by("number"))
    attempts = list(message.attempts.order_by("id"))
    return {
        **message_json(message),
        "text": message.shown_text,
        "expires_at": time_text(message.expires_at),
        "segments": [_segment(part) for part in parts],
        "timeline": timeline(message, parts, attempts),
    }


def _segment(part: MessagePart) -> MessageSegment:
    return {
        "number": part.number,
        "status": part.status,
        "carrier_message_id": part.carrier_message_id,
        "sent_at": time_text(part.submitted_at),
        "final_at": time_text(part.final_at),
        "error_code": part.error_code or None,
    }


def timeline(
    message: Message, parts: list[MessagePart], attempts: list[Attempt]
) -> list[TimelineEntry]:
    """Return what happened to a message, oldest first."""
    found = [(message.created_at, "accepted", "")]
    held = [attempt for attempt in attempts if attempt.outcome == HELD]
    if message.scheduled_at and not held:
        opening = tables().opens(message.country, message.sender, message.scheduled_at)
        until = f"until {time_text(message.scheduled_at)}"
        found.append((message.created_at, "held" if opening else "scheduled", until))
    if message.scheduled_at and message.queued_at:
        found.append((message.queued_at, "queued", ""))
    for attempt in attempts:
        if attempt in held:
            found.append((attempt.at, "held", attempt.detail))
        else:
            told = f"{attempt.outcome}: {attempt.detail}".rstrip(": ")
            found.append((attempt.at, "attempt", told))
    of = f" of {message.parts}"
    for part in parts:
        name = f"part {part.number}{of}" if message.parts > 1 else ""
        found.append((part.submitted_at, "sent", name))
        if part.final_at and message.parts > 1:
            found.append(
                (part.final_at, f"part {part.status}", f"{name} {part.error_code}".strip())
            )
    if message.final_at:
        found.append((message.final_at, message.status, message.error_message))
    return [
        {"at": time_text(at), "event": event, "detail": detail or None}
        for at, event, detail in sorted(found, key=lambda row: row[0])
    ]
