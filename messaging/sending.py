"""Accepting messages: the one way in, for a batch of any size from wherever it comes.

Judge every draft, then one transaction: charge the balance, write the ledger, insert the messages
and their `message.queued` events. Whoever calls answers only after that commit, and the carrier
workers' bell is rung after it.
"""

import contextlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, connection, transaction

from accounts.ledger import InsufficientCredits, is_overdraft
from imissive import bell, clock, ids
from imissive.sql import server_cursor
from messaging import numbers
from messaging.combining import Combiner
from messaging.states import Status
from messaging.tables import tables
from messaging.verdicts import Draft, Refusal, Terms, Verdict, default_sender, judge
from webhooks import events
from webhooks.models import EventType

DEFAULT_VALIDITY = timedelta(hours=48)
MIN_VALIDITY, MAX_VALIDITY = timedelta(seconds=10), timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Order:
    """What all drafts of one call share.

    `urgent`: the lane that no bulk run holds up. `as_batch`: give them a batch id.
    `scheduled_at`: not before then (aware); None is at once. `hold`: outside of a country's hours
    a message waits for them; else it is refused. `batch_id`: a batch that they join, made where
    there is none with that id.
    """

    organization_id: uuid.UUID
    source: str
    test: bool = False
    urgent: bool = False
    as_batch: bool = False
    api_key_id: uuid.UUID | None = None
    scheduled_at: datetime | None = None
    validity: timedelta | None = None
    hold: bool = True
    batch_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A draft that became the message with that id; `scheduled_at` None is at once."""

    id: uuid.UUID
    verdict: Verdict
    scheduled_at: datetime | None

    @property
    def status(self) -> Status:
        return Status.QUEUED if self.scheduled_at is None else Status.SCHEDULED


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What became of an order: `outcomes` in the order of its drafts; `price` in micro-credits."""

    order: Order
    batch_id: uuid.UUID | None
    created_at: datetime
    outcomes: list[Accepted | Refusal]
    price: int


@dataclass(frozen=True, slots=True)
class _Storing:
    """An acceptance with what of it is to be stored."""

    acceptance: Acceptance
    accepted: list[Accepted]
    tell_queued: bool


Known = tuple[int, dict[str, bool] | None, bool, bool]
"""What TERMS gave."""


def accept(order: Order, drafts: Sequence[Draft], known: Known | None = None) -> Acceptance:
    """Accept what is acceptable of the drafts and charge for that, all of it or nothing.

    Refused drafts come back as Refusal among the outcomes. Raises InsufficientCredits when the
    balance does not cover all accepted ones: then nothing is stored. `known`: what TERMS gave, if
    the caller has read it a moment ago.
    """
    known = known or _read_known(order.organization_id)
    storing = _judged(order, drafts, terms_of(order, drafts, known), tell_queued=known[2])
    if storing.accepted:
        _store(storing)
    return storing.acceptance


def accept_each(
    requests: Sequence[tuple[Order, Draft]],
) -> list[Accepted | Refusal | InsufficientCredits]:
    """Accept each draft for itself, in the caller's transaction: an outcome for each, in order.

    The orders are all of one organization. Each message has its own charge, and one that the
    balance does not cover leaves the others be; they are one statement where it covers all.
    """
    if not requests:
        return []
    first = requests[0][0]
    known = _read_known(first.organization_id)
    terms = terms_of(first, [draft for _, draft in requests], known)
    now = terms.at if first.scheduled_at is None else clock.now()
    storings = [
        _judged(
            order,
            [draft],
            replace(terms, at=order.scheduled_at or now, hold=order.hold),
            tell_queued=known[2],
        )
        for order, draft in requests
    ]
    uncovered = _store_each([storing for storing in storings if storing.accepted])
    return [
        InsufficientCredits() if id(storing) in uncovered else storing.acceptance.outcomes[0]
        for storing in storings
    ]


