"""Usage of an organization in a period: messages, parts and credits, by day, status and the like.

It is read from the hourly rollups (`messaging.usage.rollups`). Messages that no rollup has are
counted from their rows: those of later hours, of the minutes before the first and after the last
whole hour, open messages of rolled-up hours, and test messages, which are few and kept for days. So
it is exact at any time.
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
REFUNDABLE_STATUSES = sorted(map(str, UNDELIVERED))
"""The statuses of messages that may have a refund."""
FINAL_STATUSES = sorted(map(str, FINAL))

# Rows alike in shape, so that sums and single messages add up. Few messages have a refund, so those
# are rows of their own: joining all messages to the ledger takes twice as long. The bounds of the
# references keep other times' refunds out.
LIVE = f"""
SELECT m.created_at AS at, m.status, m.sender, m.country, 1::bigint AS messages,
       m.parts::bigint AS parts, m.price AS credits
  FROM messaging_message m
 WHERE m.organization_id = %(organization)s AND m.test = %(test)s
   AND m.id >= %({{name}}_first)s AND m.id < %({{name}}_last)s
   AND m.created_at >= %({{name}}_start)s AND m.created_at < %({{name}}_end)s
 UNION ALL
SELECT m.created_at, m.status, m.sender, m.country, 0, 0, -r.amount
  FROM messaging_message m
  JOIN {REFUNDS} r ON r.reference = m.id
 WHERE m.organization_id = %(organization)s AND m.test = %(test)s
   AND m.id >= %({{name}}_first)s AND m.id < %({{name}}_last)s
   AND m.created_at >= %({{name}}_start)s AND m.created_at < %({{name}}_end)s
   AND m.status = ANY(%(refundable)s) AND m.price > 0
   AND r.reference >= %({{name}}_first)s AND r.reference < %({{name}}_last)s
"""  # noqa: S608
_SUMMED = f"""
SELECT hour AS at, status, sender, country, messages, parts, credits
  FROM messaging_usagesum
 WHERE organization_id = %(organization)s AND hour >= %(whole_start)s AND hour < %(whole_end)s
 UNION ALL
SELECT o.hour, m.status, m.sender, m.country, 1, m.parts,
       m.price - CASE WHEN m.status = ANY(%(refundable)s) AND m.price > 0 THEN COALESCE((
           SELECT sum(r.amount) FROM {REFUNDS} r WHERE r.reference = m.id), 0) ELSE 0 END
  FROM messaging_usageopen o JOIN messaging_message m ON m.id = o.message_id
 WHERE o.organization_id = %(organization)s AND o.hour >= %(whole_start)s
   AND o.hour < %(whole_end)s
"""  # noqa: S608
# Plain arithmetic: a fifth faster than a conversion to UTC's date.
_BIN = "date_bin('1 {step}', at, '2000-01-01T00:00Z'::timestamptz)"
_DAY_IN_ZONE = "date_trunc('day', at, %(zone)s)"
_KEYS: dict[Group, str] = {
    "day": _BIN.format(step="day"),
    "status": "status",
    "sender_id": "sender",
    "country": "country",
}


@dataclass(frozen=True, slots=True)
class Used:
    """Usage: numbers of messages and parts, and micro-credits charged, less refunds."""

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
    """Return the sum of all."""
    return sum(used, NOTHING)


def used_by(
    organization_id: uuid.UUID, start: datetime, end: datetime, group: Group, *, test: bool = False
) -> dict[str, Used]:
    """Return the usage of one mode's messages accepted from `start` to before `end` (aware).

    The keys are days in UTC (`2027-01-15`, oldest first), or statuses, senders or countries, the
    most used first. Groups without usage are left out.
    """
    rows = _read(
        organization_id,
        start,
        end,
        "SELECT {key}, {sums} FROM counted GROUP BY 1 ORDER BY {order}",
        {},
        test=test,
        key=_KEYS[group],
        order="1" if group == "day" else "2 DESC, 1",
    )
    return {_text(row[0]): _used(row[1:]) for row in rows}


@dataclass(frozen=True, slots=True)
class Traffic:
    """Usage by time and status, by sender, and by country.

    The keys of `by_time` are the start of an hour or day (UTC) and a status.
    """

    by_time: dict[tuple[datetime, str], Used] = field(default_factory=dict)
    by_sender: dict[str, Used] = field(default_factory=dict)
    by_country: dict[str, Used] = field(default_factory=dict)

    @property
    def by_status(self) -> dict[str, Used]:
        """Usage by status, over the whole time."""
        found: dict[str, Used] = {}
        for (_, status), used in self.by_time.items():
            found[status] = found.get(status, NOTHING) + used
        return found

    @property
    def total(self) -> Used:
        """The sum of all."""
        return total(self.by_time.values())

    @property
    def delivery_rate(self) -> float | None:
        """The delivery rate of the completed messages, 0 to 100; None without any."""
        return delivery_rate({key: used.messages for key, used in self.by_status.items()})


def delivery_rate(counts: dict[str, int]) -> float | None:
    """Return the percentage of delivered messages among the delivered, failed and expired ones.

    `counts` is the number of messages by status. None where there are none of these.
    """
    delivered = counts.get("delivered", 0)
    completed = delivered + counts.get("failed", 0) + counts.get("expired", 0)
    return 100 * delivered / completed if completed else None


def traffic(
    organization_id: uuid.UUID, start: datetime, end: datetime, step: Step, zone: tzinfo = UTC
) -> Traffic:
    """Return the usage of messages accepted from `start` to before `end` (aware), without tests.

    Senders and countries are ordered with the most used first. Days are those of the zone, whose
    offset from UTC must be a whole number of hours. One statement reads all three groupings.
    """
    key = _BIN.format(step=step) if step == "hour" or zone is UTC else _DAY_IN_ZONE
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
    *,
    test: bool = False,
    **names: str,
) -> list[Any]:
    """Return the rows of a statement over `counted`, the period's usage in rows like LIVE's."""
    parameters: dict[str, Any] = {
        "organization": organization_id,
        "test": test,
        "refundable": REFUNDABLE_STATUSES,
    } | more
    sources = []
    # Rollups have live messages only.
    whole_start, whole_end = (start, start) if test else _summed_hours(organization_id, start, end)
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
    """Return LIVE's parameters for a period, with the given prefix."""
    return {
        f"{name}_start": start,
        f"{name}_end": end,
        f"{name}_first": id_bound(start, -CLOCKS_DIFFER),
        f"{name}_last": id_bound(end, CLOCKS_DIFFER),
    }


def _summed_hours(
    organization_id: uuid.UUID, start: datetime, end: datetime
) -> tuple[datetime, datetime]:
    """Return the start and end of the period's rolled-up hours; none where start is not before end.

    Rollups may proceed in the meantime: the mark only moves forward, and hours before it stay
    rolled up.
    """
    mark = UsageMark.objects.filter(organization=organization_id).values_list("upto", flat=True)
    upto = mark.first()
    if upto is None:
        return start, start
    first = floor_hour(start)
    return first if first == start else first + HOUR, min(floor_hour(end), upto)


def floor_hour(moment: datetime) -> datetime:
    """Return the start of the moment's hour in UTC."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _used(sums: Iterable[Any]) -> Used:
    return Used(*map(int, sums))


def _text(key: str | datetime) -> str:
    return key if isinstance(key, str) else key.astimezone(UTC).date().isoformat()
