"""An organization's messages, filtered, newest first, by pages: for the API and the dashboard.

Keyset, not offset: deep pages cost what the first does, and messages that arrive shift nothing.
Ids are time-ordered, so the order is theirs, and a span of time is a range of ids.

Every page is read from an index in its own order (docs/decisions/0066). The indexes of a number
and of a reference hold the status and the sender behind the id, so that two filters that hardly
ever meet are compared in the index alone.

What no index serves (`search`: a piece of a number, source, country, live or test) is looked for
among so many messages at a time, from where the last search ended.
"""

import contextlib
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import CharField, Func, QuerySet, Value

from imissive.core.ids import first_id_at
from imissive.core.sql import server_cursor
from messaging.models import Message
from messaging.states import Status

CLOCKS_DIFFER = timedelta(minutes=1)
"""An id is made a moment before its row's `created_at`, and the clock may be set between them."""
SEARCHED = 20_000
"""How many messages one search looks through for what no index serves."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list is narrowed to; what is None narrows nothing.

    `to` in E.164. `since` is inclusive and `until` is not, so that neighbouring spans share nothing
    (aware). No index serves the last five, which only `search` may be asked for. `digits`: a piece
    of a number. `batched`: whether they came as one of many.
    """

    status: str | None = None
    to: str | None = None
    sender: str | None = None
    batch_id: uuid.UUID | None = None
    reference: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    digits: str | None = None
    source: str | None = None
    batched: bool | None = None
    country: str | None = None
    test: bool | None = None

    @property
    def served(self) -> bool:
        """Whether an index serves all of it."""
        unserved = (self.digits, self.source, self.batched, self.country, self.test)
        return all(value is None for value in unserved)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, newest first, and the last message that it looked at, beyond which there
    are more; None where it has seen all there are, or found more than it was asked for."""

    messages: list[Message]
    up_to: uuid.UUID | None = None


def read(
    organization_id: uuid.UUID,
    narrowed: Filter,
    limit: int,
    *,
    older_than: uuid.UUID | None = None,
    newer_than: uuid.UUID | None = None,
) -> list[Message]:
    """Up to `limit` messages, newest first: the newest, or those next older or newer than one.

    By filters that an index serves; `search` takes all of them.
    """
    if not narrowed.served:
        raise ValueError("no index serves this filter")
    found = _page(organization_id, narrowed, older_than, newer_than)
    order = "-id" if newer_than is None else "id"
    if _by_one_of_two(narrowed):
        found = _merged(found, organization_id, narrowed, order, limit)
    rows = list(found.order_by(order)[:limit])
    return rows if newer_than is None else rows[::-1]


def search(
    organization_id: uuid.UUID,
    narrowed: Filter,
    limit: int,
    *,
    older_than: uuid.UUID | None = None,
    newer_than: uuid.UUID | None = None,
) -> Found:
    """As `read`, for any filter: of those that an index gives, SEARCHED at most are looked at."""
    if narrowed.served:
        rows = read(organization_id, narrowed, limit, older_than=older_than, newer_than=newer_than)
        return Found(rows)
    found = _page(organization_id, narrowed, older_than, newer_than)
    order = "-id" if newer_than is None else "id"
    end = _end(organization_id, narrowed, found, order)
    if end is not None:
        found = found.filter(id__gte=end) if newer_than is None else found.filter(id__lte=end)
    found = found.filter(**_unserved(narrowed))
    if _by_one_of_two(narrowed):
        found = _merged(found, organization_id, narrowed, order, limit)
    rows = list(found.order_by(order)[:limit])
    if len(rows) == limit:
        # There is more than was asked for: where the search ended is of no interest.
        end = None
    return Found(rows if newer_than is None else rows[::-1], end)


def count(organization_id: uuid.UUID, narrowed: Filter) -> int:
    """How many there are: the one thing here that takes the longer, the more there are."""
    found = Message.objects.filter(organization=organization_id, **_lookups(narrowed))
    return found.filter(**_unserved(narrowed)).count()


def _end(
    organization_id: uuid.UUID, narrowed: Filter, found: QuerySet[Message], order: str
) -> uuid.UUID | None:
    """The last message that a search looks at; None where it sees all there are."""
    candidates: QuerySet[Message, Any] = found.values_list("id", flat=True)
    if _by_one_of_two(narrowed):
        candidates = _merged(candidates, organization_id, narrowed, order, SEARCHED + 1)
    last_and_next = list(candidates.order_by(order)[SEARCHED - 1 : SEARCHED + 1])
    return last_and_next[0] if len(last_and_next) == 2 else None


def _page(
    organization_id: uuid.UUID,
    narrowed: Filter,
    older_than: uuid.UUID | None,
    newer_than: uuid.UUID | None,
) -> QuerySet[Message]:
    """What indexes give, between the two."""
    found = Message.objects.filter(organization=organization_id, **_lookups(narrowed))
    if older_than is not None:
        found = found.filter(id__lt=older_than)
    if newer_than is not None:
        found = found.filter(id__gt=newer_than)
    return found


def _unserved(narrowed: Filter) -> dict[str, Any]:
    lookups: dict[str, Any] = {
        "to__contains": narrowed.digits,
        "source": narrowed.source,
        "batch__isnull": None if narrowed.batched is None else not narrowed.batched,
        "country": narrowed.country,
        "test": narrowed.test,
    }
    return {name: value for name, value in lookups.items() if value is not None}


def _lookups(narrowed: Filter) -> dict[str, Any]:
    lookups: dict[str, Any] = {
        "status": None if narrowed.status is None else _status(narrowed.status),
        "to": narrowed.to,
        "sender": narrowed.sender,
        "batch": narrowed.batch_id,
        "reference": narrowed.reference,
        "created_at__gte": narrowed.since,
        "created_at__lt": narrowed.until,
    }
    if narrowed.since is not None:
        lookups["id__gte"] = id_bound(narrowed.since, -CLOCKS_DIFFER)
    if narrowed.until is not None:
        lookups["id__lt"] = id_bound(narrowed.until, CLOCKS_DIFFER)
    return {name: value for name, value in lookups.items() if value is not None}


def id_bound(moment: datetime, slack: timedelta) -> uuid.UUID:
    """The first id of that moment, moved by the slack unless that is out of a calendar's range."""
    with contextlib.suppress(OverflowError):
        moment += slack
    return first_id_at(moment)


