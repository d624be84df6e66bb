"""A carrier's binds: reconnecting, throttled, shared fairly; with the simulator and worse peers."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from imissive.run.processes import free_port
from messaging.smpp import client, pdus
from messaging.smpp.client import BindPool, CarrierBind, PoolConfig, reconnect_pause
from messaging.smpp.codec import Framer, decode, encode
from messaging.smpp.constants import Status
from messaging.smpp.events import Closed, CloseReason
from messaging.smpp.link import LinkClosed, LinkError, NotSent, ResponseTimeout, connect_esme
from messaging.smpp.simulator import Simulator
from tests.support.simulators import running_simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from messaging.smpp.link import Link

HOST = "127.0.0.1"
MANY_SECONDS = 20.0
"""The limit for something immediate on a loaded machine."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconnect immediately; the pauses have their own test."""
    monkeypatch.setattr(client, "FIRST_RECONNECT_SECONDS", 0.02)
    monkeypatch.setattr(client, "LONGEST_RECONNECT_SECONDS", 0.1)
    monkeypatch.setattr(client, "REFUSED_SECONDS", 0.05)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(within())


async def until(condition: Callable[[], Any], seconds: float = MANY_SECONDS) -> None:
    """Wait until the condition is true, or fail."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not so in time"
        await asyncio.sleep(0.005)


class Owner:
    """The owner of a pool; it responds to receipts immediately unless `keeps`."""

    def __init__(self, *, keeps: bool = False) -> None:
        self.delivered: list[tuple[Link, pdus.DeliverSm | pdus.DataSm]] = []
        self.changes = 0
        self._keeps = keeps

    def on_deliver(self, link: Link, pdu: pdus.DeliverSm | pdus.DataSm) -> None:
        self.delivered.append((link, pdu))
        if not self._keeps:
            link.respond(pdu)

    def on_change(self) -> None:
        self.changes += 1


@asynccontextmanager
async def running_pool(
    port: int, owner: Owner | None = None, *, up: bool = True, **settings: Any
) -> AsyncIterator[BindPool]:
    """Run a pool on that port, with all its binds unless not `up`."""
    owner = owner or Owner()
    config = PoolConfig(HOST, port, "esme", settings.pop("password", "secret"), **settings)
    pool = BindPool("test", config, on_deliver=owner.on_deliver, on_change=owner.on_change)
    pool.start()
    try:
        if up:
            await all_bound(pool)
        yield pool
    finally:
        await pool.stop(1.0)


async def all_bound(pool: BindPool) -> None:
    await until(lambda: all(bind.bound for bind in pool.binds))


def submit_sm(destination: str = "966512345678") -> pdus.SubmitSm:
    return pdus.SubmitSm(
        destination_addr=destination, registered_delivery=1, short_message=b"hello"
    )


Outcome = pdus.Response | LinkError


def send(bind: CarrierBind, pdu: pdus.SubmitSm | None = None) -> asyncio.Future[Outcome]:
    """Submit over a bind with an acquired slot; the outcome may be an error, not raised."""
    outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    assert bind.link is not None
    bind.link.send(pdu or submit_sm(), lambda _, result: outcome.set_result(result))
    return outcome


async def slot(pool: BindPool, *, urgent: bool = False) -> CarrierBind:
    bind = await pool.acquire(urgent=urgent)
    assert bind is not None, "no bind is up"
    return bind


async def submit(pool: BindPool) -> Outcome:
    """Submit one message and release the slot."""
    bind = await slot(pool)
    outcome = await send(bind)
    pool.release(bind)
    return outcome


async def settle() -> None:
    """Run everything that is ready."""
    for _ in range(10):
        await asyncio.sleep(0)


# ---------------------------------------------------------------- binds


def test_the_configured_number_of_binds_is_established() -> None:
    async def test() -> None:
        owner = Owner()
        async with running_pool(simulator.port, owner, binds=3) as pool:
            assert simulator.bound == 3
            assert [(bind.number, bind.mode, bind.state) for bind in pool.binds] == [
                (0, "trx", "bound"),
                (1, "trx", "bound"),
                (2, "trx", "bound"),
            ]
            assert owner.changes >= 3
            assert isinstance(await submit(pool), pdus.SubmitSmResp)
        assert not pool.up
        simulator.wait_for(lambda carrier: carrier.connections == 0)

    with running_simulator() as simulator:
        run(test)


def test_receipts_of_a_pair_arrive_on_its_receiver() -> None:
    async def test() -> None:
        owner = Owner()
        async with running_pool(simulator.port, owner, binds=2, mode="tx_rx") as pool:
            assert [bind.mode for bind in pool.binds] == ["tx", "rx", "tx", "rx"]
            assert simulator.bound == 4
            used = [await slot(pool) for _ in range(4)]
            assert {bind.mode for bind in used} == {"tx"}
            for bind in used:
                await send(bind)
            await until(lambda: len(owner.delivered) == 4)
            receivers = {bind.link for bind in pool.binds if bind.mode == "rx"}
            assert {link for link, _ in owner.delivered} == receivers
            assert [bind.receipts for bind in pool.binds] == [0, 2, 0, 2]

    with running_simulator(receipt_delay=0) as simulator:
        run(test)


def test_a_pair_without_its_transmitter_is_not_up() -> None:
    async def test() -> None:
        async with running_pool(simulator.port, mode="tx_rx") as pool:
            transmitter, receiver = pool.binds
            simulator.options.refuse_binds = Status.ESME_RBINDFAIL
            assert transmitter.link is not None
            transmitter.link.abort()
            assert receiver.bound
            assert not pool.up
            assert await pool.acquire(urgent=True) is None

    with running_simulator() as simulator:
        run(test)


def test_unbind_waits_for_pending_responses_and_receipts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends: list[CloseReason] = []
    monkeypatch.setattr(Simulator, "_on_closed", closed_spy(ends))

    async def test() -> None:
        owner = Owner(keeps=True)
        async with running_pool(simulator.port, owner) as pool:
            await send(await slot(pool))
            await until(lambda: owner.delivered)
            simulator.options.answer_delay = 0.3
            outcomes = [send(await slot(pool)) for _ in range(5)]
            await until(lambda: len(simulator.submits) == 6)
            stopping = asyncio.create_task(pool.stop(MANY_SECONDS))
            await asyncio.gather(*outcomes)
            assert {type(outcome.result()) for outcome in outcomes} == {pdus.SubmitSmResp}
            for _ in range(20):  # more than it takes to unbind
                await asyncio.sleep(0.01)
            assert not stopping.done()
            for link, pdu in owner.delivered:
                link.respond(pdu)
            await stopping

    with running_simulator(receipt_delay=0) as simulator:
        run(test)
        simulator.wait_for(lambda _: ends)
    assert ends == [CloseReason.PEER_UNBOUND]


def closed_spy(ends: list[CloseReason]) -> Callable[..., None]:
    original = Simulator._on_closed

    def on_closed(self: Simulator, link: Link, reason: Closed, unanswered: object) -> None:
        ends.append(reason.reason)
        original(self, link, reason, unanswered)

    return on_closed


def test_pending_submits_delay_a_stop_only_until_its_timeout() -> None:
    async def test() -> None:
        async with running_pool(simulator.port) as pool:
            outcome = send(await slot(pool))
            started = time.monotonic()
            await pool.stop(0.3)
            assert 0.2 < time.monotonic() - started < MANY_SECONDS
            assert isinstance(outcome.result(), LinkError)

    with running_simulator(blackhole=True) as simulator:
        run(test)


def test_waiters_get_none_when_the_pool_stops() -> None:
    async def test() -> None:
        async with running_pool(simulator.port, window=1) as pool:
            await slot(pool)
            waiter = asyncio.create_task(pool.acquire(urgent=False))
            await settle()
            assert pool.has_waiters
            pool.close()
            assert await waiter is None
            assert not pool.up
            assert pool.try_acquire(urgent=True) is None

    with running_simulator() as simulator:
        run(test)


# ---------------------------------------------------------------- the window


def test_window_is_never_exceeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pending requests are counted on the carrier's side, on each connection."""
    window, pending = 7, [0]
    original = Simulator._on_submit

    def on_submit(self: Simulator, line: Any, account: Any, pdu: pdus.SubmitSm) -> None:
        pending.append(line.inbound_pending)
        original(self, line, account, pdu)

    monkeypatch.setattr(Simulator, "_on_submit", on_submit)

    async def test() -> None:
        async with running_pool(simulator.port, binds=2, window=window) as pool:

            async def work(chance: random.Random) -> None:
                for _ in range(20):
                    bind = await slot(pool, urgent=chance.random() < 0.3)
                    assert bind.in_use <= window
                    await send(bind)
                    await asyncio.sleep(chance.choice([0, 0, 0.002]))  # as long as a commit
                    pool.release(bind)

            await asyncio.gather(*(work(random.Random(seed)) for seed in range(30)))
            assert [bind.in_use for bind in pool.binds] == [0, 0]

    with running_simulator(answer_delay=0.002, answer_jitter=0.01) as simulator:
        run(test)
        assert len(simulator.submits) == 600
    assert max(pending) == window


