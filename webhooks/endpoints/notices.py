"""Emails to an organization's owners and admins about an endpoint that was disabled.

The endpoint's row says that a mail is due, so neither a lost wake-up nor an unreachable mail server
loses it. A worker first moves `notice_due_at` forward, as a lease, so that two workers do not send
the mail twice.
"""

import uuid
from datetime import timedelta

import structlog
from django.conf import settings
from django.db.models import QuerySet
from yarl import URL

from accounts.roles import Role
from accounts.ui import mails
from imissive.core import clock
from webhooks.endpoints.reasons import DisabledReason
from webhooks.models import Endpoint

log = structlog.get_logger(__name__)

TRY_AGAIN_AFTER = timedelta(minutes=10)


def due() -> list[uuid.UUID]:
    """Return the ids of the endpoints whose mail is due."""
    return list(_pending().values_list("id", flat=True))


def send_notice(endpoint_id: uuid.UUID) -> None:
    """Send the mail about the endpoint if it is due; while the mail server is away it stays due.

    A recipient that the server refuses is not retried.
    """
    later = clock.now() + TRY_AGAIN_AFTER
    if not _pending().filter(id=endpoint_id).update(notice_due_at=later):
        return
    endpoint = Endpoint.objects.select_related("organization").get(id=endpoint_id)
    context = {
        "organization": endpoint.organization.name,
        "endpoint": endpoint,
        # Not the path: customers put secrets into it, and mails are kept for a long time.
        "address": str(URL(endpoint.url).origin()),
        "reason": DisabledReason.named(endpoint.disabled_reason),
        "public_url": settings.PUBLIC_URL,
    }
    people = mails.people_of(endpoint.organization_id, [Role.OWNER, Role.ADMIN])
    try:
        sent = mails.send(
            [mails.mail(user, "webhooks/endpoints/disabled", context) for user in people]
        )
    except OSError as error:
        log.warning("webhook_notice_waits", endpoint=endpoint.public_id, error=str(error))
        return
    Endpoint.objects.filter(id=endpoint_id, notice_due_at=later).update(notice_due_at=None)
    log.info("webhook_notice_sent", endpoint=endpoint.public_id, mails=sent)


def _pending() -> QuerySet[Endpoint]:
    return Endpoint.objects.filter(enabled=False, deleted_at=None, notice_due_at__lte=clock.now())
