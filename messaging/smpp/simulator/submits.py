"""Submits: records for tests and query_sm, and lines of the journal."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1
from typing import TYPE_CHECKING, TextIO

from messaging.smpp.constants import ESM_UDHI, DataCoding, MessageState, Tag
from messaging.text.encoding import Concat, join, parse_concat_udh

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from messaging.smpp.pdus import SubmitSm


def split_user_data(pdu: SubmitSm) -> tuple[bytes, bytes]:
    """Return the user data header (3GPP 23.040, 9.2.3.24) and the octets behind it.

    The header is empty without UDHI in esm_class (SMPP 3.4, 5.2.12), or if it is too long.
    """
    content = pdu.content
    if not pdu.esm_class & ESM_UDHI or not content or content[0] >= len(content):
        return b"", content
    end = content[0] + 1
    return content[:end], content[end:]


@dataclass(slots=True)
class Submit:
    """One submit_sm and its outcome. `status` is None if it got no response."""

    system_id: str
    pdu: SubmitSm = field(repr=False)
    at: float  # seconds since 1970
    message_id: str = ""  # empty if it was refused
    receipt_id: str = ""  # the same in the form of receipts
    status: int | None = None
    state: MessageState = MessageState.ENROUTE
    final_at: float | None = None
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)

    @property
    def source(self) -> str:
        """source_addr."""
        return self.pdu.source_addr

    @property
    def destination(self) -> str:
        """destination_addr, unchanged."""
        return self.pdu.destination_addr

    @property
    def data_coding(self) -> int:
        """data_coding (SMPP 3.4, 5.2.19)."""
        return self.pdu.data_coding

    @property
    def udh(self) -> bytes:
        """The user data header, empty if there is none."""
        return split_user_data(self.pdu)[0]

    @property
    def user_data(self) -> bytes:
        """The octets of the text, without a user data header."""
        return split_user_data(self.pdu)[1]

    @property
    def concat(self) -> Concat | None:
        """The part's position, from its UDH or the SAR TLVs (SMPP 3.4, 5.3.2.22 to 24)."""
        udh, tlvs = self.udh, self.pdu.tlvs
        if udh:
            return parse_concat_udh(udh + b"\0")  # a header alone is not valid user data
        if Tag.SAR_MSG_REF_NUM not in tlvs:
            return None
        numbers = [
            int.from_bytes(tlvs.get(tag, b""), "big")
            for tag in (Tag.SAR_MSG_REF_NUM, Tag.SAR_TOTAL_SEGMENTS, Tag.SAR_SEGMENT_SEQNUM)
        ]
        return Concat(numbers[0], numbers[1], numbers[2], 16, 0)

    @property
    def text(self) -> str:
        """The readable text: data_coding 0 means septets, one in each octet."""
        return readable(self.pdu)


def readable(pdu: SubmitSm) -> str:
    """Return as much of a message's text as is readable; never raises."""
    user_data = split_user_data(pdu)[1]
    if pdu.data_coding == DataCoding.UCS2:
        return user_data.decode("utf-16-be", "replace")
    if pdu.data_coding == DataCoding.DEFAULT and user_data.isascii():
        return join("gsm7", (user_data,))
    return user_data.decode("latin-1")


class Journal:
    """A file with a line per submit: destination, SHA-1 of the user data, message id, status.

    Tab-separated; a missing id or status is "-". Each line is flushed immediately, because the
    journal may be read after the simulator was killed.
    """

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("a", buffering=1, encoding="utf-8")

    def write(self, submit: Submit) -> None:
        """Write a submit after its response."""
        digest = sha1(submit.user_data, usedforsecurity=False).hexdigest()
        status = "-" if submit.status is None else str(submit.status)
        fields = (submit.destination, digest, submit.message_id or "-", status)
        self._file.write("\t".join(fields) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
