"""Celery tasks of accounts: periodic housekeeping."""

from celery import shared_task

from accounts.api import idempotency
from accounts.members import people
from accounts.ui import stored_files


@shared_task(name="accounts.tasks.purge_idempotency", ignore_result=True, expires=600)
def purge_idempotency() -> None:
    """Delete expired idempotency records. Runs periodically."""
    while idempotency.purge() == idempotency.PURGE_STEP:
        pass


@shared_task(name="accounts.tasks.forget_unproved", ignore_result=True, expires=600)
def forget_unproved() -> None:
    """Delete old accounts whose email address was never verified. Runs periodically."""
    while people.forget_unproved() == people.FORGET_STEP:
        pass


@shared_task(name="accounts.tasks.purge_files", ignore_result=True, expires=600)
def purge_files() -> None:
    """Delete expired files. Runs periodically."""
    while stored_files.purge() == stored_files.PURGE_STEP:
        pass
