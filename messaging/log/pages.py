"""The message log as people read it: one organization's messages, filtered, by pages, counted."""

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
    """An organization's messages, newest first."""
    return Message.objects.filter(organization=organization).order_by("-id")


def message_of(organization: Organization, message_id: uuid.UUID) -> Message | None:
    """The organization's message with that id, or None: another's is as good as missing."""
    found = Message.objects.select_related("batch", "api_key", "carrier")
    return found.filter(organization=organization, id=message_id).first()


@dataclass(frozen=True, slots=True)
class Page:
    """Some messages, newest first, and from where the pages beside it are read (None: there is
    none).

    `searched_to`: the last message that was looked at, where there are more that were not.
    """

    messages: Sequence[Message]
    newer: uuid.UUID | None
    older: uuid.UUID | None
    searched_to: uuid.UUID | None = None

    @property
    def newer_id(self) -> str:
        return public_id(MESSAGE, self.newer) if self.newer else ""

    @property
    def older_id(self) -> str:
        return public_id(MESSAGE, self.older) if self.older else ""

    @property
    def searched_back_to(self) -> datetime | None:
        """When the last message was accepted that was looked at."""
        return time_of(self.searched_to) if self.searched_to else None


def page(
    organization: Organization,
    narrowed: query.Filter,
    *,
    before: uuid.UUID | None = None,
    after: uuid.UUID | None = None,
    size: int = PAGE,
) -> Page:
    """One page of the log: the newest, the one just older than `before` or newer than `after`."""
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
