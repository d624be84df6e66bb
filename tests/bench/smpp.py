"""The customers' SMPP server under load: a part of `make bench`, alone with `--only smpp`.

Everything is real, as in the rest of the benchmark. The load comes from this process, over the
platform's own link. smpp34's server, which only responds to submits, shows the limit of the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
import smpp34

from imissive.run.processes import free_port
from messaging.smpp.handlers import Handlers, LinkConfig
from messaging.smpp.link import LinkError, connect_esme
from messaging.smpp.pdus import BindReceiver, BindTransceiver, BindTransmitter, SubmitSm
from tests.support.platforms import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from messaging.smpp.link import Link
    from messaging.smpp.pdus import Bind, Request, Response
    from tests.support.running_platform import Site

WINDOW = 50
IDLE_BINDS = 1000
TEXT = b"Your order 4711 has shipped and arrives tomorrow."
Row = tuple[str, str]


@dataclass(slots=True)
class Where:
    """The server's address, and the credentials to bind with."""

    host: str
    port: int
    system_id: str
    password: str

    async def bind(self, kind: type[Bind], handlers: Handlers) -> Link:
        return await connect_esme(
            self.host,
            self.port,
            kind(self.system_id, self.password),
            LinkConfig(response_timeout=60),
            handlers=handlers,
        )


@dataclass(slots=True)
class Submits:
    """Keep the windows of some binds full for a while."""

    answered: int = 0
    refused: int = 0
    latencies: list[float] = field(default_factory=list)
    _number: int = 0
    _until: float = 0.0

    async def run(self, where: Where, binds: int, seconds: float) -> float:
        """Run the load, and return the submits per second that got a response."""
        handlers = Handlers(on_request=lambda link, pdu: None)
        links = [await where.bind(BindTransmitter, handlers) for _ in range(binds)]
        started = time.perf_counter()
        self._until = started + seconds
        for link in links:
            for _ in range(WINDOW):
                self._send(link)
        while any(link.outstanding for link in links):  # noqa: ASYNC110 - it costs nothing
            await asyncio.sleep(0.02)
        took = time.perf_counter() - started
        for link in links:
            await link.unbind(5)
        return self.answered / took

    def _send(self, link: Link) -> None:
        self._number += 1
        pdu = SubmitSm(
            "", 5, 0, "MyCompany", 1, 1, f"9665512{self._number % 100_000:05d}",
            registered_delivery=1, short_message=TEXT,
        )  # fmt: skip
        link.send(pdu, self._done, (link, time.perf_counter()))

    def _done(self, context: Any, outcome: Response | LinkError) -> None:
        link, sent = context
        now = time.perf_counter()
        if isinstance(outcome, LinkError) or outcome.status:
            self.refused += 1
        else:
            self.answered += 1
            self.latencies.append(now - sent)
        if now < self._until:
            self._send(link)

    def row(self, share: float) -> str:
        ordered = sorted(self.latencies)
        return f"{ordered[int(len(ordered) * share)] * 1000:.0f}"


def where_of(site: Site) -> Where:
    """Return the demo's account, with limits raised for the benchmark's binds."""
    site.sql(
        'UPDATE messaging_smppaccount SET max_binds = %s, "window" = 100, receipt_window = 100',
        [IDLE_BINDS],
    )
    demo = site.demo
    return Where(
        demo["IMISSIVE_SMPP_HOST"],
        int(demo["IMISSIVE_SMPP_PORT"]),
        demo["IMISSIVE_SMPP_SYSTEM_ID"],
        demo["IMISSIVE_SMPP_PASSWORD"],
    )


def measure(site: Site, seconds: float, pause: Any) -> Iterator[Row]:
    """Measure, and return rows of the table. `pause(bool)` pauses or resumes the carrier worker."""
    where = where_of(site)
    yield from _limit_of_the_wire(seconds)
    pause(True)
    for binds in (1, 4):
        yield from _submits(where, binds, seconds)
    pause(False)
    site.settle(600)
    yield from _receipts(site, where)
    yield from _memory(site, where)


def _submits(where: Where, binds: int, seconds: float) -> Iterator[Row]:
    load = Submits()
    rate = asyncio.run(load.run(where, binds, seconds))
    name = f"SMPP submits committed, {binds} bind{'s' if binds > 1 else ''}, window {WINDOW}"
    yield name, f"{rate:,.0f} /s"
    yield "  answer, p50 and p99", f"{load.row(0.5)} and {load.row(0.99)} ms"
    yield "  refused", str(load.refused)


def _receipts(site: Site, where: Where) -> Iterator[Row]:
    """Measure the receipts of the submits above, which have waited for a receiver's bind."""
    [(pending,)] = site.sql("SELECT count(*) FROM messaging_smppreceipt")
    arrived = 0

    async def run() -> float:
        done = asyncio.Event()

        def received(link: Link, pdu: Request) -> None:
            nonlocal arrived
            arrived += 1
            link.respond(pdu)
            if arrived >= pending:
                done.set()

        started = time.perf_counter()
        link = await where.bind(BindReceiver, Handlers(on_request=received))
        await asyncio.wait_for(done.wait(), 300)
        took = time.perf_counter() - started
        await link.unbind(5)
        return took

    took = asyncio.run(run())
    until(lambda: site.sql("SELECT count(*) FROM messaging_smppreceipt") == [(0,)], 30)
    yield f"SMPP receipts, {pending:,} to 1 bind, window 100", f"{pending / took:,.0f} /s"


def _memory(site: Site, where: Where) -> Iterator[Row]:
    pid = site.pid("smpp")
    assert pid is not None
    server = psutil.Process(pid)
    before = server.memory_info().rss

    async def run() -> int:
        handlers = Handlers(on_request=lambda link, pdu: None)
        links = []
        for _ in range(IDLE_BINDS // 20):
            some = [where.bind(BindTransceiver, handlers) for _ in range(20)]
            links += await asyncio.gather(*some)
        await asyncio.sleep(3)
        grown: int = server.memory_info().rss - before
        for link in links:
            link.abort()
        return grown

    grown = asyncio.run(run())
    yield f"SMPP memory for {IDLE_BINDS:,} idle binds", f"{grown / IDLE_BINDS / 1024:.0f} KB each"


# -- the limit of the wire -------------------------------------------------------------------------


async def serve_nothing(port: int) -> None:
    """Run smpp34's server in a separate process: it accepts every submit and does nothing else."""
    server = smpp34.Server("127.0.0.1", port, system_id="SMPP34")
    await server.start()
    number = 0
    while True:
        event = await server.next()
        if isinstance(event, smpp34.SubmitSmEvent):
            number += 1
            event.accept(str(number))


def _limit_of_the_wire(seconds: float) -> Iterator[Row]:
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.smpp", "nothing", str(port)]
    child = subprocess.Popen(command)
    try:
        for binds in (1, 4):
            load = Submits()
            where = Where("127.0.0.1", port, "demo", "secret")
            rate = asyncio.run(_when_up(load, where, binds, seconds))
            yield f"  smpp34's server doing nothing, {binds} binds", f"{rate:,.0f} /s"
    finally:
        child.kill()
        child.wait()


async def _when_up(load: Submits, where: Where, binds: int, seconds: float) -> float:
    for _ in range(100):
        with contextlib.suppress(LinkError):
            return await load.run(where, binds, seconds)
        await asyncio.sleep(0.1)
    raise RuntimeError("smpp34's server does not answer")


if __name__ == "__main__":
    asyncio.run(serve_nothing(int(sys.argv[2])))
