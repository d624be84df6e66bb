"""The message log as people read it: one organization's messages, filtered, by pages, counted.

Ids are time-ordered, so a span of time is a range of ids and every read here walks the one index
`message_of_organization` from its new end.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, QuerySet, Sum

from accounts.models import Organization
from imissive.ids import first_id_at
from messaging import numbers
from messaging.models import Message
from messaging.states import Status

PAGE = 50


def messages_of(organization: Organization) -> QuerySet[Message]:
    """An organization's messages, newest first."""
    return Message.objects.filter(organization=organization).order_by("-id")


def message_of(organization: Organization, message_id: uuid.UUID) -> Message | None:
    """The organization's message with that id, or None: another's is as good as missing."""
    found = Message.objects.select_related("batch", "api_key", "carrier")
    return found.filter(organization=organization, id=message_id).first()


@dataclass(frozen=True, slots=True)
class Totals:
    """Messages accepted in some span: how many have each status, and what they cost (micro)."""

    by_status: dict[str, int]
    cost: int

    @property
    def messages(self) -> int:
        return sum(self.by_status.values())

    @property
    def delivery_rate(self) -> float | None:
        """The share of delivered ones, 0 to 100, among those that came to an end."""
        delivered = self.by_status.get(Status.DELIVERED, 0)
        ended = delivered + sum(self.by_status.get(s, 0) for s in (Status.FAILED, Status.EXPIRED))
        return 100 * delivered / ended if ended else None


def totals_since(organization: Organization, moment: datetime) -> Totals:
    """The totals of what was accepted since then; statuses without a message are left out."""
    rows = (
        Message.objects.filter(organization=organization, id__gte=first_id_at(moment))
        .values_list("status")
        .annotate(Count("id"), Sum("price"))
    )
    counts, cost = {}, 0
    for status, count, price in rows:
        counts[status] = count
        cost += int(price)
    return Totals(counts, cost)


@dataclass(frozen=True, slots=True)
class Filter:
    """What the log is narrowed to; empty fields narrow nothing."""

    status: str = ""
    number: str = ""

    def __bool__(self) -> bool:
        return bool(self.status or self.number)

    def apply(self, messages: QuerySet[Message]) -> QuerySet[Message]:
        if self.status:
            messages = messages.filter(status=self.status)
        if self.number:
            messages = messages.filter(**_number_lookup(self.number))
        return messages


def _number_lookup(typed: str) -> dict[str, str]:
    """A whole number in any of its spellings is looked up exactly, a piece of one by its digits."""
    try:
        return {"to": numbers.parse(typed).e164}
    except numbers.InvalidNumber:
        digits = "".join(character for character in typed if character.isdecimal())
        # Nothing to look for finds nothing, rather than everything.
        return {"to__contains": digits} if digits else {"to": ""}


@dataclass(frozen=True, slots=True)
class Page:
    """Some messages, newest first, and whether there are newer and older ones beside them."""

    messages: Sequence[Message]
    has_newer: bool
    has_older: bool


def page(
    organization: Organization,
    narrowed: Filter,
    *,
    before: uuid.UUID | None = None,
    after: uuid.UUID | None = None,
    size: int = PAGE,
) -> Page:
    """One page of the log: the newest, the one just older than `before` or newer than `after`.

    Keyset, not offset: deep pages cost what the first does, and new messages shift nothing.
    """
    found = narrowed.apply(messages_of(organization))
    if after is not None:
        rows = list(found.filter(id__gt=after).order_by("id")[: size + 1])
        return Page(rows[:size][::-1], has_newer=len(rows) > size, has_older=True)
    if before is not None:
        found = found.filter(id__lt=before)
    rows = list(found[: size + 1])
    return Page(rows[:size], has_newer=before is not None, has_older=len(rows) > size)
