"""Celery's entry points to one-time passwords: thin."""

from celery import shared_task

from otp.limits import notices, sms_pumping
from otp.verification import completion, housekeeping

MAX_STEPS = 20


@shared_task(name="otp.tasks.expire", ignore_result=True, expires=10)
def expire() -> None:
    """Every few seconds: end the verifications whose time is over."""
    for _ in range(MAX_STEPS):
        if completion.expire_due() < completion.STEP:
            break


@shared_task(name="otp.tasks.watch", ignore_result=True, expires=60)
def watch() -> None:
    """Every minute: hold prefixes that look pumped, and send the mails that are owed."""
    sms_pumping.watch()
    for held_id in notices.due():
        notices.tell_people(held_id)


@shared_task(name="otp.tasks.clean_up", ignore_result=True, expires=600)
def clean_up() -> None:
    """Now and then: delete what is old."""
    while housekeeping.purge() == housekeeping.STEP:
        pass
