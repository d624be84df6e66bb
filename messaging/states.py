"""The states of a message and the one table of what may follow what."""

from enum import StrEnum


class Status(StrEnum):
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELED = "canceled"


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.SCHEDULED: frozenset({Status.QUEUED, Status.CANCELED, Status.EXPIRED}),
    # Back to scheduled: the hours closed in which a country lets it go.
    Status.QUEUED: frozenset(
        {Status.SENDING, Status.SCHEDULED, Status.CANCELED, Status.EXPIRED, Status.FAILED}
    ),
    # Back to queued: throttled, its bind lost, its worker dead. Straight to a final state: the
    # receipts of all its parts came before the submit responses were committed.
    Status.SENDING: frozenset(
        {Status.QUEUED, Status.SENT, Status.DELIVERED, Status.FAILED, Status.EXPIRED}
    ),
    Status.SENT: frozenset({Status.DELIVERED, Status.FAILED, Status.EXPIRED}),
    Status.DELIVERED: frozenset(),
    Status.FAILED: frozenset(),
    Status.EXPIRED: frozenset(),
    Status.CANCELED: frozenset(),
}

FINAL = frozenset(status for status, following in TRANSITIONS.items() if not following)
CANCELABLE = frozenset(
    status for status, following in TRANSITIONS.items() if Status.CANCELED in following
)


def sources(target: Status) -> list[str]:
    """The states from which a compare-and-swap to `target` may start."""
    return [str(status) for status, following in TRANSITIONS.items() if target in following]