def test_a_slot_is_freed_by_release_and_not_by_the_response() -> None:
    async def test() -> None:
        async with running_pool(simulator.port, binds=2, window=3) as pool:
            taken = [await slot(pool) for _ in range(6)]
            assert [bind.in_use for bind in pool.binds] == [3, 3]
            await asyncio.gather(*(send(bind) for bind in taken))
            assert pool.try_acquire(urgent=True) is None
            waiter = asyncio.create_task(pool.acquire(urgent=False))
            await settle()
            assert not waiter.done()
            pool.release(taken[0])
            assert await waiter is taken[0]
            assert [bind.in_use for bind in pool.binds] == [3, 3]

    with running_simulator() as simulator:
        run(test)


def test_slots_in_use_outlive_their_connection() -> None:
    """A submit over a lost bind is in doubt until its result is committed."""

    async def test() -> None:
        async with running_pool(simulator.port, window=2) as pool:
            taken = [await slot(pool) for _ in range(2)]
            outcomes = [send(bind) for bind in taken]
            await until(lambda: len(simulator.submits) == 2)
            simulator.drop_all()
            await asyncio.gather(*outcomes)
            await all_bound(pool)
            assert pool.try_acquire(urgent=True) is None
            pool.release(taken[0], 2)
            assert pool.try_acquire(urgent=True) is not None

    with running_simulator(blackhole=True) as simulator:
        run(test)


