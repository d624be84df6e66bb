"""The outcome of a submitted message, by the carrier's responses to its parts. Pure."""

from messaging.carriers.command_statuses import SubmitOutcome, status_name, submit_outcome
from messaging.carriers.queue import NOT_ENCODABLE, Result
from messaging.carriers.receipts import FinalReceipt, Reason, UnusedReceipt
from messaging.smpp.link import LinkError, NotSent
from messaging.smpp.pdus import Response
from messaging.smpp.receipt import LONGEST_ID


def unrecorded(result: Result) -> Result:
    """What stands in for a result that the database refuses: else the message would be submitted
    again each time its lease ends, for as long as it is valid."""
    told = "The carrier's answer could not be recorded."
    return Result(
        result.message,
        result.submit_outcome,
        code="UNRECORDED",
        detail=told,
        unanswered=result.unanswered,
    )


def unwritable(receipt: FinalReceipt | UnusedReceipt) -> FinalReceipt | UnusedReceipt:
    """Return what stands in for a receipt that cannot be applied: that it came."""
    shown = "".join(c for c in receipt.carrier_message_id if c.isprintable())
    return UnusedReceipt(Reason.UNWRITABLE, shown[:LONGEST_ID], str(receipt.status))


def apply_outcome(result: Result, outcome: Response | Exception) -> None:
    """Fold one part's failure into its message's result; the gravest of several parts' counts."""
    if isinstance(outcome, Response):
        found = submit_outcome(outcome.status)
        name = status_name(outcome.status)
        if found is SubmitOutcome.ACCEPTED:
            # A generic_nack, whatever its status: what it answers was not even understood.
            found, name = SubmitOutcome.REFUSED, "GENERIC_NACK"
        if _graver(found, result):
            result.submit_outcome = found
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


_GRAVITY = {
    SubmitOutcome.ACCEPTED: 0,
    None: 1,
    SubmitOutcome.SLOW_DOWN: 2,
    SubmitOutcome.ELSEWHERE: 3,
    SubmitOutcome.REFUSED: 4,
}


def _graver(found: SubmitOutcome, result: Result) -> bool:
    return _GRAVITY[found] > _GRAVITY[result.submit_outcome]


def receipt_code(raw_state: str, error_code: str) -> str:
    """The carrier's word for a failure with its error number, such as `UNDELIV 001`."""
    number = error_code if error_code.strip("0") else ""
    return f"{raw_state} {number}".strip()
