"""Celery's entry points to messaging: thin."""

from collections.abc import Callable

from celery import shared_task

from imissive.sql import Fault, fault_of
from messaging import (
    carrier_process,
    composing,
    exporting,
    low_balance,
    receipts,
    sender_mails,
    summing,
    sweeping,
)
from messaging.campaigns import clock
from messaging.campaigns.moving import ring as ring_campaigns
from messaging.smpp.server import assembling, owed

MAX_STEPS = 20
"""Steps of one kind in one run, so that a long sweep does not hold up the others."""


@shared_task(name="messaging.tasks.wake", ignore_result=True)
def wake(lane: str) -> None:
    """Runs in a carrier's worker: there is something to claim in that lane."""
    carrier_process.wake(lane)


def _repeat(*steps: Callable[[], int]) -> None:
    """Do each step until there is no more of it. One that breaks does not hold up the others."""
    errors: list[Exception] = []
    for step in steps:
        try:
            for _ in range(MAX_STEPS):
                if step() < sweeping.STEP:
                    break
        except Exception as error:
            if fault_of(error) is Fault.DATABASE:
                raise  # the others would fail by it too
            errors.append(error)
    if errors:
        raise ExceptionGroup("steps failed", errors)


@shared_task(name="messaging.tasks.release", ignore_result=True, expires=5)
def release() -> None:
    """Twice a second: queue what was scheduled for now, and hold what has come too late."""
    _repeat(sweeping.hold_late, sweeping.release_scheduled)


@shared_task(name="messaging.tasks.sweep", ignore_result=True, expires=10)
def sweep() -> None:
    """Every second: take back, reroute, match, ring."""
    _repeat(
        sweeping.release_dead,
        sweeping.requeue_abandoned,
        sweeping.reroute_from_down,
        receipts.match_waiting,
        sweeping.ring_overdue,
    )


@shared_task(name="messaging.tasks.expire_sent", ignore_result=True, expires=30)
def expire_sent() -> None:
    """Every few seconds: end what got no final receipt within its validity."""
    _repeat(sweeping.expire_sent)


@shared_task(name="messaging.tasks.expire_queued", ignore_result=True, expires=30)
def expire_queued() -> None:
    """Every few seconds: end what was not submitted within its validity."""
    _repeat(sweeping.expire_queued)


@shared_task(name="messaging.tasks.forget_early_receipts", ignore_result=True, expires=60)
def forget_early_receipts() -> None:
    """Every minute: delete receipts that never matched."""
    _repeat(receipts.forget_early)


@shared_task(name="messaging.tasks.sweep_smpp", ignore_result=True, expires=30)
def sweep_smpp() -> None:
    """Every few seconds: give long messages up whose parts do not come."""
    _repeat(assembling.expire)


@shared_task(name="messaging.tasks.purge_smpp", ignore_result=True, expires=300)
def purge_smpp() -> None:
    """Now and then: forget receipts whose time is over, and submits nobody asks for any more."""
    _repeat(owed.purge)


@shared_task(name="messaging.tasks.watch_balances", ignore_result=True, expires=10)
def watch_balances() -> None:
    """Every few seconds: tell those whose balance has fallen below their threshold."""
    low_balance.watch()
    low_balance.send_mails()


@shared_task(name="messaging.tasks.mail_senders", ignore_result=True, expires=10)
def mail_senders() -> None:
    """Every few seconds: mail what was decided about sender IDs."""
    sender_mails.send_mails()


@shared_task(name="messaging.tasks.sum_usage", ignore_result=True, expires=60)
def sum_usage() -> None:
    """Every minute: sum the hours that are over, for usage and charts."""
    summing.sum_up()


CAMPAIGN_SECONDS = 3.0
"""How long one run of campaigns holds a worker's thread, a step more or less."""


@shared_task(name="messaging.tasks.run_campaigns", ignore_result=True, expires=30)
def run_campaigns() -> None:
    """Every two seconds, and when rung: check, begin, go on with, cancel and count campaigns."""
    if clock.run(CAMPAIGN_SECONDS):
        ring_campaigns()


EXPORT_SECONDS = 5.0
"""How long one run writes exports before others get the worker."""


@shared_task(name="messaging.tasks.write_exports", ignore_result=True, expires=30)
def write_exports() -> None:
    """When one is asked for, and every few seconds: write on what is due."""
    exporting.write_for(EXPORT_SECONDS)


@shared_task(name="messaging.tasks.purge_exports", ignore_result=True, expires=600)
def purge_exports() -> None:
    """Now and then: exports that are told of no longer go."""
    while exporting.purge() == exporting.PURGE_STEP:
        pass


@shared_task(name="messaging.tasks.forget_compositions", ignore_result=True, expires=600)
def forget_compositions() -> None:
    """Forget which forms were sent long ago."""
    composing.forget()
