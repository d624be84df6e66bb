"""Mails that tell an organization's people what was decided about a sender ID.

The step of the history owes the mail, so that neither a lost task nor a mail server that is away
loses it; each is claimed by a compare-and-swap.
"""

from datetime import timedelta

import structlog
from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from accounts.access.page_access import public_id
from accounts.roles import Role
from accounts.ui import mails
from messaging.models import SenderStep

log = structlog.get_logger(__name__)

STEP = 20
TRY_AGAIN_AFTER = timedelta(minutes=10)
READERS = [Role.OWNER, Role.ADMIN]


def send_mails() -> int:
    """Mail what is owed, STEP decisions at most; how many the mail server took.

    While it is away they stay owed.
    """
    sent = 0
    owed = _owed().select_related("sender__organization").order_by("mail_due_at")
    for step in owed[:STEP]:
        later = timezone.now() + TRY_AGAIN_AFTER
        if _owed().filter(pk=step.pk).update(mail_due_at=later) and _mailed(step):
            SenderStep.objects.filter(pk=step.pk, mail_due_at=later).update(mail_due_at=None)
            sent += 1
    return sent


def _owed() -> QuerySet[SenderStep]:
    return SenderStep.objects.filter(mail_due_at__lte=timezone.now())


def _mailed(step: SenderStep) -> bool:
    """Whether the mail server took them."""
    sender = step.sender
    path = reverse("sender_id", args=[public_id(sender.organization), sender.public_id])
    context = {
        "organization": sender.organization.name,
        "sender": sender.name,
        "status": step.status,
        "reason": step.reason,
        "page": f"{settings.PUBLIC_URL}{path}",
    }
    people = mails.people_of(sender.organization_id, READERS)
    try:
        sent = mails.send(
            [mails.mail(user, "messaging/senders/sender_decided", context) for user in people]
        )
    except OSError as error:
        log.warning("sender_mail_waits", sender=sender.public_id, error=str(error))
        return False
    log.info("sender_mail_sent", sender=sender.public_id, mails=sent)
    return True
