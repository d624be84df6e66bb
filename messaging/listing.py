"""An organization's messages, filtered, newest first, by pages: for the API and the dashboard.

Keyset, not offset: deep pages cost what the first does, and messages that arrive shift nothing.
Ids are time-ordered, so the order is theirs, and a span of time is a range of ids.

Every page is read from an index in its own order (docs/decisions.md, 66). The indexes of a number
and of a reference hold the status and the sender behind the id, so that two filters that hardly
ever meet are compared in the index alone.
"""

import contextlib
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import CharField, Func, QuerySet, Value

from imissive.ids import first_id_at
from imissive.sql import server_cursor
from messaging.models import Message
from messaging.states import Status

CLOCKS_DIFFER = timedelta(minutes=1)
"""An id is made a moment before its row's `created_at`, and the clock may be set between them."""
SEARCHED = 50_000
"""How many of the newest messages are searched for a piece of a number, which no index serves."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list is narrowed to; what is None narrows nothing.

    `to` in E.164. `digits`: a piece of a number, among the newest SEARCHED messages. `since` is
    inclusive and `until` is not, so that neighbouring spans share nothing (aware).
    """

    status: str | None = None
    to: str | None = None
    digits: str | None = None
    sender: str | None = None
    batch_id: uuid.UUID | None = None
    reference: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def read(
    organization_id: uuid.UUID,
    narrowed: Filter,
    limit: int,
    *,
    older_than: uuid.UUID | None = None,
    newer_than: uuid.UUID | None = None,
) -> list[Message]:
    """Up to `limit` messages, newest first: the newest, or those next older or newer than one."""
    found = Message.objects.filter(organization=organization_id, **_lookups(narrowed))
    if narrowed.digits is not None:
        found = _with_digits(found, organization_id, narrowed.digits)
    if older_than is not None:
        found = found.filter(id__lt=older_than)
    if newer_than is not None:
        found = found.filter(id__gt=newer_than)
    order = "-id" if newer_than is None else "id"
    if _by_one_of_two(narrowed):
        found = _merged(found, organization_id, narrowed, order, limit)
    rows = list(found.order_by(order)[:limit])
    return rows if newer_than is None else rows[::-1]


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
    others = (narrowed.to, narrowed.reference, narrowed.batch_id, narrowed.digits)
    if any(value is not None for value in others):
        return False
    return (narrowed.sender is None) != (narrowed.status is None)


def _merged(
    found: QuerySet[Message], organization_id: uuid.UUID, narrowed: Filter, order: str, limit: int
) -> QuerySet[Message]:
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


def _with_digits(
    found: QuerySet[Message], organization_id: uuid.UUID, digits: str
) -> QuerySet[Message]:
    oldest = oldest_searched(organization_id)
    if oldest is not None:
        found = found.filter(id__gt=oldest)
    return found.filter(to__contains=digits)


def oldest_searched(organization_id: uuid.UUID) -> uuid.UUID | None:
    """The message below which no piece of a number is looked for; None where all are searched."""
    newest = Message.objects.filter(organization=organization_id).order_by("-id")
    return newest.values_list("id", flat=True)[SEARCHED : SEARCHED + 1].first()
