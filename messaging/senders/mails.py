"""Emails to an organization's members about the decision on a sender ID.

The step of the history records that its email is due, so that neither a lost task nor a mail server
that is down loses it. Each is claimed by a compare-and-swap.
"""

from datetime import timedelta

import structlog
from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse

from accounts.access.page_access import public_id
from accounts.roles import Role
from accounts.ui import mails
from imissive.core import clock
from messaging.models import SenderStep

log = structlog.get_logger(__name__)

STEP = 20
TRY_AGAIN_AFTER = timedelta(minutes=10)
READERS = [Role.OWNER, Role.ADMIN]


def send_mails() -> int:
    """Send the emails of up to STEP decisions; return how many decisions' emails were taken.

    While the mail server is down they stay due.
    """
    sent = 0
    due = _due().select_related("sender__organization").order_by("mail_due_at")
    for step in due[:STEP]:
        later = clock.now() + TRY_AGAIN_AFTER
        if _due().filter(pk=step.pk).update(mail_due_at=later) and _send_mail(step):
            SenderStep.objects.filter(pk=step.pk, mail_due_at=later).update(mail_due_at=None)
            sent += 1
    return sent


def _due() -> QuerySet[SenderStep]:
    return SenderStep.objects.filter(mail_due_at__lte=clock.now())


def _send_mail(step: SenderStep) -> bool:
    """Send a decision's email to the READERS; return whether the mail server took it."""
    sender = step.sender
    path = reverse("sender_id", args=[public_id(sender.organization), sender.public_id])
    context = {
        "organization": sender.organization.name,
        "sender": sender.name,
        "status": step.status,
        "reason": step.reason,
        "page": f"{settings.PUBLIC_URL}{path}",
    }
    recipients = mails.people_of(sender.organization_id, READERS)
    try:
        sent = mails.send(
            [mails.mail(user, "messaging/senders/sender_decided", context) for user in recipients]
        )
    except OSError as error:
        log.warning("sender_mail_waits", sender=sender.public_id, error=str(error))
        return False
    log.info("sender_mail_sent", sender=sender.public_id, mails=sent)
    return True
