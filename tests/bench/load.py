"""An HTTP load that costs little itself: keep-alive connections, one request under way on each."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import orjson


@dataclass(slots=True)
class Load:
    """What a load did: seconds for each answer in `latencies`, and how it went over all."""

    latencies: list[float] = field(default_factory=list)
    refused: int = 0
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds within which that share of the answers came."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


class _Connection(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], load: Load, done: Callable[[], None]) -> None:
        self.requests, self.load, self.done = requests, load, done
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._next()

    def _next(self) -> None:
        request = next(self.requests, None)
        if request is None:
            self.transport.close()
            self.done()
            return
        self.started = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(self.buffer) < end + 4 + length:
            return
        if head.startswith(b"http/1.1 202"):
            self.load.latencies.append(time.perf_counter() - self.started)
        else:
            self.load.refused += 1
        self.buffer = b""
        self._next()


async def run(url: str, requests: Iterator[bytes], connections: int) -> Load:
    """Send all the requests over that many connections."""
    load, loop = Load(), asyncio.get_running_loop()
    parts = urlsplit(url)
    finished = asyncio.Event()
    left = connections

    def done() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            finished.set()

    started = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(
            lambda: _Connection(requests, load, done), parts.hostname or "", parts.port or 80
        )
    await asyncio.wait_for(finished.wait(), 300)
    load.seconds = time.perf_counter() - started
    return load


def post(path: str, key: str, body: object) -> bytes:
    """The octets of a POST request with a JSON body."""
    content = orjson.dumps(body)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def numbers(first: int, count: int) -> list[str]:
    """Valid Saudi mobile numbers, none of them a magic one."""
    return [f"+9665512{number:05d}" for number in range(first % 90_000, first % 90_000 + count)]
