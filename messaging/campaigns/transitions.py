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
    """Put the campaign into that state, with those fields, where the table allows it.

    False where it does not, or another was faster: then nothing is changed. `where`: what else has
    to be so, such as its state being a certain one of those that the table allows.
    """
    found = Campaign.objects.filter(
        pk=campaign_id, state__in=states_before(target), **(where or {})
    )
    return found.update(state=target, **fields) == 1


def wake() -> None:
    """Wake a worker: a campaign is due."""
    wakeups.wake("messaging.tasks.run_campaigns", queue="default")
