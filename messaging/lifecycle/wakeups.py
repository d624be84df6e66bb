"""The queues of carrier workers, and the wake-ups for new messages to claim."""

from collections.abc import Iterable

from imissive.core import wakeups
from messaging.lifecycle.record import MessageRecord
from messaging.routing.cache import tables


def carrier_queue(slug: str, *, urgent: bool) -> str:
    """Return the Celery queue that a carrier's workers listen to for that priority."""
    return f"carrier.{slug}.urgent" if urgent else f"carrier.{slug}"


def wake_carrier(slug: str, *, urgent: bool) -> None:
    """Wake the carrier's workers for that priority. Call it after the commit, never before."""
    wakeups.wake(
        "messaging.tasks.wake",
        queue=carrier_queue(slug, urgent=urgent),
        arguments=("urgent" if urgent else "bulk",),
    )


def wake_carriers(priorities: Iterable[tuple[int, bool]]) -> None:
    """Wake the workers of each carrier (by its id) and priority (whether urgent), once."""
    carriers = tables().carriers
    for carrier_id, urgent in set(priorities):
        if carrier_id in carriers:
            wake_carrier(carriers[carrier_id].slug, urgent=urgent)


def wake_for(records: Iterable[MessageRecord]) -> None:
    """Wake the workers of those queued messages."""
    wake_carriers((record.carrier_id, record.urgent) for record in records)
