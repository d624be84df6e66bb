"""Celery tasks of one-time passwords: expiry, SMS pumping protection, housekeeping."""

from celery import shared_task

from otp.limits import notices, sms_pumping
from otp.verification import completion, housekeeping

MAX_STEPS = 20


@shared_task(name="otp.tasks.expire", ignore_result=True, expires=10)
def expire() -> None:
    """Expire pending verifications whose time is over. Runs every few seconds."""
    for _ in range(MAX_STEPS):
        if completion.expire_due() < completion.STEP:
            break


@shared_task(name="otp.tasks.watch", ignore_result=True, expires=60)
def watch() -> None:
    """Hold prefixes with suspected SMS pumping, and send the mails about it. Runs every minute."""
    sms_pumping.watch()
    for held_id in notices.due():
        notices.send_notice(held_id)


@shared_task(name="otp.tasks.clean_up", ignore_result=True, expires=600)
def clean_up() -> None:
    """Delete old verifications. Runs periodically."""
    while housekeeping.purge() == housekeeping.STEP:
        pass
