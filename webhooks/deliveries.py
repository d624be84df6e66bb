"""Deliveries in the database: claimed for posting, their results written, handed back.

Every change is a compare-and-swap. A claim moves `pending` to `sending` and puts a lease into
`next_attempt_at`; the lease is also the proof of ownership, so a result that comes after somebody
else took over changes nothing.
"""

import random
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from yarl import URL

from imissive import ids
from imissive.sql import server_cursor
from webhooks import events
from webhooks.models import Delivery, Endpoint, EventType
from webhooks.signing import Signer

RETRY_SECONDS = (
    5,
    5 * 60,
    30 * 60,
    2 * 3600,
    5 * 3600,
    10 * 3600,
    14 * 3600,
    20 * 3600,
    24 * 3600,
)
"""The wait after the first failed attempt, after the second, and so on; then it is given up."""
JITTER = 0.1
"""Up to this share is added to each wait, so that what failed together does not return together."""
PURGE_AFTER = timedelta(minutes=10)
_PURGE_BATCH = 5_000


@dataclass(frozen=True, slots=True)
class Target:
    """Where an endpoint's deliveries go and how they are signed."""

    url: URL
    signer: Signer
    failing: bool


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that is ours until `lease`. It had been due at `due`."""

    id: uuid.UUID
    event_id: uuid.UUID
    body: str
    attempts: int
    due: datetime
    lease: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. `response_status` is None where there was no answer, see `error`."""

    claimed: Claimed
    delivered: bool
    final: bool
    response_status: int | None
    response_body: str
    error: str
    milliseconds: int


@dataclass(slots=True)
class Results:
    """What is to be written together."""

    outcomes: list[Outcome] = field(default_factory=list)
    returned: list[Claimed] = field(default_factory=list)
    returned_by: set[uuid.UUID] = field(default_factory=set)
    # Endpoints whose posts began to fail (True), or to succeed again (False).
    failing: dict[uuid.UUID, bool] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.outcomes or self.returned or self.failing)


def lease_seconds() -> float:
    """How long a claim holds: two posts that both time out, and a margin for the database."""
    return 2 * settings.WEBHOOK_TIMEOUT + 10


def retry_seconds(attempts: int) -> float | None:
    """The wait after that many failed attempts (1 and up); None: no attempt is left."""
    if attempts > len(RETRY_SECONDS):
        return None
    return RETRY_SECONDS[attempts - 1] * (1 + random.uniform(0, JITTER))  # noqa: S311


_DUE = """
SELECT id
  FROM webhooks_endpoint endpoint
 WHERE enabled
   AND EXISTS (SELECT FROM webhooks_delivery delivery
                WHERE delivery.endpoint_id = endpoint.id
                  AND delivery.status IN ('pending', 'sending')
                  AND delivery.next_attempt_at <= statement_timestamp())
"""


def due_endpoints() -> list[uuid.UUID]:
    """The enabled endpoints with a delivery that is due, or that a dead worker held."""
    with server_cursor() as cursor:
        cursor.execute(_DUE)
        return [row[0] for row in cursor.fetchall()]


def load_target(endpoint_id: uuid.UUID) -> Target | None:
    """The endpoint as it is now, or None where nothing may be posted to it."""
    endpoint = Endpoint.objects.filter(id=endpoint_id, enabled=True).first()
    if endpoint is None:
        return None
    secrets = [endpoint.secret]
    until = endpoint.previous_secret_until
    if endpoint.previous_secret and until is not None and until > timezone.now():
        secrets.append(endpoint.previous_secret)
    return Target(URL(endpoint.url), Signer(secrets), endpoint.failing_since is not None)


# A common table expression runs once. A subquery in FROM may become the inner side of a nested
# loop, and then it runs, with its LIMIT, again and again.
_CLAIM = """
WITH due AS MATERIALIZED (
    SELECT id, next_attempt_at
      FROM webhooks_delivery
     WHERE endpoint_id = %s AND status IN ('pending', 'sending')
       AND next_attempt_at <= statement_timestamp()
     ORDER BY next_attempt_at
     LIMIT %s
       FOR UPDATE SKIP LOCKED
)
UPDATE webhooks_delivery delivery
   SET status = 'sending', next_attempt_at = statement_timestamp() + %s * interval '1 second'
  FROM due, webhooks_event event
 WHERE delivery.id = due.id AND event.id = delivery.event_id
RETURNING delivery.id, event.id, event.body, delivery.attempts, due.next_attempt_at,
          delivery.next_attempt_at
"""


def claim(endpoint_id: uuid.UUID, limit: int) -> list[Claimed]:
    """Take up to `limit` due deliveries of the endpoint for `lease_seconds`, the oldest first."""
    with server_cursor() as cursor:
        cursor.execute(_CLAIM, [endpoint_id, limit, lease_seconds()])
        claimed = [Claimed(*row) for row in cursor.fetchall()]
    # RETURNING gives the rows in the order of the join.
    claimed.sort(key=lambda delivery: delivery.due)
    return claimed


