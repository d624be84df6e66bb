"""A TCP proxy before a server: it can terminate TLS, and let packets vanish silently."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ssl import SSLContext

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104


class Proxy:
    """Forwards connections to its `port` to another port of this machine.

    With `tls`, clients speak TLS: from the start, or like PostgreSQL (`asks_first`).
    """

    def __init__(
        self, target: int, *, tls: SSLContext | None = None, asks_first: bool = False
    ) -> None:
        self.port = 0
        self.accepted = 0
        self._target, self._tls, self._asks_first = target, tls, asks_first
        self._loop = asyncio.new_event_loop()
        self._sockets: set[Any] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run(self._listen())

    def vanish(self) -> None:
        """Have the kernel drop every packet before TCP sees it, as if the cable were cut.

        Nothing is acknowledged and nothing is reset.
        """
        self._run(self._set_filter(True))

    def restore(self) -> None:
        """Let packets arrive again."""
        self._run(self._set_filter(False))

    def close(self) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _listen(self) -> asyncio.Server:
        tls = None if self._asks_first else self._tls
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        self._sockets.add(server.sockets[0])
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        mine = writer.get_extra_info("socket")
        self._sockets.add(mine)
        try:
            first = await self._greet(reader, writer)
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            back.write(first)
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._sockets.discard(mine)
            writer.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Answer what PostgreSQL's clients ask before anything else; what came after that."""
        while self._asks_first:
            head = await reader.readexactly(8)
            code = struct.unpack(">II", head)[1]
            if code == _GSS_REQUEST or (code == _SSL_REQUEST and self._tls is None):
                writer.write(b"N")
            elif code == _SSL_REQUEST:
                writer.write(b"S")
                await writer.start_tls(self._tls)  # type: ignore[arg-type]
            else:
                return head
        return b""

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await self._passing.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    async def _set_filter(self, dropping: bool) -> None:
        self._passing.clear() if dropping else self._passing.set()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                _drop(each) if dropping else each.setsockopt(
                    socket.SOL_SOCKET, _SO_DETACH_FILTER, 0
                )

    async def _close(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _drop(sock: Any) -> None:
    """Have the kernel drop whatever comes to the socket: a filter that takes no octet (BPF)."""
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HL", 1, ctypes.addressof(instruction))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


@contextlib.contextmanager
def proxy(target: int, **options: Any) -> Iterator[Proxy]:
    """A proxy before that port of this machine."""
    made = Proxy(target, **options)
    try:
        yield made
    finally:
        made.close()
