"""Celery's entry points to messaging: thin."""

from celery import shared_task

from messaging import carrier_worker, receipts, sweeping

MAX_STEPS = 20
"""Steps of one kind in one run, so that a long sweep does not hold up the others."""


@shared_task(name="messaging.tasks.wake", ignore_result=True)
def wake(lane: str) -> None:
    """Runs in a carrier's worker: there is something to claim in that lane."""
    carrier_worker.wake(lane)


@shared_task(name="messaging.tasks.sweep", ignore_result=True, expires=10)
def sweep() -> None:
    """Every second: release, take back, reroute, match, ring."""
    for step in (
        sweeping.release_scheduled,
        sweeping.requeue_abandoned,
        sweeping.reroute_from_down,
        receipts.match_waiting,
    ):
        for _ in range(MAX_STEPS):
            if step() < sweeping.STEP:
                break
    sweeping.ring_overdue()


@shared_task(name="messaging.tasks.expire", ignore_result=True, expires=30)
def expire() -> None:
    """Every few seconds: end what outlived its validity."""
    for step in (sweeping.expire_sent, sweeping.expire_queued):
        for _ in range(MAX_STEPS):
            if step() < sweeping.STEP:
                break
