"""Accepting messages: the one way in, for a batch of any size from wherever it comes.

Evaluate every draft, then one transaction: charge the balance, write the ledger, insert the
messages and their `message.queued` events. Whoever calls answers only after that commit, and the
carriers' workers are woken after it.
"""

import contextlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import IntegrityError, connection, transaction

from accounts.api.authentication import read_extra
from accounts.credits import fragments
from accounts.credits.ledger import InsufficientCredits, is_overdraft
from imissive.core import clock, ids
from imissive.core.sql import server_cursor
from messaging.lifecycle.events import message_events
from messaging.lifecycle.record import MessageRecord
from messaging.lifecycle.wakeups import wake_carrier
from messaging.numbers import e164
from messaging.routing.cache import tables
from messaging.sending.evaluation import (
    Draft,
    Evaluation,
    Refusal,
    Terms,
    default_sender,
    evaluate,
)
from messaging.sending.group_commit import GroupCommit
from messaging.states import Status
from webhooks.events import outbox
from webhooks.models import EventType

DEFAULT_VALIDITY = timedelta(hours=48)
MIN_VALIDITY, MAX_VALIDITY = timedelta(seconds=10), timedelta(days=7)


@dataclass(frozen=True, slots=True)
class SendRequest:
    """The request of one call: what all its drafts share.

    `urgent`: with the priority that no bulk run holds up. `as_batch`: give them a batch id.
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
    evaluation: Evaluation
    scheduled_at: datetime | None

    @property
    def status(self) -> Status:
        return Status.QUEUED if self.scheduled_at is None else Status.SCHEDULED


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The result of a request: `outcomes` in the order of its drafts; `price` in micro-credits."""

    send_request: SendRequest
    batch_id: uuid.UUID | None
    created_at: datetime
    outcomes: list[Accepted | Refusal]
    price: int

    def record_of(self, outcome: Accepted) -> MessageRecord:
        """Return the record of one of its messages, as it is stored."""
        evaluation = outcome.evaluation
        return MessageRecord(
            id=outcome.id,
            organization_id=self.send_request.organization_id,
            batch_id=self.batch_id,
            carrier_id=evaluation.carrier.id,
            test=self.send_request.test,
            urgent=self.send_request.urgent,
            to=evaluation.to,
            reference=evaluation.reference,
            parts=evaluation.parts,
            price=evaluation.price,
        )


@dataclass(frozen=True, slots=True)
class _Storing:
    """An acceptance with what of it is to be stored, and whether events are written with it."""

    acceptance: Acceptance
    accepted: list[Accepted]
    with_events: bool


class Known(NamedTuple):
    """Return what TERMS gives of an organization.

    `approved_senders` says of each whether it is the default one; None where there is none. `home`
    is the default country.
    """

    max_parts: int
    approved_senders: dict[str, bool] | None
    queued_is_wanted: bool
    any_suppressed: bool
    home: str


def accept(
    send_request: SendRequest, drafts: Sequence[Draft], known: Sequence[Any] | None = None
) -> Acceptance:
    """Accept what is acceptable of the drafts and charge for that, all of it or nothing.

    Refused drafts come back as Refusal among the outcomes. Raises InsufficientCredits when the
    balance does not cover all accepted ones: then nothing is stored. `known`: what TERMS gave, if
    the caller has read it a moment ago.
    """
    found = _known(send_request.organization_id, known)
    storing = _evaluated(
        send_request,
        drafts,
        terms_of(send_request, drafts, found),
        with_events=found.queued_is_wanted,
    )
    if storing.accepted:
        _store(storing)
    return storing.acceptance


