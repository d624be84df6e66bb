"""The scheduler of campaigns: a worker makes a step of each due one, in turn, until none is due."""

import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from imissive.core import clock
from imissive.core.sql import Fault, fault_of, forget_broken_connections
from messaging.campaigns import (
    cancel,
    check,
    results,
)
from messaging.campaigns import (
    run as running,
)
from messaging.models import Campaign
from messaging.models.campaign_states import State

log = structlog.get_logger(__name__)

AT_ONCE: Final = 20
AFTER_AN_ERROR: Final = timedelta(seconds=30)
AFTER_AN_OUTAGE: Final = timedelta(seconds=2)

_STEPS: Final[dict[str, Callable[[uuid.UUID], bool]]] = {
    State.CHECKING: check.check,
    State.SCHEDULED: running.start,
    State.RUNNING: running.step,
    State.PAUSED: results.count,
    State.DELIVERING: results.count,
    State.CANCELING: cancel.step,
    State.CANCELED: cancel.recheck,
}
"""The step of a due campaign, by its state."""


def run(seconds: float) -> bool:
    """Process due campaigns in turn for that many seconds; return whether some are left."""
    until = time.monotonic() + seconds
    while True:
        done = [_step(campaign_id, state) for campaign_id, state in _due()]
        # There is also nothing to do if other workers process all of them.
        if not any(done):
            return False
        if time.monotonic() > until:
            return True


def _due() -> list[tuple[uuid.UUID, str]]:
    """Return due campaigns, most overdue first, so that one with many steps blocks no other."""
    due = Campaign.objects.filter(due_at__lte=clock.now()).order_by("due_at")
    return list(due.values_list("id", "state")[:AT_ONCE])


def _step(campaign_id: uuid.UUID, state: str) -> bool:
    step = _STEPS.get(state)
    if step is None:
        return False
    try:
        done = step(campaign_id)
        if done and state == State.RUNNING:
            results.refresh(campaign_id)
    except Exception as error:
        # A failing campaign must not block the others; it is retried, and the log has the error.
        log.exception("campaign_failed", campaign=str(campaign_id), state=state)
        if fault_of(error) is Fault.DATABASE:
            forget_broken_connections(error)
            _postpone(campaign_id, state, AFTER_AN_OUTAGE)
        else:
            _postpone(campaign_id, state, AFTER_AN_ERROR)
        return True
    return done


def _postpone(campaign_id: uuid.UUID, state: str, wait: timedelta) -> None:
    later = clock.now() + wait
    Campaign.objects.filter(pk=campaign_id, state=state).update(due_at=later)
