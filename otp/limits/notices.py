"""Emails to an organization's owners and admins about a prefix held for SMS pumping.

The hold's row says that a mail is due, so neither a lost task nor an unreachable mail server loses
it. A worker first moves `notice_due_at` forward, as a lease, so that two workers do not send the
mail twice.
"""

from datetime import timedelta

import structlog
from django.db.models import QuerySet

from accounts.roles import Role
from accounts.ui import mails
from imissive.core import clock
from otp.models import HeldPrefix

log = structlog.get_logger(__name__)

TRY_AGAIN_AFTER = timedelta(minutes=10)


def due() -> list[int]:
    """Return the ids of the holds whose mail is due."""
    return list(_pending().values_list("id", flat=True))


def send_notice(held_id: int) -> None:
    """Send the mail about the hold if it is due; while the mail server is away it stays due."""
    later = clock.now() + TRY_AGAIN_AFTER
    if not _pending().filter(id=held_id).update(notice_due_at=later):
        return
    held = HeldPrefix.objects.select_related("organization").get(id=held_id)
    context = {"organization": held.organization.name, "held": held}
    people = mails.people_of(held.organization_id, [Role.OWNER, Role.ADMIN])
    try:
        sent = mails.send([mails.mail(user, "otp/limits/held", context) for user in people])
    except OSError as error:
        log.warning("otp_notice_waits", prefix=held.prefix, error=str(error))
        return
    HeldPrefix.objects.filter(id=held_id, notice_due_at=later).update(notice_due_at=None)
    log.info("otp_notice_sent", prefix=held.prefix, mails=sent)


def _pending() -> QuerySet[HeldPrefix]:
    return HeldPrefix.objects.filter(notice_due_at__lte=clock.now())
