"""An organization whose balance falls below its threshold is told: by `balance.low` and by mail.

Once for each fall. The organization's row says whether it was told, and owes the mail, so that
neither a lost task nor a mail server that is away loses it. Each step is a compare-and-swap, so
that two workers do nothing twice.
"""

from datetime import timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse

from accounts import mails
from accounts.access import public_id
from accounts.ledger import credits_text
from accounts.models import Balance, Organization
from accounts.roles import Role
from imissive import clock
from imissive.sql import server_cursor
from webhooks import events
from webhooks.models import EventType

log = structlog.get_logger(__name__)

TRY_AGAIN_AFTER = timedelta(minutes=10)
READERS = [Role.OWNER, Role.ADMIN, Role.FINANCE]

_RISEN = """
UPDATE accounts_organization o SET low_balance_told_at = NULL, low_balance_mail_due_at = NULL
  FROM accounts_balance b
 WHERE b.organization_id = o.id AND o.low_balance_told_at IS NOT NULL
   AND b.micro >= o.low_balance_threshold
"""

_FALLEN = """
UPDATE accounts_organization o
   SET low_balance_told_at = %(now)s, low_balance_mail_due_at = %(now)s
  FROM accounts_balance b
 WHERE b.organization_id = o.id AND o.low_balance_told_at IS NULL AND o.status = 'active'
   AND b.micro < o.low_balance_threshold
RETURNING o.id, b.micro, o.low_balance_threshold
"""


def watch() -> int:
    """Tell those whose balance has fallen, and forget it of those whose has risen again.

    How many were told.
    """
    now = clock.now()
    with transaction.atomic(), server_cursor() as cursor:
        cursor.execute(_RISEN)
        cursor.execute(_FALLEN, {"now": now})
        fallen = cursor.fetchall()
        events.record_and_ring_on_commit(
            [
                events.NewEvent(
                    organization_id,
                    EventType.BALANCE_LOW,
                    now,
                    None,
                    {
                        "credits": credits_text(micro),
                        "low_balance_threshold": credits_text(threshold),
                    },
                )
                for organization_id, micro, threshold in fallen
            ]
        )
    return len(fallen)


def send_mails() -> None:
    """Mail the people of those that are owed one.

    While the mail server is away it stays owed. To whom the server refuses to send it, it is not
    tried again.
    """
    for organization in _owed():
        later = clock.now() + TRY_AGAIN_AFTER
        claimed = _owed().filter(id=organization.id).update(low_balance_mail_due_at=later)
        if claimed and _mailed(organization):
            told = Organization.objects.filter(id=organization.id, low_balance_mail_due_at=later)
            told.update(low_balance_mail_due_at=None)


def _owed() -> QuerySet[Organization]:
    return Organization.objects.filter(low_balance_mail_due_at__lte=clock.now())


def _mailed(organization: Organization) -> bool:
    """Whether the mail server took them."""
    path = reverse("overview", args=[public_id(organization)])
    context = {
        "organization": organization.name,
        "credits": credits_text(Balance.objects.get(organization=organization).micro),
        "threshold": credits_text(organization.low_balance_threshold),
        "dashboard": f"{settings.PUBLIC_URL}{path}",
    }
    people = mails.people_of(organization.id, READERS)
    try:
        sent = mails.send([mails.mail(user, "messaging/low_balance", context) for user in people])
    except OSError as error:
        log.warning("low_balance_mail_waits", organization=str(organization.id), error=str(error))
        return False
    log.info("low_balance_mail_sent", organization=str(organization.id), mails=sent)
    return True
