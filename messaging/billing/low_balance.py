"""Low-balance alerts: the event `balance.low` and an email when a balance falls below a threshold.

There is one alert for each fall (`accounts.credits.low_balance`). The organization's row records
that its email is due, so that neither a lost task nor a mail server that is down loses it.
"""

from datetime import timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse

from accounts.access.page_access import public_id
from accounts.credits import low_balance
from accounts.credits.ledger import credits_text
from accounts.models import Balance, Organization
from accounts.roles import Role
from accounts.ui import mails
from imissive.core import clock
from webhooks.events import outbox
from webhooks.models import EventType

log = structlog.get_logger(__name__)

TRY_AGAIN_AFTER = timedelta(minutes=10)
READERS = [Role.OWNER, Role.ADMIN, Role.FINANCE]


def watch() -> int:
    """Record an event for each balance that has fallen; reset the alert of those that rose again.

    Return the number of events.
    """
    now = clock.now()
    with transaction.atomic():
        falls = low_balance.notice_falls(now)
        outbox.record_and_wake_on_commit(
            [
                outbox.NewEvent(
                    fall.organization_id,
                    EventType.BALANCE_LOW,
                    now,
                    None,
                    {
                        "credits": credits_text(fall.balance),
                        "low_balance_threshold": credits_text(fall.threshold),
                    },
                    test=False,
                )
                for fall in falls
            ]
        )
    return len(falls)


def send_mails() -> None:
    """Send the emails that are due.

    While the mail server is down they stay due. Recipients whom the server refuses are not tried
    again.
    """
    for organization in _due():
        later = clock.now() + TRY_AGAIN_AFTER
        claimed = _due().filter(id=organization.id).update(low_balance_mail_due_at=later)
        if claimed and _send_mail(organization):
            sent = Organization.objects.filter(id=organization.id, low_balance_mail_due_at=later)
            sent.update(low_balance_mail_due_at=None)


def _due() -> QuerySet[Organization]:
    return Organization.objects.filter(low_balance_mail_due_at__lte=clock.now())


def _send_mail(organization: Organization) -> bool:
    """Send the email to the organization's READERS; return whether the mail server took it."""
    path = reverse("overview", args=[public_id(organization)])
    context = {
        "organization": organization.name,
        "credits": credits_text(Balance.objects.get(organization=organization).micro),
        "threshold": credits_text(organization.low_balance_threshold),
        "dashboard": f"{settings.PUBLIC_URL}{path}",
    }
    recipients = mails.people_of(organization.id, READERS)
    try:
        sent = mails.send(
            [mails.mail(user, "messaging/billing/low_balance", context) for user in recipients]
        )
    except OSError as error:
        log.warning("low_balance_mail_waits", organization=str(organization.id), error=str(error))
        return False
    log.info("low_balance_mail_sent", organization=str(organization.id), mails=sent)
    return True
