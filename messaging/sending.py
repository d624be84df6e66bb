"""Accepting messages: the one way in, for a batch of any size from wherever it comes.

Judge every draft, then one transaction: charge the balance, write the ledger, insert the messages
and their `message.queued` events. Whoever calls answers only after that commit, and the carrier
workers' bell is rung after it.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import IntegrityError, connection, transaction

from accounts.ledger import InsufficientCredits, is_overdraft
from imissive import bell, ids
from imissive.sql import server_cursor
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
    `scheduled_at`: not before then (aware); None is at once.
    """

    organization_id: uuid.UUID
    source: str
    test: bool = False
    urgent: bool = False
    as_batch: bool = False
    api_key_id: uuid.UUID | None = None
    scheduled_at: datetime | None = None
    validity: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    id: uuid.UUID
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What became of an order: `outcomes` in the order of its drafts; `price` in micro-credits."""

    order: Order
    batch_id: uuid.UUID | None
    created_at: datetime
    status: Status
    outcomes: list[Accepted | Refusal]
    price: int


Known = tuple[int, dict[str, bool] | None, bool]
"""What TERMS gave."""


def accept(order: Order, drafts: Sequence[Draft], known: Known | None = None) -> Acceptance:
    """Accept what is acceptable of the drafts and charge for that, all of it or nothing.

    Refused drafts come back as Refusal among the outcomes. Raises InsufficientCredits when the
    balance does not cover all accepted ones: then nothing is stored. `known`: what TERMS gave, if
    the caller has read it a moment ago.
    """
    terms, tell_queued = _terms(order, known)
    outcomes: list[Accepted | Refusal] = []
    for draft in drafts:
        verdict = judge(draft, terms)
        if isinstance(verdict, Refusal):
            outcomes.append(verdict)
        else:
            outcomes.append(Accepted(ids.new_uuid(), verdict))
    accepted = [outcome for outcome in outcomes if isinstance(outcome, Accepted)]
    acceptance = Acceptance(
        order,
        ids.new_uuid() if order.as_batch and accepted else None,
        datetime.now(UTC),
        Status.SCHEDULED if order.scheduled_at else Status.QUEUED,
        outcomes,
        sum(outcome.verdict.price for outcome in accepted),
    )
    if accepted:
        tell_queued = tell_queued and acceptance.status == Status.QUEUED
        _store(_Storing(acceptance, accepted, tell_queued))
    return acceptance


TERMS = """json_build_array(
    o.max_parts,
    (SELECT json_object_agg(s.name, s.is_default) FROM messaging_senderid s
      WHERE s.organization_id = o.id AND s.status = 'approved'),
    EXISTS (SELECT FROM webhooks_endpoint e WHERE e.organization_id = o.id AND e.enabled
               AND (e.events = ARRAY[]::varchar[] OR 'message.queued' = ANY (e.events))))"""
"""What drafts are judged by, as an SQL expression over their organization, `o`."""


def _terms(order: Order, known: Known | None) -> tuple[Terms, bool]:
    """The terms, and whether an endpoint wants to hear of queued messages."""
    if known is None:
        with server_cursor() as cursor:
            statement = f"SELECT {TERMS} FROM accounts_organization o WHERE o.id = %s"  # noqa: S608
            cursor.execute(statement, [order.organization_id])
            known = cursor.fetchone()[0]
    max_parts, approved, tell_queued = known
    approved = approved or {}
    terms = Terms(
        order.organization_id,
        order.test,
        max_parts,
        frozenset(approved),
        default_sender(approved),
        tables(),
    )
    return terms, tell_queued


@dataclass(frozen=True, slots=True)
class _Storing:
    """An acceptance with what of it is to be stored."""

    acceptance: Acceptance
    accepted: list[Accepted]
    tell_queued: bool


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
        if storing.acceptance.status == Status.QUEUED
        for outcome in storing.accepted
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
                         %(status)b::text[], %(now)b::timestamptz[], %(due)b::timestamptz[],
                         %(scheduled)s::timestamptz[], %(expires)b::timestamptz[],
                         %(queued)s::timestamptz[], %(total)b::bigint[], %(charged)b::uuid[])
                  WITH ORDINALITY
           AS o(organization_id, batch_id, api_key_id, source, test, urgent, status, now, due,
                scheduled, expires, queued, total, charged, number)
), batches AS (
    INSERT INTO messaging_batch (id, organization_id, created_at)
    SELECT batch_id, organization_id, now FROM orders WHERE batch_id IS NOT NULL
), charges AS (
    INSERT INTO accounts_ledgerentry
           (organization_id, kind, amount, balance_after, reference, reason)
    SELECT organization_id, 'charge', -total, 0, charged, ''
      FROM orders WHERE total > 0 ORDER BY organization_id
)
INSERT INTO messaging_message
       (id, organization_id, batch_id, api_key_id, source, test, urgent, "to", country, sender,
        text, encoding, parts, price, reference, status, due_at, carrier_id, submits, unanswered,
        created_at, scheduled_at, expires_at, queued_at, error_code, error_message)
SELECT new.id, o.organization_id, o.batch_id, o.api_key_id, o.source, o.test, o.urgent, new."to",
       new.country, new.sender, new.text, new.encoding, new.parts, new.price, new.reference,
       o.status, o.due, new.carrier_id, 0, 0, o.now, o.scheduled, o.expires, o.queued, '', ''
  FROM unnest(%(number)b::int[], %(id)b::uuid[], %(to)b::text[], %(country)b::text[],
              %(sender)b::text[], %(text)b::text[], %(encoding)b::text[], %(parts)b::int[],
              %(price)b::bigint[], %(reference)b::text[], %(carrier)b::bigint[])
       AS new(number, id, "to", country, sender, text, encoding, parts, price, reference,
              carrier_id)
  JOIN orders o ON o.number = new.number
"""


