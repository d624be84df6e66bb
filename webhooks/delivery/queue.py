"""Delivery queue in the database: claim deliveries, write their results, hand them back.

Every change is a compare-and-swap. A claim moves `pending` to `sending` and stores the end of its
lease in `next_attempt_at`. The lease also proves ownership: a result that comes after another
worker has claimed the delivery again changes nothing.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings
from django.db import transaction
from yarl import URL

from imissive.core import clock
from imissive.core.sql import server_cursor
from webhooks.delivery.retry import retry_seconds
from webhooks.endpoints.signing import Signer
from webhooks.models import Delivery, Endpoint


@dataclass(frozen=True, slots=True)
class Target:
    """URL and signer of an endpoint, and since when it has been failing."""

    url: URL
    signer: Signer
    failing_since: datetime | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this worker owns until `lease`. It was due at `due`.

    `attempts` is the number of earlier attempts.
    """

    id: uuid.UUID
    event_id: uuid.UUID
    body: str
    attempts: int
    due: datetime
    lease: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of an attempt. `response_status` is None where there was no response, see `error`.

    `retry_after` is the receiver's Retry-After in seconds.
    """

    claimed: Claimed
    started_at: datetime
    signature: str
    delivered: bool
    final: bool
    retry_after: float | None
    response_status: int | None
    response_body: str
    error: str
    milliseconds: int


@dataclass(slots=True)
class Results:
    """Results of all endpoints that are to be written in one transaction."""

    outcomes: list[Outcome] = field(default_factory=list)
    returned: list[Claimed] = field(default_factory=list)
    returned_by: set[uuid.UUID] = field(default_factory=set)
    # Endpoints whose posts have started to fail (True), or to succeed again (False).
    failing: dict[uuid.UUID, bool] = field(default_factory=dict)
    # Endpoints whose receiver asked for a pause, and its length in seconds.
    paused: dict[uuid.UUID, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.outcomes or self.returned or self.failing or self.paused)

    def singles(self) -> list["Results"]:
        """Return the results separately, each outcome and each endpoint's health.

        All that is handed back stays together, because it contains only our own times.
        """
        found = [Results(outcomes=[outcome]) for outcome in self.outcomes]
        found += [Results(failing={key: value}) for key, value in self.failing.items()]
        found += [Results(paused={key: value}) for key, value in self.paused.items()]
        if self.returned:
            found.append(Results(returned=self.returned, returned_by=self.returned_by))
        return found


def lease_seconds() -> float:
    """Return the length of a claim: two posts that time out, plus a margin for the database."""
    return 2 * settings.WEBHOOK_TIMEOUT + 10


_DUE = """
SELECT id
  FROM webhooks_endpoint endpoint
 WHERE enabled
   AND (paused_until IS NULL OR paused_until <= statement_timestamp())
   AND EXISTS (SELECT FROM webhooks_delivery delivery
                WHERE delivery.endpoint_id = endpoint.id
                  AND delivery.status IN ('pending', 'sending')
                  AND delivery.next_attempt_at <= statement_timestamp())
"""


def due_endpoints() -> list[uuid.UUID]:
    """Return the endpoints with a due delivery, including expired leases of dead workers.

    Disabled endpoints, and those whose receiver asked for a pause, are left out.
    """
    with server_cursor() as cursor:
        cursor.execute(_DUE)
        return [row[0] for row in cursor.fetchall()]


def load_target(endpoint_id: uuid.UUID) -> Target | None:
    """Return the endpoint's current URL and signer, or None where it must not be posted to."""
    endpoint = Endpoint.objects.filter(id=endpoint_id, enabled=True).first()
    now = clock.now()
    if endpoint is None or (endpoint.paused_until and endpoint.paused_until > now):
        return None
    secrets = [endpoint.secret]
    until = endpoint.previous_secret_until
    if endpoint.previous_secret and until is not None and until > now:
        secrets.append(endpoint.previous_secret)
    return Target(URL(endpoint.url), Signer(secrets), endpoint.failing_since)


# A materialized common table expression runs once. A subquery in FROM may become the inner side of
# a nested loop, which would run it, with its LIMIT, repeatedly.
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
   SET status = 'sending', next_attempt_at = statement_timestamp() + %s * interval '1 second',
       holder = %s
  FROM due, webhooks_event event
 WHERE delivery.id = due.id AND event.id = delivery.event_id
RETURNING delivery.id, event.id, event.body, delivery.attempts, due.next_attempt_at,
          delivery.next_attempt_at
