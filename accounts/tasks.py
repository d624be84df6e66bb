"""Celery's entry points to the accounts: thin."""

from celery import shared_task

from accounts import idempotency


@shared_task(name="accounts.tasks.purge_idempotency", ignore_result=True, expires=600)
def purge_idempotency() -> None:
    """Now and then: forget the answers that are kept no longer."""
    while idempotency.purge() == idempotency.PURGE_STEP:
        pass
