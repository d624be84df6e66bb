"""The table of command statuses: the outcome of each submit_sm response. Pure."""

from enum import Enum

from messaging.smpp.constants import Status


class SubmitOutcome(Enum):
    ACCEPTED = "accepted"
    SLOW_DOWN = "throttled"  # the same carrier, later
    ELSEWHERE = "refused for now"  # the next carrier of the route, or the same one later
    REFUSED = "refused"  # permanently: it would be refused again


_SUBMIT_OUTCOMES: dict[int, SubmitOutcome] = {
    Status.ESME_ROK: SubmitOutcome.ACCEPTED,
    Status.ESME_RTHROTTLED: SubmitOutcome.SLOW_DOWN,
    Status.ESME_RMSGQFUL: SubmitOutcome.SLOW_DOWN,
    # The carrier or our bind has a problem, not the message.
    Status.ESME_RSYSERR: SubmitOutcome.ELSEWHERE,
    Status.ESME_RINVBNDSTS: SubmitOutcome.ELSEWHERE,
    Status.ESME_RSUBMITFAIL: SubmitOutcome.ELSEWHERE,
    Status.ESME_RINVSYSTYP: SubmitOutcome.ELSEWHERE,
    Status.ESME_RX_T_APPN: SubmitOutcome.ELSEWHERE,
    Status.ESME_RUNKNOWNERR: SubmitOutcome.ELSEWHERE,
}


def submit_outcome(command_status: int) -> SubmitOutcome:
    """Return what to do with a message that got that command_status (SMPP 3.4, 5.1.3).

    Every status that is not in the table is about the message itself and is final.
    """
    return _SUBMIT_OUTCOMES.get(command_status, SubmitOutcome.REFUSED)


def status_name(command_status: int) -> str:
    """Return the specification's name, or the number in hex for a carrier's own status."""
    try:
        return Status(command_status).name
    except ValueError:
        return f"0x{command_status:08X}"
