"""A carrier's rules for its receipts: what each means, or why it is not used. Pure.

Carriers agree on little but the name of a receipt. What can be forged by a handset, or contradicts
itself, is used only where the carrier's settings say so; but none is dropped without a trace.
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
"""The meanings of a carrier's word that end a part; any other leaves it on its way."""
MEANINGS = (*ENDS, "enroute")
"""The statuses that a word may be mapped to."""
_MARKS = frozenset({ESM_DELIVERY_RECEIPT, ESM_INTERMEDIATE})
_TAGS = frozenset({RECEIPTED_MESSAGE_ID, MESSAGE_STATE})
LONGEST_RAW = 200


@dataclass(frozen=True, slots=True)
class Rules:
    """A carrier's form of receipts. `words` has its own status words, in upper case."""

    id_form: IdForm = "as_is"
    by_data_sm: bool = True
    unmarked: bool = False
    text_first: bool = False
    words: Mapping[str, str] = field(default_factory=dict)

    def meaning(self, word: str) -> str | None:
        """Return what a status word means; None where nobody knows it."""
        return self.words.get(word) or STATES.get(word)

    def ends(self, word: str) -> bool:
        """Return whether a status word says that a part has ended."""
        return self.meaning(word) in ENDS


def read(pdu: DeliverSm | DataSm, rules: Rules) -> FinalReceipt | UnusedReceipt | None:
    """Return what a deliver_sm or data_sm says: how a part ended, or a receipt that is not used.

    None where it is no receipt, or says that a part is on its way.
    """
    # A handset can write a text that looks like a receipt, but sets none of these.
    marked = pdu.esm_class & ESM_MESSAGE_TYPE_MASK in _MARKS or not _TAGS.isdisjoint(pdu.tlvs)
    text = pdu.short_message if isinstance(pdu, DeliverSm) else b""
    found = parse_receipt(text, pdu.tlvs, pdu.data_coding, marked=marked)
    if found is None:
        # A notification on the way ends nothing, whatever it says.
        notified = pdu.esm_class & ESM_MESSAGE_TYPE_MASK == ESM_INTERMEDIATE
        return _unused(pdu, Reason.UNREADABLE) if marked and not notified else None
    reason, word = _judge(found, rules)
    if not marked and (word == "" or not rules.ends(word)):
        return None  # a person's text, as far as anybody can tell
    if reason is None and not rules.ends(word):
        return None
    if reason is None and not marked and not rules.unmarked:
        reason = Reason.UNMARKED
    if reason is None and isinstance(pdu, DataSm) and not rules.by_data_sm:
        reason = Reason.DATA_SM
    carrier_message_id = normalize_id(found.message_id, rules.id_form)
    end = ENDS.get(rules.meaning(word) or "")
    code = "" if end is Status.DELIVERED else receipt_code(word, found.error_code)
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


def _judge(found: Receipt, rules: Rules) -> tuple[Reason | None, str]:
    """Which of a receipt's two words counts, and what is wrong with it if anything is."""
    told, text = found.told_word, found.text_word
    word = told or text
    if not word:
        return Reason.UNREADABLE, ""
    if told and text and not rules.ends(told):
        # message_state leaves the part on its way: the text may know better.
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
