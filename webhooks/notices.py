"""The mail to an organization's owners and admins about an endpoint that was disabled.

It is owed by the endpoint's row, so that neither a lost bell nor a mail server that is away loses
it. Whoever sends it moves `notice_due_at` ahead first, so that two workers do not send it twice.
"""

import smtplib
import uuid
from collections.abc import Sequence
from datetime import timedelta

import structlog
from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.db.models import QuerySet
from django.template.loader import render_to_string
from django.utils import timezone, translation
from django.utils.translation import gettext
from yarl import URL

from accounts.models import User
from accounts.roles import Role
from webhooks.models import Endpoint

log = structlog.get_logger(__name__)

TRY_AGAIN_AFTER = timedelta(minutes=10)
MAIL_SERVER_SECONDS = 20


def due() -> list[uuid.UUID]:
    """The endpoints about which a mail is owed."""
    return list(_owed().values_list("id", flat=True))


def tell_people(endpoint_id: uuid.UUID) -> None:
    """Send the mail about that endpoint, where one is owed.

    While the mail server is away it stays owed. To whom the server refuses to send it, it is not
    tried again.
    """
    later = timezone.now() + TRY_AGAIN_AFTER
    if not _owed().filter(id=endpoint_id).update(notice_due_at=later):
        return
    endpoint = Endpoint.objects.select_related("organization").get(id=endpoint_id)
    try:
        sent = _send([_mail(endpoint, user) for user in _people(endpoint)])
    except OSError as error:
        log.warning("webhook_notice_waits", endpoint=endpoint.public_id, error=str(error))
        return
    Endpoint.objects.filter(id=endpoint_id, notice_due_at=later).update(notice_due_at=None)
    log.info("webhook_notice_sent", endpoint=endpoint.public_id, mails=sent)


def _owed() -> QuerySet[Endpoint]:
    return Endpoint.objects.filter(
        enabled=False, deleted_at=None, notice_due_at__lte=timezone.now()
    )


def _people(endpoint: Endpoint) -> list[User]:
    members = User.objects.filter(
        is_active=True,
        memberships__organization=endpoint.organization_id,
        memberships__role__in=[Role.OWNER, Role.ADMIN],
    )
    return list(members.order_by("id"))


def _mail(endpoint: Endpoint, user: User) -> EmailMultiAlternatives:
    with translation.override(user.language):
        context = {
            "name": user.get_full_name(),
            "organization": endpoint.organization.name,
            "endpoint": endpoint,
            # Not the path: customers put secrets into it, and mails are kept for long.
            "address": str(URL(endpoint.url).origin()),
            "reason": gettext(endpoint.disabled_reason),
            "public_url": settings.PUBLIC_URL,
            "language": translation.get_language(),
            "right_to_left": translation.get_language_bidi(),
        }
        # A name may hold line breaks, a header must not.
        subject = " ".join(render_to_string("webhooks/disabled_subject.txt", context).split())
        mail = EmailMultiAlternatives(
            subject, render_to_string("webhooks/disabled.txt", context), to=[user.email]
        )
        mail.attach_alternative(render_to_string("webhooks/disabled.html", context), "text/html")
    return mail


def _send(mails: Sequence[EmailMultiAlternatives]) -> int:
    """How many the server took. Raises OSError where it cannot be reached."""
    sent = 0
    with get_connection(timeout=MAIL_SERVER_SECONDS) as server:
        for mail in mails:
            try:
                sent += server.send_messages([mail]) or 0
            except (smtplib.SMTPRecipientsRefused, smtplib.SMTPResponseException) as error:
                # Neither the address nor the text, which the server may quote.
                log.warning("webhook_notice_refused", error=type(error).__name__)
    return sent
