"""The statuses of a message, and the one table of what may follow what.

A message and each of its parts have a status; campaigns, binds and SMPP itself have states.

Every change of a status is a compare-and-swap over this table: a `Swap` gives a statement the
statuses from which it may start, and refuses a change that the table does not have. Tests hold the
database to the table by a trigger that is made from it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
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
    # Back to queued: throttled, its bind lost, its worker dead. Straight to a final status: the
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
UNDELIVERED = FINAL - {Status.DELIVERED}
"""With which credits may have come back."""
CANCELABLE = frozenset(
    status for status, following in TRANSITIONS.items() if Status.CANCELED in following
)


def statuses_before(*after: Status) -> list[Status]:
    """Return the statuses that each of `after` may follow."""
    return [status for status, following in TRANSITIONS.items() if following.issuperset(after)]


def sql_list(statuses: Collection[Status]) -> str:
    """Return what follows `status IN` in SQL, such as `('sending', 'sent')`."""
    return "(" + ", ".join(f"'{status}'" for status in Status if status in statuses) + ")"


@dataclass(frozen=True, slots=True)
class Swap:
    """A compare-and-swap of messages' statuses: from any of `before` to one of `after`.

    `swap` makes them, so that the table has each of these changes.
    """

    before: frozenset[Status]
    after: frozenset[Status]

    @property
    def before_sql(self) -> str:
        """What follows the statement's `status IN`."""
        return sql_list(self.before)

    @property
    def after_sql(self) -> str:
        """The statement's new status as a literal, where all rows get the same one."""
        [status] = self.after
        return f"'{status}'"

    def values(self, statuses: Iterable[Status]) -> list[str]:
        """Return the rows' new statuses as a parameter of the statement.

        Raises ValueError for one that this swap does not lead to.
        """
        wanted = list(statuses)
        if not self.after.issuperset(wanted):
            raise ValueError(f"no part of this swap: {sorted(set(wanted) - self.after)}")
        return [str(status) for status in wanted]


def swap(*after: Status, before: Collection[Status] = ()) -> Swap:
    """Return the swap to one of `after`, from `before` or else from all that they may follow.

    Raises ValueError where the table does not have one of these changes.
    """
    allowed = frozenset(statuses_before(*after))
    chosen = frozenset(before) or allowed
    if not after or not chosen or not chosen <= allowed:
        raise ValueError(f"the table has no change from {sorted(chosen)} to {sorted(after)}")
    return Swap(chosen, frozenset(after))
