"""Celery tasks: they ring the dispatcher of the worker process that they run in."""

import uuid
from typing import Any

from celery import shared_task
from celery.signals import worker_process_shutdown, worker_shutdown

from webhooks.delivery import (
    dispatcher,
    housekeeping,
    queue,
    worker_liveness,
)
from webhooks.endpoints import notices

_watch = worker_liveness.Watch()


@shared_task(name="webhooks.tasks.deliver", ignore_result=True)
def deliver(endpoint_id: str) -> None:
    """Look at one endpoint, given as 32 hex digits: something was just committed for it."""
    dispatcher.current().wake(uuid.UUID(hex=endpoint_id))


@shared_task(name="webhooks.tasks.sweep", ignore_result=True, expires=10)
def sweep() -> None:
    """Find what is due and nobody rang for: retries, lost rings, what a dead worker held."""
    _watch.step(queue.lease_seconds())
    for endpoint_id in queue.due_endpoints():
        dispatcher.current().wake(endpoint_id)
    housekeeping.purge_deleted()


@shared_task(name="webhooks.tasks.clean_up", ignore_result=True, expires=60)
def clean_up() -> None:
    """Every minute: delete what is old, and send the mails that could not be sent before."""
    for endpoint_id in notices.due():
        notices.tell_people(endpoint_id)
    housekeeping.forget_previous_secrets()
    housekeeping.purge_old()


@shared_task(name="webhooks.tasks.tell_people", ignore_result=True)
def tell_people(endpoint_id: str) -> None:
    """Mail the people of an endpoint, given as 32 hex digits, that it was disabled."""
    notices.tell_people(uuid.UUID(hex=endpoint_id))


def drain(**_kwargs: Any) -> None:
    """The worker was told to stop, and its tasks have ended."""
    dispatcher.stop_current()


worker_shutdown.connect(drain)
worker_process_shutdown.connect(drain)
