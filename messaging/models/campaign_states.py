"""The states of a campaign and the table of their transitions."""

from enum import StrEnum


class State(StrEnum):
    """The states of a campaign."""

    DRAFT = "draft"  # being written
    CHECKING = "checking"  # a worker evaluates its rows
    READY = "ready"  # evaluated, waiting for confirmation
    SCHEDULED = "scheduled"  # starts at its time
    RUNNING = "running"  # its rows are being accepted, step by step
    PAUSED = "paused"
    DELIVERING = "delivering"  # all rows are accepted; not all messages are completed
    FINISHED = "finished"  # all messages are completed
    CANCELING = "canceling"  # messages that no carrier has are being canceled, step by step
    CANCELED = "canceled"


TRANSITIONS: dict[State, frozenset[State]] = {
    # To itself when the text or the reading of the file changes.
    State.DRAFT: frozenset({State.DRAFT, State.CHECKING}),
    State.CHECKING: frozenset({State.DRAFT, State.CHECKING, State.READY}),
    State.READY: frozenset({State.DRAFT, State.CHECKING, State.SCHEDULED, State.RUNNING}),
    # Back to ready when another time is chosen or the text changes.
    State.SCHEDULED: frozenset({State.READY, State.RUNNING, State.CANCELED}),
    State.RUNNING: frozenset({State.RUNNING, State.PAUSED, State.DELIVERING, State.CANCELING}),
    State.PAUSED: frozenset({State.RUNNING, State.CANCELING}),
    State.DELIVERING: frozenset({State.FINISHED, State.CANCELING}),
    State.FINISHED: frozenset(),
    State.CANCELING: frozenset({State.CANCELED}),
    State.CANCELED: frozenset(),
}

UNSENT = frozenset({State.DRAFT, State.CHECKING, State.READY})
"""States in which the campaign can still be edited and deleted."""

ACCEPTING = frozenset({State.SCHEDULED, State.RUNNING, State.PAUSED, State.CANCELING})
"""States in which more of its rows may become messages, or messages are being canceled."""

UNDER_WAY = ACCEPTING | {State.DELIVERING}


def states_before(target: State) -> list[str]:
    """Return the states from which a compare-and-swap to `target` may start."""
    return [str(state) for state, following in TRANSITIONS.items() if target in following]
