"""Options of the simulator, for its start and while it runs."""

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
    """The simulated carrier. Every field may be set on the running simulator's `options`.

    Times are seconds. `refusals` maps each command_status (SMPP 3.4, 5.1.3) to the fraction of
    submits that get it, so {ESME_RSYSERR: 1.0} is a system error for all. For other submits the
    destination decides.
    """

    # -- receipts
    receipt_delay: float = 0.5  # for numbers that are not magic; 0 is immediately
    time_scale: float = 1.0  # multiplies every delay of a receipt, also those of magic numbers
    receipt_style: ReceiptStyle = "both"  # Appendix B's text, the TLVs, or both
    receipt_text: ReceiptText = "standard"  # or a sloppy carrier's format
    receipt_by: ReceiptBy = "deliver_sm"  # or data_sm, as some carriers use
    receipt_esm_class: int = ESM_DELIVERY_RECEIPT  # 0: only the text marks it as a receipt
    receipt_state: int | None = None  # in every message_state, whatever the message's state
    receipt_word: str | None = None  # the status word for every message that was not delivered
    receipt_long: bool = False  # an address of 25 digits and a service_type of 6 characters
    receipt_window: int = 200  # unanswered deliver_sm on each bind
    receipt_attempts: int = 5  # of a receipt with an error response
    receipt_retry_delay: float = 1.0
    max_waiting_receipts: int = 500_000  # of each system_id; beyond it the oldest are lost

    # -- message ids
    id_form: IdForm = "decimal"
    receipt_id_form: ReceiptIdForm = "same"  # the form of the same id in receipts

    # -- binds
    system_id: str = "SIMULATOR"  # our own, in bind responses
    password: str | None = None  # None accepts every password
    system_ids: frozenset[str] | None = None  # None accepts every system_id
    max_binds: int | None = None  # of each system_id
    refuse_binds: int = Status.ESME_ROK  # another status refuses every bind

    # -- misbehaviour
    answer_body: AnswerBody = "standard"  # the form of ids in submit_sm responses: line.py
    receipt_tail: bytes = b""  # stray octets at the end of each receipt
    answer_delay: float = 0.0
    answer_jitter: float = 0.0  # a random addition up to this, so responses change places
    rate_limit: float | None = None  # submits per second of each system_id, else ESME_RTHROTTLED
    refusals: dict[int, float] = field(default_factory=dict)
    blackhole: bool = False  # submits get no response and no receipt
    drop_after: int | None = None  # every connection breaks at its Nth submit
    unbind_after: int | None = None  # every connection is unbound at its Nth submit
    garbage_after: int | None = None  # every connection gets garbage from its Nth submit on
    ignore_enquire_link: bool = False

    # -- history for query_sm and for tests
    history: int = 100_000  # submits in `Simulator.submits`
    remembered: int = 20_000  # messages that query_sm finds

    def __post_init__(self) -> None:
        if self.id_form == "uuid" and self.receipt_id_form != "same":
            raise ValueError("a UUID is written the same in receipts")

    @property
    def changes_frames(self) -> bool:
        """Return whether frames are changed when written."""
        odd_responses = self.answer_body != "standard"
        odd_receipts = self.receipt_long or bool(self.receipt_tail)
        return self.ignore_enquire_link or odd_responses or odd_receipts

    def receipt_after(self, delay: float | None) -> float:
        """Return the seconds from a message's response to its receipt; None is the usual delay."""
        return (self.receipt_delay if delay is None else delay) * self.time_scale
