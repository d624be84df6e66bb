"""The mail to an organization's owners and admins about a prefix that is held.

It is owed by the hold's row, so that neither a lost task nor a mail server that is away loses it.
Whoever sends it moves `notice_due_at` ahead first, so that two workers do not send it twice.
"""

from datetime import timedelta

import structlog
from django.db.models import QuerySet

from accounts import mails
from accounts.roles import Role
from imissive import clock
from otp.models import HeldPrefix

log = structlog.get_logger(__name__)

TRY_AGAIN_AFTER = timedelta(minutes=10)


def due() -> list[int]:
    """The holds about which a mail is owed."""
    return list(_owed().values_list("id", flat=True))


def tell_people(held_id: int) -> None:
    """Send the mail about that hold, where one is owed; it stays so while the server is away."""
    later = clock.now() + TRY_AGAIN_AFTER
    if not _owed().filter(id=held_id).update(notice_due_at=later):
        return
    held = HeldPrefix.objects.select_related("organization").get(id=held_id)
    context = {"organization": held.organization.name, "held": held}
    people = mails.people_of(held.organization_id, [Role.OWNER, Role.ADMIN])
    try:
        sent = mails.send([mails.mail(user, "otp/held", context) for user in people])
    except OSError as error:
        log.warning("otp_notice_waits", prefix=held.prefix, error=str(error))
        return
    HeldPrefix.objects.filter(id=held_id, notice_due_at=later).update(notice_due_at=None)
    log.info("otp_notice_sent", prefix=held.prefix, mails=sent)


def _owed() -> QuerySet[HeldPrefix]:
    return HeldPrefix.objects.filter(notice_due_at__lte=clock.now())
