"""The only builder of messages' events, from a record and its current status."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from imissive.core import ids
from messaging.lifecycle.record import MessageRecord
from messaging.states import Status
from webhooks.events.outbox import NewEvent
from webhooks.models import EventType

EVENT_TYPES: Final = {
    Status.QUEUED: EventType.MESSAGE_QUEUED,
    Status.SENT: EventType.MESSAGE_SENT,
    Status.DELIVERED: EventType.MESSAGE_DELIVERED,
    Status.FAILED: EventType.MESSAGE_FAILED,
    Status.EXPIRED: EventType.MESSAGE_EXPIRED,
    Status.CANCELED: EventType.MESSAGE_CANCELED,
}
"""The statuses with webhook events. The others are internal."""


class MessageError(NamedTuple):
    """The reason why a message failed or expired: a code for programs, and a sentence."""

    code: str
    message: str


def message_event(
    record: MessageRecord, status: Status, at: datetime, error: MessageError | None = None
) -> NewEvent:
    """Return the event of a message that has reached that status.

    Its `data` has the documented fields, and the message's optional fields that are set.
    """
    data: dict[str, object] = {"to": record.to, "status": str(status), f"{status}_at": at}
    if error is not None:
        data["error"] = error._asdict()
    if record.reference:
        data["reference"] = record.reference
    if record.batch_id is not None:
        data["batch_id"] = ids.public_id(ids.BATCH, record.batch_id)
    if record.test:
        data["test"] = True
    return NewEvent(record.organization_id, EVENT_TYPES[status], at, record.id, data, record.test)


def message_events(
    records: Iterable[MessageRecord],
    status: Status,
    at: datetime,
    error: MessageError | None = None,
) -> list[NewEvent]:
    """Return the events of several messages that have reached the same status."""
    return [message_event(record, status, at, error) for record in records]