"""


def claim(endpoint_id: uuid.UUID, limit: int, worker_id: int | None = None) -> list[Claimed]:
    """Claim up to `limit` due deliveries of the endpoint for `lease_seconds`, the oldest first.

    With a `worker_id` (see `webhooks.delivery.worker_liveness`) they are freed as
    soon as that worker is dead.
    """
    with server_cursor() as cursor:
        cursor.execute(_CLAIM, [endpoint_id, limit, lease_seconds(), worker_id])
        claimed = [Claimed(*row) for row in cursor.fetchall()]
    # RETURNING yields the rows in the order of the join.
    claimed.sort(key=lambda delivery: delivery.due)
    return claimed


_FINISH = """
UPDATE webhooks_delivery delivery
   SET status = new.status,
       attempts = delivery.attempts + 1,
       next_attempt_at = statement_timestamp() + new.wait * interval '1 second',
       finished_at = CASE WHEN new.wait IS NULL THEN statement_timestamp() END,
       attempted_at = new.started_at,
       signature = new.signature,
       response_status = new.response_status,
       response_body = new.response_body,
       error = new.error,
       duration_ms = new.milliseconds
  FROM unnest(%b::uuid[], %b::timestamptz[], %b::text[], %b::float8[], %b::timestamptz[],
              %b::text[], %b::int4[], %b::text[], %b::text[], %b::int4[])
       AS new(id, lease, status, wait, started_at, signature, response_status, response_body, error,
              milliseconds)
 WHERE delivery.id = new.id AND delivery.status = 'sending' AND delivery.next_attempt_at = new.lease
"""

# The next attempt overwrites the result of this one, so failed attempts are stored separately too.
_FINISH_SOME_FAILED = f"""
WITH finished AS ({_FINISH} RETURNING delivery.attempts, new.*)
INSERT INTO webhooks_failedattempt
       (delivery_id, number, at, response_status, response_body, error, duration_ms)
SELECT id, attempts, started_at, response_status, response_body, error, milliseconds
  FROM finished
 WHERE status <> 'delivered'
"""  # noqa: S608

_PAUSE = """
UPDATE webhooks_endpoint endpoint
   SET paused_until = greatest(paused_until, statement_timestamp() + new.wait * interval '1 second')
  FROM unnest(%b::uuid[], %b::float8[]) AS new(id, wait)
 WHERE endpoint.id = new.id
"""

_RETURN = """
UPDATE webhooks_delivery delivery
   SET status = 'pending', next_attempt_at = new.due
  FROM unnest(%b::uuid[], %b::timestamptz[], %b::timestamptz[]) AS new(id, lease, due)
 WHERE delivery.id = new.id AND delivery.status = 'sending' AND delivery.next_attempt_at = new.lease
"""


def write(results: Results) -> None:
    """Write results in one transaction; those of deliveries no longer owned are dropped."""
    with transaction.atomic():
        if results.outcomes:
            _finish(results.outcomes)
        if results.returned:
            _hand_back(results.returned)
        failing = [id for id, now_failing in results.failing.items() if now_failing]
        working = [id for id, now_failing in results.failing.items() if not now_failing]
        if failing:
            Endpoint.objects.filter(id__in=failing, failing_since=None).update(
                failing_since=clock.now()
            )
        if working:
            Endpoint.objects.filter(id__in=working).update(failing_since=None)
        if results.paused:
            with server_cursor() as cursor:
                cursor.execute(_PAUSE, [list(results.paused), list(results.paused.values())])


def _finish(outcomes: Sequence[Outcome]) -> None:
    waits = [_wait_after(outcome) for outcome in outcomes]
    all_delivered = all(outcome.delivered for outcome in outcomes)
    with server_cursor() as cursor:
        cursor.execute(
            _FINISH if all_delivered else _FINISH_SOME_FAILED,
            [
                [outcome.claimed.id for outcome in outcomes],
                [outcome.claimed.lease for outcome in outcomes],
                [
                    _status(outcome, wait).value
                    for outcome, wait in zip(outcomes, waits, strict=True)
                ],
                waits,
                [outcome.started_at for outcome in outcomes],
                [outcome.signature for outcome in outcomes],
                [outcome.response_status for outcome in outcomes],
                [outcome.response_body for outcome in outcomes],
                [outcome.error for outcome in outcomes],
                [outcome.milliseconds for outcome in outcomes],
            ],
        )


def _wait_after(outcome: Outcome) -> float | None:
    final = outcome.delivered or outcome.final
    return None if final else retry_seconds(outcome.claimed.attempts + 1, outcome.retry_after)


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