def _store_each(storings: Sequence[_Storing]) -> set[int]:
    """Store them together, or where the balance does not cover all, one by one.

    Returns the `id()` of those that it did not cover.
    """
    if not storings:
        return set()
    try:
        with transaction.atomic():
            _commit(storings)
    except IntegrityError as error:
        if not is_overdraft(error):
            raise
    else:
        return set()
    if len(storings) == 1:
        return {id(storings[0])}
    uncovered: set[int] = set()
    least: int | None = None
    for storing in storings:
        price = storing.acceptance.price
        # Nothing comes back meanwhile: the balance is locked.
        if (least is not None and price >= least) or _store_each([storing]):
            uncovered.add(id(storing))
            least = price if least is None else min(least, price)
    return uncovered


def _judged(order: Order, drafts: Sequence[Draft], terms: Terms, *, tell_queued: bool) -> _Storing:
    outcomes: list[Accepted | Refusal] = []
    for draft in drafts:
        verdict = judge(draft, terms)
        if isinstance(verdict, Refusal):
            outcomes.append(verdict)
        else:
            begins = verdict.held_until or order.scheduled_at
            outcomes.append(Accepted(draft.id or ids.new_uuid(), verdict, begins))
    accepted = [outcome for outcome in outcomes if isinstance(outcome, Accepted)]
    acceptance = Acceptance(
        order,
        order.batch_id or (ids.new_uuid() if order.as_batch and accepted else None),
        clock.now(),
        outcomes,
        sum(outcome.verdict.price for outcome in accepted),
    )
    queued = any(outcome.scheduled_at is None for outcome in accepted)
    return _Storing(acceptance, accepted, tell_queued and queued)


TERMS = """json_build_array(
    o.max_parts,
    (SELECT json_object_agg(s.name, s.is_default) FROM messaging_senderid s
      WHERE s.organization_id = o.id AND s.status = 'approved'),
    EXISTS (SELECT FROM webhooks_endpoint e WHERE e.organization_id = o.id AND e.enabled
               AND (e.events = ARRAY[]::varchar[] OR 'message.queued' = ANY (e.events))),
    EXISTS (SELECT FROM messaging_suppression s WHERE s.organization_id = o.id))"""
"""What drafts are judged by, as an SQL expression over their organization, `o`."""


def terms_of(order: Order, drafts: Sequence[Draft], known: Known | None = None) -> Terms:
    """What these drafts are judged by; `known` as for `accept`."""
    max_parts, approved, _, any_suppressed = known or _read_known(order.organization_id)
    approved = approved or {}
    return Terms(
        order.organization_id,
        order.test,
        max_parts,
        frozenset(approved),
        default_sender(approved),
        tables(),
        order.scheduled_at or clock.now(),
        _suppressed(order.organization_id, drafts) if any_suppressed else frozenset(),
        order.hold,
    )


def _read_known(organization_id: uuid.UUID) -> Known:
    with server_cursor() as cursor:
        statement = f"SELECT {TERMS} FROM accounts_organization o WHERE o.id = %s"  # noqa: S608
        cursor.execute(statement, [organization_id])
        known: Known = cursor.fetchone()[0]
    return known


def _suppressed(organization_id: uuid.UUID, drafts: Sequence[Draft]) -> frozenset[str]:
    """Those of the drafts' numbers that the organization must not write to."""
    wanted = []
    for draft in drafts:
        with contextlib.suppress(numbers.InvalidNumber):
            wanted.append(numbers.parse(draft.to).e164)
    with server_cursor() as cursor:
        cursor.execute(
            "SELECT number FROM messaging_suppression"
            " WHERE organization_id = %s AND number = ANY(%b::text[])",
            [organization_id, wanted],
        )
        return frozenset(row[0] for row in cursor.fetchall())


def _store(storing: _Storing) -> None:
    """Commit the accepted messages with their charge, and ring. All or nothing."""
    alone = len(storing.accepted) > COMBINED_MESSAGES or connection.in_atomic_block
    try:
        if alone:
            _commit([storing])
        else:
            organization_id = storing.acceptance.order.organization_id
            _combiners[organization_id.int % len(_combiners)].do(storing)
    except IntegrityError as error:
        if is_overdraft(error):
            raise InsufficientCredits from error
        raise


