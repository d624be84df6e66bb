"""What a simulator can be told, at its start and at any time later."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from messaging.smpp.constants import ESM_DELIVERY_RECEIPT, Status

IdForm = Literal["decimal", "hex", "uuid"]
ReceiptIdForm = Literal["same", "decimal", "hex"]
ReceiptStyle = Literal["both", "text", "tlv"]
ReceiptBy = Literal["deliver_sm", "data_sm"]
ReceiptText = Literal["standard", "lower", "odd"]
AnswerBody = Literal["standard", "two-nuls", "no-nul", "spaces", "nuls", "long", "empty", "none"]


@dataclass(slots=True)
class Options:
    """How the simulated carrier is. Every field may be set on the running simulator's `options`.

    Times are seconds. What is refused, and how often, is `refusals`: a command_status (SMPP 3.4,
    5.1.3) and the fraction of submits that get it, so {ESME_RSYSERR: 1.0} is a system error for
    now. The destination decides after all that.
    """

    # -- receipts
    receipt_delay: float = 0.5  # to numbers that are not magic; 0 is at once
    time_scale: float = 1.0  # multiplies every delay of a receipt, the magic numbers' too
    receipt_style: ReceiptStyle = "both"  # Appendix B's text, the TLVs, or both
    receipt_text: ReceiptText = "standard"  # or as sloppy carriers write it
    receipt_by: ReceiptBy = "deliver_sm"  # or data_sm, as some carriers have it
    receipt_esm_class: int = ESM_DELIVERY_RECEIPT  # 0: nothing but its text says what it is
    receipt_state: int | None = None  # in every message_state, whatever became of the message
    receipt_word: str | None = None  # in every text that says that a message was not delivered
    receipt_long: bool = False  # an address of 25 digits and a service_type of 6 characters
    receipt_window: int = 200  # unanswered deliver_sm on each bind
    receipt_attempts: int = 5  # how often a receipt is sent that is answered by an error
    receipt_retry_delay: float = 1.0
    max_waiting_receipts: int = 500_000  # of each system_id; beyond it the oldest are lost

    # -- message ids
    id_form: IdForm = "decimal"
    receipt_id_form: ReceiptIdForm = "same"  # the same id, written otherwise in receipts

    # -- binds
    system_id: str = "SIMULATOR"  # our own name, in bind responses
    password: str | None = None  # None lets everyone in
    system_ids: frozenset[str] | None = None  # None knows everyone
    max_binds: int | None = None  # of each system_id
    refuse_binds: int = Status.ESME_ROK  # the status that every bind is refused with

    # -- misbehaviour
    answer_body: AnswerBody = "standard"  # how an id is written in answers to submits: line.py
    receipt_tail: bytes = b""  # octets behind each receipt that belong to nothing
    answer_delay: float = 0.0
    answer_jitter: float = 0.0  # up to so much more, at random: answers change places
    rate_limit: float | None = None  # submits a second of each system_id, else ESME_RTHROTTLED
    refusals: dict[int, float] = field(default_factory=dict)
    blackhole: bool = False  # submits vanish: no answer, no receipt
    drop_after: int | None = None  # every connection breaks at its so many-th submit
    unbind_after: int | None = None  # every connection is unbound at its so many-th submit
    garbage_after: int | None = None  # every connection gets garbage from its so many-th submit on
    ignore_enquire_link: bool = False

    # -- what is kept for query_sm, and for tests
    history: int = 100_000  # submits in `Simulator.submits`
    remembered: int = 20_000  # messages that query_sm knows

    def __post_init__(self) -> None:
        if self.id_form == "uuid" and self.receipt_id_form != "same":
            raise ValueError("a UUID is written the same in receipts")

    @property
    def changes_frames(self) -> bool:
        """Return whether other octets are sent than the session wrote."""
        odd_answers = self.answer_body != "standard"
        odd_receipts = self.receipt_long or bool(self.receipt_tail)
        return self.ignore_enquire_link or odd_answers or odd_receipts

    def receipt_after(self, delay: float | None) -> float:
        """The seconds from a message's answer to its receipt; None is the usual delay."""
        return (self.receipt_delay if delay is None else delay) * self.time_scale
