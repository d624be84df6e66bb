"""Celery's entry points to messaging: thin."""

import os
from collections.abc import Callable
from typing import Any

from celery import shared_task, signals

from imissive.core.sql import Fault, fault_of
from messaging.billing import low_balance
from messaging.campaigns import scheduler
from messaging.campaigns.transitions import wake as wake_campaigns
from messaging.carriers import failover, process, receipts, sweeps
from messaging.compose import composer
from messaging.gateway import reassembly, receipt_queue
from messaging.log import exports
from messaging.senders import mails
from messaging.usage import rollups

MAX_STEPS = 20
"""Steps of one kind in one run, so that a long sweep does not hold up the others."""


def _carrier() -> str:
    """Return the carrier whose binds this worker process holds beside its queues, if any.

    Read when asked for: the process may be a fork of one that imported this module long before.
    """
    return os.environ.get("IMISSIVE_CARRIER", "")


@signals.worker_ready.connect
def start_carrier(**_: Any) -> None:
    """Hold the binds of the carrier that this worker process was started for, if any."""
    if carrier := _carrier():
        process.start(carrier)


@signals.worker_shutting_down.connect
def stop_carrier_soon(**_: Any) -> None:
    """Have the binds end while Celery's own parts do, not after them."""
    if _carrier():
        process.stop_soon()


@signals.worker_shutdown.connect
def stop_carrier(**_: Any) -> None:
    """Finish what that carrier's worker has under way, and unbind."""
    if _carrier():
        process.stop()


@shared_task(name="messaging.tasks.wake", ignore_result=True)
def wake(priority: str) -> None:
    """Runs in a carrier's worker: there is something to claim in that priority."""
    process.wake(priority)


def _repeat(*steps: Callable[[], int]) -> None:
    """Do each step until there is no more of it. One that breaks does not hold up the others."""
    errors: list[Exception] = []
    for step in steps:
        try:
            for _ in range(MAX_STEPS):
                if step() < sweeps.STEP:
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
    _repeat(sweeps.hold_late, sweeps.release_scheduled)


@shared_task(name="messaging.tasks.sweep", ignore_result=True, expires=10)
def sweep() -> None:
    """Every second: take back, reroute, match, ring."""
    _repeat(
        sweeps.release_dead,
        sweeps.requeue_abandoned,
        failover.reroute_from_down,
        receipts.match_waiting,
        sweeps.wake_overdue,
    )


@shared_task(name="messaging.tasks.expire_sent", ignore_result=True, expires=30)
def expire_sent() -> None:
    """Every few seconds: end what got no final receipt within its validity."""
    _repeat(sweeps.expire_sent)


@shared_task(name="messaging.tasks.expire_queued", ignore_result=True, expires=30)
def expire_queued() -> None:
    """Every few seconds: end what was not submitted within its validity."""
    _repeat(sweeps.expire_queued)


@shared_task(name="messaging.tasks.forget_early_receipts", ignore_result=True, expires=60)
def forget_early_receipts() -> None:
    """Every minute: use kept receipts that settings accept by now, and delete old ones."""
    _repeat(receipts.use_kept)
    _repeat(receipts.forget_early)


@shared_task(name="messaging.tasks.sweep_smpp", ignore_result=True, expires=30)
def sweep_smpp() -> None:
    """Every few seconds: give long messages up whose parts do not come."""
    _repeat(reassembly.expire)


@shared_task(name="messaging.tasks.purge_smpp", ignore_result=True, expires=300)
def purge_smpp() -> None:
    """Now and then: forget receipts whose time is over, and submits nobody asks for any more."""
    _repeat(receipt_queue.purge)


@shared_task(name="messaging.tasks.watch_balances", ignore_result=True, expires=10)
def watch_balances() -> None:
    """Every few seconds: tell those whose balance has fallen below their threshold."""
    low_balance.watch()
    low_balance.send_mails()


@shared_task(name="messaging.tasks.mail_senders", ignore_result=True, expires=10)
def mail_senders() -> None:
    """Every few seconds: mail what was decided about sender IDs."""
    mails.send_mails()


@shared_task(name="messaging.tasks.sum_usage", ignore_result=True, expires=60)
def sum_usage() -> None:
    """Every minute: sum the hours that are over, for usage and charts."""
    rollups.roll_up()


CAMPAIGN_SECONDS = 3.0
"""How long one run of campaigns holds a worker's thread, a step more or less."""


@shared_task(name="messaging.tasks.run_campaigns", ignore_result=True, expires=30)
def run_campaigns() -> None:
    """Every two seconds, and when rung: check, begin, go on with, cancel and count campaigns."""
    if scheduler.run(CAMPAIGN_SECONDS):
        wake_campaigns()


EXPORT_SECONDS = 5.0
"""How long one run writes exports before others get the worker."""


@shared_task(name="messaging.tasks.write_exports", ignore_result=True, expires=30)
def write_exports() -> None:
    """When one is asked for, and every few seconds: write on what is due."""
    exports.write_for(EXPORT_SECONDS)


@shared_task(name="messaging.tasks.purge_exports", ignore_result=True, expires=600)
def purge_exports() -> None:
    """Now and then: exports that are told of no longer go."""
    while exports.purge() == exports.PURGE_STEP:
        pass


@shared_task(name="messaging.tasks.forget_compositions", ignore_result=True, expires=600)
def forget_compositions() -> None:
    """Forget which forms were sent long ago."""
    composer.delete_old()