def _commit(batch: Sequence[_Storing]) -> None:
    told = [storing for storing in batch if storing.tell_queued]
    if told:
        with transaction.atomic():
            _insert(batch)
            endpoints = events.record(
                [event for storing in told for event in _queued_events(storing)]
            )
    else:
        # A single statement commits by itself: two round trips fewer for the ordinary send.
        _insert(batch)
        endpoints = frozenset()
    lanes = {
        (outcome.verdict.carrier.slug, storing.acceptance.order.urgent)
        for storing in batch
        for outcome in storing.accepted
        if outcome.scheduled_at is None
    }

    def ring() -> None:
        events.ring(endpoints)
        for slug, urgent in lanes:
            ring_carrier(slug, urgent=urgent)

    transaction.on_commit(ring)


COMBINED_MESSAGES = 20
"""Orders of up to so many messages share a commit with others; larger ones have their own."""

# By organization, so that one whose balance is locked for long does not hold up all others.
_combiners = [Combiner(_commit, at_most=64, alone_on=IntegrityError) for _ in range(64)]


def ring_carrier(slug: str, *, urgent: bool) -> None:
    """Wake the carrier's workers: there is something in that lane."""
    lane = "urgent" if urgent else "bulk"
    bell.ring("messaging.tasks.wake", queue=carrier_queue(slug, urgent=urgent), arguments=(lane,))


def carrier_queue(slug: str, *, urgent: bool) -> str:
    """The Celery queue that a carrier's workers listen to for that lane."""
    return f"carrier.{slug}.urgent" if urgent else f"carrier.{slug}"


def _queued_events(storing: _Storing) -> list[events.NewEvent]:
    acceptance = storing.acceptance
    order = acceptance.order
    return [
        events.NewEvent(
            organization_id=order.organization_id,
            type=EventType.MESSAGE_QUEUED,
            at=acceptance.created_at,
            message_id=outcome.id,
            data=event_data(
                to=outcome.verdict.to,
                status=Status.QUEUED,
                at=acceptance.created_at,
                reference=outcome.verdict.reference,
                batch_id=acceptance.batch_id,
                test=order.test,
            ),
        )
        for outcome in storing.accepted
        if outcome.scheduled_at is None
    ]


def event_data(
    *,
    to: str,
    status: str,
    at: datetime,
    reference: str = "",
    batch_id: uuid.UUID | None = None,
    test: bool = False,
    error: dict[str, str] | None = None,
) -> dict[str, object]:
    """The `data` of a message event: as the documentation prints it, and what else is set."""
    data: dict[str, object] = {"to": to, "status": str(status), f"{status}_at": at}
    if error is not None:
        data["error"] = error
    if reference:
        data["reference"] = reference
    if batch_id is not None:
        data["batch_id"] = ids.public_id(ids.BATCH, batch_id)
    if test:
        data["test"] = True
    return data


