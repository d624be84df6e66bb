"""A carrier simulator for tests: in a thread, or as a process to measure.

`python -m tests.support.simulators 50000` measures the simulator's cost of a message: submit and
receipt with their responses.
"""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from imissive.run.processes import free_port
from imissive.run.unprivileged import die_with_parent
from messaging.smpp.codec import encode
from messaging.smpp.constants import CommandId
from messaging.smpp.pdus import BindTransceiver, SubmitSm
from messaging.smpp.simulator import Options, Simulator, Submit
from messaging.smpp.simulator.line import GARBAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from ssl import SSLContext

    from messaging.smpp.handlers import LinkConfig
    from messaging.smpp.simulator.outbox import Tally

T = TypeVar("T")


class RunningSimulator:
    """A simulator that runs in another thread; everything here may be called from any thread."""

    def __init__(self, simulator: Simulator, loop: asyncio.AbstractEventLoop) -> None:
        self.host = "127.0.0.1"
        self.options = simulator.options  # set its fields at any time
        self._simulator = simulator
        self._loop = loop

    @property
    def port(self) -> int:
        return self._simulator.port

    @property
    def submits(self) -> list[Submit]:
        """All submits, including refused ones, oldest first."""
        return self.call(lambda: list(self._simulator.submits))

    @property
    def accepted(self) -> list[Submit]:
        """The submits that got a message id."""
        return [submit for submit in self.submits if submit.message_id]

    @property
    def tally(self) -> Tally:
        return self._simulator.tally

    @property
    def bound(self) -> int:
        """The number of bound connections."""
        return self.call(lambda: sum(line.bound for line in self._simulator.lines))

    @property
    def connections(self) -> int:
        return self.call(lambda: len(self._simulator.lines))

    @property
    def waiting_receipts(self) -> int:
        return self.call(lambda: self._simulator.waiting_receipts)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the simulator's thread and return its result."""

        async def called() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(10)

    def drop_all(self) -> None:
        """Break every connection."""
        self.call(self._simulator.drop_all)

    def unbind_all(self) -> None:
        """Unbind every ESME, and wait until they have closed."""
        future = asyncio.run_coroutine_threadsafe(self._simulator.unbind_all(), self._loop)
        future.result(10)

    def inject(self, octets: bytes = GARBAGE) -> None:
        """Send octets that are not valid SMPP on every connection."""
        self.call(lambda: self._simulator.inject(octets))

    def wait_for(self, condition: Callable[[RunningSimulator], Any], seconds: float = 5.0) -> None:
        """Wait until the condition holds; fail if it does not within `seconds`."""
        end = time.monotonic() + seconds
        while not condition(self):
            if time.monotonic() > end:
                raise AssertionError(f"not so within {seconds:g} s; {self.tally}")
            time.sleep(0.005)


@contextmanager
def running_simulator(
    *,
    port: int = 0,
    ssl: SSLContext | None = None,
    config: LinkConfig | None = None,
    **options: Any,
) -> Iterator[RunningSimulator]:
    """Run a simulator on a free port, in a thread; `options` are the fields of Options."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="simulator", daemon=True)
    thread.start()
    simulator = Simulator(Options(**options), seed=1, config=config)

    def run(coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, loop).result(10)

    try:
        run(simulator.start("127.0.0.1", port, ssl))
        yield RunningSimulator(simulator, loop)
    finally:
        run(simulator.stop(0.5))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


# -- a measurement ---------------------------------------------------------------------------


@contextmanager
def simulator_process(*arguments: str, **popen: Any) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run `python -m messaging.smpp.simulator` on a free port; yield it and its port."""
    port = free_port()
    command = [sys.executable, "-m", "messaging.smpp.simulator", "--port", str(port), *arguments]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent(signal.SIGKILL),
        **popen,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == f"listening on 127.0.0.1:{port}\n", line
        yield process, port
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


class _Load(asyncio.Protocol):
    """An ESME with as little cost as possible, so that the simulator is what is measured."""

    def __init__(self, messages: int, window: int, receipted: Callable[[int], None]) -> None:
        self._left = messages
        self._receipted = receipted
        self._window = window
        self._buffer = b""
        self._sequence = 1
        self._submit = encode(
            SubmitSm("", 5, 0, "MyCompany", 1, 1, "966512345678", registered_delivery=1,
                     short_message=b"Your code is 123456. It is valid for five minutes.")
        )  # fmt: skip

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(encode(BindTransceiver("bench", "secret", sequence=1)))

    def _submits(self, number: int) -> list[bytes]:
        number = min(number, self._left)
        self._left -= number
        head, tail = self._submit[:12], self._submit[16:]
        first = self._sequence + 1
        self._sequence += number
        return [head + struct.pack(">I", first + i) + tail for i in range(number)]

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        position, answered = 0, 0
        out: list[bytes] = []
        while len(data) - position >= 16:
            length, command, _, sequence = struct.unpack_from(">IIII", data, position)
            if position + length > len(data):
                break
            position += length
            if command == CommandId.SUBMIT_SM_RESP:
                answered += 1
            elif command == CommandId.DELIVER_SM:
                out.append(struct.pack(">IIIIB", 17, CommandId.DELIVER_SM_RESP, 0, sequence, 0))
            elif command == CommandId.BIND_TRANSCEIVER_RESP:
                answered = self._window
        self._buffer = data[position:]
        self._receipted(len(out))
        self._transport.write(b"".join(out + self._submits(answered)))


async def _load(port: int, messages: int, binds: int, window: int) -> None:
    loop = asyncio.get_running_loop()
    each = messages // binds
    left, finished = each * binds, asyncio.Event()

    def receipted(number: int) -> None:  # on whichever bind
        nonlocal left
        left -= number
        if not left:
            finished.set()

    transports = [
        (await loop.create_connection(lambda: _Load(each, window, receipted), "127.0.0.1", port))[0]
        for _ in range(binds)
    ]
    await asyncio.wait_for(finished.wait(), 60)
    for transport in transports:
        transport.close()


def _cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure throughput and CPU time per message, and print them."""
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    with simulator_process("--instant") as (process, port):
        for binds, window in ((1, 100), (4, 50)):
            cpu, start = _cpu_seconds(process.pid), time.monotonic()
            asyncio.run(_load(port, messages, binds, window))
            cpu, took = _cpu_seconds(process.pid) - cpu, time.monotonic() - start
            print(
                f"{binds} binds, window {window}: {messages / took:,.0f} messages/s,"
                f" {cpu / messages * 1e6:.0f} µs of CPU each: {messages / cpu:,.0f}/s on one core"
            )


if __name__ == "__main__":
    main()
