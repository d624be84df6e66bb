"""Processing of a batch of submits: throttling, storing, and handling of database faults."""

import time
from collections.abc import Sequence
from typing import Final

import structlog

from imissive.core.sql import Fault, fault_of, forget_broken_connections, is_undone
from messaging.gateway import store, throttling
from messaging.gateway.store import Submit
from messaging.models.smpp_accounts import SmppAccount

log = structlog.get_logger(__name__)

OUTCOME_SECONDS: Final = 20.0
"""The longest time of checking whether a commit with unknown outcome succeeded."""
OUTCOME_PAUSE: Final = 0.5


class OutcomeUnknown(Exception):
    """It cannot be determined whether the submits were stored."""


def store_batch(account: SmppAccount, submits: Sequence[Submit]) -> None:
    """Set the outcomes of the submits. After OutcomeUnknown, none may get a response."""
    passing = throttling.admit(account, submits)
    if not passing:
        return
    try:
        store.take(account, passing)
    except Exception as error:
        if fault_of(error) is Fault.DATABASE:
            log.warning("smpp_database_failed", error=str(error).strip())
            _settle(passing, error)
            return
        # A bug that one submit triggers must not affect the others.
        log.exception("smpp_submits_failed", account=str(account), submits=len(passing))
        _store_singly(account, passing)


def _store_singly(account: SmppAccount, submits: Sequence[Submit]) -> None:
    for submit in submits:
        submit.code = ""
        try:
            store.take(account, [submit])
        except Exception as error:
            if fault_of(error) is Fault.DATABASE:
                _settle([submit], error)
            else:
                submit.code = "SERVER_ERROR"


def _settle(submits: Sequence[Submit], error: Exception) -> None:
    """Set the outcomes of submits whose transaction failed because of the database."""
    forget_broken_connections(error)
    if not is_undone(error):
        _find_outcomes(submits)
        return
    for submit in submits:
        submit.code = submit.code or "UNAVAILABLE"


def _find_outcomes(submits: Sequence[Submit]) -> None:
    """Set the outcomes by the stored rows, after a connection lost around the commit."""
    until = time.monotonic() + OUTCOME_SECONDS
    while True:
        try:
            stored = store.stored(submits)
        except Exception as error:
            if fault_of(error) is not Fault.DATABASE:
                raise
            forget_broken_connections(error)
            if time.monotonic() > until:
                raise OutcomeUnknown from None
            time.sleep(OUTCOME_PAUSE)
            continue
        for submit in submits:
            if submit.id not in stored and not submit.code:
                submit.code = "UNAVAILABLE"
        return
