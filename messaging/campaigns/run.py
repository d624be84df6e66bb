"""Running campaigns: rows are accepted in steps, each row once, even if processes are killed.

A step is one transaction under the campaign's row lock: it accepts some rows and moves the
campaign's position. So both happen or neither does, and concurrent workers do not accept the same
rows: the second one skips the locked campaign.

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
"""The interval of steps of a campaign with its own rate."""


def start(campaign_id: uuid.UUID) -> bool:
    """Start a scheduled campaign that is due."""
    now = clock.now()
    where = {"state": State.SCHEDULED, "due_at__lte": now}
    return move(campaign_id, State.RUNNING, where=where, due_at=now, started_at=now)


def step(campaign_id: uuid.UUID) -> bool:
    """Accept the next rows of a running campaign that is due.

    Returns False if there was nothing to do, for example because another worker does it.
    """
    with transaction.atomic():
        campaign = _locked(campaign_id)
        if campaign is None:
            return False
        if campaign.position >= campaign.good:
            _finish_accepting(campaign)
        elif campaign.organization.status != Organization.Status.ACTIVE:
            _pause(campaign, Campaign.Pause.SUSPENDED)
        else:
            _accept_rows(campaign)
    return True


def _locked(campaign_id: uuid.UUID) -> Campaign | None:
    """Lock and return the campaign, or None if it is not due or locked by another worker."""
    due = Campaign.objects.filter(pk=campaign_id, state=State.RUNNING, due_at__lte=clock.now())
    locked = due.select_for_update(skip_locked=True, of=("self",), no_key=True)
    return locked.select_related("organization").first()


def _accept_rows(campaign: Campaign) -> None:
    """Accept the next rows, as many as the limits allow now."""
    chunk = chunk_of(campaign, campaign.position // CHUNK)
    if chunk is None:
        raise LookupError(f"chunk {campaign.position // CHUNK} of {campaign.public_id} is missing")
    allowed = _limit(campaign.organization)
    most = min(allowed, _step_size(campaign))
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
    if len(refusals) == len(rows) and _all_for_sender(refusals):
        _pause(campaign, Campaign.Pause.SENDER)
        return
    _store_refusals(chunk, rows, acceptance.outcomes)
    _advance(campaign, len(rows), len(refusals), acceptance)


def _limit(organization: Organization) -> int:
    """Return the organization's limit of bulk messages per minute."""
    return Limits(bulk=organization.bulk_per_minute).of(LimitClass.BULK)


def _step_size(campaign: Campaign) -> int:
    """Return the number of rows in one step, by the campaign's own rate."""
    if campaign.per_minute is None:
        return CHUNK
    return max(1, campaign.per_minute * PACE_SECONDS // 60)


def _pause_after(campaign: Campaign, accepted: int) -> timedelta:
    if campaign.per_minute is None:
        return timedelta()
    return timedelta(seconds=60 * accepted / campaign.per_minute)


def _all_for_sender(refusals: Sequence[Refusal]) -> bool:
    return all(each.problems[0].code == "INVALID_SENDER" for each in refusals)


def _store_refusals(
    chunk: CampaignChunk, rows: Sequence[Good], outcomes: Sequence[Accepted | Refusal]
) -> None:
    """Store the rows that were refused after a successful check, for example after an opt-out."""
    refused = [
        Bad(row.line, row.to, *of_refusal(outcome.problems[0]))
        for row, outcome in zip(rows, outcomes, strict=True)
        if isinstance(outcome, Refusal)
    ]
    if refused:
        chunk.refused = [*chunk.refused, *refused]
        chunk.save(update_fields=["refused"])


def _advance(
    campaign: Campaign, processed: int, refused: int, acceptance: accept.Acceptance
) -> None:
    """Move the campaign's position, in the transaction that accepted the rows."""
    now = clock.now()
    campaign.position += processed
    campaign.refused += refused
    campaign.charged += acceptance.price
    if processed > refused:
        campaign.batch_id = acceptance.batch_id
    campaign.due_at = now + _pause_after(campaign, processed)
    campaign.save(update_fields=["position", "refused", "charged", "batch", "due_at"])
    if campaign.position >= campaign.good:
        _finish_accepting(campaign)


def _wait(campaign: Campaign, seconds: float) -> None:
    """Retry the same rows when the organization's limit allows them."""
    campaign.due_at = clock.now() + timedelta(seconds=seconds)
    campaign.save(update_fields=["due_at"])


def _pause(campaign: Campaign, reason: str) -> None:
    move(campaign.id, State.PAUSED, pause=reason, due_at=clock.now())


def _finish_accepting(campaign: Campaign) -> None:
    """Finish accepting: all rows are messages or refused, and only results are counted now."""
    now = clock.now()
    move(campaign.id, State.DELIVERING, due_at=now, ended_at=now)