def test_the_least_busy_bind_is_used() -> None:
    async def test() -> None:
        async with running_pool(simulator.port, binds=3, window=4) as pool:
            for _ in range(6):
                await slot(pool)
            assert [bind.in_use for bind in pool.binds] == [2, 2, 2]
            pool.release(pool.binds[1], 2)
            assert await slot(pool) is pool.binds[1]

    with running_simulator() as simulator:
        run(test)


def test_a_tenth_of_the_window_is_reserved_for_urgent_messages() -> None:
    async def test() -> None:
        async with running_pool(simulator.port, window=20) as pool:
            assert all(pool.try_acquire(urgent=False) for _ in range(18))
            assert pool.try_acquire(urgent=False) is None
            assert all(pool.try_acquire(urgent=True) for _ in range(2))
            assert pool.try_acquire(urgent=True) is None

    with running_simulator() as simulator:
        run(test)


def test_a_new_window_and_throughput_keep_the_binds() -> None:
    async def test() -> None:
        async with running_pool(simulator.port, window=1) as pool:
            links = [bind.link for bind in pool.binds]
            await slot(pool)
            waiter = asyncio.create_task(pool.acquire(urgent=False))
            await settle()
            assert pool.adapt(replace(pool.config, window=3))
            await waiter
            assert pool.try_acquire(urgent=False) is not None
            assert pool.try_acquire(urgent=False) is None
            assert pool.adapt(replace(pool.config, window=2, throughput=5))
            pool.release(pool.binds[0], 1)
            assert pool.try_acquire(urgent=False) is None  # two are still in use
            assert [bind.link for bind in pool.binds] == links
            others: list[dict[str, Any]] = [
                {"host": "localhost"},
                {"password": "new"},
                {"binds": 2},
            ]
            for other in others:
                assert not pool.adapt(replace(pool.config, **other))

    with running_simulator() as simulator:
        run(test)


# ---------------------------------------------------------------- order of waiters


def test_urgent_waiters_come_first_and_each_priority_is_fifo() -> None:
    async def test() -> None:
        async with running_pool(simulator.port, window=1) as pool:
            served: list[str] = []
            held = await slot(pool)

            async def wait(name: str, *, urgent: bool) -> None:
                await slot(pool, urgent=urgent)
                served.append(name)

            names = ["b1", "b2", "u1", "b3", "u2"]
            waiters = []
            for name in names:
                waiters.append(asyncio.create_task(wait(name, urgent=name.startswith("u"))))
                await settle()
            for count in range(1, 6):
                pool.release(held)
                await until(lambda count=count: len(served) == count)  # type: ignore[misc]
            assert served == ["u1", "u2", "b1", "b2", "b3"]

    with running_simulator() as simulator:
        run(test)


def test_a_slot_released_for_a_waiter_goes_to_no_other_caller() -> None:
    async def test() -> None:
        async with running_pool(simulator.port, window=1) as pool:
            held = await slot(pool)
            waiter = asyncio.create_task(pool.acquire(urgent=True))
            await settle()
            pool.release(held)
            # The waiter has not run yet.
            assert pool.try_acquire(urgent=False) is None
            assert pool.try_acquire(urgent=True) is None
            assert await waiter is held

    with running_simulator() as simulator:
        run(test)


def test_bulk_overtakes_no_waiter_and_urgent_overtakes_bulk() -> None:
    async def test() -> None:
        async with running_pool(simulator.port, window=2, throughput=1000) as pool:
            pool._pace = NoPace()
            waiter = asyncio.create_task(pool.acquire(urgent=False))
            await settle()
            assert not waiter.done()
            pool._pace = client.Pace(0)
            assert pool.try_acquire(urgent=False) is None
            assert pool.try_acquire(urgent=True) is not None
            pool.serve()
            await waiter

    with running_simulator() as simulator:
        run(test)


class NoPace(client.Pace):
    """A rate that allows nothing."""

    def __init__(self) -> None:
        super().__init__(1)

    def wait(self) -> float:
        return 60.0


