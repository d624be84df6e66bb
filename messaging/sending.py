"""Accepting messages: the one way in, for a batch of any size from wherever it comes.

Judge every draft, then one transaction: charge the balance, write the ledger, insert the messages
and their `message.queued` events. Whoever calls answers only after that commit, and the carrier
workers' bell is rung after it.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import IntegrityError, transaction

from accounts.ledger import InsufficientCredits, is_overdraft
from imissive import bell, ids
from imissive.sql import server_cursor
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


def accept(order: Order, drafts: Sequence[Draft]) -> Acceptance:
    """Accept what is acceptable of the drafts and charge for that, all of it or nothing.

    Refused drafts come back as Refusal among the outcomes. Raises InsufficientCredits when the
    balance does not cover all accepted ones: then nothing is stored.
    """
    terms, tell_queued = _terms(order)
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
        _store(acceptance, accepted, tell_queued=tell_queued)
    return acceptance


_TERMS = """
SELECT o.max_parts,
       (SELECT json_object_agg(s.name, s.is_default) FROM messaging_senderid s
         WHERE s.organization_id = o.id AND s.status = 'approved'),
       EXISTS (SELECT FROM webhooks_endpoint e WHERE e.organization_id = o.id AND e.enabled
                  AND (e.events = '{}' OR 'message.queued' = ANY (e.events)))
  FROM accounts_organization o WHERE o.id = %s
"""


def terms_for(organization_id: uuid.UUID, *, test: bool) -> Terms:
    """What drafts of that organization are judged by, as it stands now."""
    return _terms(Order(organization_id, source="", test=test))[0]


def _terms(order: Order) -> tuple[Terms, bool]:
    with server_cursor() as cursor:
        cursor.execute(_TERMS, [order.organization_id])
        max_parts, approved, tell_queued = cursor.fetchone()
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


def _store(acceptance: Acceptance, accepted: list[Accepted], *, tell_queued: bool) -> None:
    """Commit the accepted messages with their charge, and ring. All or nothing."""
    tell_queued = tell_queued and acceptance.status == Status.QUEUED
    endpoints: frozenset[uuid.UUID] = frozenset()
    try:
        if tell_queued:
            with transaction.atomic():
                _insert(acceptance, accepted)
                endpoints = events.record(_queued_events(acceptance, accepted))
        else:
            # A single statement commits by itself: two round trips fewer for the ordinary send.
            _insert(acceptance, accepted)
    except IntegrityError as error:
        if is_overdraft(error):
            raise InsufficientCredits from error
        raise

    def ring() -> None:
        events.ring(endpoints)
        if acceptance.status == Status.QUEUED:
            for slug in {outcome.verdict.carrier.slug for outcome in accepted}:
                ring_carrier(slug, urgent=acceptance.order.urgent)

    transaction.on_commit(ring)


def ring_carrier(slug: str, *, urgent: bool) -> None:
    """Wake the carrier's workers: there is something in that lane."""
    lane = "urgent" if urgent else "bulk"
    bell.ring("messaging.tasks.wake", queue=carrier_queue(slug, urgent=urgent), arguments=(lane,))


def carrier_queue(slug: str, *, urgent: bool) -> str:
    """The Celery queue that a carrier's workers listen to for that lane."""
    return f"carrier.{slug}.urgent" if urgent else f"carrier.{slug}"


def _queued_events(acceptance: Acceptance, accepted: list[Accepted]) -> list[events.NewEvent]:
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
        for outcome in accepted
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


# One statement, so that the lock on the balance lasts no longer than the server needs. The ledger
# row comes first by its data dependency: no message without its charge.
_INSERT = """
WITH batch AS (
    INSERT INTO messaging_batch (id, organization_id, created_at)
    SELECT %(batch)s::uuid, %(organization)s::uuid, %(now)s WHERE %(batch)s::uuid IS NOT NULL
), charge AS (
    INSERT INTO accounts_ledgerentry
           (organization_id, kind, amount, balance_after, reference, reason)
    SELECT %(organization)s::uuid, 'charge', -%(price)s::bigint, 0, %(reference)s::uuid, ''
     WHERE %(price)s::bigint > 0
)
INSERT INTO messaging_message
       (id, organization_id, batch_id, api_key_id, source, test, urgent, "to", country, sender,
        text, encoding, parts, price, reference, status, due_at, carrier_id, submits, unanswered,
        created_at, scheduled_at, expires_at, queued_at, error_code, error_message)
SELECT new.id, %(organization)s::uuid, %(batch)s::uuid, %(api_key)s::uuid, %(source)s, %(test)s,
       %(urgent)s, new."to", new.country, new.sender, new.text, new.encoding, new.parts, new.price,
       new.reference, %(status)s, %(due)s, new.carrier_id, 0, 0, %(now)s, %(scheduled)s,
       %(expires)s, %(queued)s, '', ''
  FROM unnest(%(id)b::uuid[], %(to)b::text[], %(country)b::text[], %(sender)b::text[],
              %(text)b::text[], %(encoding)b::text[], %(parts)b::int[], %(prices)b::bigint[],
              %(references)b::text[], %(carrier)b::bigint[])
       AS new(id, "to", country, sender, text, encoding, parts, price, reference, carrier_id)
"""


def _insert(acceptance: Acceptance, accepted: list[Accepted]) -> None:
    order, now = acceptance.order, acceptance.created_at
    begins = order.scheduled_at or now
    verdicts = [outcome.verdict for outcome in accepted]
    with server_cursor() as cursor:
        cursor.execute(
            _INSERT,
            {
                "organization": order.organization_id,
                "batch": acceptance.batch_id,
                "api_key": order.api_key_id,
                "source": order.source,
                "test": order.test,
                "urgent": order.urgent,
                "status": str(acceptance.status),
                "price": acceptance.price,
                "reference": acceptance.batch_id or accepted[0].id,
                "now": now,
                "due": begins,
                "scheduled": order.scheduled_at,
                "expires": begins + (order.validity or DEFAULT_VALIDITY),
                "queued": None if order.scheduled_at else now,
                "id": [outcome.id for outcome in accepted],
                "to": [verdict.to for verdict in verdicts],
                "country": [verdict.country for verdict in verdicts],
                "sender": [verdict.sender for verdict in verdicts],
                "text": [verdict.text for verdict in verdicts],
                "encoding": [verdict.encoding for verdict in verdicts],
                "parts": [verdict.parts for verdict in verdicts],
                "prices": [verdict.price for verdict in verdicts],
                "references": [verdict.reference for verdict in verdicts],
                "carrier": [verdict.carrier.id for verdict in verdicts],
            },
        )
