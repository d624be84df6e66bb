"""Celery tasks: they ring the dispatcher of the worker process that they run in."""

import uuid
from typing import Any

from celery import shared_task
from celery.signals import worker_process_shutdown, worker_shutdown

from webhooks import deliveries, dispatcher


@shared_task(name="webhooks.tasks.deliver", ignore_result=True)
def deliver(endpoint_id: str) -> None:
    """Look at one endpoint, given as 32 hex digits: something was just committed for it."""
    dispatcher.current().ring(uuid.UUID(hex=endpoint_id))


@shared_task(name="webhooks.tasks.sweep", ignore_result=True, expires=10)
def sweep() -> None:
    """Find what is due and nobody rang for: retries, lost rings, what a dead worker held."""
    for endpoint_id in deliveries.due_endpoints():
        dispatcher.current().ring(endpoint_id)
    deliveries.purge_deleted()


def drain(**_kwargs: Any) -> None:
    """The worker was told to stop, and its tasks have ended."""
    dispatcher.stop_current()


worker_shutdown.connect(drain)
worker_process_shutdown.connect(drain)