def _status(status: str) -> Func:
    """A status as PostgreSQL does not know it while it plans.

    It would take one of the small indexes of what waits, to sort it all: when it was counted last,
    nothing may have waited where there is a million now.
    """
    return Func(Value(status), template="(SELECT %(expressions)s)", output_field=CharField())


def _by_one_of_two(narrowed: Filter) -> bool:
    """Whether all there is to look up by is the sender or the status, but not both."""
    others = (narrowed.to, narrowed.reference, narrowed.batch_id)
    if any(value is not None for value in others):
        return False
    return (narrowed.sender is None) != (narrowed.status is None)


def _merged(
    found: QuerySet[Message, Any],
    organization_id: uuid.UUID,
    narrowed: Filter,
    order: str,
    limit: int,
) -> QuerySet[Message, Any]:
    """The same messages as sorted runs of the index by sender and status, one for each pair.

    So one index, of which each change of a message is an entry, serves what two would.
    """
    if narrowed.sender is not None:
        runs = [found.filter(status=_status(str(status))) for status in Status]
    else:
        runs = [found.filter(sender=sender) for sender in senders_used(organization_id)]
    if len(runs) < 2:
        return found
    sorted_runs = [run.order_by(order)[:limit] for run in runs]
    return sorted_runs[0].union(*sorted_runs[1:], all=True)


# Each sender is found by a step in the index; DISTINCT would read every message.
_SENDERS_USED = """
WITH RECURSIVE used AS (
    (SELECT sender FROM messaging_message WHERE organization_id = %(organization)s
      ORDER BY sender LIMIT 1)
    UNION ALL
    SELECT next.sender FROM used CROSS JOIN LATERAL (
        SELECT m.sender FROM messaging_message m
         WHERE m.organization_id = %(organization)s AND m.sender > used.sender
         ORDER BY m.sender LIMIT 1) AS next
)
SELECT sender FROM used
"""


def senders_used(organization_id: uuid.UUID) -> list[str]:
    """The sender IDs that an organization's messages bear, in their order."""
    with server_cursor() as cursor:
        cursor.execute(_SENDERS_USED, {"organization": organization_id})
        return [row[0] for row in cursor.fetchall()]