def _insert(batch: Sequence[_Storing]) -> None:
    acceptances = [storing.acceptance for storing in batch]
    orders = [acceptance.order for acceptance in acceptances]
    begins = [acceptance.order.scheduled_at or acceptance.created_at for acceptance in acceptances]
    rows = [
        (number, outcome.id, outcome.verdict)
        for number, storing in enumerate(batch, start=1)
        for outcome in storing.accepted
    ]
    verdicts = [verdict for _, _, verdict in rows]
    with server_cursor() as cursor:
        cursor.execute(
            _INSERT,
            {
                "organization": [order.organization_id for order in orders],
                "batch": [acceptance.batch_id for acceptance in acceptances],
                "api_key": [order.api_key_id for order in orders],
                "source": [order.source for order in orders],
                "test": [order.test for order in orders],
                "urgent": [order.urgent for order in orders],
                "status": [str(acceptance.status) for acceptance in acceptances],
                "total": [acceptance.price for acceptance in acceptances],
                "charged": [
                    storing.acceptance.batch_id or storing.accepted[0].id for storing in batch
                ],
                "now": [acceptance.created_at for acceptance in acceptances],
                "due": begins,
                "scheduled": [order.scheduled_at for order in orders],
                "expires": [
                    begin + (order.validity or DEFAULT_VALIDITY)
                    for begin, order in zip(begins, orders, strict=True)
                ],
                "queued": [
                    None if acceptance.order.scheduled_at else acceptance.created_at
                    for acceptance in acceptances
                ],
                "number": [number for number, _, _ in rows],
                "id": [message_id for _, message_id, _ in rows],
                "to": [verdict.to for verdict in verdicts],
                "country": [verdict.country for verdict in verdicts],
                "sender": [verdict.sender for verdict in verdicts],
                "text": [verdict.text for verdict in verdicts],
                "encoding": [verdict.encoding for verdict in verdicts],
                "parts": [verdict.parts for verdict in verdicts],
                "price": [verdict.price for verdict in verdicts],
                "reference": [verdict.reference for verdict in verdicts],
                "carrier": [verdict.carrier.id for verdict in verdicts],
            },
        )