# One statement, so that the lock on a balance lasts no longer than the server needs. Foreign keys
# are checked at its end, so the order of the inserts does not matter; a balance that would go
# below zero undoes all of it.
_INSERT = """
WITH orders AS MATERIALIZED (
    SELECT * FROM unnest(%(organization)b::uuid[], %(batch)s::uuid[], %(api_key)s::uuid[],
                         %(source)b::text[], %(test)b::bool[], %(urgent)b::bool[],
                         %(now)b::timestamptz[], %(total)b::bigint[], %(charged)b::uuid[])
                  WITH ORDINALITY
           AS o(organization_id, batch_id, api_key_id, source, test, urgent, now, total, charged,
                number)
), batches AS (
    INSERT INTO messaging_batch (id, organization_id, created_at)
    SELECT batch_id, organization_id, now FROM orders WHERE batch_id IS NOT NULL
        ON CONFLICT (id) DO NOTHING
), charges AS (
    INSERT INTO accounts_ledgerentry
           (organization_id, kind, amount, balance_after, reference, reason)
    SELECT organization_id, 'charge', -total, 0, charged, ''
      FROM orders WHERE total > 0 ORDER BY organization_id
)
INSERT INTO messaging_message
       (id, organization_id, batch_id, api_key_id, source, test, urgent, "to", country, sender,
        text, masked_text, encoding, parts, price, reference, status, due_at, carrier_id, submits,
        unanswered, created_at, scheduled_at, expires_at, window_closes_at, queued_at, error_code,
        error_message)
SELECT new.id, o.organization_id, o.batch_id, o.api_key_id, o.source, o.test, o.urgent, new."to",
       new.country, new.sender, new.text, new.masked, new.encoding, new.parts, new.price,
       new.reference, CASE WHEN new.begins IS NULL THEN 'queued' ELSE 'scheduled' END,
       COALESCE(new.begins, o.now), new.carrier_id, 0, 0, o.now, new.begins, new.expires,
       new.closes, CASE WHEN new.begins IS NULL THEN o.now END, '', ''
  FROM unnest(%(number)b::int[], %(id)b::uuid[], %(to)b::text[], %(country)b::text[],
              %(sender)b::text[], %(text)b::text[], %(masked)b::text[], %(encoding)b::text[],
              %(parts)b::int[], %(price)b::bigint[], %(reference)b::text[], %(carrier)b::bigint[],
              %(begins)s::timestamptz[], %(expires)b::timestamptz[], %(closes)s::timestamptz[])
       AS new(number, id, "to", country, sender, text, masked, encoding, parts, price, reference,
              carrier_id, begins, expires, closes)
  JOIN orders o ON o.number = new.number
"""


def _insert(batch: Sequence[_Storing]) -> None:
    acceptances = [storing.acceptance for storing in batch]
    orders = [acceptance.order for acceptance in acceptances]
    parameters: dict[str, Any] = {
        "organization": [order.organization_id for order in orders],
        "batch": [acceptance.batch_id for acceptance in acceptances],
        "api_key": [order.api_key_id for order in orders],
        "source": [order.source for order in orders],
        "test": [order.test for order in orders],
        "urgent": [order.urgent for order in orders],
        "now": [acceptance.created_at for acceptance in acceptances],
        "total": [acceptance.price for acceptance in acceptances],
        "charged": [_charged(storing) for storing in batch],
    }
    with server_cursor() as cursor:
        cursor.execute(_INSERT, parameters | _message_columns(batch))


def _charged(storing: _Storing) -> uuid.UUID:
    """What the charge names: a batch as a whole, or a message, of several that join a batch the
    first, since one thing is charged once."""
    batch_id = storing.acceptance.batch_id
    if batch_id is None or storing.acceptance.order.batch_id is not None:
        return storing.accepted[0].id
    return batch_id


def _message_columns(batch: Sequence[_Storing]) -> dict[str, list[Any]]:
    rows = [
        (number, storing.acceptance, outcome)
        for number, storing in enumerate(batch, start=1)
        for outcome in storing.accepted
    ]
    verdicts = [outcome.verdict for _, _, outcome in rows]
    return {
        "number": [number for number, _, _ in rows],
        "id": [outcome.id for _, _, outcome in rows],
        "to": [verdict.to for verdict in verdicts],
        "country": [verdict.country for verdict in verdicts],
        "sender": [verdict.sender for verdict in verdicts],
        "text": [verdict.text for verdict in verdicts],
        "masked": [verdict.masked for verdict in verdicts],
        "encoding": [verdict.encoding for verdict in verdicts],
        "parts": [verdict.parts for verdict in verdicts],
        "price": [verdict.price for verdict in verdicts],
        "reference": [verdict.reference for verdict in verdicts],
        "carrier": [verdict.carrier.id for verdict in verdicts],
        "begins": [outcome.scheduled_at for _, _, outcome in rows],
        "expires": [
            (outcome.scheduled_at or acceptance.created_at)
            + (acceptance.order.validity or DEFAULT_VALIDITY)
            for _, acceptance, outcome in rows
        ],
        "closes": [verdict.closes_at for verdict in verdicts],
    }
