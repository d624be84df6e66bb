"""Celery tasks of webhooks: wake the worker process's dispatcher, sweep, clean up, send notices."""

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
    """Deliver what was just committed for an endpoint, given as 32 hex digits."""
    dispatcher.current().wake(uuid.UUID(hex=endpoint_id))


@shared_task(name="webhooks.tasks.sweep", ignore_result=True, expires=10)
def sweep() -> None:
    """Wake the dispatcher for due deliveries: retries, lost wake-ups, claims of dead workers."""
    _watch.step(queue.lease_seconds())
    for endpoint_id in queue.due_endpoints():
        dispatcher.current().wake(endpoint_id)
    housekeeping.purge_deleted()


@shared_task(name="webhooks.tasks.clean_up", ignore_result=True, expires=60)
def clean_up() -> None:
    """Delete old rows, and retry the notices that could not be sent. Runs every minute."""
    for endpoint_id in notices.due():
        notices.send_notice(endpoint_id)
    housekeeping.forget_previous_secrets()
    housekeeping.purge_old()


@shared_task(name="webhooks.tasks.tell_people", ignore_result=True)
def send_notice(endpoint_id: str) -> None:
    """Notify an organization by email that its endpoint, given as 32 hex digits, was disabled."""
    notices.send_notice(uuid.UUID(hex=endpoint_id))


def drain(**_kwargs: Any) -> None:
    """Drain the dispatcher when the Celery worker shuts down, after its tasks have ended."""
    dispatcher.stop_current()


worker_shutdown.connect(drain)
worker_process_shutdown.connect(drain)
