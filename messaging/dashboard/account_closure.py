"""Account closure: an organization is closed permanently, and its ledger and messages stay.

The ledger cannot be deleted, and neither can the messages that it charged for. A closed
organization has no members, keys, SMPP accounts or webhook endpoints.
"""

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts.audit import trail
from accounts.credits.ledger import credits_text
from accounts.members.team import NotAllowed
from accounts.models import ApiKey, Balance, Invitation, Member, Organization
from accounts.roles import Action, may
from imissive.core import clock
from messaging.models import Campaign, Message, SmppAccount
from messaging.models.campaign_states import ACCEPTING
from messaging.states import Status
from webhooks.endpoints import endpoints

_UNDER_WAY = (Status.SCHEDULED, Status.QUEUED, Status.SENDING)


@transaction.atomic
def close(member: Member, address: str = "") -> None:
    """Close the member's organization in one transaction.

    The rest of the balance stays in the ledger; an operator may pay it back by a correction. Raises
    NotAllowed where the member's role does not allow it, and while messages wait to be sent.
    """
    # The same lock as for changes of members, so that nobody joins in the meantime.
    organization = Organization.objects.select_for_update(no_key=True).get(
        pk=member.organization_id
    )
    current = Member.objects.filter(pk=member.pk).first()
    if current is None or not may(current.role, Action.MANAGE_ORGANIZATION):
        raise NotAllowed(_("Your role does not allow it any more."))
    if Message.objects.filter(organization=organization, status__in=_UNDER_WAY).exists():
        raise NotAllowed(_("Messages still wait to be sent. Cancel them, or wait for them."))
    if Campaign.objects.filter(organization=organization, state__in=ACCEPTING).exists():
        raise NotAllowed(_("A campaign is not over yet. Cancel it, or wait for it."))
    balance = Balance.objects.filter(organization=organization).first()
    trail.record(
        "organization.closed",
        actor=member.user,
        organization=organization,
        target=organization.name,
        detail={"credits": credits_text(balance.micro if balance else 0)},
        address=address,
    )
    mine = {"organization": organization}
    ApiKey.objects.filter(**mine, revoked_at=None).update(revoked_at=clock.now())
    SmppAccount.objects.filter(**mine).update(enabled=False)
    for endpoint in endpoints.endpoints_of(organization.id, test=None):
        endpoints.delete(endpoint)
    Invitation.objects.filter(**mine).delete()
    Member.objects.filter(**mine).delete()
    Organization.objects.filter(pk=organization.pk).update(status=Organization.Status.CLOSED)