def test_a_canceled_waiter_keeps_no_slot() -> None:
    async def test() -> None:
        async with running_pool(simulator.port, window=1) as pool:
            held = await slot(pool)
            before, given, after = (
                asyncio.create_task(pool.acquire(urgent=False)) for _ in range(3)
            )
            await settle()
            before.cancel()  # while it waits
            await settle()
            pool.release(held)
            given.cancel()  # when it has got the slot, and has not run yet
            assert await after is held
            assert given.cancelled()
            pool.release(held)
            assert [bind.in_use for bind in pool.binds] == [0]
            assert not pool.has_waiters

    with running_simulator() as simulator:
        run(test)


@pytest.mark.parametrize("seed", range(8))
def test_no_wake_up_is_lost(seed: int) -> None:
    """Many workers acquire slots, hold them and give up at random: all of them finish."""

    async def test() -> None:
        chance = random.Random(seed)
        served = {"urgent": 0, "bulk": 0, "gave up": 0, "down": 0}
        settings: dict[str, Any] = {"binds": chance.randint(1, 3), "window": chance.randint(1, 4)}
        if seed % 2:
            settings["throughput"] = 2000
        async with running_pool(simulator.port, **settings) as pool:

            async def work(urgent: bool) -> None:
                for _ in range(25):
                    patience = chance.choice([None, None, None, 0, 0.001, 0.005])
                    try:
                        async with asyncio.timeout(patience):
                            bind = await pool.acquire(urgent=urgent)
                    except TimeoutError:
                        served["gave up"] += 1
                        continue
                    if bind is None:
                        served["down"] += 1
                        await asyncio.sleep(0.01)
                        continue
                    for _ in range(chance.randint(0, 4)):
                        await asyncio.sleep(0)
                    served["urgent" if urgent else "bulk"] += 1
                    pool.release(bind)

            workers = [asyncio.create_task(work(number % 3 == 0)) for number in range(24)]
            if seed >= 4:  # and meanwhile all binds are lost, twice
                for _ in range(2):
                    await asyncio.sleep(chance.uniform(0, 0.02))
                    simulator.drop_all()
            async with asyncio.timeout(MANY_SECONDS):
                await asyncio.gather(*workers)
            assert sum(served.values()) == 24 * 25
            assert served["urgent"]
            assert served["bulk"]
            assert [bind.in_use for bind in pool.binds] == [0] * len(pool.binds)
            assert not pool.has_waiters

    with running_simulator() as simulator:
        run(test)


# ---------------------------------------------------------------- throughput


def test_throughput_is_limited_across_all_binds() -> None:
    async def test() -> None:
        async with running_pool(simulator.port, binds=3, throughput=200) as pool:
            started = time.monotonic()
            outcomes = []
            for _ in range(160):
                bind = await slot(pool)
                outcomes.append(send(bind))
                pool.release(bind)
            took = time.monotonic() - started
            await asyncio.gather(*outcomes)
            # A tenth of a second's submits may be sent at once.
            assert took >= (160 - 20 - 1) / 200
            assert took < MANY_SECONDS

    with running_simulator() as simulator:
        run(test)


def test_throughput_is_limited_by_a_timer_and_not_by_polling() -> None:
    async def test() -> None:
        async with running_pool(simulator.port, throughput=50) as pool:
            looked = 0
            original = pool._take

            def take(*, urgent: bool) -> CarrierBind | None:
                nonlocal looked
                looked += 1
                return original(urgent=urgent)

            pool._take = take  # type: ignore[method-assign]
            waiters = [asyncio.create_task(slot(pool)) for _ in range(30)]
            await asyncio.gather(*waiters)
            assert looked < 30 * 4

    with running_simulator() as simulator:
        run(test)


def test_urgent_comes_first_with_a_throughput_limit() -> None:
    async def test() -> None:
        async with running_pool(simulator.port, throughput=40) as pool:
            served: list[str] = []

            async def wait(name: str) -> None:
                pool.release(await slot(pool, urgent=name == "urgent"))
                served.append(name)

            bulk = [asyncio.create_task(wait("bulk")) for _ in range(24)]
            await settle()
            started = len(served)
            urgent = [asyncio.create_task(wait("urgent")) for _ in range(3)]
            await asyncio.gather(*bulk, *urgent)
            assert started < 20
            # Only those served before the urgent ones arrived came first.
            assert served[started : started + 3] == ["urgent"] * 3

    with running_simulator() as simulator:
        run(test)


def test_unlimited_throughput_is_not_throttled() -> None:
    pace = client.Pace(0)
    for _ in range(1000):
        assert pace.wait() == 0
        pace.take()


# ---------------------------------------------------------------- reconnecting


def test_waiters_get_none_when_the_last_bind_is_lost_and_continue_on_the_next() -> None:
    async def test() -> None:
        async with running_pool(simulator.port, binds=2, window=1) as pool:
            taken = [await slot(pool) for _ in range(2)]
            waiters = [asyncio.create_task(pool.acquire(urgent=urgent)) for urgent in (True, False)]
            await settle()
            simulator.options.refuse_binds = Status.ESME_RBINDFAIL
            first = pool.binds[0].link
            assert first is not None
            first.abort()
            await settle()
            assert not any(waiter.done() for waiter in waiters)

            simulator.drop_all()
            assert await asyncio.gather(*waiters) == [None, None]
            assert not pool.up
            assert await pool.acquire(urgent=False) is None

            simulator.options.refuse_binds = Status.ESME_ROK
            await all_bound(pool)
            waiter = asyncio.create_task(pool.acquire(urgent=False))
            await settle()
            assert not waiter.done()
            pool.release(taken[0])
            assert await waiter is taken[0]

    with running_simulator() as simulator:
        run(test)


