"""What an organization used in a span of time: messages, parts and credits, by day and the like.

Read from the sums of its hours (`messaging.usage.rollups`). What no sum holds is counted from the
messages: the hours since, the minutes before the first and after the last whole hour, and those
messages of summed hours that had not come to an end. So it is true at any moment.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal

from accounts.credits.fragments import REFUNDS
from imissive.core.sql import server_cursor
from messaging.log.query import CLOCKS_DIFFER, id_bound
from messaging.models import UsageMark
from messaging.states import FINAL, UNDELIVERED

Group = Literal["day", "status", "sender_id", "country"]
Step = Literal["hour", "day"]

HOUR = timedelta(hours=1)
BACK = sorted(map(str, UNDELIVERED))
"""The statuses with which credits may have come back."""
ENDED = sorted(map(str, FINAL))

# Rows alike in shape, so that sums and single messages add up. Few messages have a refund, so those
# are rows of their own: joining all messages to the ledger takes twice as long. The bounds of the
# references keep other times' refunds out.
LIVE = f"""
SELECT m.created_at AS at, m.status, m.sender, m.country, 1::bigint AS messages,
       m.parts::bigint AS parts, m.price AS credits
  FROM messaging_message m
 WHERE m.organization_id = %(organization)s AND NOT m.test
   AND m.id >= %({{name}}_first)s AND m.id < %({{name}}_last)s
   AND m.created_at >= %({{name}}_start)s AND m.created_at < %({{name}}_end)s
 UNION ALL
SELECT m.created_at, m.status, m.sender, m.country, 0, 0, -r.amount
  FROM messaging_message m
  JOIN {REFUNDS} r ON r.reference = m.id
 WHERE m.organization_id = %(organization)s AND NOT m.test
   AND m.id >= %({{name}}_first)s AND m.id < %({{name}}_last)s
   AND m.created_at >= %({{name}}_start)s AND m.created_at < %({{name}}_end)s
   AND m.status = ANY(%(back)s) AND m.price > 0
   AND r.reference >= %({{name}}_first)s AND r.reference < %({{name}}_last)s
"""  # noqa: S608
_SUMMED = f"""
SELECT hour AS at, status, sender, country, messages, parts, credits
  FROM messaging_usagesum
 WHERE organization_id = %(organization)s AND hour >= %(whole_start)s AND hour < %(whole_end)s
 UNION ALL
SELECT o.hour, m.status, m.sender, m.country, 1, m.parts,
       m.price - CASE WHEN m.status = ANY(%(back)s) AND m.price > 0 THEN COALESCE((
           SELECT sum(r.amount) FROM {REFUNDS} r WHERE r.reference = m.id), 0) ELSE 0 END
  FROM messaging_usageopen o JOIN messaging_message m ON m.id = o.message_id
 WHERE o.organization_id = %(organization)s AND o.hour >= %(whole_start)s
   AND o.hour < %(whole_end)s
"""  # noqa: S608
# Plain arithmetic: a fifth faster than a conversion to UTC's date.
_BIN = "date_bin('1 {step}', at, '2000-01-01T00:00Z'::timestamptz)"
_DAY_THERE = "date_trunc('day', at, %(zone)s)"
_KEYS: dict[Group, str] = {
    "day": _BIN.format(step="day"),
    "status": "status",
    "sender_id": "sender",
    "country": "country",
}


@dataclass(frozen=True, slots=True)
class Used:
    """`credits`: micro-credits charged, less what came back."""

    messages: int
    parts: int
    credits: int

    def __add__(self, other: "Used") -> "Used":
        return Used(
            self.messages + other.messages,
            self.parts + other.parts,
            self.credits + other.credits,
        )


NOTHING = Used(0, 0, 0)


def total(used: Iterable[Used]) -> Used:
    """All of them together."""
    return sum(used, NOTHING)


def used_by(
    organization_id: uuid.UUID, start: datetime, end: datetime, group: Group
) -> dict[str, Used]:
    """What was accepted from `start` to before `end` (aware), without tests.

    By day in UTC (`2027-01-15`, in their order), or by status, sender or country, the most used
    first. Nothing used is left out.
    """
    rows = _read(
        organization_id,
        start,
        end,
        "SELECT {key}, {sums} FROM counted GROUP BY 1 ORDER BY {order}",
        {},
        key=_KEYS[group],
        order="1" if group == "day" else "2 DESC, 1",
    )
    return {_text(row[0]): _used(row[1:]) for row in rows}


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was used, once by the time and status, once by sender, once by country.

    The keys of `by_time` are the beginnings of hours or days (UTC) and statuses.
    """

    by_time: dict[tuple[datetime, str], Used] = field(default_factory=dict)
    by_sender: dict[str, Used] = field(default_factory=dict)
    by_country: dict[str, Used] = field(default_factory=dict)

    @property
    def by_status(self) -> dict[str, Used]:
        found: dict[str, Used] = {}
        for (_, status), used in self.by_time.items():
            found[status] = found.get(status, NOTHING) + used
        return found

    @property
    def total(self) -> Used:
        return total(self.by_time.values())

    @property
    def delivery_rate(self) -> float | None:
        """The share of delivered ones, 0 to 100, among those that came to an end."""
        return delivery_rate({key: used.messages for key, used in self.by_status.items()})


