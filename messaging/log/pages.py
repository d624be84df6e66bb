"""Pages of the message log: one organization's messages, filtered, newest first."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from accounts.models import Organization
from imissive.core.ids import MESSAGE, public_id, time_of
from messaging.log import query
from messaging.models import Message

PAGE = 50


def messages_of(organization: Organization) -> QuerySet[Message]:
    """Return an organization's messages, newest first."""
    return Message.objects.filter(organization=organization).order_by("-id")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of messages, newest first.

    `newer` and `older` are the ids from which the adjacent pages are read, None where there is no
    such page. `searched_to` is the last message that was searched, where there are more.
    """

    messages: Sequence[Message]
    newer: uuid.UUID | None
    older: uuid.UUID | None
    searched_to: uuid.UUID | None = None

    @property
    def newer_id(self) -> str:
        """`newer` as a public id, or empty."""
        return public_id(MESSAGE, self.newer) if self.newer else ""

    @property
    def older_id(self) -> str:
        """`older` as a public id, or empty."""
        return public_id(MESSAGE, self.older) if self.older else ""

    @property
    def searched_back_to(self) -> datetime | None:
        """The time at which the last searched message was accepted."""
        return time_of(self.searched_to) if self.searched_to else None


def page(
    organization: Organization,
    narrowed: query.Filter,
    *,
    before: uuid.UUID | None = None,
    after: uuid.UUID | None = None,
    size: int = PAGE,
) -> Page:
    """Return a page of the log: the newest, or the one next older than `before` or newer than
    `after`."""
    found = query.search(organization.id, narrowed, size + 1, older_than=before, newer_than=after)
    rows, more = found.messages, len(found.messages) > size
    if after is not None:
        rows = rows[-size:]
        newer = rows[0].id if more else found.up_to
        return Page(rows, newer, rows[-1].id if rows else after, found.up_to)
    rows = rows[:size]
    older = rows[-1].id if more else found.up_to
    newer = None if before is None else rows[0].id if rows else before
    return Page(rows, newer, older, found.up_to)
