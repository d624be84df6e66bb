"""Figures of the overview: counts over time, spending rate, latency (median, p95), failures.

Counts come from the hourly rollups. Latency and failure reasons come from samples that an index
limits, so that a million messages take no longer than a thousand; the page says how large the
sample is.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.ui.charts import (
    Chart,
    Place,
    Series,
    stacked,
)
from imissive.core import clock
from imissive.core.sql import server_cursor
from messaging.log import query
from messaging.log.failure_reasons import (
    STATUS_LABELS,
    STATUS_TONES,
    Text,
    reason,
)
from messaging.states import Status
from messaging.usage.usage import (
    HOUR,
    Step,
    Traffic,
    Used,
    floor_hour,
    traffic,
    used_by,
)

SAMPLED = 200
"""The number of messages of each hour or day whose latency is measured: the newest."""
FAILURES = 200
"""The number of failed messages, and of expired ones, whose reasons are counted: the newest."""
# The order of the stacked bars, from the bottom.
_STACKED = (
    Status.DELIVERED, Status.SENT, Status.SENDING, Status.QUEUED, Status.SCHEDULED,
    Status.CANCELED, Status.EXPIRED, Status.FAILED,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Period:
    """A number of hours or days up to now; `key` is its name in query strings."""

    key: str
    label: str | Promise
    step: Step
    places: int


PERIODS: Final = {
    period.key: period
    for period in (
        Period("24h", _("24 hours"), "hour", 24),
        Period("7d", _("7 days"), "day", 7),
        Period("30d", _("30 days"), "day", 30),
    )
}
LAST_DAY = PERIODS["24h"]


def days_zone() -> tzinfo:
    """Return the time zone whose days are counted.

    It is the reader's, or UTC where the reader's offset from UTC is not a whole number of hours.
    """
    zone = timezone.get_current_timezone()
    offset = clock.now().astimezone(zone).utcoffset() or timedelta()
    return UTC if offset % HOUR or str(zone) == "UTC" else zone


def period_starts(period: Period, now: datetime) -> list[datetime]:
    """Return the starts of the period's hours or days, in UTC; the last one is the current one."""
    if period.step == "hour":
        last = floor_hour(now)
        return [last - back * HOUR for back in range(period.places - 1, -1, -1)]
    zone = days_zone()
    today = now.astimezone(zone).date()
    return [midnight(today - timedelta(days=back)) for back in range(period.places - 1, -1, -1)]


def midnight(day: Any) -> datetime:
    """Return the start of a day in the time zone whose days are counted, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=days_zone()).astimezone(UTC)


def axis_places(starts: Sequence[datetime], step: Step) -> list[Place]:
    """Return the labels under a chart: hours in the reader's time zone, or days."""
    if step == "hour":
        shown = [timezone.localtime(start) for start in starts]
        return [Place(f"{each:%H:%M}", f"{each:%Y-%m-%d %H:%M}") for each in shown]
    days = [start.astimezone(days_zone()) for start in starts]
    return [Place(f"{each:%m-%d}", f"{each:%Y-%m-%d}") for each in days]


def status_series(used: Traffic, starts: Sequence[datetime]) -> list[Series]:
    """Return the number of messages by status, with one value for each start."""
    return [
        Series(
            str(status),
            STATUS_LABELS[status],
            STATUS_TONES[status],
            [_messages(used.by_time.get((start, str(status)))) for start in starts],
        )
        for status in _STACKED
    ]


def _messages(used: Used | None) -> int:
    return used.messages if used else 0


def read_traffic(organization_id: uuid.UUID, period: Period, now: datetime) -> Traffic:
    """Return the messages that were accepted in the period, up to now."""
    starts = period_starts(period, now)
    return traffic(organization_id, starts[0], now, period.step, days_zone())


def status_chart(used: Traffic, period: Period, now: datetime) -> Chart:
    """Return the chart of the period's messages by status."""
    starts = period_starts(period, now)
    return stacked(axis_places(starts, period.step), status_series(used, starts))


@dataclass(frozen=True, slots=True)
class SpendingRate:
    """Micro-credits that were spent in the last 24 hours, and the days that the balance lasts.

    `days_left` is None where nothing was spent.
    """

    spent: int
    days_left: int | None


MAX_DAYS_LEFT = 999
"""More days than these are shown as these."""


def spending_rate(organization_id: uuid.UUID, balance: int, now: datetime) -> SpendingRate:
    """Return the current spending rate, for a balance in micro-credits."""
    day = used_by(organization_id, now - timedelta(hours=24), now, "status")
    spent = sum(used.credits for used in day.values())
    return SpendingRate(spent, min(MAX_DAYS_LEFT, balance // spent) if spent > 0 else None)


# ---------------------------------------------------------------- latency

# The newest messages of each hour or day, so that a long period is measured over all of it. A
# scheduled message waits for its time, so the delivery time starts at `queued_at`.
_LATENCY = """
SELECT count(*), percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY seconds)
  FROM unnest(%(first)s::uuid[], %(last)s::uuid[]) AS place(first, last)
 CROSS JOIN LATERAL (
       SELECT m.status, m.test, extract(epoch FROM m.final_at - m.queued_at)::float AS seconds
         FROM messaging_message m
        WHERE m.organization_id = %(organization)s
          AND m.id >= place.first AND m.id < place.last
        ORDER BY m.id DESC LIMIT %(sampled)s) AS newest
 WHERE status = 'delivered' AND NOT test AND seconds >= 0
"""


@dataclass(frozen=True, slots=True)
class Latency:
    """Delivery time in seconds, from accept to delivered: median and p95 of `measured` messages."""

    measured: int
    median: float
    p95: float


def latency(organization_id: uuid.UUID, period: Period, now: datetime) -> Latency | None:
    """Return the delivery time in the period, or None where nothing was delivered."""
    starts = [*period_starts(period, now), now]
    bounds = [query.id_bound(start, timedelta()) for start in starts]
    with server_cursor() as cursor:
        cursor.execute(
            _LATENCY,
            {
                "organization": organization_id,
                "first": bounds[:-1],
                "last": bounds[1:],
                "sampled": SAMPLED,
            },
        )
        measured, percentiles = cursor.fetchone()
    return Latency(measured, *percentiles) if measured else None


# ---------------------------------------------------------------- failures


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure reason: how many of the sampled messages have it, and the carriers' codes."""

    what: Text
    to_do: Text
    status: str
    messages: int
    codes: Sequence[str]


_NO_REASON: Final = (_("The carrier gave no reason."), _("Open a message for what is known of it."))
_CODES = 3


def failures(organization_id: uuid.UUID, since: datetime, until: datetime) -> list[Failure]:
    """Return why the newest messages of the period failed or expired, most frequent reason first.

    At most FAILURES messages of each status are read; test messages are not counted.
    """
    counts: dict[tuple[str, Text, Text], dict[str, int]] = {}
    for status in (Status.FAILED, Status.EXPIRED):
        narrowed = query.Filter(status=str(status), since=since, until=until)
        for message in query.read(organization_id, narrowed, FAILURES):
            if message.test:
                continue
            found = reason(message.error_code)
            what, to_do = (found.what, found.to_do) if found else _NO_REASON
            codes = counts.setdefault((str(status), what, to_do), {})
            code = message.error_code
            codes[code] = codes.get(code, 0) + 1
    grouped = [
        Failure(
            what,
            to_do,
            status,
            sum(codes.values()),
            [code for code in sorted(codes, key=lambda one: -codes[one]) if code][:_CODES],
        )
        for (status, what, to_do), codes in counts.items()
    ]
    return sorted(grouped, key=lambda one: -one.messages)
