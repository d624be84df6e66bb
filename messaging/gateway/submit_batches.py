"""A batch of submits through the limits and into the database, whatever the database does."""

import time
from collections.abc import Sequence
from typing import Final

import structlog

from imissive.core.sql import Fault, fault_of, forget_broken_connections, is_undone
from messaging.gateway import store, throttling
from messaging.gateway.store import Submit
from messaging.models.smpp_accounts import SmppAccount

log = structlog.get_logger(__name__)

ASK_SECONDS: Final = 20.0
"""The time for which the database is asked about a commit whose outcome is unknown."""
ASK_PAUSE: Final = 0.5


class OutcomeUnknown(Exception):
    """Whether the submits were stored cannot be found out."""


def take_batch(account: SmppAccount, submits: Sequence[Submit]) -> None:
    """Set the outcomes of the submits. Raises OutcomeUnknown: then none of them may be answered."""
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
        # A mistake of ours about one of them must not cost the others.
        log.exception("smpp_submits_failed", account=str(account), submits=len(passing))
        _take_singly(account, passing)


def _take_singly(account: SmppAccount, submits: Sequence[Submit]) -> None:
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
        _ask(submits)
        return
    for submit in submits:
        submit.code = submit.code or "UNAVAILABLE"


def _ask(submits: Sequence[Submit]) -> None:
    """The connection was lost, perhaps after the commit: answer by what is there."""
    until = time.monotonic() + ASK_SECONDS
    while True:
        try:
            stored = store.stored(submits)
        except Exception as error:
            if fault_of(error) is not Fault.DATABASE:
                raise
            forget_broken_connections(error)
            if time.monotonic() > until:
                raise OutcomeUnknown from None
            time.sleep(ASK_PAUSE)
            continue
        for submit in submits:
            if submit.id not in stored and not submit.code:
                submit.code = "UNAVAILABLE"
        return
