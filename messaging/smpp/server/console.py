"""A bind's last PDUs for people, texts and numbers masked."""

import re
import time
from collections import deque
from typing import Final, Literal

from messaging.smpp.constants import Tag, command_name, status_name
from messaging.smpp.pdus import Pdu, Response

KEPT: Final = 20
_DIGITS: Final = re.compile(r"\d{7,}")

# From the customer, to the customer.
Direction = Literal["<", ">"]
Noted = tuple[float, Direction, str, int, str]
"""When (seconds since 1970), which way, command, sequence number, and what else of it."""


class Console:
    """The last PDUs of one bind."""

    __slots__ = ("noted",)

    def __init__(self) -> None:
        self.noted: deque[Noted] = deque(maxlen=KEPT)

    def note(self, direction: Direction, pdu: Pdu) -> None:
        """Keep what may be shown of a PDU."""
        name = command_name(pdu.command_id)
        self.noted.append((time.time(), direction, name, pdu.sequence, _told(pdu)))

    def note_answer(self, request: Pdu, status: int, message_id: str = "") -> None:
        """Keep what a request of the customer's was answered with."""
        told = status_name(status) if status else message_id
        name = f"{command_name(request.command_id)}_resp"
        self.noted.append((time.time(), ">", name, request.sequence, told))

    def lines(self) -> list[str]:
        """One line for each, oldest first; times in UTC."""
        return [
            f"{time.strftime('%H:%M:%S', time.gmtime(at))} {way} {name} #{sequence} {told}".rstrip()
            for at, way, name, sequence, told in self.noted
        ]


def masked_address(written: str) -> str:
    """An address as it may be shown: of a number its beginning and its last two digits."""
    return _DIGITS.sub(lambda found: f"{found[0][:5]}…{found[0][-2:]}", written)


def _told(pdu: Pdu) -> str:
    if isinstance(pdu, Response):
        return status_name(pdu.status)
    told = []
    for name in ("source_addr", "destination_addr"):
        written = getattr(pdu, name, None)
        if written:
            told.append(f"{name}={masked_address(written)}")
    for name in ("data_coding", "esm_class", "registered_delivery"):
        value = getattr(pdu, name, 0)
        if value:
            told.append(f"{name}={value}")
    text = getattr(pdu, "short_message", b"")
    payload = getattr(pdu, "tlvs", {}).get(Tag.MESSAGE_PAYLOAD, b"")
    if text or payload:
        told.append(f"octets={len(text) or len(payload)}")
    return " ".join(told)
