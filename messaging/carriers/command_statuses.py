"""What a carrier's answer to a submit_sm means for the message: one table. Pure."""

from enum import Enum

from messaging.smpp.constants import Status


class Disposition(Enum):
    ACCEPTED = "accepted"
    SLOW_DOWN = "throttled"  # the same carrier, later
    ELSEWHERE = "refused for now"  # the next carrier of the route, or the same one later
    REFUSED = "refused"  # for good: it would be refused again


_DISPOSITIONS: dict[int, Disposition] = {
    Status.ESME_ROK: Disposition.ACCEPTED,
    Status.ESME_RTHROTTLED: Disposition.SLOW_DOWN,
    Status.ESME_RMSGQFUL: Disposition.SLOW_DOWN,
    # The carrier is unwell or our bind is: nothing is wrong with the message.
    Status.ESME_RSYSERR: Disposition.ELSEWHERE,
    Status.ESME_RINVBNDSTS: Disposition.ELSEWHERE,
    Status.ESME_RSUBMITFAIL: Disposition.ELSEWHERE,
    Status.ESME_RINVSYSTYP: Disposition.ELSEWHERE,
    Status.ESME_RX_T_APPN: Disposition.ELSEWHERE,
    Status.ESME_RUNKNOWNERR: Disposition.ELSEWHERE,
}


def disposition(command_status: int) -> Disposition:
    """What to do with a message answered by that command_status (SMPP 3.4, 5.1.3).

    Every status that is not in the table speaks of the message itself and is final.
    """
    return _DISPOSITIONS.get(command_status, Disposition.REFUSED)


def status_name(command_status: int) -> str:
    """The specification's name, or the number in hex for a carrier's own."""
    try:
        return Status(command_status).name
    except ValueError:
        return f"0x{command_status:08X}"