def accept_each(
    requests: Sequence[tuple[SendRequest, Draft]],
) -> list[Accepted | Refusal | InsufficientCredits]:
    """Accept each draft for itself, in the caller's transaction: an outcome for each, in order.

    The requests are all of one organization. Each message has its own charge, and one that the
    balance does not cover leaves the others be; they are one statement where it covers all.
    """
    if not requests:
        return []
    first = requests[0][0]
    known = _known(first.organization_id)
    terms = terms_of(first, [draft for _, draft in requests], known)
    now = terms.at if first.scheduled_at is None else clock.now()
    storings = [
        _evaluated(
            send_request,
            [draft],
            replace(terms, at=send_request.scheduled_at or now, hold=send_request.hold),
            with_events=known.queued_is_wanted,
        )
        for send_request, draft in requests
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


def _evaluated(
    send_request: SendRequest, drafts: Sequence[Draft], terms: Terms, *, with_events: bool
) -> _Storing:
    outcomes: list[Accepted | Refusal] = []
    for draft in drafts:
        evaluation = evaluate(draft, terms)
        if isinstance(evaluation, Refusal):
            outcomes.append(evaluation)
        else:
            begins = evaluation.held_until or send_request.scheduled_at
            outcomes.append(Accepted(draft.id or ids.new_uuid(), evaluation, begins))
    accepted = [outcome for outcome in outcomes if isinstance(outcome, Accepted)]
    acceptance = Acceptance(
        send_request,
        send_request.batch_id or (ids.new_uuid() if send_request.as_batch and accepted else None),
        clock.now(),
        outcomes,
        sum(outcome.evaluation.price for outcome in accepted),
    )
    queued = any(outcome.scheduled_at is None for outcome in accepted)
    return _Storing(acceptance, accepted, with_events and queued)


TERMS = f"""json_build_array(
    o.max_parts,
    (SELECT json_object_agg(s.name, s.is_default) FROM messaging_senderid s
      WHERE s.organization_id = o.id AND s.status = 'approved' AND NOT s.test),
    {outbox.is_wanted(EventType.MESSAGE_QUEUED, "o.id")},
    EXISTS (SELECT FROM messaging_suppression s WHERE s.organization_id = o.id),
    o.default_country)"""  # noqa: S608
"""The terms that drafts are evaluated by, as an SQL expression over their organization, `o`."""


def terms_of(
    send_request: SendRequest, drafts: Sequence[Draft], known: Sequence[Any] | None = None
) -> Terms:
    """Return what these drafts are evaluated by; `known` as for `accept`."""
    found = _known(send_request.organization_id, known)
    approved = found.approved_senders or {}
    return Terms(
        send_request.organization_id,
        send_request.test,
        found.max_parts,
        frozenset(approved),
        default_sender(approved),
        tables(),
        send_request.scheduled_at or clock.now(),
        _suppressed(send_request, drafts, found.home) if found.any_suppressed else frozenset(),
        send_request.hold,
        found.home,
    )


def _known(organization_id: uuid.UUID, given: Sequence[Any] | None = None) -> Known:
    return Known(*(given or read_extra(TERMS, organization_id)))


def _suppressed(send_request: SendRequest, drafts: Sequence[Draft], home: str) -> frozenset[str]:
    """Return the drafts' numbers that are suppressed in that mode."""
    wanted = []
    for draft in drafts:
        with contextlib.suppress(e164.InvalidNumber):
            wanted.append(e164.parse(draft.to, home).e164)
    with server_cursor() as cursor:
        cursor.execute(
            "SELECT number FROM messaging_suppression"
            " WHERE organization_id = %s AND number = ANY(%b::text[]) AND test = %s",
            [send_request.organization_id, wanted, send_request.test],
        )
        return frozenset(row[0] for row in cursor.fetchall())


def _store(storing: _Storing) -> None:
    """Commit the accepted messages with their charge, and wake the workers. All or nothing."""
    alone = len(storing.accepted) > COMBINED_MESSAGES or connection.in_atomic_block
    try:
        if alone:
            _commit([storing])
        else:
            organization_id = storing.acceptance.send_request.organization_id
            _group_commits[organization_id.int % len(_group_commits)].do(storing)
    except IntegrityError as error:
        if is_overdraft(error):
            raise InsufficientCredits from error
        raise


def _commit(storings: Sequence[_Storing]) -> None:
    events = [event for storing in storings for event in _queued_events(storing)]
    if events:
        with transaction.atomic():
            _insert(storings)
            endpoints = outbox.record(events)
    else:
        # A single statement commits by itself: two round trips fewer for the ordinary send.
        _insert(storings)
        endpoints = frozenset()
    priorities = {
        (outcome.evaluation.carrier.slug, storing.acceptance.send_request.urgent)
        for storing in storings
        for outcome in storing.accepted
        if outcome.scheduled_at is None
    }

    def wake() -> None:
        outbox.wake(endpoints)
        for slug, urgent in priorities:
            wake_carrier(slug, urgent=urgent)

    transaction.on_commit(wake)


COMBINED_MESSAGES = 20
"""Requests of up to so many messages share a commit with others; larger ones have their own."""

# By organization, so that one whose balance is locked for long does not hold up all others.
_group_commits = [GroupCommit(_commit, at_most=64, alone_on=IntegrityError) for _ in range(64)]


def _queued_events(storing: _Storing) -> list[outbox.NewEvent]:
    if not storing.with_events:
        return []
    acceptance = storing.acceptance
    queued = [outcome for outcome in storing.accepted if outcome.scheduled_at is None]
    records = [acceptance.record_of(outcome) for outcome in queued]
    return message_events(records, Status.QUEUED, acceptance.created_at)


# One statement, so that the lock on a balance lasts no longer than the server needs. Foreign keys
# are checked at its end, so the order of the inserts does not matter; a balance that would go
# below zero undoes all of it.
_INSERT = f"""
WITH requests AS MATERIALIZED (
    SELECT * FROM unnest(%(organization)b::uuid[], %(batch)s::uuid[], %(api_key)s::uuid[],
                         %(source)b::text[], %(test)b::bool[], %(urgent)b::bool[],
                         %(now)b::timestamptz[], %(total)b::bigint[], %(charged)b::uuid[])
                  WITH ORDINALITY
           AS r(organization_id, batch_id, api_key_id, source, test, urgent, now, total, charged,
                number)
), batches AS (
    INSERT INTO messaging_batch (id, organization_id, test, created_at)
    SELECT batch_id, organization_id, test, now FROM requests WHERE batch_id IS NOT NULL
        ON CONFLICT (id) DO NOTHING
), charges AS ({fragments.charges("requests")})
INSERT INTO messaging_message
       (id, organization_id, batch_id, api_key_id, source, test, urgent, "to", country, sender,
        text, masked_text, encoding, parts, price, reference, status, due_at, carrier_id, submits,
        unanswered, created_at, scheduled_at, expires_at, window_closes_at, queued_at, error_code,
        error_message)
SELECT new.id, r.organization_id, r.batch_id, r.api_key_id, r.source, r.test, r.urgent, new."to",
       new.country, new.sender, new.text, new.masked, new.encoding, new.parts, new.price,
       new.reference, CASE WHEN new.begins IS NULL THEN 'queued' ELSE 'scheduled' END,
       COALESCE(new.begins, r.now), new.carrier_id, 0, 0, r.now, new.begins, new.expires,
       new.closes, CASE WHEN new.begins IS NULL THEN r.now END, '', ''
  FROM unnest(%(number)b::int[], %(id)b::uuid[], %(to)b::text[], %(country)b::text[],
              %(sender)b::text[], %(text)b::text[], %(masked)b::text[], %(encoding)b::text[],
              %(parts)b::int[], %(price)b::bigint[], %(reference)b::text[], %(carrier)b::bigint[],
              %(begins)s::timestamptz[], %(expires)b::timestamptz[], %(closes)s::timestamptz[])
       AS new(number, id, "to", country, sender, text, masked, encoding, parts, price, reference,
              carrier_id, begins, expires, closes)
  JOIN requests r ON r.number = new.number
"""  # noqa: S608


def _insert(storings: Sequence[_Storing]) -> None:
    acceptances = [storing.acceptance for storing in storings]
    send_requests = [acceptance.send_request for acceptance in acceptances]
    parameters: dict[str, Any] = {
        "organization": [send_request.organization_id for send_request in send_requests],
        "batch": [acceptance.batch_id for acceptance in acceptances],
        "api_key": [send_request.api_key_id for send_request in send_requests],
        "source": [send_request.source for send_request in send_requests],
        "test": [send_request.test for send_request in send_requests],
        "urgent": [send_request.urgent for send_request in send_requests],
        "now": [acceptance.created_at for acceptance in acceptances],
        "total": [acceptance.price for acceptance in acceptances],
        "charged": [_charged(storing) for storing in storings],
    }
    with server_cursor() as cursor:
        cursor.execute(_INSERT, parameters | _message_columns(storings))


def _charged(storing: _Storing) -> uuid.UUID:
    """What the charge names: a batch as a whole, or a message, of several that join a batch the
    first, since one thing is charged once."""
    batch_id = storing.acceptance.batch_id
    if batch_id is None or storing.acceptance.send_request.batch_id is not None:
        return storing.accepted[0].id
    return batch_id


def _message_columns(storings: Sequence[_Storing]) -> dict[str, list[Any]]:
    rows = [
        (number, storing.acceptance, outcome)
        for number, storing in enumerate(storings, start=1)
        for outcome in storing.accepted
    ]
    evaluations = [outcome.evaluation for _, _, outcome in rows]
    return {
        "number": [number for number, _, _ in rows],
        "id": [outcome.id for _, _, outcome in rows],
        "to": [evaluation.to for evaluation in evaluations],
        "country": [evaluation.country for evaluation in evaluations],
        "sender": [evaluation.sender for evaluation in evaluations],
        "text": [evaluation.text for evaluation in evaluations],
        "masked": [evaluation.masked for evaluation in evaluations],
        "encoding": [evaluation.encoding for evaluation in evaluations],
        "parts": [evaluation.parts for evaluation in evaluations],
        "price": [evaluation.price for evaluation in evaluations],
        "reference": [evaluation.reference for evaluation in evaluations],
        "carrier": [evaluation.carrier.id for evaluation in evaluations],
        "begins": [outcome.scheduled_at for _, _, outcome in rows],
        "expires": [
            (outcome.scheduled_at or acceptance.created_at)
            + (acceptance.send_request.validity or DEFAULT_VALIDITY)
            for _, acceptance, outcome in rows
        ],
        "closes": [evaluation.closes_at for evaluation in evaluations],
    }
