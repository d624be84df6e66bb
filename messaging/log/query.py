"""Queries of an organization's messages, filtered, newest first, for the API and the dashboard.

Pagination is by keyset, not offset: deep pages cost as much as the first, and new messages shift
nothing. Ids are time-ordered, so they are the order, and a period of time is a range of ids.

Every page is read from an index in that index's order (docs/decisions/0066). The indexes of a
number and of a reference have the status and the sender behind the id, so that two filters that
hardly ever match together are compared in the index alone.

Filters without an index (`search`: a part of a number, source, country, live or test) search a
limited number of messages at a time, from where the last search ended. `read` takes live or test
too: test messages have an index of their own, and live ones are read past the test messages among
them, which are few and kept for days.
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
"""The most by which an id and its row's `created_at` differ: the id is created first, and the clock
may be set in between."""
SEARCHED = 20_000
"""The most messages that one search reads for a filter without an index."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Filters of a list of messages; a value of None does not filter.

    `to` is in E.164. `since` is inclusive and `until` exclusive (both aware), so that adjacent
    periods have no message in common. The last five have no index, and only `search` takes them,
    except for `test`. `digits`: a part of a number. `batched`: whether the messages are in batches.
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
        """Return whether an index serves all filters but `test`."""
        unserved = (self.digits, self.source, self.batched, self.country)
        return all(value is None for value in unserved)


@dataclass(frozen=True, slots=True)
class Found:
    """The messages that a search found, newest first.

    `up_to` is the last message that it read, where there are more beyond; None where it read all
    messages, or found as many as the limit.
    """

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
    """Return up to `limit` messages, newest first: the newest, or those next older or newer.

    Raises ValueError for a filter without an index; `search` takes all filters.
    """
    if not narrowed.served:
        raise ValueError("no index serves this filter")
    found = _page(organization_id, narrowed, older_than, newer_than)
    if narrowed.test is not None:
        found = found.filter(test=narrowed.test)
    order = "-id" if newer_than is None else "id"
    # The index of test messages also serves filters by sender or status alone.
    if _by_one_of_two(narrowed) and not narrowed.test:
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
    """Return messages like `read`, for any filter; it reads SEARCHED messages at most."""
    if narrowed.served and narrowed.test is None:
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
        # The limit was reached: the next page continues from its last message.
        end = None
    return Found(rows if newer_than is None else rows[::-1], end)


def count(organization_id: uuid.UUID, narrowed: Filter) -> int:
    """Return the number of messages; the only function here whose time grows with that number."""
    found = Message.objects.filter(organization=organization_id, **_lookups(narrowed))
    return found.filter(**_unserved(narrowed)).count()


def _end(
    organization_id: uuid.UUID, narrowed: Filter, found: QuerySet[Message], order: str
) -> uuid.UUID | None:
    """Return the id of the last message that a search reads; None where it reads all of them."""
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
    """Return the messages between the two ids by the filters that have an index."""
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
    """Return the smallest id of a moment moved by `slack`, unless that is out of range."""
    with contextlib.suppress(OverflowError):
        moment += slack
    return first_id_at(moment)


def _status(status: str) -> Func:
    """Return a status as an expression whose value PostgreSQL does not know when it plans.

    Otherwise it would choose one of the small partial indexes of waiting messages and sort all of
    them: its statistics may be from a time without waiting messages, and there are a million now.
    """
    return Func(Value(status), template="(SELECT %(expressions)s)", output_field=CharField())


def _by_one_of_two(narrowed: Filter) -> bool:
    """Return whether the only indexed filter is the sender or the status, but not both."""
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
    """Return the same messages as a union of sorted runs of the index by sender and status.

    There is one run for each pair. One index therefore serves instead of two, each of which would
    be written at every change of a message.
    """
    if narrowed.sender is not None:
        runs = [found.filter(status=_status(str(status))) for status in Status]
    else:
        runs = [found.filter(sender=sender) for sender in senders_used(organization_id)]
    if len(runs) < 2:
        return found
    sorted_runs = [run.order_by(order)[:limit] for run in runs]
    return sorted_runs[0].union(*sorted_runs[1:], all=True)


# A loose index scan: each sender takes one step in the index; DISTINCT would read every message.
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
    """Return the sender IDs of an organization's messages, in alphabetical order."""
    with server_cursor() as cursor:
        cursor.execute(_SENDERS_USED, {"organization": organization_id})
        return [row[0] for row in cursor.fetchall()]
