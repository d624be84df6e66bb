"""Behaviours of the simulator: a message's outcome by its submit, without I/O or a clock.

The magic numbers are those of the public contract, the same over REST and SMPP.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from messaging.smpp.constants import ESM_UDHI, DataCoding, MessageState, Status
from messaging.smpp.simulator.submits import split_user_data

if TYPE_CHECKING:
    from random import Random

    from messaging.smpp.pdus import SubmitSm
    from messaging.smpp.simulator.options import Options


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The outcome of messages to one destination. Times are seconds."""

    status: int = Status.ESME_ROK  # of the response
    throttles: int = 0  # how often it is throttled first
    state: MessageState | None = MessageState.DELIVERED  # None: no final state
    delay: float | None = None  # from the response to the receipt; None is the usual one
    receipts: int = 1
    receipt_first: bool = False  # before the response to the submit


ORDINARY: Final = Behaviour()
MAGIC: Final[dict[str, Behaviour]] = {
    "966500000001": Behaviour(delay=1.0),
    "966500000002": Behaviour(state=MessageState.UNDELIVERABLE),
    "966500000003": Behaviour(status=Status.ESME_RINVDSTADR),
    "966500000004": Behaviour(throttles=2),
    "966500000005": Behaviour(state=None),
    "966500000006": Behaviour(receipts=2),
    "966500000007": Behaviour(receipt_first=True),
    "966500000008": Behaviour(delay=60.0),
}

# The words of Appendix B for the final states of the simulator.
RAW_STATES: Final[dict[MessageState, str]] = {
    MessageState.DELIVERED: "DELIVRD",
    MessageState.UNDELIVERABLE: "UNDELIV",
    MessageState.DELETED: "DELETED",
}


def behaviour_of(destination: str) -> Behaviour:
    """Return the behaviour of a destination, with or without '+'."""
    return MAGIC.get(destination.lstrip("+"), ORDINARY)


def wants_receipt(registered_delivery: int, state: MessageState) -> bool:
    """Return whether registered_delivery asks for a receipt of this final state (SMPP 3.4, 5.2.17).

    3 is reserved in 3.4; SMPP 5.0 (4.7.21) made it success only.
    """
    requested = registered_delivery & 0x03
    if requested in (0, 1):
        return requested == 1
    return (state is MessageState.DELIVERED) == (requested == 3)


# -- refusals --------------------------------------------------------------------------------

_MAX_OCTETS: Final = 140  # of a short message on the air, 3GPP 23.040, 9.2.3.24
_MAX_SEPTETS: Final = 160
_OCTET_CODINGS: Final = frozenset({DataCoding.BINARY, DataCoding.UCS2, 0x02})
_MAX_REMEMBERED_THROTTLES: Final = 10_000


def too_long(pdu: SubmitSm) -> bool:
    """Return whether short_message exceeds one short message: a carrier would cut or refuse it.

    message_payload (SMPP 3.4, 5.3.2.32) may be longer, because the SMSC splits it. Characters of
    the default alphabet take an octet between ESME and SMSC, and seven bits on the air.
    """
    length = len(pdu.short_message)
    if length <= _MAX_OCTETS:
        return False
    if pdu.data_coding in _OCTET_CODINGS:
        return True
    udh = pdu.short_message[0] + 1 if pdu.esm_class & ESM_UDHI else 0
    return -(-udh * 8 // 7) + length - udh > _MAX_SEPTETS


class Throttles:
    """Counts of how often each message to a throttled destination was throttled.

    A retried message is recognized by its text, and a part by its position: a retry may have
    another reference number.
    """

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, str, str, bytes, bytes], int] = OrderedDict()

    def throttle(self, system_id: str, pdu: SubmitSm, times: int) -> bool:
        """Return whether to throttle it now. After `times` times it passes and is forgotten."""
        udh, user_data = split_user_data(pdu)
        key = (system_id, pdu.source_addr, pdu.destination_addr, udh[-2:], user_data)
        seen = self._counts.pop(key, 0)
        if seen >= times:
            return False
        self._counts[key] = seen + 1
        if len(self._counts) > _MAX_REMEMBERED_THROTTLES:
            self._counts.popitem(last=False)
        return True


class Rate:
    """A rate limit per second, with a burst of one second's submits after a quiet second."""

    __slots__ = ("_at", "_left")

    def __init__(self) -> None:
        self._left = float("inf")
        self._at = 0.0

    def allows(self, rate: float, now: float) -> bool:
        """Return whether another submit may pass at `now`, in monotonic seconds."""
        self._left = min(self._left + (now - self._at) * rate, max(rate, 1.0))
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


def drawn_refusal(refusals: dict[int, float], random: Random) -> int:
    """Return a random status of `Options.refusals`, each with the probability of its fraction."""
    draw = random.random()
    for status, fraction in refusals.items():
        if draw < fraction:
            return status
        draw -= fraction
    return Status.ESME_ROK


# -- message ids -----------------------------------------------------------------------------


class Ids:
    """Message ids: ascending numbers, so that no two runs use the same one, or UUIDs."""

    def __init__(self, first: int) -> None:
        self._numbers = count(first)

    def next(self, options: Options) -> tuple[str, str]:
        """Return a new id in the forms of its response and of its receipts."""
        if options.id_form == "uuid":
            text = str(uuid4())
            return text, text
        number = next(self._numbers)
        decimal = options.id_form == "decimal"
        response_id = str(number) if decimal else f"{number:X}"
        if options.receipt_id_form in ("same", options.id_form):
            return response_id, response_id
        return response_id, f"{number:X}" if decimal else str(number)
