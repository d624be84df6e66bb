"""The one way in which a campaign changes its state: a compare-and-swap over the table."""

import uuid
from collections.abc import Mapping
from typing import Any

from imissive.core import wakeups
from messaging.models import Campaign
from messaging.models.campaign_states import State, states_before


def move(
    campaign_id: uuid.UUID,
    target: State,
    *,
    where: Mapping[str, Any] | None = None,
    **fields: Any,
) -> bool:
    """Move the campaign into that state, and set those fields, if the table allows it.

    Returns False, without changes, if it does not, or if another process was faster. `where` has
    further conditions, such as one certain state of those that the table allows.
    """
    campaigns = Campaign.objects.filter(
        pk=campaign_id, state__in=states_before(target), **(where or {})
    )
    return campaigns.update(state=target, **fields) == 1


def wake() -> None:
    """Wake a worker for a campaign that is due."""
    wakeups.wake("messaging.tasks.run_campaigns", queue="default")
