"""The status of binds as carrier workers report it, for operators and for failover."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from imissive.core import clock
from messaging.carriers import traffic
from messaging.carriers.traffic import Tally
from messaging.models import Carrier, CarrierBind
from messaging.smpp import client

FORGET_AFTER = timedelta(minutes=1)
RETURN_GRACE = timedelta(seconds=5)
"""The time that a lost bind has to return before failover moves its carrier's queue."""


@dataclass(frozen=True, slots=True)
class Row:
    number: int
    mode: str
    state: str
    since: datetime
    in_flight: int
    submitted: int
    throttled: int
    receipts: int
    protocol_errors: int
    last_error: str


def row(bind: client.CarrierBind) -> Row:
    """Return a bind's current status."""
    return Row(
        bind.number,
        bind.mode,
        bind.state,
        clock.moment(bind.since),
        bind.in_use,
        bind.submitted,
        bind.throttled,
        bind.receipts,
        bind.protocol_errors,
        bind.last_error,
    )


@transaction.atomic
def report(
    carrier_id: int, worker: str, rows: Sequence[Row], counted: Tally | None = None
) -> Carrier | None:
    """Write the status of the worker's binds and the carrier's traffic since the last report.

    Returns the carrier's current row, or None if it was deleted.
    """
    now = clock.now()
    if counted is not None:
        traffic.record(carrier_id, counted, now)
    CarrierBind.objects.bulk_create(
        [
            CarrierBind(carrier_id=carrier_id, worker=worker, updated_at=now, **asdict(row))
            for row in rows
        ],
        update_conflicts=True,
        unique_fields=["carrier", "worker", "number"],
        update_fields=[
            "mode",
            "state",
            "since",
            "in_flight",
            "submitted",
            "throttled",
            "receipts",
            "protocol_errors",
            "last_error",
            "updated_at",
        ],
    )
    stale = CarrierBind.objects.filter(carrier_id=carrier_id)
    stale.filter(worker=worker, number__gte=len(rows)).delete()
    stale.filter(updated_at__lt=now - FORGET_AFTER).delete()
    return Carrier.objects.filter(id=carrier_id).first()


def forget(carrier_id: int, worker: str) -> None:
    """Record that the worker has unbound. The rows stay for a minute: it may be restarting."""
    now = clock.now()
    CarrierBind.objects.filter(carrier_id=carrier_id, worker=worker).update(
        state=CarrierBind.State.WAITING,
        since=now,
        updated_at=now,
        in_flight=0,
        last_error="the carrier worker was stopped",
    )


def bound() -> QuerySet[CarrierBind]:
    """Return the binds that accept submits, by the recent reports of their workers."""
    fresh = clock.now() - timedelta(seconds=CarrierBind.STALE_AFTER_SECONDS)
    return CarrierBind.objects.filter(
        state=CarrierBind.State.BOUND, updated_at__gte=fresh, carrier__enabled=True
    ).exclude(mode="rx")


def carriers_up() -> set[int]:
    """Return the carriers that are bound and accept messages: one that is draining does not."""
    return set(bound().filter(carrier__draining=False).values_list("carrier_id", flat=True))


def carriers_reconnecting() -> set[int]:
    """Return the carriers that were bound until a moment ago: a worker or link is restarting."""
    recently = clock.now() - RETURN_GRACE
    return set(
        CarrierBind.objects.filter(
            since__gte=recently, carrier__enabled=True, carrier__draining=False
        )
        .exclude(mode="rx")
        .values_list("carrier_id", flat=True)
    )
