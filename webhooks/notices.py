"""The mail to an organization's owners and admins about an endpoint that was disabled.

It is owed by the endpoint's row, so that neither a lost bell nor a mail server that is away loses
it. Whoever sends it moves `notice_due_at` ahead first, so that two workers do not send it twice.
"""

import uuid
from datetime import timedelta

import structlog
from django.conf import settings
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy
from yarl import URL

from accounts import mails
from accounts.roles import Role
from imissive import clock
from webhooks.models import Endpoint

log = structlog.get_logger(__name__)

TRY_AGAIN_AFTER = timedelta(minutes=10)


def due() -> list[uuid.UUID]:
    """The endpoints about which a mail is owed."""
    return list(_owed().values_list("id", flat=True))


def tell_people(endpoint_id: uuid.UUID) -> None:
    """Send the mail about that endpoint, where one is owed.

    While the mail server is away it stays owed. To whom the server refuses to send it, it is not
    tried again.
    """
    later = clock.now() + TRY_AGAIN_AFTER
    if not _owed().filter(id=endpoint_id).update(notice_due_at=later):
        return
    endpoint = Endpoint.objects.select_related("organization").get(id=endpoint_id)
    context = {
        "organization": endpoint.organization.name,
        "endpoint": endpoint,
        # Not the path: customers put secrets into it, and mails are kept for long.
        "address": str(URL(endpoint.url).origin()),
        "reason": gettext_lazy(endpoint.disabled_reason),
        "public_url": settings.PUBLIC_URL,
    }
    people = mails.people_of(endpoint.organization_id, [Role.OWNER, Role.ADMIN])
    try:
        sent = mails.send([mails.mail(user, "webhooks/disabled", context) for user in people])
    except OSError as error:
        log.warning("webhook_notice_waits", endpoint=endpoint.public_id, error=str(error))
        return
    Endpoint.objects.filter(id=endpoint_id, notice_due_at=later).update(notice_due_at=None)
    log.info("webhook_notice_sent", endpoint=endpoint.public_id, mails=sent)


def _owed() -> QuerySet[Endpoint]:
    return Endpoint.objects.filter(enabled=False, deleted_at=None, notice_due_at__lte=clock.now())