def test_a_reconnected_bind_serves_all_waiters() -> None:
    async def test() -> None:
        async with running_pool(simulator.port, binds=2, window=1) as pool:
            await slot(pool)
            idle = next(bind for bind in pool.binds if not bind.in_use)
            assert idle.link is not None
            idle.link.abort()
            waiter = asyncio.create_task(pool.acquire(urgent=False))
            assert await waiter is idle

    with running_simulator() as simulator:
        run(test)


def test_binds_reconnect_after_all_were_dropped() -> None:
    async def test() -> None:
        async with running_pool(simulator.port, binds=2) as pool:
            for _ in range(3):
                since = [bind.since for bind in pool.binds]
                links = {bind.link for bind in pool.binds}
                simulator.drop_all()
                await until(lambda links=links: not links & {b.link for b in pool.binds})  # type: ignore[misc]
                await all_bound(pool)
                assert [bind.last_error for bind in pool.binds] == ["", ""]
                assert all(new.since > old for new, old in zip(pool.binds, since, strict=True))
                assert isinstance(await submit(pool), pdus.SubmitSmResp)
        assert simulator.connections == 0

    with running_simulator() as simulator:
        run(test)


def test_refused_binds_report_the_reason_and_bind_once_accepted() -> None:
    async def test() -> None:
        async with running_pool(simulator.port, binds=2, up=False) as pool:
            message = "bind refused: ESME_RINVPASWD (0x0000000E): invalid password"
            await until(lambda: all(bind.last_error == message for bind in pool.binds))
            lost_since = pool.binds[0].since
            await until(lambda: pool.binds[0].state == "waiting")
            await until(lambda: pool.binds[0].state == "connecting")
            assert pool.binds[0].since == lost_since
            assert not pool.up
            simulator.options.password = "secret"
            await all_bound(pool)
            assert pool.binds[0].last_error == ""
            assert pool.binds[0].since > lost_since

    with running_simulator(password="other") as simulator:
        run(test)


def test_the_pool_binds_when_the_carrier_starts_later() -> None:
    port = free_port()

    async def test() -> None:
        async with running_pool(port, binds=2, up=False) as pool:
            await until(lambda: all("Connect call failed" in b.last_error for b in pool.binds))
            assert f"{HOST}:{port}: " in pool.binds[0].last_error
            with running_simulator(port=port):
                await all_bound(pool)
                await pool.stop(1.0)

    run(test)


def test_an_invalid_host_is_reported_and_retried() -> None:
    async def test() -> None:
        async with running_pool(1, up=False) as pool:
            pool.config = replace(pool.config, host="no such host.invalid")
            await until(lambda: "no such host.invalid" in pool.binds[0].last_error)
            pool.config = replace(pool.config, host="x" * 300)  # not even a valid name
            await until(lambda: "no such host" not in pool.binds[0].last_error)
            with running_simulator() as simulator:
                pool.config = replace(pool.config, host=HOST, port=simulator.port)
                await all_bound(pool)
                await pool.stop(1.0)

    run(test)


@pytest.mark.parametrize(
    ("field", "value"),
    [("password", "123456789"), ("system_id", "x" * 16), ("password", "pässwörd€")],
)
def test_a_field_that_does_not_fit_is_reported_and_nothing_is_sent(field: str, value: str) -> None:
    async def test() -> None:
        async with running_pool(simulator.port, up=False) as pool:
            pool.config = replace(pool.config, **{field: value})  # type: ignore[arg-type]
            await until(lambda: pool.binds[0].last_error.startswith(f"{field}: "))
            assert value not in pool.binds[0].last_error
            assert simulator.connections == 0
            pool.config = replace(pool.config, system_id="esme", password="secret")
            await all_bound(pool)

    with running_simulator() as simulator:
        run(test)


def test_the_password_is_not_in_the_repr() -> None:
    assert "secret" not in repr(PoolConfig(HOST, 1, "esme", "secret"))


def test_any_exception_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """If its task died, a bind would stay lost until the worker restarts."""
    connect, failures = connect_esme, iter([RuntimeError("of an unknown kind"), KeyError()])

    async def failing(*arguments: Any, **more: Any) -> Link:
        for failure in failures:
            raise failure
        return await connect(*arguments, **more)

    monkeypatch.setattr(client, "connect_esme", failing)

    async def test() -> None:
        async with running_pool(simulator.port) as pool:
            assert next(failures, None) is None
            assert isinstance(await submit(pool), pdus.SubmitSmResp)

    with running_simulator() as simulator:
        run(test)


