"""Carriers' traffic, counted by the minute, which shows operators the performance of each one.

A worker counts in memory and writes the counts with its report, every two seconds. If it dies, the
counts since the last report are lost: they are for display, and nothing is charged by them.
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
    """The number of submitted parts by outcome, and of final receipts."""

    accepted: int = 0
    throttled: int = 0
    refused: int = 0
    unanswered: int = 0
    delivered: int = 0
    failed: int = 0

    def count_submit(self, outcome: Response | Exception) -> None:
        """Count the outcome of one part's submit, unless it was not sent."""
        if isinstance(outcome, Response):
            meaning = submit_outcome(outcome.status)
            if meaning is SubmitOutcome.ACCEPTED and not isinstance(outcome, GenericNack):
                self.accepted += 1
            elif meaning is SubmitOutcome.SLOW_DOWN:
                self.throttled += 1
            else:
                self.refused += 1
        elif isinstance(outcome, LinkError) and not isinstance(outcome, NotSent):
            self.unanswered += 1

    def count_receipt(self, status: str) -> None:
        """Count a final receipt."""
        if status == Status.DELIVERED:
            self.delivered += 1
        else:
            self.failed += 1

    def take(self) -> "Tally":
        """Return the counts so far, and reset them to zero."""
        counts = Tally(**asdict(self))
        for field in fields(self):
            setattr(self, field.name, 0)
        return counts

    def add(self, other: "Tally") -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    @property
    def submits(self) -> int:
        return self.accepted + self.throttled + self.refused + self.unanswered

    @property
    def error_rate(self) -> float | None:
        """The percentage of submits that were not accepted; None without submits."""
        return 100 * (self.submits - self.accepted) / self.submits if self.submits else None

    @property
    def delivery_rate(self) -> float | None:
        """The percentage of final receipts that report delivery; None without receipts."""
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
    """Add to the minute's counts and delete old ones, in the caller's transaction."""
    CarrierTraffic.objects.filter(carrier=carrier_id, minute__lt=now - KEPT).delete()
    if tally == Tally():
        return
    with server_cursor() as cursor:
        cursor.execute(_ADD, {"carrier": carrier_id, "now": now, **asdict(tally)})


def since(start: datetime, end: datetime | None = None) -> Mapping[int, Tally]:
    """Return the counts of each carrier with traffic from `start`, and before `end` if given."""
    minutes = CarrierTraffic.objects.filter(minute__gte=start)
    if end is not None:
        minutes = minutes.filter(minute__lt=end)
    names = [field.name for field in fields(Tally)]
    rows = minutes.order_by().values_list("carrier_id").annotate(*(Sum(name) for name in names))
    return {row[0]: Tally(*map(int, row[1:])) for row in rows}


@dataclass(frozen=True, slots=True)
class Figures:
    """A carrier's performance.

    `per_second`: parts accepted per second in the last full minute; `queued`: messages in its
    queue, counted up to QUEUE_COUNTED_TO.
    """

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
    """Return the figures of all carriers, by four queries whatever their number."""
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
    """Return the queue length of each carrier, up to a limit, since it may have millions."""
    with server_cursor() as cursor:
        cursor.execute(
            "SELECT c.id, (SELECT count(*) FROM (SELECT FROM messaging_message m"
            " WHERE m.carrier_id = c.id AND m.status = 'queued' LIMIT %s) AS queued)"
            " FROM messaging_carrier c",
            [QUEUE_COUNTED_TO + 1],
        )
        rows: list[tuple[int, int]] = cursor.fetchall()
    return rows
