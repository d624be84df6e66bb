"""A carrier's binds: kept up, paced, and shared fairly. asyncio, without Django.

Whoever submits takes a slot of a bind's window first and gives it back when the submit's result is
committed, not when it is answered. So what a crash may leave in doubt is never more than a window.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

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
    DeliverSm,
    Request,
)

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger(__name__)

FIRST_RECONNECT_SECONDS, LONGEST_RECONNECT_SECONDS = 0.5, 60.0
_BIND_OF_MODE: dict[str, type[Bind]] = {
    "trx": BindTransceiver,
    "tx": BindTransmitter,
    "rx": BindReceiver,
}


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """Where and how to bind. Times in seconds; `throughput` in submits a second, 0 unlimited."""

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
    """One bind that is kept up: connected, lost, and connected again after a growing pause."""

    def __init__(self, pool: BindPool, number: int, mode: str) -> None:
        self.number = number
        self.mode = mode
        self.state = "connecting"
        self.since = time.time()
        self.in_use = 0
        self.submitted = 0
        self.throttled = 0
        self.receipts = 0
        self.last_error = ""
        self.link: Link | None = None
        self._pool = pool
        self._gone = asyncio.Event()

    @property
    def submits(self) -> bool:
        """Whether this bind is one to submit over."""
        return self.mode != "rx"

    @property
    def bound(self) -> bool:
        return self.link is not None and self.state == "bound"

    async def keep(self) -> None:
        """Keep the bind up until cancelled."""
        failures = 0
        while True:
            began = time.monotonic()
            await self._hold()
            failures = 0 if time.monotonic() - began > 10 else failures + 1
            pause = min(
                FIRST_RECONNECT_SECONDS * 2 ** max(failures - 1, 0), LONGEST_RECONNECT_SECONDS
            )
            self._set_state("waiting")
            # Jitter: many binds lost together must not come back together.
            await asyncio.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311

    async def _hold(self) -> None:
        """Bind once, and stay until the link is gone."""
        self._set_state("connecting")
        self._gone.clear()
        pool, config = self._pool, self._pool.config
        pdu = _BIND_OF_MODE[self.mode](
            system_id=config.system_id, password=config.password, system_type=config.system_type
        )
        try:
            link = await connect_esme(
                config.host,
                config.port,
                pdu,
                pool.link_config,
                handlers=Handlers(
                    on_request=self._on_request,
                    on_closed=lambda link, reason, _: self._on_closed(link, str(reason)),
                ),
                ssl=pool.tls,
            )
        except (LinkError, OSError, ValueError) as error:
            told = str(error)
            if told != self.last_error:
                log.warning("bind_failed", carrier=pool.name, bind=self.number, error=told)
            self.last_error = told[:200]
            if isinstance(error, BindRefused):
                # Wrong credentials do not mend themselves, and carriers lock out the impatient.
                await asyncio.sleep(2)
            return
        self.link = link
        if not link.bound:
            self.link = None
            return
        log.info("bound", carrier=pool.name, bind=self.number, mode=self.mode, peer=link.peer)
        self.last_error = ""
        self._set_state("bound")
        pool.wake_waiters()
        await self._gone.wait()

    def _on_closed(self, link: Link, reason: str) -> None:
        if self.link is link:
            self.link = None
            self.last_error = reason[:200]
            log.warning("bind_lost", carrier=self._pool.name, bind=self.number, reason=reason)
            self._set_state("waiting")
            self._pool.wake_waiters()
        self._gone.set()

    def _on_request(self, link: Link, pdu: Request) -> None:
        if isinstance(pdu, DeliverSm):
            self.receipts += 1
            self._pool.on_deliver(link, pdu)
        else:
            # A carrier has nothing else to ask of us; generic refusal by the session's own rule.
            link.respond(pdu, 0x03)

    def _set_state(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self.since = time.time()
            self._pool.on_change()


class BindPool:
    """All binds to one carrier, as one place to submit."""

    def __init__(
        self,
        name: str,
        config: PoolConfig,
        *,
        on_deliver: Callable[[Link, DeliverSm], None],
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
        self._waiting: tuple[deque[asyncio.Future[None]], deque[asyncio.Future[None]]] = (
            deque(),
            deque(),
        )
        self._pace = Pace(config.throughput)
        self._pace_timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to bind."""
        self._tasks = [asyncio.create_task(bind.keep()) for bind in self.binds]

    async def stop(self, seconds: float) -> None:
        """Unbind all, after the answers owed both ways, within that many seconds."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        links = [bind.link for bind in self.binds if bind.link is not None]
        await asyncio.gather(*(link.unbind(seconds) for link in links), return_exceptions=True)
        self.wake_waiters()

    @property
    def up(self) -> bool:
        """Whether there is a bind to submit over."""
        return any(bind.submits and bind.bound for bind in self.binds)

    @property
    def window(self) -> int:
        """The slots of all binds together."""
        return self.config.window * sum(bind.submits for bind in self.binds)

    def try_acquire(self, *, urgent: bool) -> CarrierBind | None:
        """A slot on the least busy bind if one is free now and nobody comes first, else None."""
        if self._waiting[0] or (not urgent and self._waiting[1]):
            return None
        return self._take()

    async def acquire(self, *, urgent: bool) -> CarrierBind | None:
        """Wait for a slot; urgent waiters come first. None when no bind is up."""
        bind = self.try_acquire(urgent=urgent)
        while bind is None:
            if not self.up:
                return None
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[0 if urgent else 1].append(waiter)
            if self._pace.wait() > 0:
                self._wake_when_paced()
            await waiter
            bind = self._take()
        # Somebody else may fit beside us.
        self._wake_next()
        return bind

    def release(self, bind: CarrierBind, slots: int = 1) -> None:
        """Give slots back: the results of their submits are committed."""
        bind.in_use -= slots
        for _ in range(slots):
            self._wake_next()

    def wake_waiters(self) -> None:
        """Have everybody who waits for a slot look again."""
        for waiting in self._waiting:
            while waiting:
                waiter = waiting.popleft()
                if not waiter.done():
                    waiter.set_result(None)

    def _take(self) -> CarrierBind | None:
        if self._pace.wait() > 0:
            return None
        best = None
        for bind in self.binds:
            if (
                bind.submits
                and bind.in_use < self.config.window
                and bind.bound
                and (best is None or bind.in_use < best.in_use)
            ):
                best = bind
        if best is not None:
            best.in_use += 1
            self._pace.take()
        return best

    def _wake_next(self) -> None:
        for waiting in self._waiting:
            while waiting:
                waiter = waiting.popleft()
                if not waiter.done():
                    waiter.set_result(None)
                    return

    def _wake_when_paced(self) -> None:
        if self._pace_timer is None:
            loop = asyncio.get_running_loop()
            self._pace_timer = loop.call_later(self._pace.wait(), self._paced)

    def _paced(self) -> None:
        self._pace_timer = None
        self._wake_next()
        if any(self._waiting) and self._pace.wait() > 0:
            self._wake_when_paced()


class Pace:
    """A token bucket that holds a tenth of a second's submits; 0 a second is unlimited."""

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self._burst = max(1.0, per_second / 10)
        self._tokens = self._burst
        self._at = time.monotonic()

    def wait(self) -> float:
        """Seconds until a token is there; 0 when one is."""
        if not self.per_second:
            return 0.0
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self.per_second)
        self._at = now
        return max(0.0, (1 - self._tokens) / self.per_second) if self._tokens < 1 else 0.0

    def take(self) -> None:
        """Use a token that `wait` said is there."""
        self._tokens -= 1


def _tls_context(config: PoolConfig) -> ssl.SSLContext | None:
    if not config.tls:
        return None
    context = ssl.create_default_context()
    if not config.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
