"""Canceling a campaign: no more rows are accepted, and messages not submitted yet are canceled."""

import uuid

from django.db import transaction

from imissive.core import clock
from messaging.campaigns import results
from messaging.campaigns.transitions import move
from messaging.models import Campaign
from messaging.models.campaign_states import State
from messaging.sending import cancel


def step(campaign_id: uuid.UUID) -> bool:
    """Cancel and refund some messages of a campaign that is being canceled.

    It holds the campaign's row lock: without it, one worker would find nothing left while another
    one still processes the rest. If a worker dies midway, another one continues.
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


def recheck(campaign_id: uuid.UUID) -> bool:
    """Count the results of a canceled campaign, and cancel messages that were requeued since.

    Such messages were being submitted when the campaign was canceled, and were throttled.
    """
    campaign = Campaign.objects.filter(pk=campaign_id, state=State.CANCELED).first()
    if campaign is not None:
        _cancel_some(campaign)
    return results.count(campaign_id)


def _locked(campaign_id: uuid.UUID) -> Campaign | None:
    campaigns = Campaign.objects.filter(pk=campaign_id, state=State.CANCELING)
    return campaigns.select_for_update(skip_locked=True, no_key=True).first()


def _cancel_some(campaign: Campaign) -> int:
    if campaign.batch_id is None:
        return 0
    return cancel.cancel_some(campaign.organization_id, campaign.batch_id).count
