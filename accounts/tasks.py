"""Celery's entry points to the accounts: thin."""

from celery import shared_task

from accounts.api import idempotency
from accounts.members import people
from accounts.ui import stored_files


@shared_task(name="accounts.tasks.purge_idempotency", ignore_result=True, expires=600)
def purge_idempotency() -> None:
    """Now and then: forget the answers that are kept no longer."""
    while idempotency.purge() == idempotency.PURGE_STEP:
        pass


@shared_task(name="accounts.tasks.forget_unproved", ignore_result=True, expires=600)
def forget_unproved() -> None:
    """Now and then: accounts that nobody ever got into go."""
    while people.forget_unproved() == people.FORGET_STEP:
        pass


@shared_task(name="accounts.tasks.purge_files", ignore_result=True, expires=600)
def purge_files() -> None:
    """Now and then: files that are kept no longer go."""
    while stored_files.purge() == stored_files.PURGE_STEP:
        pass
