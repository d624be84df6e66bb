"""A carrier's binds, kept connected, throttled and shared fairly. asyncio, without Django.

A caller acquires a slot of a bind's window before it submits and releases it when the result is
committed, not when the response arrives. So a crash leaves at most one window of submits in doubt.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import structlog

from messaging.smpp.handlers import log_protocol_error
from messaging.smpp.link import (
    BindRefused,
    Handlers,
    Link,
    LinkConfig,
    LinkError,
    connect_esme,
)
from messaging.smpp.pdus import (
    Bind,
    BindReceiver,
    BindTransceiver,
    BindTransmitter,
    DataSm,
    DeliverSm,
    Request,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from messaging.smpp.events import RemoteProtocolError, UnexpectedResponse

log = structlog.get_logger(__name__)

_Queue: TypeAlias = "deque[asyncio.Future[CarrierBind | None]]"

FIRST_RECONNECT_SECONDS, LONGEST_RECONNECT_SECONDS = 0.5, 60.0
# Wrong credentials stay wrong, and carriers lock out clients that retry too fast.
REFUSED_SECONDS = 2.0
# A bind that lasted this long was healthy, as was one that carried any traffic: when it is lost,
# the count of failures starts again.
SETTLED_SECONDS = 10.0
_BIND_OF_MODE: dict[str, type[Bind]] = {
    "trx": BindTransceiver,
    "tx": BindTransmitter,
    "rx": BindReceiver,
}


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """Settings of a carrier's binds. Times in seconds; `throughput` per second, 0 is unlimited."""

    host: str
    port: int
    system_id: str
    password: str = field(repr=False)
    system_type: str = ""
    tls: bool = False
    tls_verify: bool = True
    mode: str = "trx"  # or tx_rx
    binds: int = 1
    window: int = 50
    throughput: int = 0
    enquire_link_interval: float = 30.0
    response_timeout: float = 30.0


class CarrierBind:
    """One bind that reconnects when it is lost, after a growing pause."""

    def __init__(self, pool: BindPool, number: int, mode: str) -> None:
        self.pool = pool
        self.number = number
        self.mode = mode
        self.state = "connecting"
        self.since = time.time()
        self.in_use = 0
        self.submitted = 0
        self.throttled = 0
        self.receipts = 0
        self.protocol_errors = 0
        self.last_error = ""
        self.link: Link | None = None
        self._gone = asyncio.Event()

    @property
    def submits(self) -> bool:
        """Return whether messages may be submitted over this bind."""
        return self.mode != "rx"

    @property
    def bound(self) -> bool:
        return self.link is not None and self.state == "bound"

    @property
    def _carried(self) -> int:
        """Return the traffic of the bind: accepted submits, and receipts."""
        return self.submitted + self.receipts

    async def keep(self) -> None:
        """Keep the bind connected until the task is canceled."""
        failures = 0
        while True:
            self._set_state("connecting")
            held, pause, carried = 0.0, 0.0, self._carried
            try:
                held = await self._hold()
            except (LinkError, OSError, ValueError) as error:
                self._note_failure(str(error))
                pause = REFUSED_SECONDS if isinstance(error, BindRefused) else 0.0
            except Exception as error:
                # Whatever the error, only this loop retries.
                log.exception("bind_failed", carrier=self.pool.name, bind=self.number)
                self.last_error = repr(error)[:200]
            was_healthy = held > SETTLED_SECONDS or self._carried > carried
            failures = 0 if was_healthy else failures + 1
            self._set_state("waiting")
            await asyncio.sleep(max(pause, reconnect_pause(failures)))

    async def _hold(self) -> float:
        """Bind, wait until the link is lost, and return how many seconds it lasted."""
        self._gone.clear()
        pool, config = self.pool, self.pool.config
        pdu = _BIND_OF_MODE[self.mode](
            system_id=config.system_id, password=config.password, system_type=config.system_type
        )
        link = await connect_esme(
            config.host,
            config.port,
            pdu,
            pool.link_config,
            handlers=Handlers(
                on_request=self._on_request,
                on_closed=lambda link, reason, _: self._on_lost(link, str(reason)),
                on_peer_unbinding=lambda link: self._on_unbinding(link),
                on_protocol_error=self._on_protocol_error,
            ),
            ssl=pool.tls,
        )
        if not link.bound:
            raise LinkError("lost as soon as it was bound")
        self.link = link
        started = time.monotonic()
        log.info("bound", carrier=pool.name, bind=self.number, mode=self.mode, peer=link.peer)
        self.last_error = ""
        self._set_state("bound")
        pool.serve()
        await self._gone.wait()
        return time.monotonic() - started

    def _note_failure(self, message: str) -> None:
        if message != self.last_error:
            log.warning("bind_failed", carrier=self.pool.name, bind=self.number, error=message)
        self.last_error = message[:200]

    def _on_unbinding(self, link: Link) -> None:
        """Stop submitting over a bind that the carrier is about to unbind; it still responds."""
        if self.link is link:
            self.last_error = "the carrier is unbinding"
            self._set_state("waiting")
            self.pool.serve()

    def _on_lost(self, link: Link, reason: str) -> None:
        if self.link is not link:
            return
        self.link = None
        self.last_error = reason[:200]
        write = log.info if self.pool.closed else log.warning
        write("bind_lost", carrier=self.pool.name, bind=self.number, reason=reason)
        self._set_state("waiting")
        self.pool.serve()
        self._gone.set()

    def _on_protocol_error(
        self, link: Link, event: RemoteProtocolError | UnexpectedResponse
    ) -> None:
        self.protocol_errors += 1
        log_protocol_error(link, event)

    def _on_request(self, link: Link, pdu: Request) -> None:
        # No other request that an SMSC may send has a response.
        if isinstance(pdu, DeliverSm | DataSm):
            self.receipts += 1
            self.pool.on_deliver(link, pdu)

    def _set_state(self, state: str) -> None:
        if state == self.state:
            return
        # Between two attempts the bind stays lost, since the same time.
        if "bound" in (state, self.state):
            self.since = time.time()
        self.state = state
        self.pool.on_change()


