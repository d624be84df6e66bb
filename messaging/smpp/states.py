"""PDUs that each side may send in each state of a session (SMPP 3.4, 2.2 and table 2-1)."""

from __future__ import annotations

from enum import Enum
from typing import Final

from messaging.smpp.constants import CommandId


class Role(Enum):
    """Our side of a session."""

    ESME = "ESME"
    SMSC = "SMSC"

    @property
    def peer(self) -> Role:
        """The other side."""
        return Role.SMSC if self is Role.ESME else Role.ESME


class State(Enum):
    """The states of SMPP 3.4, 2.2, and UNBOUND: unbound, with the connection still open."""

    OPEN = "OPEN"
    BOUND_TX = "BOUND_TX"
    BOUND_RX = "BOUND_RX"
    BOUND_TRX = "BOUND_TRX"
    UNBOUND = "UNBOUND"
    CLOSED = "CLOSED"


BOUND: Final = frozenset({State.BOUND_TX, State.BOUND_RX, State.BOUND_TRX})

STATE_OF_BIND: Final[dict[int, State]] = {
    CommandId.BIND_TRANSMITTER: State.BOUND_TX,
    CommandId.BIND_RECEIVER: State.BOUND_RX,
    CommandId.BIND_TRANSCEIVER: State.BOUND_TRX,
}

_OPEN: Final = frozenset({State.OPEN})
_SUBMITTING: Final = frozenset({State.BOUND_TX, State.BOUND_TRX})
_DELIVERING: Final = frozenset({State.BOUND_RX, State.BOUND_TRX})

# Requests only: a response is allowed when its request is.
_TABLE: Final[dict[Role, dict[CommandId, frozenset[State]]]] = {
    Role.ESME: {
        CommandId.BIND_TRANSMITTER: _OPEN,
        CommandId.BIND_RECEIVER: _OPEN,
        CommandId.BIND_TRANSCEIVER: _OPEN,
        CommandId.UNBIND: BOUND,
        CommandId.ENQUIRE_LINK: BOUND,
        CommandId.SUBMIT_SM: _SUBMITTING,
        CommandId.SUBMIT_MULTI: _SUBMITTING,
        CommandId.DATA_SM: _SUBMITTING,
        CommandId.QUERY_SM: _SUBMITTING,
        CommandId.CANCEL_SM: _SUBMITTING,
        CommandId.REPLACE_SM: _SUBMITTING,
    },
    Role.SMSC: {
        CommandId.OUTBIND: _OPEN,
        CommandId.UNBIND: BOUND,
        CommandId.ENQUIRE_LINK: BOUND,
        CommandId.DELIVER_SM: _DELIVERING,
        CommandId.DATA_SM: _DELIVERING,
        CommandId.ALERT_NOTIFICATION: _DELIVERING,
    },
}

# The table by state, so that the session looks it up once per change of state, not per PDU.
ALLOWED: Final[dict[tuple[Role, State], frozenset[int]]] = {
    (role, state): frozenset(int(command) for command, states in rows.items() if state in states)
    for role, rows in _TABLE.items()
    for state in State
}
