"""The customers' SMPP server in a thread, and customers that bind to it."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import IntegrityError

from messaging.gateway import accounts
from messaging.gateway.server import CustomerServer, Options
from messaging.models import SmppAccount
from messaging.smpp import pdus
from tests.support.smpp_clients import RawEsme

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from tests.support.factories import Customer, World

T = TypeVar("T")
# Argon2 is slow, and has tests of its own.
QUICK_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


class RunningServer:
    """A server in another thread; everything here may be called from any thread."""

    def __init__(self, server: CustomerServer, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self._loop = loop
        self.stopped = False

    @property
    def port(self) -> int:
        return self.server.port

    def run(self, coroutine: Coroutine[Any, Any, T], seconds: float = 20.0) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(seconds)

    def call(self, function: Callable[[], T]) -> T:
        async def called() -> T:
            return function()

        return self.run(called())

    @property
    def bound(self) -> int:
        return self.call(lambda: sum(c.session_id is not None for c in self.server.connections))

    @property
    def connections(self) -> int:
        return self.call(lambda: len(self.server.connections))

    def report(self) -> None:
        """Report its binds, as it does every two seconds."""
        self.run(self.server._report())

    def stop(self, seconds: float = 2.0) -> None:
        if not self.stopped:
            self.stopped = True
            self.run(self.server.stop(seconds))


@contextmanager
def running_server(**options: Any) -> Iterator[RunningServer]:
    """Run a server on a free port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="smpp server", daemon=True)
    thread.start()

    async def make() -> CustomerServer:
        server = CustomerServer(Options(port=0, **options))
        await server.start()
        return server

    server = asyncio.run_coroutine_threadsafe(make(), loop).result(20)
    running = RunningServer(server, loop)
    try:
        yield running
    finally:
        running.stop()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


class Member:
    """A customer with an SMPP account; `close` deletes the account and its submits."""

    def __init__(self, world: World, system_id: str = "acme", **fields: Any) -> None:
        self.customer: Customer = world.customer(**fields.pop("customer", {}))
        self.account, self.password = accounts.create_account(
            self.customer.organization, system_id, test=fields.pop("test", False)
        )
        # The format of ids that identifies the message.
        self.set(**{"id_format": "public"} | fields)

    def set(self, **fields: Any) -> None:
        SmppAccount.objects.filter(pk=self.account.pk).update(**fields)
        self.account.refresh_from_db()

    @contextmanager
    def bound(
        self, port: int, kind: type[pdus.Bind] = pdus.BindTransceiver, **fields: Any
    ) -> Iterator[RawEsme]:
        """Yield a socket that is bound as the account."""
        esme = RawEsme(port)
        try:
            response = esme.request(kind(self.account.system_id, self.password, **fields))
            assert response.status == 0, response
            yield esme
        finally:
            esme.socket.close()

    def close(self) -> None:
        eventually(self._deleted)

    def _deleted(self) -> bool:
        try:
            self.account.delete()
        except IntegrityError:
            return False  # a bind was reported at the same time
        return True


def eventually(true: Callable[[], Any], seconds: float = 5.0) -> Any:
    """Wait until a function returns something true, and return that."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"not so within {seconds:g} s"
        time.sleep(0.01)
    return found


def submit(
    text: bytes = b"hello", to: str = "966501234567", *, receipt: int = 0, **fields: Any
) -> pdus.SubmitSm:
    """Return a submit_sm from MyCompany."""
    return pdus.SubmitSm(
        "", 5, 0, "MyCompany", 1, 1, to, short_message=text, registered_delivery=receipt, **fields
    )
