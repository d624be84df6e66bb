"""A carrier's rules for its delivery receipts: the meaning of each, or why it is unused. Pure.

Receipts differ a lot between carriers. One that a handset could have forged, or that contradicts
itself, is used only if the carrier's settings allow it; none is dropped without a record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from messaging.carriers.outcomes import receipt_code
from messaging.carriers.receipts import FinalReceipt, Reason, UnusedReceipt
from messaging.smpp.constants import ESM_DELIVERY_RECEIPT, ESM_INTERMEDIATE, ESM_MESSAGE_TYPE_MASK
from messaging.smpp.pdus import DataSm, DeliverSm
from messaging.smpp.receipt import (
    MESSAGE_STATE,
    RECEIPTED_MESSAGE_ID,
    STATES,
    IdForm,
    Receipt,
    normalize_id,
    outline,
    parse_receipt,
)
from messaging.states import Status

ENDS = {
    "delivered": Status.DELIVERED,
    "failed": Status.FAILED,
    "expired": Status.EXPIRED,
}
"""The meanings of a status word that are final for a part."""
MEANINGS = (*ENDS, "enroute")
"""The meanings that a status word may be mapped to."""
_MARKS = frozenset({ESM_DELIVERY_RECEIPT, ESM_INTERMEDIATE})
_TAGS = frozenset({RECEIPTED_MESSAGE_ID, MESSAGE_STATE})
LONGEST_RAW = 200


@dataclass(frozen=True, slots=True)
class Rules:
    """A carrier's settings of receipts. `words` has its own status words, in upper case."""

    id_form: IdForm = "as_is"
    by_data_sm: bool = True
    unmarked: bool = False
    text_first: bool = False
    words: Mapping[str, str] = field(default_factory=dict)

    def meaning(self, word: str) -> str | None:
        """Return the meaning of a status word; None if it is unknown."""
        return self.words.get(word) or STATES.get(word)

    def ends(self, word: str) -> bool:
        """Return whether a status word is final."""
        return self.meaning(word) in ENDS


def read(pdu: DeliverSm | DataSm, rules: Rules) -> FinalReceipt | UnusedReceipt | None:
    """Return the receipt in a deliver_sm or data_sm: the end of a part, or an unused receipt.

    None if it is not a receipt, or not a final one.
    """
    # A handset can write a text that looks like a receipt, but sets none of these.
    marked = pdu.esm_class & ESM_MESSAGE_TYPE_MASK in _MARKS or not _TAGS.isdisjoint(pdu.tlvs)
    text = pdu.short_message if isinstance(pdu, DeliverSm) else b""
    receipt = parse_receipt(text, pdu.tlvs, pdu.data_coding, marked=marked)
    if receipt is None:
        # An intermediate notification is never final.
        notified = pdu.esm_class & ESM_MESSAGE_TYPE_MASK == ESM_INTERMEDIATE
        return _unused(pdu, Reason.UNREADABLE) if marked and not notified else None
    reason, word = _status_word(receipt, rules)
    if not marked and (word == "" or not rules.ends(word)):
        return None  # most likely a text from a handset
    if reason is None and not rules.ends(word):
        return None
    if reason is None and not marked and not rules.unmarked:
        reason = Reason.UNMARKED
    if reason is None and isinstance(pdu, DataSm) and not rules.by_data_sm:
        reason = Reason.DATA_SM
    carrier_message_id = normalize_id(receipt.message_id, rules.id_form)
    end = ENDS.get(rules.meaning(word) or "")
    code = "" if end is Status.DELIVERED else receipt_code(word, receipt.error_code)
    if reason is None and end is not None:
        return FinalReceipt(carrier_message_id, end, code)
    return _unused(
        pdu,
        reason or Reason.UNREADABLE,
        carrier_message_id=carrier_message_id,
        status=str(end or ""),
        code=code,
        word=word,
    )


def _status_word(receipt: Receipt, rules: Rules) -> tuple[Reason | None, str]:
    """Return the status word that counts, after the reason not to use the receipt, or None."""
    tlv, text = receipt.tlv_word, receipt.text_word
    word = tlv or text
    if not word:
        return Reason.UNREADABLE, ""
    if tlv and text and not rules.ends(tlv):
        # message_state is not final, but the text may be.
        if rules.meaning(text) is None:
            return Reason.UNKNOWN_WORD, text
        if rules.ends(text):
            return (None if rules.text_first else Reason.CONTRADICTION), text
    if rules.meaning(word) is None:
        return Reason.UNKNOWN_WORD, word
    return None, word


def _unused(pdu: DeliverSm | DataSm, reason: Reason, **known: str) -> UnusedReceipt:
    text = pdu.short_message if isinstance(pdu, DeliverSm) else b""
    command = "deliver_sm" if isinstance(pdu, DeliverSm) else "data_sm"
    raw = f"{command} esm_class=0x{pdu.esm_class:02X} {outline(text, pdu.tlvs, pdu.data_coding)}"
    return UnusedReceipt(reason, raw=raw[:LONGEST_RAW], **known)
