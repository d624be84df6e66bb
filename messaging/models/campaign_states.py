"""The states of a campaign and the one table of what may follow what."""

from enum import StrEnum


class State(StrEnum):
    DRAFT = "draft"  # being written
    CHECKING = "checking"  # a worker judges its rows
    READY = "ready"  # judged, waiting for a yes
    SCHEDULED = "scheduled"  # begins at its time
    RUNNING = "running"  # its rows are accepted, step by step
    PAUSED = "paused"
    DELIVERING = "delivering"  # all rows are accepted; not all messages have come to an end
    FINISHED = "finished"  # all messages have
    CANCELING = "canceling"  # what no carrier has is taken back, step by step
    CANCELED = "canceled"


TRANSITIONS: dict[State, frozenset[State]] = {
    # To itself: the text is changed, or it is read in another way.
    State.DRAFT: frozenset({State.DRAFT, State.CHECKING}),
    State.CHECKING: frozenset({State.DRAFT, State.CHECKING, State.READY}),
    State.READY: frozenset({State.DRAFT, State.CHECKING, State.SCHEDULED, State.RUNNING}),
    # Back to ready: another time is chosen, or the text is changed.
    State.SCHEDULED: frozenset({State.READY, State.RUNNING, State.CANCELED}),
    State.RUNNING: frozenset({State.RUNNING, State.PAUSED, State.DELIVERING, State.CANCELING}),
    State.PAUSED: frozenset({State.RUNNING, State.CANCELING}),
    State.DELIVERING: frozenset({State.FINISHED, State.CANCELING}),
    State.FINISHED: frozenset(),
    State.CANCELING: frozenset({State.CANCELED}),
    State.CANCELED: frozenset(),
}

UNSENT = frozenset({State.DRAFT, State.CHECKING, State.READY})
"""In which it is written still, and can be deleted."""

ACCEPTING = frozenset({State.SCHEDULED, State.RUNNING, State.PAUSED, State.CANCELING})
"""In which more of it may become messages, or some are being taken back."""

UNDER_WAY = ACCEPTING | {State.DELIVERING}


def states_before(target: State) -> list[str]:
    """Return the states from which a compare-and-swap to `target` may start."""
    return [str(state) for state, following in TRANSITIONS.items() if target in following]