_FINISH = """
UPDATE webhooks_delivery delivery
   SET status = new.status,
       attempts = delivery.attempts + 1,
       next_attempt_at = statement_timestamp() + new.wait * interval '1 second',
       finished_at = CASE WHEN new.wait IS NULL THEN statement_timestamp() END,
       response_status = new.response_status,
       response_body = new.response_body,
       error = new.error,
       duration_ms = new.milliseconds
  FROM unnest(%b::uuid[], %b::timestamptz[], %b::text[], %b::float8[], %b::int4[], %b::text[],
              %b::text[], %b::int4[])
       AS new(id, lease, status, wait, response_status, response_body, error, milliseconds)
 WHERE delivery.id = new.id AND delivery.status = 'sending' AND delivery.next_attempt_at = new.lease
"""

_RETURN = """
UPDATE webhooks_delivery delivery
   SET status = 'pending', next_attempt_at = new.due
  FROM unnest(%b::uuid[], %b::timestamptz[], %b::timestamptz[]) AS new(id, lease, due)
 WHERE delivery.id = new.id AND delivery.status = 'sending' AND delivery.next_attempt_at = new.lease
"""


def write(results: Results) -> None:
    """Write results in one transaction; those of deliveries that are no longer ours are dropped."""
    with transaction.atomic():
        if results.outcomes:
            _finish(results.outcomes)
        if results.returned:
            _hand_back(results.returned)
        failing = [id for id, now_failing in results.failing.items() if now_failing]
        working = [id for id, now_failing in results.failing.items() if not now_failing]
        if failing:
            Endpoint.objects.filter(id__in=failing, failing_since=None).update(
                failing_since=timezone.now()
            )
        if working:
            Endpoint.objects.filter(id__in=working).update(failing_since=None)


def _finish(outcomes: Sequence[Outcome]) -> None:
    waits = [_wait_after(outcome) for outcome in outcomes]
    with server_cursor() as cursor:
        cursor.execute(
            _FINISH,
            [
                [outcome.claimed.id for outcome in outcomes],
                [outcome.claimed.lease for outcome in outcomes],
                [
                    _status(outcome, wait).value
                    for outcome, wait in zip(outcomes, waits, strict=True)
                ],
                waits,
                [outcome.response_status for outcome in outcomes],
                [outcome.response_body for outcome in outcomes],
                [outcome.error for outcome in outcomes],
                [outcome.milliseconds for outcome in outcomes],
            ],
        )


def _wait_after(outcome: Outcome) -> float | None:
    final = outcome.delivered or outcome.final
    return None if final else retry_seconds(outcome.claimed.attempts + 1)


def _status(outcome: Outcome, wait: float | None) -> Delivery.Status:
    if outcome.delivered:
        return Delivery.Status.DELIVERED
    return Delivery.Status.FAILED if wait is None else Delivery.Status.PENDING


def _hand_back(returned: Collection[Claimed]) -> None:
    with server_cursor() as cursor:
        cursor.execute(
            _RETURN,
            [
                [claimed.id for claimed in returned],
                [claimed.lease for claimed in returned],
                [claimed.due for claimed in returned],
            ],
        )


def disable(endpoint_id: uuid.UUID, reason: str) -> None:
    """Post nothing more to the endpoint, and tell the organization's others. Again: no effect."""
    with transaction.atomic():
        endpoint = Endpoint.objects.select_for_update().filter(id=endpoint_id, enabled=True).first()
        if endpoint is None:
            return
        endpoint.enabled = False
        endpoint.disabled_reason = reason
        endpoint.save(update_fields=["enabled", "disabled_reason"])
        event = events.NewEvent(
            endpoint.organization_id,
            EventType.ENDPOINT_DISABLED,
            timezone.now(),
            None,
            {
                "endpoint_id": ids.public_id(ids.ENDPOINT, endpoint.id),
                "url": endpoint.url,
                "reason": reason,
            },
        )
        events.record_and_ring_on_commit([event])


_PURGE = """
WITH batch AS MATERIALIZED (SELECT id FROM webhooks_delivery WHERE endpoint_id = %s LIMIT %s)
DELETE FROM webhooks_delivery USING batch WHERE webhooks_delivery.id = batch.id
"""


def purge_deleted() -> None:
    """Remove a batch of the deliveries of deleted endpoints, and the endpoints that have none left.

    Waits until long after the deletion: a transaction that saw the endpoint enabled may still be
    about to write deliveries for it.
    """
    deleted = Endpoint.objects.filter(deleted_at__lt=timezone.now() - PURGE_AFTER)
    for endpoint_id in list(deleted.values_list("id", flat=True)[:10]):
        with server_cursor() as cursor:
            cursor.execute(_PURGE, [endpoint_id, _PURGE_BATCH])
            if cursor.rowcount == 0:
                cursor.execute("DELETE FROM webhooks_endpoint WHERE id = %s", [endpoint_id])
