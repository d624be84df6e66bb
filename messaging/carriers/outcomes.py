"""The outcome of a submitted message, by the carrier's responses to its parts. Pure."""

from messaging.carriers.command_statuses import SubmitOutcome, status_name, submit_outcome
from messaging.carriers.queue import NOT_ENCODABLE, Result
from messaging.carriers.receipts import FinalReceipt, Reason, UnusedReceipt
from messaging.smpp.link import LinkError, NotSent
from messaging.smpp.pdus import Response
from messaging.smpp.receipt import LONGEST_ID


def unrecorded(result: Result) -> Result:
    """Return a replacement for a result that the database refuses.

    Without one, the message would be submitted again after each lease, as long as it is valid.
    """
    return Result(
        result.message,
        result.submit_outcome,
        code="UNRECORDED",
        detail="The carrier's answer could not be recorded.",
        unanswered=result.unanswered,
    )


def unwritable(receipt: FinalReceipt | UnusedReceipt) -> FinalReceipt | UnusedReceipt:
    """Return a replacement for a receipt that cannot be applied: a record of its arrival."""
    printable = "".join(c for c in receipt.carrier_message_id if c.isprintable())
    return UnusedReceipt(Reason.UNWRITABLE, printable[:LONGEST_ID], str(receipt.status))


def apply_outcome(result: Result, outcome: Response | Exception) -> None:
    """Merge one part's failure into its message's result; the worst of several failures counts."""
    if isinstance(outcome, Response):
        meaning = submit_outcome(outcome.status)
        name = status_name(outcome.status)
        if meaning is SubmitOutcome.ACCEPTED:
            # A generic_nack, whatever its status: the carrier did not understand the request.
            meaning, name = SubmitOutcome.REFUSED, "GENERIC_NACK"
        if _is_worse(meaning, result):
            result.submit_outcome = meaning
            result.command_status = outcome.status
            result.code = name
            result.detail = f"The carrier answered {name}."
    elif isinstance(outcome, NotSent):
        if result.submit_outcome is SubmitOutcome.ACCEPTED:
            result.submit_outcome = None
    elif isinstance(outcome, LinkError):
        result.unanswered = True
        result.detail = str(outcome)
        if result.submit_outcome is SubmitOutcome.ACCEPTED:
            result.submit_outcome = None
    else:
        result.submit_outcome = SubmitOutcome.REFUSED
        result.code = NOT_ENCODABLE
        result.detail = f"The message could not be written for the carrier: {outcome}"


_SEVERITY = {
    SubmitOutcome.ACCEPTED: 0,
    None: 1,
    SubmitOutcome.SLOW_DOWN: 2,
    SubmitOutcome.ELSEWHERE: 3,
    SubmitOutcome.REFUSED: 4,
}


def _is_worse(outcome: SubmitOutcome, result: Result) -> bool:
    return _SEVERITY[outcome] > _SEVERITY[result.submit_outcome]


def receipt_code(raw_state: str, error_code: str) -> str:
    """Return the carrier's word for a failure with its error number, such as `UNDELIV 001`."""
    number = error_code if error_code.strip("0") else ""
    return f"{raw_state} {number}".strip()