def test_pauses_grow_to_a_minute_with_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_RECONNECT_SECONDS", 0.5)
    monkeypatch.setattr(client, "LONGEST_RECONNECT_SECONDS", 60.0)
    for failures, middle in [(0, 0.5), (1, 0.5), (2, 1), (3, 2), (7, 32), (8, 60), (10_000, 60)]:
        pauses = [reconnect_pause(failures) for _ in range(200)]
        assert 0.7 * middle <= min(pauses) < 0.85 * middle
        assert 1.15 * middle < max(pauses) <= 1.3 * middle


def test_only_a_bind_that_lasted_a_while_resets_the_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[int] = []

    def pause(failures: int) -> float:
        counted.append(failures)
        return 0.0

    monkeypatch.setattr(client, "reconnect_pause", pause)

    async def test() -> None:
        async with running_pool(simulator.port) as pool:

            async def lose() -> None:
                pauses, lost = len(counted), pool.binds[0].link
                assert lost is not None
                lost.abort()
                await until(lambda: len(counted) > pauses)
                await all_bound(pool)

            for _ in range(3):
                await lose()
            assert counted == [1, 2, 3]
            monkeypatch.setattr(client, "SETTLED_SECONDS", -1.0)
            await lose()
            assert counted[-1] == 0

    with running_simulator() as simulator:
        run(test)


@pytest.mark.parametrize("carries", ["a submit", "a receipt"])
def test_a_bind_that_carried_traffic_resets_the_pause(
    monkeypatch: pytest.MonkeyPatch, carries: str
) -> None:
    counted: list[int] = []

    def pause(failures: int) -> float:
        counted.append(failures)
        return 0.02

    monkeypatch.setattr(client, "reconnect_pause", pause)

    async def test() -> None:
        async with running_pool(simulator.port) as pool:
            bind = pool.binds[0]

            async def lose() -> None:
                pauses, lost = len(counted), bind.link
                assert lost is not None
                lost.abort()
                await until(lambda: len(counted) > pauses)
                await all_bound(pool)

            await lose()
            await lose()
            assert isinstance(await submit(pool), pdus.SubmitSmResp)
            if carries == "a submit":
                bind.submitted += 1  # as the caller counts an accepted submit
            else:
                simulator.options.receipt_delay = 0.0
                await submit(pool)
                await until(lambda: bind.receipts)
            await lose()
            await lose()
            assert counted == [1, 2, 0, 1]

    with running_simulator(receipt_delay=60.0) as simulator:
        run(test)


def test_a_slow_refusal_does_not_reset_the_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[int] = []

    def pause(failures: int) -> float:
        counted.append(failures)
        return 0.0

    monkeypatch.setattr(client, "reconnect_pause", pause)
    monkeypatch.setattr(client, "SETTLED_SECONDS", 0.0)

    async def test() -> None:
        async with running_pool(simulator.port, up=False):
            await until(lambda: len(counted) >= 3)
            assert counted[:3] == [1, 2, 3]

    with running_simulator(refuse_binds=Status.ESME_RBINDFAIL) as simulator:
        run(test)


# ---------------------------------------------------------------- peers that misbehave


def test_a_silent_peer_gets_enquire_link_and_is_dropped() -> None:
    async def test() -> None:
        async with running_pool(
            simulator.port, enquire_link_interval=0.1, response_timeout=0.5
        ) as pool:
            link = pool.binds[0].link
            await asyncio.sleep(0.8)  # some intervals
            assert pool.binds[0].link is link  # it responds to enquire_link
            simulator.options.ignore_enquire_link = True
            await until(lambda: pool.binds[0].link is not link)
            assert "no answer to enquire_link" in pool.binds[0].last_error

    with running_simulator() as simulator:
        run(test)


def test_a_submit_without_a_response_times_out() -> None:
    async def test() -> None:
        async with running_pool(simulator.port, response_timeout=0.2) as pool:
            link = pool.binds[0].link
            outcome = await submit(pool)
            assert isinstance(outcome, ResponseTimeout)
            assert str(outcome) == "no answer in 0.2 s"
            assert pool.binds[0].link is link
            simulator.options.blackhole = False
            assert isinstance(await submit(pool), pdus.SubmitSmResp)

    with running_simulator(blackhole=True) as simulator:
        run(test)


def test_garbage_ends_the_bind_and_not_the_pool() -> None:
    async def test() -> None:
        async with running_pool(simulator.port, binds=2) as pool:
            bind = await slot(pool)
            links = {bind.link for bind in pool.binds}
            outcome = send(bind)
            await until(lambda: simulator.submits)
            simulator.inject()
            assert isinstance(await outcome, LinkError)
            await until(lambda: not links & {bind.link for bind in pool.binds})
            await all_bound(pool)
            pool.release(bind)
            simulator.options.blackhole = False
            assert isinstance(await submit(pool), pdus.SubmitSmResp)

    with running_simulator(blackhole=True) as simulator:
        run(test)