def delivery_rate(counts: dict[str, int]) -> float | None:
    """Delivered of what was delivered, failed or expired, 0 to 100; None where nothing was."""
    delivered = counts.get("delivered", 0)
    ended = delivered + counts.get("failed", 0) + counts.get("expired", 0)
    return 100 * delivered / ended if ended else None


def traffic(
    organization_id: uuid.UUID, start: datetime, end: datetime, step: Step, zone: tzinfo = UTC
) -> Traffic:
    """What was accepted from `start` to before `end` (aware), without tests: in one statement.

    Senders and countries come with the most used first. Days are those of the zone, which has to be
    whole hours away from UTC.
    """
    key = _BIN.format(step=step) if step == "hour" or zone is UTC else _DAY_THERE
    rows = _read(
        organization_id,
        start,
        end,
        "SELECT {key}, status, sender, country, {sums} FROM counted"
        " GROUP BY GROUPING SETS ((1, 2), (3), (4)) ORDER BY 5 DESC, 3, 4",
        {"zone": str(zone)},
        key=key,
    )
    found = Traffic()
    for at, status, sender, country, *sums in rows:
        if at is not None:
            found.by_time[at.astimezone(UTC), status] = _used(sums)
        elif sender is not None:
            found.by_sender[sender] = _used(sums)
        else:
            found.by_country[country] = _used(sums)
    return found


def _read(
    organization_id: uuid.UUID,
    start: datetime,
    end: datetime,
    statement: str,
    more: dict[str, str],
    **names: str,
) -> list[Any]:
    """The rows of a statement over `counted`, which holds all that was used in the span."""
    parameters: dict[str, Any] = {"organization": organization_id, "back": BACK} | more
    sources = []
    whole_start, whole_end = _summed_hours(organization_id, start, end)
    if whole_start < whole_end:
        sources.append(_SUMMED)
        parameters |= {"whole_start": whole_start, "whole_end": whole_end}
        live = {"before": (start, whole_start), "since": (whole_end, end)}
    else:
        live = {"all": (start, end)}
    for name, (first, last) in live.items():
        if first < last:
            sources.append(LIVE.format(name=name))
            parameters |= live_parameters(name, first, last)
    counted = " UNION ALL ".join(sources)
    sums = "sum(messages) AS messages, sum(parts) AS parts, sum(credits) AS credits"
    with server_cursor() as cursor:
        cursor.execute(
            f"WITH counted AS ({counted}) " + statement.format(sums=sums, **names),
            parameters,
        )
        return list(cursor.fetchall())


def live_parameters(name: str, start: datetime, end: datetime) -> dict[str, Any]:
    """What LIVE needs for that span, under that name."""
    return {
        f"{name}_start": start,
        f"{name}_end": end,
        f"{name}_first": id_bound(start, -CLOCKS_DIFFER),
        f"{name}_last": id_bound(end, CLOCKS_DIFFER),
    }


def _summed_hours(
    organization_id: uuid.UUID, start: datetime, end: datetime
) -> tuple[datetime, datetime]:
    """The whole hours of the span that are summed; none where the first is not before the second.

    The mark may be moved meanwhile: it moves ahead only, and what is before it stays summed.
    """
    mark = UsageMark.objects.filter(organization=organization_id).values_list("upto", flat=True)
    upto = mark.first()
    if upto is None:
        return start, start
    first = floor_hour(start)
    return first if first == start else first + HOUR, min(floor_hour(end), upto)


def floor_hour(moment: datetime) -> datetime:
    """The beginning of the hour (of UTC) in which that moment is."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _used(sums: Iterable[Any]) -> Used:
    return Used(*map(int, sums))


def _text(key: str | datetime) -> str:
    return key if isinstance(key, str) else key.astimezone(UTC).date().isoformat()
