"""The message log as people read it: one organization's messages, filtered, by pages, counted."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, QuerySet, Sum

from accounts.models import Organization
from imissive.ids import first_id_at
from messaging import listing, numbers
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

    def of_list(self) -> listing.Filter:
        """As `messaging.listing` reads it.

        A whole number in any of its spellings is looked up exactly, a piece of one by its digits.
        """
        to = digits = None
        if self.number:
            try:
                to = numbers.parse(self.number).e164
            except numbers.InvalidNumber:
                digits = "".join(str(int(one)) for one in self.number if one.isdecimal())
                # Nothing to look for finds nothing, rather than everything.
                to = None if digits else ""
        return listing.Filter(status=self.status or None, to=to, digits=digits or None)


@dataclass(frozen=True, slots=True)
class Page:
    """Some messages, newest first, and whether there are newer and older ones beside them.

    `searched`: of how many of the newest messages; None where of all.
    """

    messages: Sequence[Message]
    has_newer: bool
    has_older: bool
    searched: int | None = None


def page(
    organization: Organization,
    narrowed: Filter,
    *,
    before: uuid.UUID | None = None,
    after: uuid.UUID | None = None,
    size: int = PAGE,
) -> Page:
    """One page of the log: the newest, the one just older than `before` or newer than `after`."""
    wanted = narrowed.of_list()
    searched = None
    if wanted.digits is not None and listing.oldest_searched(organization.id) is not None:
        searched = listing.SEARCHED
    rows = listing.read(organization.id, wanted, size + 1, older_than=before, newer_than=after)
    more = len(rows) > size
    if after is not None:
        return Page(rows[-size:], has_newer=more, has_older=True, searched=searched)
    return Page(rows[:size], has_newer=before is not None, has_older=more, searched=searched)