def test_garbage_is_reported() -> None:
    async def test() -> None:
        async with running_pool(simulator.port) as pool:
            simulator.options.refuse_binds = Status.ESME_RBINDFAIL
            errors: list[str] = []
            pool.on_change = lambda: errors.append(pool.binds[0].last_error)
            simulator.inject()
            await until(lambda: errors)
            assert errors[0].startswith("the peer's stream cannot be followed: command_length")

    with running_simulator() as simulator:
        run(test)


def test_the_pool_binds_again_after_a_carrier_unbinds() -> None:
    async def test() -> None:
        async with running_pool(simulator.port, binds=2) as pool:
            links = {bind.link for bind in pool.binds}
            await asyncio.to_thread(simulator.unbind_all)
            await until(lambda: not links & {bind.link for bind in pool.binds})
            await all_bound(pool)
            assert isinstance(await submit(pool), pdus.SubmitSmResp)

    with running_simulator() as simulator:
        run(test)


class BarePeer:
    """An SMSC that accepts every bind and otherwise sends what the test writes."""

    def __init__(self) -> None:
        self.port = 0
        self.received: list[Any] = []
        self.first = b""
        self.writer: asyncio.StreamWriter | None = None

    @asynccontextmanager
    async def listening(self, first: bytes = b"") -> AsyncIterator[BarePeer]:
        self.first = first
        server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            if self.writer is not None:
                self.writer.close()

    def send(self, *sent: Any) -> None:
        assert self.writer is not None
        self.writer.write(b"".join(encode(pdu) for pdu in sent))

    def got(self, kind: type[Any]) -> list[Any]:
        return [pdu for pdu in self.received if isinstance(pdu, kind)]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        writer.write(self.first)
        framer = Framer()
        while data := await reader.read(65536):
            for frame in framer.feed(data):
                pdu = decode(frame)
                self.received.append(pdu)
                if isinstance(pdu, pdus.Bind):
                    self.send(pdus.BindTransceiverResp(system_id="bare", sequence=pdu.sequence))
                elif isinstance(pdu, pdus.Unbind):
                    self.send(pdus.UnbindResp(sequence=pdu.sequence))
        writer.close()


def test_nothing_is_submitted_over_a_bind_that_the_carrier_is_unbinding() -> None:
    """It still responds to earlier submits: until then the bind is unusable but not lost."""

    async def test() -> None:
        async with BarePeer().listening() as peer, running_pool(peer.port) as pool:
            bind = await slot(pool)
            outcome = send(bind)
            await until(lambda: peer.got(pdus.SubmitSm))
            peer.send(pdus.Unbind(sequence=1))
            await until(lambda: not pool.up)
            assert bind.state == "waiting"
            assert bind.last_error == "the carrier is unbinding"
            assert await pool.acquire(urgent=True) is None

            [submitted] = peer.got(pdus.SubmitSm)
            peer.send(pdus.SubmitSmResp(message_id="1", sequence=submitted.sequence))
            assert isinstance(await outcome, pdus.SubmitSmResp)
            await until(lambda: peer.got(pdus.UnbindResp))
            await all_bound(pool)

    run(test)


@pytest.mark.parametrize("responds", [True, False])
def test_a_carrier_that_unbinds_with_pending_responses_gets_unbind_resp_soon(
    monkeypatch: pytest.MonkeyPatch, responds: bool
) -> None:
    monkeypatch.setattr("messaging.smpp.client.FIRST_RECONNECT_SECONDS", 5.0)

    async def test() -> None:
        async with BarePeer().listening() as peer, running_pool(peer.port) as pool:
            bind = await slot(pool)
            outcome = send(bind)
            await until(lambda: peer.got(pdus.SubmitSm))
            started = time.monotonic()
            peer.send(pdus.Unbind(sequence=1), pdus.DeliverSm(sequence=2))
            # Its deliveries meanwhile are accepted.
            await until(lambda: peer.got(pdus.DeliverSmResp))
            assert peer.got(pdus.DeliverSmResp)[0].status == Status.ESME_ROK
            await until(lambda: peer.got(pdus.UnbindResp))
            assert 1.0 < time.monotonic() - started < 8
            if responds:
                # Late, but before it closes, so that nothing is submitted twice.
                [submitted] = peer.got(pdus.SubmitSm)
                peer.send(pdus.SubmitSmResp(message_id="1", sequence=submitted.sequence))
                assert isinstance(await outcome, pdus.SubmitSmResp)
            else:
                assert peer.writer is not None
                peer.writer.close()
                assert isinstance(await outcome, LinkClosed)
            await until(lambda: bind.link is None)
            assert bind.last_error == "unbound by the peer"

    run(test)


