"""Carriers' responses, counted by the minute: for operators, who see how each one performs.

A worker counts in memory and writes with its report, every two seconds. What it counted since the
last report dies with it: these are figures to look at, and nothing is charged by them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta

from django.db.models import Sum

from imissive.core import clock
from imissive.core.sql import server_cursor
from messaging.carriers.command_statuses import SubmitOutcome, submit_outcome
from messaging.models import CarrierTraffic
from messaging.smpp.link import LinkError, NotSent
from messaging.smpp.pdus import GenericNack, Response
from messaging.states import Status

KEPT = timedelta(days=2)
QUEUE_COUNTED_TO = 10_000
_MINUTE = timedelta(minutes=1)


@dataclass(slots=True)
class Tally:
    """Parts by what became of their submit, and final receipts."""

    accepted: int = 0
    throttled: int = 0
    refused: int = 0
    unanswered: int = 0
    delivered: int = 0
    failed: int = 0

    def answer(self, outcome: Response | Exception) -> None:
        """Count what became of one part's submit; what was not sent counts for nothing."""
        if isinstance(outcome, Response):
            found = submit_outcome(outcome.status)
            if found is SubmitOutcome.ACCEPTED and not isinstance(outcome, GenericNack):
                self.accepted += 1
            elif found is SubmitOutcome.SLOW_DOWN:
                self.throttled += 1
            else:
                self.refused += 1
        elif isinstance(outcome, LinkError) and not isinstance(outcome, NotSent):
            self.unanswered += 1

    def receipt(self, status: str) -> None:
        if status == Status.DELIVERED:
            self.delivered += 1
        else:
            self.failed += 1

    def take(self) -> "Tally":
        """Return the counts so far, and start again from zero."""
        taken = Tally(**asdict(self))
        for field in fields(self):
            setattr(self, field.name, 0)
        return taken

    def add(self, other: "Tally") -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    @property
    def submits(self) -> int:
        return self.accepted + self.throttled + self.refused + self.unanswered

    @property
    def error_rate(self) -> float | None:
        """Of a hundred submits, how many were not accepted; None where there were none."""
        return 100 * (self.submits - self.accepted) / self.submits if self.submits else None

    @property
    def delivery_rate(self) -> float | None:
        """Of a hundred final receipts, how many said delivered; None where there were none."""
        final = self.delivered + self.failed
        return 100 * self.delivered / final if final else None


_ADD = """
INSERT INTO messaging_carriertraffic AS t
       (carrier_id, minute, accepted, throttled, refused, unanswered, delivered, failed)
VALUES (%(carrier)s, date_trunc('minute', %(now)s::timestamptz), %(accepted)s, %(throttled)s,
        %(refused)s, %(unanswered)s, %(delivered)s, %(failed)s)
    ON CONFLICT (carrier_id, minute) DO UPDATE
   SET accepted = t.accepted + excluded.accepted, throttled = t.throttled + excluded.throttled,
       refused = t.refused + excluded.refused, unanswered = t.unanswered + excluded.unanswered,
       delivered = t.delivered + excluded.delivered, failed = t.failed + excluded.failed
"""


def record(carrier_id: int, tally: Tally, now: datetime) -> None:
    """Add to the minute's figures, and drop those that are too old; in the caller's transaction."""
    CarrierTraffic.objects.filter(carrier=carrier_id, minute__lt=now - KEPT).delete()
    if tally == Tally():
        return
    with server_cursor() as cursor:
        cursor.execute(_ADD, {"carrier": carrier_id, "now": now, **asdict(tally)})


def since(start: datetime, end: datetime | None = None) -> Mapping[int, Tally]:
    """The figures of each carrier from `start`, to before `end`; without those that had none."""
    found = CarrierTraffic.objects.filter(minute__gte=start)
    if end is not None:
        found = found.filter(minute__lt=end)
    names = [field.name for field in fields(Tally)]
    rows = found.order_by().values_list("carrier_id").annotate(*(Sum(name) for name in names))
    return {row[0]: Tally(*map(int, row[1:])) for row in rows}


@dataclass(frozen=True, slots=True)
class Figures:
    """How a carrier does. `per_second`: parts accepted a second in the last whole minute;
    `queued`: what waits for it, counted to QUEUE_COUNTED_TO."""

    hour: Tally
    day: Tally
    per_second: float
    queued: int

    @property
    def per_second_shown(self) -> str:
        return f"{self.per_second:,.1f}"

    @property
    def queued_shown(self) -> str:
        if self.queued > QUEUE_COUNTED_TO:
            return f"{QUEUE_COUNTED_TO:,}+"
        return f"{self.queued:,}"


def figures() -> dict[int, Figures]:
    """Those of all carriers, by four queries whatever their number."""
    now = clock.now()
    minute = now.replace(second=0, microsecond=0)
    hour, day = since(now - timedelta(hours=1)), since(now - timedelta(days=1))
    last = since(minute - _MINUTE, minute)
    none = Tally()
    return {
        carrier_id: Figures(
            hour.get(carrier_id, none),
            day.get(carrier_id, none),
            last.get(carrier_id, none).accepted / 60,
            queued,
        )
        for carrier_id, queued in _queues()
    }


def _queues() -> list[tuple[int, int]]:
    """Return the queue of each carrier: counted to a limit, since it may have millions."""
    with server_cursor() as cursor:
        cursor.execute(
            "SELECT c.id, (SELECT count(*) FROM (SELECT FROM messaging_message m"
            " WHERE m.carrier_id = c.id AND m.status = 'queued' LIMIT %s) AS queued)"
            " FROM messaging_carrier c",
            [QUEUE_COUNTED_TO + 1],
        )
        rows: list[tuple[int, int]] = cursor.fetchall()
    return rows
