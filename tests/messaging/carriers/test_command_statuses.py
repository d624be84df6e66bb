"""Outcomes of submit_sm responses: every command_status of the specification in a table."""

import pytest

from messaging.carriers.command_statuses import SubmitOutcome, status_name, submit_outcome
from messaging.smpp.constants import Status

LATER = {0x58: "ESME_RTHROTTLED", 0x14: "ESME_RMSGQFUL"}
ELSEWHERE = {
    0x04: "ESME_RINVBNDSTS",
    0x08: "ESME_RSYSERR",
    0x45: "ESME_RSUBMITFAIL",
    0x53: "ESME_RINVSYSTYP",
    0x64: "ESME_RX_T_APPN",
    0xFF: "ESME_RUNKNOWNERR",
}
REFUSED = {
    0x01: "ESME_RINVMSGLEN",
    0x0A: "ESME_RINVSRCADR",
    0x0B: "ESME_RINVDSTADR",
    0x15: "ESME_RINVSERTYP",
    0x43: "ESME_RINVESMCLASS",
    0x48: "ESME_RINVSRCTON",
    0x50: "ESME_RINVDSTTON",
    0x62: "ESME_RINVEXPIRY",
    0x65: "ESME_RX_P_APPN",
    0x66: "ESME_RX_R_APPN",
    0xFE: "ESME_RDELIVERYFAILURE",
}
CASES = [
    (0x00, "ESME_ROK", SubmitOutcome.ACCEPTED),
    *((number, name, SubmitOutcome.SLOW_DOWN) for number, name in LATER.items()),
    *((number, name, SubmitOutcome.ELSEWHERE) for number, name in ELSEWHERE.items()),
    *((number, name, SubmitOutcome.REFUSED) for number, name in REFUSED.items()),
]


@pytest.mark.parametrize(("number", "name", "meaning"), CASES, ids=lambda value: str(value))
def test_each_status_has_an_outcome_and_a_name(number, name, meaning):
    assert submit_outcome(number) is meaning
    assert status_name(number) == name


def test_every_other_status_is_a_final_refusal():
    others = set(Status) - {0x00} - set(LATER) - set(ELSEWHERE)
    assert {submit_outcome(number) for number in others} == {SubmitOutcome.REFUSED}


@pytest.mark.parametrize(
    ("number", "name"), [(0x400, "0x00000400"), (0x4FF, "0x000004FF"), (2**32 - 1, "0xFFFFFFFF")]
)
def test_a_carriers_own_status_is_final_and_named_by_its_number(number, name):
    assert submit_outcome(number) is SubmitOutcome.REFUSED
    assert status_name(number) == name


def test_a_temporary_error_never_fails_the_message():
    """5.1.3 calls these errors temporary or the system's: the message may be sent once more."""
    assert SubmitOutcome.REFUSED not in {submit_outcome(number) for number in (*LATER, *ELSEWHERE)}
