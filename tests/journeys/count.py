"""Check of the promises in docs/decisions, by records that the platform did not write.

The clients know the accepted messages, the carrier the submits, the webhook receiver the posts, and
the SMPP client the receipts. The database is compared with all of them.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imissive.core import ids
from tests.support import transitions
from tests.support.scenes import BINDS, WINDOW

if TYPE_CHECKING:
    from tests.journeys.drill import Drill
    from tests.support.running_platform import Site
    from tests.support.webhook_receivers import Receiver

REPEATING = ("carriers", "carrier-simulator", "carrier connections", "postgres")
"""After one of these kills, the submits in the windows may be repeated."""
EVENTS = ["message.sent", "message.delivered", "message.failed", "message.expired"]
UNANSWERED_AT_MOST = 2
"""Submits without a response after which a message fails (NO_RESPONSE): it may have arrived."""


@dataclass(frozen=True)
class Promise:
    """One line of the table: a count, with the decision that promises it."""

    text: str
    decision: str
    expected: str
    found: int
    kept: bool


def public_id(message_id: str) -> str:
    """Return the API's form of a message id over SMPP."""
    return ids.public_id(ids.MESSAGE, uuid.UUID(hex=message_id))


def subscribe(site: Site, customer: Receiver) -> str:
    """Create an endpoint for all events of messages; return its secret."""
    status, response = site.post("/v1/webhooks", {"url": customer.url, "events": EVENTS})
    assert status == 201, response
    secret: str = response["secret"]
    return secret


def until_accepted(site: Site, path: str, body: Any, refused: Counter[str]) -> Any:
    """Repeat a request with one Idempotency-Key until it is accepted, and return the response."""
    once = uuid.uuid4().hex
    while True:
        status, response = site.post(path, body, once=once)
        if status == 202:
            return response
        # No connection, still in progress, or not available: anything else is a bug.
        assert status in (0, 409, 503), (status, response)
        refused[f"HTTP: {status or 'none'}"] += 1
        time.sleep(0.2)


def promises(drill: Drill) -> list[Promise]:
    """Return all that was promised, as it was counted."""
    site, records = drill.site, drill.records
    accepted = set(records.accepted)
    rows = site.sql('SELECT id, "to", status, error_code FROM messaging_message')
    stored = {ids.public_id(ids.MESSAGE, row[0]): row for row in rows}
    submits = Counter(f"+{submit.destination}" for submit in drill.carrier.submits)
    numbers = set(records.accepted.values())
    unanswered = {
        message_id
        for message_id, (_, to, status, code) in stored.items()
        if (status, code) == ("failed", "NO_RESPONSE") and submits[to] >= UNANSWERED_AT_MOST
    }
    delivered = {message_id for message_id, row in stored.items() if row[2] == "delivered"}
    [(charged, refunded)] = site.sql(
        "SELECT coalesce(-sum(amount) FILTER (WHERE kind = 'charge'), 0) / 1000000,"
        " coalesce(sum(amount) FILTER (WHERE kind = 'refund'), 0) / 1000000"
        " FROM accounts_ledgerentry"
    )
    # Each time a bind is lost, the submits in its window may be repeated.
    may_repeat = sum(records.kills[kill] for kill in REPEATING) * BINDS * WINDOW
    repeated = sum(times - 1 for times in submits.values())
    return [
        _same("accepted messages that are stored", "", accepted, accepted & set(stored)),
        _same("stored messages that no client sent", "", set(), set(stored) - accepted),
        _same(
            "delivered, or failed after two lost responses", "6", accepted, delivered | unanswered
        ),
        _equal("credits charged", "", len(accepted), int(charged)),
        _equal("credits refunded", "", len(unanswered), int(refunded)),
        _equal("errors of `check_ledger`", "", 0, site.manage("check_ledger").returncode),
        _equal("changes of status that the table does not have", "140", 0, _refused(site)),
        _same("numbers submitted", "", numbers, set(submits)),
        Promise("submits repeated", "6, 131", f"≤ {may_repeat}", repeated, repeated <= may_repeat),
        _equal("receipts lost at the carrier", "130", 0, drill.carrier.tally.receipts_lost),
        *_events(drill, delivered, unanswered),
        _same("receipts over SMPP", "", records.over_smpp, records.over_smpp & drill.esme.receipts),
    ]


def _events(drill: Drill, delivered: set[str], failed: set[str]) -> list[Promise]:
    posted = drill.records.events
    return [
        # A message that is given up was never known to be sent.
        _same("message.sent", "64", delivered, posted["message.sent"] & delivered),
        _same("message.delivered", "64", delivered, posted["message.delivered"]),
        _same("message.failed", "64", failed, posted["message.failed"]),
        _same("message.expired", "64", set(), posted["message.expired"]),
    ]


def _refused(site: Site) -> int:
    return site.text.count(transitions.REFUSED)


def _same(text: str, decision: str, expected: set[str], found: set[str]) -> Promise:
    return Promise(text, decision, f"{len(expected)}", len(found), expected == found)


def _equal(text: str, decision: str, expected: int, found: int) -> Promise:
    return Promise(text, decision, f"{expected}", found, expected == found)


def table(drill: Drill, counted: list[Promise]) -> str:
    """Return the table, with the kills and refusals."""
    kills, refused = drill.records.kills, drill.records.refused
    width = max(len(promise.text) for promise in counted)
    lines = [f"{'promise':{width}}  decision  expected     found"]
    lines += [
        f"{promise.text:{width}}  {promise.decision:8}  {promise.expected:>8}  {promise.found:>8}"
        f"  {'' if promise.kept else 'BROKEN'}".rstrip()
        for promise in counted
    ]
    killed = ", ".join(f"{what} {times}" for what, times in sorted(kills.items()))
    repeats = ", ".join(f"{what} {times}" for what, times in sorted(refused.items()))
    return "\n".join([*lines, f"{sum(kills.values())} kills: {killed}", f"refused: {repeats}"])
