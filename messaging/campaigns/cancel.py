"""Canceling a campaign: nothing more is accepted, and what no carrier has is taken back."""

import uuid

from django.db import transaction

from imissive.core import clock
from messaging.campaigns import results
from messaging.campaigns.transitions import move
from messaging.models import Campaign
from messaging.models.campaign_states import State
from messaging.sending import cancel


def step(campaign_id: uuid.UUID) -> bool:
    """Take some messages of a campaign that is being canceled back, with their credits.

    Under the campaign's row lock: of two that look for what is left, one would find nothing while
    the other still has it. Where a worker dies midway, another goes on.
    """
    with transaction.atomic():
        campaign = _locked(campaign_id)
        if campaign is None:
            return False
        canceled = _cancel_some(campaign)
        now = clock.now()
        if canceled:
            campaign.due_at = now
            campaign.save(update_fields=["due_at"])
        else:
            move(campaign_id, State.CANCELED, due_at=now, ended_at=now)
    return True


def look_again(campaign_id: uuid.UUID) -> bool:
    """Count what became of a canceled campaign, and take back what came back to the queue since:
    it was being submitted when the campaign was canceled, and was throttled."""
    campaign = Campaign.objects.filter(pk=campaign_id, state=State.CANCELED).first()
    if campaign is not None:
        _cancel_some(campaign)
    return results.count(campaign_id)


def _locked(campaign_id: uuid.UUID) -> Campaign | None:
    mine = Campaign.objects.filter(pk=campaign_id, state=State.CANCELING)
    return mine.select_for_update(skip_locked=True, no_key=True).first()


def _cancel_some(campaign: Campaign) -> int:
    if campaign.batch_id is None:
        return 0
    return cancel.cancel_some(campaign.organization_id, campaign.batch_id).count
