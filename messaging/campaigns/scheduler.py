"""The scheduler of campaigns: a worker takes a step of each that is due, in turn, until none is."""

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

_ACTS: Final[dict[str, Callable[[uuid.UUID], bool]]] = {
    State.CHECKING: check.check,
    State.SCHEDULED: running.begin,
    State.RUNNING: running.step,
    State.PAUSED: results.count,
    State.DELIVERING: results.count,
    State.CANCELING: cancel.step,
    State.CANCELED: cancel.look_again,
}
"""The step that is taken for a campaign that is due, by its state."""


def run(seconds: float) -> bool:
    """Take the campaigns that are due in turn, for so long; whether some are left."""
    until = time.monotonic() + seconds
    while True:
        done = [_act(campaign_id, state) for campaign_id, state in _due()]
        # Nothing is to be done either where other workers are at all of them.
        if not any(done):
            return False
        if time.monotonic() > until:
            return True


def _due() -> list[tuple[uuid.UUID, str]]:
    """The longest overdue first, so that one with many steps does not hold up the others."""
    due = Campaign.objects.filter(due_at__lte=clock.now()).order_by("due_at")
    return list(due.values_list("id", "state")[:AT_ONCE])


def _act(campaign_id: uuid.UUID, state: str) -> bool:
    act = _ACTS.get(state)
    if act is None:
        return False
    try:
        done = act(campaign_id)
        if done and state == State.RUNNING:
            results.refresh(campaign_id)
    except Exception as error:
        # One that cannot go on holds up no other; it is tried again, and the log says why.
        log.exception("campaign_failed", campaign=str(campaign_id), state=state)
        if fault_of(error) is Fault.DATABASE:
            forget_broken_connections(error)
            _put_off(campaign_id, state, AFTER_AN_OUTAGE)
        else:
            _put_off(campaign_id, state, AFTER_AN_ERROR)
        return True
    return done


def _put_off(campaign_id: uuid.UUID, state: str, wait: timedelta) -> None:
    later = clock.now() + wait
    Campaign.objects.filter(pk=campaign_id, state=state).update(due_at=later)
