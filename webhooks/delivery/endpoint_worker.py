"""Endpoint worker: claims and posts the deliveries of one endpoint, with adaptive concurrency.

It lives on the dispatcher's event loop for as long as its endpoint has due deliveries. It claims
ahead of posting, so that the number of concurrent posts is always as high as allowed. Outcomes go
to the dispatcher.
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError

from imissive.core import clock, ids, outbound
from webhooks.delivery import queue
from webhooks.delivery.queue import Claimed, Outcome, Target
from webhooks.delivery.retry import OVERLOADED, retry_after_seconds
from webhooks.endpoints import disable as endpoint_disable

if TYPE_CHECKING:
    from webhooks.delivery.dispatcher import Dispatcher

log = structlog.get_logger(__name__)

MAX_CLAIM = 200
CLAIM_AHEAD_SECONDS = 2.0
"""Seconds of work that a claim should bring, estimated from the duration of recent posts."""
CLAIM_EVERY_SECONDS = 0.02
"""Minimum wait after a claim that was not full, so that the next one is worth its cost."""
FIRST_LIMIT = 4
FIRST_POST_SECONDS = 0.5
FAILURES_OF_A_FAILING = 5
"""Consecutive failures until a receiver counts as failing; one, if it never accepted anything."""
GONE = 410


class EndpointWorker:
    """Post one endpoint's deliveries, at most WEBHOOK_CONCURRENCY at the same time.

    The limit adapts to the receiver's responses: a success doubles it and a failure halves it, down
    to one post at a time for a receiver that does not work.
    """

    def __init__(self, dispatcher: "Dispatcher", endpoint_id: uuid.UUID) -> None:
        self.endpoint_id = endpoint_id
        self.queue: deque[tuple[float, Claimed]] = deque()
        self.posting: set[asyncio.Task[None]] = set()
        self._dispatcher = dispatcher
        self._target: Target | None = None
        self._failing = False
        self._limit = min(FIRST_LIMIT, settings.WEBHOOK_CONCURRENCY)
        self._post_seconds = FIRST_POST_SECONDS
        self._works = False
        self._failures = 0
        self._wake_pending = True
        self._wake = asyncio.Event()
        self._claim_not_before = 0.0
        self._now = asyncio.get_running_loop().time

    def wake(self) -> None:
        """Make the worker look for due deliveries."""
        self._wake_pending = True
        self._wake.set()

    def close(self) -> None:
        """Stop claiming, and hand back the deliveries that are not yet being posted."""
        self._hand_back_all_but(0)
        self._wake.set()

    async def run(self) -> None:
        """Claim and post until nothing is due and no wake-up is pending."""
        while not self._dispatcher.closing:
            self._start_posters()
            if self._wake_pending and len(self.queue) <= self._claim_size() // 2:
                await self._claim()
            elif self.posting:
                self._wake.clear()
                await self._wake.wait()
            else:
                return

    def _claim_size(self) -> int:
        ahead = int(self._limit * CLAIM_AHEAD_SECONDS / max(self._post_seconds, 0.001))
        return self._limit if self._failing else max(self._limit, min(MAX_CLAIM, ahead))

    async def _claim(self) -> None:
        wait = self._claim_not_before - self._now()
        if wait > 0:
            await asyncio.sleep(wait)
        self._wake_pending = False
        if self._dispatcher.pauses(self.endpoint_id):
            return
        size = self._claim_size()
        # Measured from before the statement, so the lease ends here earlier than in the database.
        lease_ends = self._now() + queue.lease_seconds()
        try:
            target, claimed = await self._dispatcher.in_database(
                _claim, self.endpoint_id, size, self._dispatcher.worker_id
            )
        except (DatabaseError, InterfaceError) as error:
            log.warning("webhook_claim_failed", error=str(error), effect="the sweep tries again")
            return
        if target is not None:
            if self._target is None:
                self._failing = target.failing_since is not None
                self._limit = 1 if self._failing else self._limit
            self._target = target
        self.queue.extend((lease_ends, delivery) for delivery in claimed)
        if len(claimed) == size:
            self._wake_pending = True
        else:
            self._claim_not_before = self._now() + CLAIM_EVERY_SECONDS

    def _start_posters(self) -> None:
        for _ in range(min(self._limit - len(self.posting), len(self.queue))):
            task = asyncio.get_running_loop().create_task(self._post_queued())
            self.posting.add(task)
            task.add_done_callback(self._poster_done)

    def _poster_done(self, task: asyncio.Task[None]) -> None:
        self.posting.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # A bug. The delivery stays `sending` until its lease ends.
            log.error("webhook_post_broke", endpoint=self._name(), exc_info=error)

    async def _post_queued(self) -> None:
        while self.queue and len(self.posting) <= self._limit:
            lease_ends, claimed = self.queue.popleft()
            if len(self.queue) == self._claim_size() // 2:
                self._wake.set()
            if self._now() + settings.WEBHOOK_TIMEOUT + 2 > lease_ends:
                self._hand_back(claimed)
                continue
            try:
                outcome = await self._post(claimed)
            except asyncio.CancelledError:
                self._hand_back(claimed)
                raise
            self._adapt(outcome)
            self._dispatcher.finish(outcome)
            if not outcome.delivered:
                await self._handle_failure(outcome)

    async def _post(self, claimed: Claimed) -> Outcome:
        target = self._target
        assert target is not None  # noqa: S101  # nothing is claimed without a target
        event_id = ids.public_id(ids.EVENT, claimed.event_id)
        start, at = time.perf_counter(), clock.now()
        headers = target.signer.headers(event_id, claimed.body, now=at.timestamp())
        status, body, error, retry_after = None, b"", "", None
        try:
            response = await outbound.client().post(target.url, claimed.body.encode(), headers)
        except outbound.OutboundError as failure:
            delivered, error = False, failure.reason.name
        else:
            status, body, delivered = response.status, response.body, response.ok
            if not delivered and response.retry_after:
                retry_after = retry_after_seconds(response.retry_after, clock.now())
        return Outcome(
            claimed=claimed,
            started_at=at,
            signature=headers["webhook-signature"],
            delivered=delivered,
            final=status == GONE,
            retry_after=retry_after,
            response_status=status,
            # PostgreSQL's text type cannot store NUL.
            response_body=body.decode(errors="replace").replace("\0", "�"),
            error=error,
            milliseconds=int((time.perf_counter() - start) * 1000),
        )

    def _adapt(self, outcome: Outcome) -> None:
        """Adapt the limit and the endpoint's health to the outcome of a post."""
        self._post_seconds += (outcome.milliseconds / 1000 - self._post_seconds) / 8
        if outcome.delivered:
            self._works, self._failures = True, 0
            self._limit = min(self._limit * 2, settings.WEBHOOK_CONCURRENCY)
            self._start_posters()
        else:
            self._failures += 1
            self._limit = max(1, self._limit // 2)
        failing = self._failures >= (FAILURES_OF_A_FAILING if self._works else 1)
        if failing is not self._failing:
            self._failing = failing
            self._dispatcher.health(self.endpoint_id, failing=failing)
            if failing:
                reason = outcome.error or f"status {outcome.response_status}"
                log.warning("webhook_endpoint_failing", endpoint=self._name(), reason=reason)
            else:
                log.info("webhook_endpoint_works_again", endpoint=self._name())
        elif outcome.delivered and self._target and self._target.failing_since:
            # Another worker has recorded the failure, and may not see this success.
            self._dispatcher.health(self.endpoint_id, failing=False)
        if failing:
            self._hand_back_all_but(self._claim_size())

    def _hand_back(self, claimed: Claimed) -> None:
        self._dispatcher.hand_back(self.endpoint_id, claimed)

    def _hand_back_all_but(self, count: int) -> None:
        while len(self.queue) > count:
            self._hand_back(self.queue.pop()[1])

    async def _handle_failure(self, outcome: Outcome) -> None:
        """React to a failure: disable the endpoint, or pause it where the receiver asks for it."""
        target = self._target
        assert target is not None  # noqa: S101  # something was posted
        if outcome.response_status == GONE:
            await self._disable(endpoint_disable.disable_gone)
        elif endpoint_disable.fails_too_long(target.failing_since):
            await self._disable(endpoint_disable.disable_failing)
        elif outcome.retry_after and outcome.response_status in OVERLOADED:
            self._dispatcher.pause(self.endpoint_id, outcome.retry_after)
            self._hand_back_all_but(0)

    async def _disable(self, disable: Callable[[uuid.UUID], bool]) -> None:
        self._hand_back_all_but(0)
        try:
            disabled = await self._dispatcher.in_database(disable, self.endpoint_id)
        except (DatabaseError, InterfaceError) as error:
            log.warning("webhook_disable_failed", error=str(error), effect="the next failure does")
            return
        if disabled:
            log.warning(
                "webhook_endpoint_disabled", endpoint=self._name(), because=disable.__name__
            )

    def _name(self) -> str:
        # Never the URL: customers put secrets into its path.
        return ids.public_id(ids.ENDPOINT, self.endpoint_id)


def _claim(
    endpoint_id: uuid.UUID, limit: int, worker_id: int | None
) -> tuple[Target | None, list[Claimed]]:
    target = queue.load_target(endpoint_id)
    return target, [] if target is None else queue.claim(endpoint_id, limit, worker_id)
