"""`make bench`: the whole platform on this machine under load, and a table of what it did.

Everything is real: PostgreSQL with fsync, Valkey, two web processes, Celery, a carrier worker, the
simulator over TCP. The simulator answers at once and sends a receipt for each message.
"""

import argparse
import asyncio
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from imissive.run.processes import free_port
from tests.bench import cpu, load, smpp
from tests.support.platforms import until
from tests.support.running_platform import Site

TEXT = "Your order 4711 has shipped and arrives tomorrow."
Row = tuple[str, str]


class Bench(Site):
    """The running platform with a webhook receiver and a simulator that answers at once."""

    # What is measured is what runs.
    holds_transitions = False

    def start(self, seconds: float = 90.0) -> float:
        taken = super().start(seconds)
        self.key = self.demo["IMISSIVE_API_KEY"]
        self.receiver_port, simulator_port = free_port(), free_port()
        self.spawn("tests.bench.receiver", str(self.receiver_port))
        self.spawn(
            "messaging.smpp.simulator", "--host", "127.0.0.1", "--port", str(simulator_port),
            "--instant",
        )  # fmt: skip
        self.use_simulator(simulator_port, window=200)
        self.top_up(10_000_000)
        url = f"http://127.0.0.1:{self.receiver_port}/"
        status, response = self.post("/v1/webhooks", {"url": url, "events": ["message.delivered"]})
        if status != 201:
            raise RuntimeError(f"no webhook endpoint: {response}")
        return taken

    def pause(self, paused: bool) -> None:
        """Have the carrier worker submit nothing, so that accepting is measured by itself."""
        self.sql("UPDATE messaging_carrier SET paused = %s", [paused])
        time.sleep(3)

    def posted(self) -> tuple[int, float]:
        """Webhooks that the receiver has got, and when the last one came."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.receiver_port}/") as response:
            count, last = response.read().split()
        return int(count), float(last)

    def drain(self, total: int, seconds: float = 300) -> float:
        """Wait until the receiver has got that many in all; the time of the last."""
        until(lambda: self.posted()[0] >= total, seconds, self.posted)
        return self.posted()[1]


def singles(site: Bench, seconds: float) -> Iterator[bytes]:
    """Single sends for that long."""
    number, deadline = 0, time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        number += 1
        to = f"+9665512{number % 100_000:05d}"
        body = {"to": to, "message": TEXT, "sender_id": "MyCompany"}
        yield load.post("/v1/sms/send", site.key, body)


def bulks(site: Bench, messages: int, size: int = 1000) -> list[bytes]:
    """Bulk calls for that many messages."""
    return [
        load.post(
            "/v1/sms/bulk",
            site.key,
            {
                "sender_id": "MyCompany",
                "messages": [
                    {"to": number, "message": TEXT} for number in load.numbers(first, size)
                ],
            },
        )
        for first in range(0, messages, size)
    ]


def measure_singles(site: Bench, seconds: float) -> list[Row]:
    site.pause(True)
    rows = _singles(site, seconds, "nothing else going on")
    site.pause(False)
    site.settle()
    rows += _singles(site, seconds, "all delivered meanwhile")
    site.settle()
    return rows


def _singles(site: Bench, seconds: float, when: str) -> list[Row]:
    before = cpu.by_kind()
    done = asyncio.run(load.run(site.url, singles(site, seconds), 16))
    p50, p99 = done.percentile(0.5), done.percentile(0.99)
    return [
        (f"single sends accepted, {when}", f"{done.per_second:,.0f} /s"),
        ("  answer, p50 and p99", f"{p50:.1f} and {p99:.1f} ms"),
        ("  refused", str(done.refused)),
        *_cpu(before, len(done.latencies)),
    ]


def _cpu(before: dict[str, float], messages: int) -> list[Row]:
    """What each kind of process used since then, for each of that many messages."""
    used = {kind: value - before.get(kind, 0.0) for kind, value in cpu.by_kind().items()}
    rows = [
        (f"  CPU a message, {kind}", f"{value / messages * 1000:.3f} ms")
        for kind, value in sorted(used.items(), key=lambda item: -item[1])
    ]
    return [*rows, ("  CPU a message, all", f"{sum(used.values()) / messages * 1000:.3f} ms")]


def measure_bulk(site: Bench, messages: int) -> list[Row]:
    site.pause(True)
    done = asyncio.run(load.run(site.url, iter(bulks(site, messages)), 4))
    site.pause(False)
    site.settle()
    rate = len(done.latencies) * 1000 / done.seconds
    return [
        ("bulk messages accepted, 1,000 a request", f"{rate:,.0f} /s"),
        ("  answer for 1,000, p50", f"{done.percentile(0.5):.0f} ms"),
    ]


def measure_end_to_end(site: Bench, messages: int) -> list[Row]:
    before, cpu_before = site.posted()[0], cpu.by_kind()
    started = time.time()
    asyncio.run(load.run(site.url, iter(bulks(site, messages)), 2))
    accepted = time.time()
    seconds = site.drain(before + messages) - started
    rows = [
        (f"end to end, {messages:,} messages", f"{messages / seconds:,.0f} /s"),
        ("  accepted after", f"{accepted - started:.1f} s of {seconds:.1f} s"),
    ]
    return rows + _cpu(cpu_before, messages)


def measure_urgent(site: Bench, messages: int) -> list[Row]:
    """Single sends, which are urgent, while a bulk run waits in the queue."""

    async def run() -> None:
        await load.run(site.url, iter(bulks(site, messages)), 2)
        for request in singles(site, 5):
            await load.run(site.url, iter([request]), 1)
            await asyncio.sleep(0.02)

    asyncio.run(run())
    [((median, late), count)] = site.sql(
        "SELECT percentile_disc(ARRAY[0.5, 0.99]) WITHIN GROUP"
        " (ORDER BY extract(epoch FROM p.submitted_at - m.created_at) * 1000), count(*)"
        "  FROM (SELECT * FROM messaging_message ORDER BY id DESC LIMIT 2000) m"
        "  JOIN messaging_messagepart p ON p.message_id = m.id WHERE m.urgent"
    )
    site.settle()
    return [
        (f"urgent while {messages:,} bulk are queued, accept to submit, p50 and p99",
         f"{median:.0f} and {late:.0f} ms of {count}"),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--only", choices=["singles", "bulk", "e2e", "urgent", "smpp"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imissive-bench-") as folder:
        site = Bench(Path(folder), LOG_LEVEL="WARNING", WEB_WORKERS="2")
        parts = {
            "singles": lambda: measure_singles(site, options.seconds),
            "bulk": lambda: measure_bulk(site, options.messages),
            "e2e": lambda: measure_end_to_end(site, options.messages),
            "urgent": lambda: measure_urgent(site, options.messages),
            "smpp": lambda: smpp.measure(site, options.seconds, site.pause),
        }
        try:
            site.start()
            for name, part in parts.items():
                if options.only in (None, name):
                    for what, value in part():
                        print(f"{what:<70} {value:>22}", flush=True)
        except BaseException:
            print(site.text, file=sys.stderr)
            raise
        finally:
            site.close()


if __name__ == "__main__":
    main()