def test_requests_that_a_carrier_may_not_send_are_refused_quietly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        async with BarePeer().listening() as peer, running_pool(peer.port) as pool:
            link = pool.binds[0].link
            peer.send(
                pdus.AlertNotification(source_addr="1", esme_addr="2", sequence=1),
                pdus.SubmitSm(destination_addr="1", sequence=2),
                pdus.EnquireLink(sequence=3),
            )
            await until(lambda: peer.got(pdus.EnquireLinkResp))
            [refusal] = peer.got(pdus.SubmitSmResp)
            assert (refusal.status, refusal.sequence) == (Status.ESME_RINVBNDSTS, 2)
            assert pool.binds[0].link is link

    run(test)
    assert "handler failed" not in caplog.text


def test_data_sm_is_delivered_too() -> None:
    async def test() -> None:
        owner = Owner()
        async with BarePeer().listening() as peer, running_pool(peer.port, owner) as pool:
            peer.send(pdus.DataSm(destination_addr="1", sequence=2), pdus.DeliverSm(sequence=3))
            await until(lambda: peer.got(pdus.DeliverSmResp))
            assert [type(pdu) for _, pdu in owner.delivered] == [pdus.DataSm, pdus.DeliverSm]
            assert pool.binds[0].receipts == 2
            assert [response.status for response in peer.got(pdus.DataSmResp)] == [Status.ESME_ROK]

    run(test)


def test_a_bind_without_a_response_times_out() -> None:
    async def test() -> None:
        server = await asyncio.start_server(lambda _, writer: connected.append(writer), HOST, 0)
        port = server.sockets[0].getsockname()[1]
        async with running_pool(port, up=False, response_timeout=0.1) as pool:
            await until(lambda: len(connected) >= 2)
            assert "no answer to the bind" in pool.binds[0].last_error
        server.close()
        for writer in connected:
            writer.close()

    connected: list[asyncio.StreamWriter] = []
    run(test)


def test_a_peer_that_hangs_up_or_speaks_another_protocol_is_retried() -> None:
    """The bind must survive any protocol on the port."""

    async def test() -> None:
        greeting = b"220 mail.example.com ESMTP\r\n"
        async with (
            BarePeer().listening(greeting) as peer,
            running_pool(peer.port, up=False) as pool,
        ):
            await until(lambda: "cannot be followed" in pool.binds[0].last_error)
            peer.first = b""
            await all_bound(pool)

    run(test)


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "carrier")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "carrier.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + made.public_bytes(Encoding.PEM))
    return file


@pytest.fixture
def serving(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


def test_an_untrusted_certificate_is_refused(serving: ssl.SSLContext) -> None:
    async def test() -> None:
        async with running_pool(simulator.port, up=False, tls=True) as pool:
            await until(lambda: "self-signed certificate" in pool.binds[0].last_error)
            assert f"{HOST}:{simulator.port}: " in pool.binds[0].last_error
            assert not pool.up

    with running_simulator(ssl=serving) as simulator:
        run(test)


def test_without_verification_any_certificate_is_accepted(serving: ssl.SSLContext) -> None:
    async def test() -> None:
        async with running_pool(simulator.port, tls=True, tls_verify=False, binds=2) as pool:
            outcomes = await asyncio.gather(*(submit(pool) for _ in range(20)))
            assert {type(outcome) for outcome in outcomes} == {pdus.SubmitSmResp}

    with running_simulator(ssl=serving) as simulator:
        run(test)


def test_a_certificate_of_a_trusted_authority_is_verified(
    serving: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def test() -> None:
        async with running_pool(simulator.port, tls=True) as pool:
            assert isinstance(await submit(pool), pdus.SubmitSmResp)

    async def other_name() -> None:
        async with running_pool(simulator.port, tls=True, up=False) as pool:
            pool.config = replace(pool.config, host="localhost")
            await until(lambda: "Hostname mismatch" in pool.binds[0].last_error)

    with running_simulator(ssl=serving) as simulator:
        run(test)
        run(other_name)


@pytest.mark.parametrize("tls_here", [True, False])
def test_tls_on_one_side_only_is_an_error_and_not_a_crash(
    serving: ssl.SSLContext, tls_here: bool
) -> None:
    async def test() -> None:
        settings: dict[str, Any] = {"tls": tls_here, "response_timeout": 0.3}
        async with running_pool(simulator.port, up=False, **settings) as pool:
            await until(lambda: pool.binds[0].last_error)
            error = pool.binds[0].last_error
            await until(lambda: pool.binds[0].state == "waiting")
            await until(lambda: pool.binds[0].state == "connecting")
            assert error.startswith(f"{HOST}:{simulator.port}: ")

    with running_simulator(ssl=None if tls_here else serving) as simulator:
        run(test)


def test_a_submit_over_a_lost_link_is_not_sent() -> None:
    """A caller that acquired a slot just before its bind was lost gets an error."""

    async def test() -> None:
        async with running_pool(simulator.port) as pool:
            bind = await slot(pool)
            link = bind.link
            assert link is not None
            link.abort()
            assert bind.link is None
            with pytest.raises(NotSent):
                link.send(submit_sm(), lambda _, outcome: None)

    with running_simulator() as simulator:
        run(test)
