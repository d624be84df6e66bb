"""A campaign on its way: its rows are accepted in steps, each row once, whatever is killed when.

A step is one transaction under the campaign's row lock: it accepts some rows and moves the place
up to which they are accepted. So both happen or neither does, and two workers that come together
do not take the same rows: the second one passes over the locked row.

Locking rule: a campaign first, then messages, then balances.
"""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from django.db import transaction

from accounts.api import rate_limits
from accounts.api.rate_limits import LimitClass, Limits
from accounts.credits.ledger import InsufficientCredits
from accounts.models import Organization
from imissive.core import clock, ids
from messaging.campaigns.check import send_request_of
from messaging.campaigns.chunks import CHUNK, Bad, Good, chunk_of, good_rows
from messaging.campaigns.transitions import move
from messaging.importing.problems import of_refusal
from messaging.models import Campaign, CampaignChunk
from messaging.models.campaign_states import State
from messaging.sending import accept
from messaging.sending.accept import Accepted
from messaging.sending.evaluation import Draft, Refusal

PACE_SECONDS: Final = 5
"""The interval at which a campaign with a rate of its own accepts messages."""


def begin(campaign_id: uuid.UUID) -> bool:
    """Begin a scheduled campaign whose time has come."""
    now = clock.now()
    where = {"state": State.SCHEDULED, "due_at__lte": now}
    return move(campaign_id, State.RUNNING, where=where, due_at=now, started_at=now)


def step(campaign_id: uuid.UUID) -> bool:
    """Accept the next rows of a running campaign that is due.

    False where there was nothing to do, because another worker does it, among others.
    """
    with transaction.atomic():
        campaign = _locked(campaign_id)
        if campaign is None:
            return False
        if campaign.position >= campaign.good:
            _hand_over(campaign)
        elif campaign.organization.status != Organization.Status.ACTIVE:
            _pause(campaign, Campaign.Pause.SUSPENDED)
        else:
            _take(campaign)
    return True


def _locked(campaign_id: uuid.UUID) -> Campaign | None:
    """The campaign, for this transaction alone; None where it is not due, or another has it."""
    due = Campaign.objects.filter(pk=campaign_id, state=State.RUNNING, due_at__lte=clock.now())
    locked = due.select_for_update(skip_locked=True, of=("self",), no_key=True)
    return locked.select_related("organization").first()


def _take(campaign: Campaign) -> None:
    """Accept the rows that come next, as many as may be accepted now."""
    chunk = chunk_of(campaign, campaign.position // CHUNK)
    if chunk is None:
        raise LookupError(f"chunk {campaign.position // CHUNK} of {campaign.public_id} is missing")
    allowed = _limit(campaign.organization)
    most = min(allowed, _at_once(campaign))
    rows = good_rows(chunk)[campaign.position % CHUNK :][:most]
    usage = rate_limits.take(campaign.organization_id, LimitClass.BULK, allowed, len(rows))
    if usage.wait_seconds:
        _wait(campaign, usage.wait_seconds)
        return
    send_request = replace(send_request_of(campaign), batch_id=campaign.batch_id or ids.new_uuid())
    drafts = [Draft(row.to, row.text, campaign.sender, row.reference) for row in rows]
    try:
        with transaction.atomic():
            acceptance = accept.accept(send_request, drafts)
    except InsufficientCredits:
        _pause(campaign, Campaign.Pause.CREDITS)
        return
    refusals = [each for each in acceptance.outcomes if isinstance(each, Refusal)]
    if len(refusals) == len(rows) and _all_for_the_sender(refusals):
        _pause(campaign, Campaign.Pause.SENDER)
        return
    _keep(chunk, rows, acceptance.outcomes)
    _go_on(campaign, len(rows), len(refusals), acceptance)


def _limit(organization: Organization) -> int:
    """Messages in bulk that the organization may send a minute."""
    return Limits(bulk=organization.bulk_per_minute).of(LimitClass.BULK)


def _at_once(campaign: Campaign) -> int:
    """Return how many rows one step takes, by the campaign's own pace."""
    if campaign.per_minute is None:
        return CHUNK
    return max(1, campaign.per_minute * PACE_SECONDS // 60)


def _pause_after(campaign: Campaign, taken: int) -> timedelta:
    if campaign.per_minute is None:
        return timedelta()
    return timedelta(seconds=60 * taken / campaign.per_minute)


def _all_for_the_sender(refusals: Sequence[Refusal]) -> bool:
    return all(each.problems[0].code == "INVALID_SENDER" for each in refusals)


def _keep(
    chunk: CampaignChunk, rows: Sequence[Good], outcomes: Sequence[Accepted | Refusal]
) -> None:
    """Write down which rows were refused after all: somebody opted out since the check."""
    refused = [
        Bad(row.line, row.to, *of_refusal(outcome.problems[0]))
        for row, outcome in zip(rows, outcomes, strict=True)
        if isinstance(outcome, Refusal)
    ]
    if refused:
        chunk.refused = [*chunk.refused, *refused]
        chunk.save(update_fields=["refused"])


def _go_on(campaign: Campaign, taken: int, refused: int, acceptance: accept.Acceptance) -> None:
    """Move the place up to which the rows are accepted, in the transaction of the acceptance."""
    now = clock.now()
    campaign.position += taken
    campaign.refused += refused
    campaign.charged += acceptance.price
    if taken > refused:
        campaign.batch_id = acceptance.batch_id
    campaign.due_at = now + _pause_after(campaign, taken)
    campaign.save(update_fields=["position", "refused", "charged", "batch", "due_at"])
    if campaign.position >= campaign.good:
        _hand_over(campaign)


def _wait(campaign: Campaign, seconds: float) -> None:
    """Come again when the organization's limit lets the same rows pass."""
    campaign.due_at = clock.now() + timedelta(seconds=seconds)
    campaign.save(update_fields=["due_at"])


def _pause(campaign: Campaign, why: str) -> None:
    move(campaign.id, State.PAUSED, pause=why, due_at=clock.now())


def _hand_over(campaign: Campaign) -> None:
    """All rows are messages now, or refused: what becomes of them is counted from here on."""
    now = clock.now()
    move(campaign.id, State.DELIVERING, due_at=now, ended_at=now)
