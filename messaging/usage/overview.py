"""What the overview shows of an organization: counts over time, latency, failures, the pace.

Counts come from the sums of hours. Latency and reasons are of samples that an index bounds, so that
a million messages take no longer than a thousand; the page says how many they are of.
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
"""Messages of each hour or day that latency is measured on: the newest of them."""
FAILURES = 200
"""The newest failed ones, and as many expired ones, whose reasons are counted."""
# As they are piled up, from the ground.
_PILED = (
    Status.DELIVERED, Status.SENT, Status.SENDING, Status.QUEUED, Status.SCHEDULED,
    Status.CANCELED, Status.EXPIRED, Status.FAILED,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Span:
    """Some hours or days up to now; `key` is how addresses call it."""

    key: str
    label: str | Promise
    step: Step
    places: int


SPANS: Final = {
    span.key: span
    for span in (
        Span("24h", _("24 hours"), "hour", 24),
        Span("7d", _("7 days"), "day", 7),
        Span("30d", _("30 days"), "day", 30),
    )
}
DAY = SPANS["24h"]


def days_zone() -> tzinfo:
    """The zone whose days are counted: the reader's, unless it is no whole hours away from UTC."""
    zone = timezone.get_current_timezone()
    offset = datetime.now(zone).utcoffset() or timedelta()
    return UTC if offset % HOUR or str(zone) == "UTC" else zone


def begins(span: Span, now: datetime) -> list[datetime]:
    """When each of the span's hours or days begins (UTC), the last one is the present one."""
    if span.step == "hour":
        last = floor_hour(now)
        return [last - back * HOUR for back in range(span.places - 1, -1, -1)]
    zone = days_zone()
    today = now.astimezone(zone).date()
    return [midnight(today - timedelta(days=back)) for back in range(span.places - 1, -1, -1)]


def midnight(day: Any) -> datetime:
    """When that day begins in the zone whose days are counted, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=days_zone()).astimezone(UTC)


def places_of(starts: Sequence[datetime], step: Step) -> list[Place]:
    """What stands under a chart: hours as the reader's clock shows them, or days."""
    if step == "hour":
        shown = [timezone.localtime(start) for start in starts]
        return [Place(f"{each:%H:%M}", f"{each:%Y-%m-%d %H:%M}") for each in shown]
    days = [start.astimezone(days_zone()) for start in starts]
    return [Place(f"{each:%m-%d}", f"{each:%Y-%m-%d}") for each in days]


def status_series(used: Traffic, starts: Sequence[datetime]) -> list[Series]:
    """The messages by status, one value for each place of time."""
    return [
        Series(
            str(status),
            STATUS_LABELS[status],
            STATUS_TONES[status],
            [_messages(used.by_time.get((start, str(status)))) for start in starts],
        )
        for status in _PILED
    ]


def _messages(used: Used | None) -> int:
    return used.messages if used else 0


def read_traffic(organization_id: uuid.UUID, span: Span, now: datetime) -> Traffic:
    """What was accepted in the span, up to now."""
    return traffic(organization_id, begins(span, now)[0], now, span.step, days_zone())


def status_chart(used: Traffic, span: Span, now: datetime) -> Chart:
    starts = begins(span, now)
    return stacked(places_of(starts, span.step), status_series(used, starts))


@dataclass(frozen=True, slots=True)
class Pace:
    """What was spent in the last 24 hours (micro-credits), and how long the balance lasts so."""

    spent: int
    days_left: int | None


LONG = 999
"""Days that are not told apart any more."""


def pace(organization_id: uuid.UUID, balance: int, now: datetime) -> Pace:
    day = used_by(organization_id, now - timedelta(hours=24), now, "status")
    spent = sum(used.credits for used in day.values())
    return Pace(spent, min(LONG, balance // spent) if spent > 0 else None)


# ---------------------------------------------------------------- latency

# The newest of each place of time, so that a long span is measured over all of it. From when it was
# queued, since a scheduled message waits for its time.
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
    """Seconds from accept to delivered that half of `measured` messages, and 95 of 100, took."""

    measured: int
    half: float
    most: float


def latency(organization_id: uuid.UUID, span: Span, now: datetime) -> Latency | None:
    """None where nothing was delivered."""
    starts = [*begins(span, now), now]
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
        measured, found = cursor.fetchone()
    return Latency(measured, *found) if measured else None


# ---------------------------------------------------------------- failures


@dataclass(frozen=True, slots=True)
class Failure:
    """One reason: how many of the newest failures have it, and what the carriers' codes were."""

    what: Text
    to_do: Text
    status: str
    messages: int
    codes: Sequence[str]


_UNSAID: Final = (_("The carrier gave no reason."), _("Open a message for what is known of it."))
_CODES = 3


def failures(organization_id: uuid.UUID, since: datetime, until: datetime) -> list[Failure]:
    """Why the newest messages of the span failed or expired, the most frequent reason first."""
    counts: dict[tuple[str, Text, Text], dict[str, int]] = {}
    for status in (Status.FAILED, Status.EXPIRED):
        wanted = query.Filter(status=str(status), since=since, until=until)
        for message in query.read(organization_id, wanted, FAILURES):
            if message.test:
                continue
            found = reason(message.error_code)
            what, to_do = (found.what, found.to_do) if found else _UNSAID
            codes = counts.setdefault((str(status), what, to_do), {})
            code = message.error_code
            codes[code] = codes.get(code, 0) + 1
    found_all = [
        Failure(
            what,
            to_do,
            status,
            sum(codes.values()),
            [code for code in sorted(codes, key=lambda one: -codes[one]) if code][:_CODES],
        )
        for (status, what, to_do), codes in counts.items()
    ]
    return sorted(found_all, key=lambda one: -one.messages)
