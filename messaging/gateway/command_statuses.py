"""The table of command statuses for refusals, which an account may override. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from imissive.core.problems import Problem
from messaging.gateway.reasons import StatusTableReason
from messaging.smpp.constants import Status

# The first codes are the platform's own; from EMPTY_MESSAGE on, they are specific to SMPP.
STATUSES: Final[dict[str, int]] = {
    "INVALID_PHONE": Status.ESME_RINVDSTADR,
    "DESTINATION_BLOCKED": Status.ESME_RINVDSTADR,
    "INVALID_SENDER": Status.ESME_RINVSRCADR,
    "MESSAGE_TOO_LONG": Status.ESME_RINVMSGLEN,
    "INSUFFICIENT_CREDITS": Status.ESME_RSUBMITFAIL,
    "INVALID_REQUEST": Status.ESME_RSUBMITFAIL,
    "INVALID_SCHEDULE": Status.ESME_RINVSCHED,
    "FORBIDDEN": Status.ESME_RSUBMITFAIL,
    "CONFLICT": Status.ESME_RSUBMITFAIL,
    "RATE_LIMITED": Status.ESME_RTHROTTLED,
    "UNAVAILABLE": Status.ESME_RMSGQFUL,
    "SERVER_ERROR": Status.ESME_RSYSERR,
    "NOT_FOUND": Status.ESME_RINVMSGID,
    "NOT_CANCELABLE": Status.ESME_RCANCELFAIL,
    "NOT_REPLACEABLE": Status.ESME_RREPLACEFAIL,
    "EMPTY_MESSAGE": Status.ESME_RINVMSGLEN,
    "INVALID_CODING": Status.ESME_RSUBMITFAIL,
    "INVALID_TEXT": Status.ESME_RSUBMITFAIL,
    "INVALID_HEADER": Status.ESME_RINVESMCLASS,
    "INVALID_ESM_CLASS": Status.ESME_RINVESMCLASS,
    "INVALID_VALIDITY": Status.ESME_RINVEXPIRY,
    "INVALID_PRIORITY": Status.ESME_RINVPRTFLG,
    "INVALID_REGISTERED_DELIVERY": Status.ESME_RINVREGDLVFLG,
    "INVALID_SOURCE_TON": Status.ESME_RINVSRCTON,
    "INVALID_SOURCE_NPI": Status.ESME_RINVSRCNPI,
    "INVALID_DESTINATION_TON": Status.ESME_RINVDSTTON,
    "INVALID_DESTINATION_NPI": Status.ESME_RINVDSTNPI,
    "REPLACE_NOT_OFFERED": Status.ESME_RINVREPFLAG,
    "PREDEFINED_NOT_OFFERED": Status.ESME_RINVDFTMSGID,
    "DISTRIBUTION_LIST_NOT_OFFERED": Status.ESME_RCNTSUBDL,
    "PARAMETER_NOT_ALLOWED": Status.ESME_ROPTPARNOTALLWD,
    "INVALID_PARAMETER": Status.ESME_RINVOPTPARAMVAL,
    "MISSING_PARAMETER": Status.ESME_RMISSINGOPTPARAM,
}
_LARGEST: Final = 0xFFFFFFFF


def status_of(code: str, own: Mapping[str, Any]) -> int:
    """Return the command_status for a code. `own` is the account's table, which comes first."""
    chosen = own.get(code)
    if isinstance(chosen, int) and 0 < chosen <= _LARGEST:
        return chosen
    return STATUSES.get(code, Status.ESME_RSUBMITFAIL)


def problem_with(own: object) -> Problem | None:
    """Return the problem with an account's table, or None if it is valid."""
    if not isinstance(own, dict):
        return StatusTableReason.NOT_AN_OBJECT.problem()
    for code, status in own.items():
        if code not in STATUSES:
            return StatusTableReason.UNKNOWN_CODE.problem(code=code, codes=", ".join(STATUSES))
        if isinstance(status, bool) or not isinstance(status, int) or not 0 < status <= _LARGEST:
            return StatusTableReason.NOT_A_STATUS.problem(code=code, most=_LARGEST)
    return None