def reconnect_pause(failures: int) -> float:
    """Return the seconds to wait after that many failures in a row.

    They double each time, with jitter, so that binds lost together do not reconnect together.
    """
    pause = FIRST_RECONNECT_SECONDS * 2.0 ** min(max(failures - 1, 0), 16)
    return min(pause, LONGEST_RECONNECT_SECONDS) * random.uniform(0.7, 1.3)  # noqa: S311


class BindPool:
    """All binds to one carrier, as one place to submit.

    A slot that becomes free goes to the first waiter, so no later caller can take it.
    """

    def __init__(
        self,
        name: str,
        config: PoolConfig,
        *,
        on_deliver: Callable[[Link, DeliverSm | DataSm], None],
        on_change: Callable[[], None],
    ) -> None:
        self.name = name
        self.config = config
        self.on_deliver = on_deliver
        self.on_change = on_change
        self.link_config = LinkConfig(
            enquire_link_interval=config.enquire_link_interval,
            response_timeout=config.response_timeout,
        )
        self.tls = _tls_context(config)
        modes = ("tx", "rx") if config.mode == "tx_rx" else ("trx",)
        self.binds = [
            CarrierBind(self, number * len(modes) + position, mode)
            for number in range(config.binds)
            for position, mode in enumerate(modes)
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting: tuple[_Queue, _Queue] = (deque(), deque())  # urgent, bulk
        self._closed = False
        self._pace = Pace(config.throughput)
        self._pace_timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start binding."""
        self._tasks = [asyncio.create_task(bind.keep()) for bind in self.binds]

    def close(self) -> None:
        """Stop giving out slots; waiters get None."""
        self._closed = True
        self.serve()

    async def stop(self, seconds: float) -> None:
        """Unbind all, after the pending responses of both sides, within that many seconds."""
        self.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        links = [bind.link for bind in self.binds if bind.link is not None]
        await asyncio.gather(*(link.unbind(seconds) for link in links), return_exceptions=True)

    def adapt(self, config: PoolConfig) -> bool:
        """Apply a new window and throughput. Return False if other settings differ, too.

        Those need new binds.
        """
        old = self.config
        if replace(config, window=old.window, throughput=old.throughput) != old:
            return False
        if config.throughput != old.throughput:
            self._pace = Pace(config.throughput)
        self.config = config
        self.serve()
        return True

    @property
    def up(self) -> bool:
        """Return whether a bind is available for submits."""
        return not self._closed and any(bind.submits and bind.bound for bind in self.binds)

    @property
    def closed(self) -> bool:
        """Return whether the pool has stopped giving out slots."""
        return self._closed

    @property
    def has_waiters(self) -> bool:
        """Return whether any caller waits for a slot."""
        return any(self._waiting)

    def try_acquire(self, *, urgent: bool) -> CarrierBind | None:
        """Return the least busy bind, with a slot taken, if one is free and no waiter is ahead."""
        if self._waiting[0] or (not urgent and self._waiting[1]):
            return None
        return self._take(urgent=urgent)

    async def acquire(self, *, urgent: bool) -> CarrierBind | None:
        """Wait for a slot and return its bind, urgent callers first; None when no bind is up."""
        bind = self.try_acquire(urgent=urgent)
        if bind is not None or not self.up:
            return bind
        waiting = self._waiting[0 if urgent else 1]
        waiter: asyncio.Future[CarrierBind | None] = asyncio.get_running_loop().create_future()
        waiting.append(waiter)
        self._await_pace()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with contextlib.suppress(ValueError):
                    waiting.remove(waiter)
            elif (bind := waiter.result()) is not None:
                self.release(bind)
            raise

    def release(self, bind: CarrierBind, slots: int = 1) -> None:
        """Return slots to the pool once the results of their submits are committed."""
        bind.in_use -= slots
        self.serve()

    def serve(self) -> None:
        """Give free slots to the waiters, urgent first; give all of them None if no bind is up."""
        for urgent, waiting in zip((True, False), self._waiting, strict=True):
            while waiting:
                if waiting[0].done():  # canceled
                    waiting.popleft()
                    continue
                bind = self._take(urgent=urgent)
                if bind is None and self.up:
                    self._await_pace()
                    return
                waiting.popleft().set_result(bind)

    def _take(self, *, urgent: bool) -> CarrierBind | None:
        if self._closed or self._pace.wait() > 0:
            return None
        # A tenth of the window is reserved for urgent messages: only a commit releases a slot.
        limit = self.config.window - (0 if urgent else self.config.window // 10)
        best = None
        for bind in self.binds:
            if (
                bind.submits
                and bind.in_use < limit
                and bind.bound
                and (best is None or bind.in_use < best.in_use)
            ):
                best = bind
        if best is not None:
            best.in_use += 1
            self._pace.take()
        return best

    def _await_pace(self) -> None:
        """Serve the waiters again when the throughput allows it, if they wait only for that."""
        seconds = self._pace.wait()
        if seconds > 0 and self._pace_timer is None:
            loop = asyncio.get_running_loop()
            self._pace_timer = loop.call_later(seconds, self._paced)

    def _paced(self) -> None:
        self._pace_timer = None
        self.serve()


class Pace:
    """A token bucket of a tenth of a second's submits; a rate of 0 is unlimited."""

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self._burst = max(1.0, per_second / 10)
        self._tokens = self._burst
        self._at = time.monotonic()

    def wait(self) -> float:
        """Return the seconds until a token is available; 0 when one is."""
        if not self.per_second:
            return 0.0
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self.per_second)
        self._at = now
        return max(0.0, (1 - self._tokens) / self.per_second) if self._tokens < 1 else 0.0

    def take(self) -> None:
        """Use a token after `wait` returned 0."""
        self._tokens -= 1


def _tls_context(config: PoolConfig) -> ssl.SSLContext | None:
    if not config.tls:
        return None
    context = ssl.create_default_context()
    if not config.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
