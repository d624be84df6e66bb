"""Ends of binds under load: every accepted submit gets a response, whichever side unbinds."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from django.core.cache import cache

from imissive.core import ids
from imissive.run.processes import free_port
from messaging.gateway import sessions
from messaging.models import Message, SmppAccount, SmppReceipt, SmppSession
from messaging.smpp import pdus
from messaging.smpp.codec import encode
from messaging.smpp.constants import Status
from messaging.smpp.handlers import LinkConfig
from tests.messaging.gateway.test_server_processes import server as server_process
from tests.support.factories import advance
from tests.support.smpp_clients import RawEsme
from tests.support.smpp_servers import (
    QUICK_HASHERS,
    Member,
    RunningServer,
    eventually,
    running_server,
    submit,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.factories import World

A_SECOND = 400
"""Submits per second of one busy bind."""
IN_TRANSIT = 40
"""Submits in transit when our unbind arrives: those of a tenth of a second."""


@pytest.fixture
def member(committed_world, settings) -> Iterator[Member]:
    settings.PASSWORD_HASHERS = QUICK_HASHERS
    yield from _members(committed_world)


@pytest.fixture
def member_of_process(committed_world) -> Iterator[Member]:
    """With the slow hash, the only one that the process supports."""
    yield from _members(committed_world)


def _members(world: World) -> Iterator[Member]:
    cache.clear()
    world.serve()
    created = Member(world, customer={"credits": 100_000})
    yield created
    created.close()


@pytest.fixture(scope="module")
def server(test_database, django_db_blocker) -> Iterator[RunningServer]:
    with (
        django_db_blocker.unblock(),
        running_server(link=LinkConfig(response_timeout=10.0)) as running,
    ):
        yield running


class Busy:
    """An ESME that submits all the time, and responds to an unbind."""

    def __init__(self, esme: RawEsme) -> None:
        self.esme = esme
        self.responses: list[Any] = []
        self.sent = 0
        self.unbound = False
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=work) for work in (self._submit, self._read)]
        for thread in self._threads:
            thread.start()

    def _submit(self) -> None:
        while not self._over.is_set():
            with self._lock, contextlib.suppress(OSError):
                self.esme.send(*(submit() for _ in range(4)))
                self.sent += 4
            time.sleep(4 / A_SECOND)

    def _read(self) -> None:
        try:
            while (pdu := self.esme.receive(20.0)) is not None:
                if isinstance(pdu, pdus.SubmitSmResp):
                    self.responses.append(pdu)
                elif isinstance(pdu, pdus.Unbind):
                    self._unbind(pdu)
        finally:
            self._over.set()

    def _unbind(self, pdu: pdus.Unbind) -> None:
        self._over.set()
        with self._lock:
            self.unbound = True
            late = [submit() for _ in range(IN_TRANSIT)]
            for late_one in late:
                self.esme._sequence += 1
                late_one.sequence = self.esme._sequence
            self.sent += IN_TRANSIT
            response = pdus.UnbindResp(sequence=pdu.sequence)
            self.esme.send_raw(b"".join(map(encode, [*late, response])))

    def finished(self) -> None:
        """Wait until the connection is closed."""
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


def acknowledged(busy: Busy) -> set[Any]:
    """Return the messages that the ESME got a positive response for."""
    return {
        ids.parse_id(ids.MESSAGE, response.message_id)
        for response in busy.responses
        if not response.status
    }


def is_accounted_for(busy: Busy, member: Member) -> None:
    """Check that the stored messages are exactly those with a positive response."""
    assert busy.unbound
    stored = set(
        Message.objects.filter(organization=member.customer.organization).values_list(
            "id", flat=True
        )
    )
    assert len(stored) > A_SECOND / 4
    missing = len(stored - acknowledged(busy))
    assert stored == acknowledged(busy), f"{missing} of {len(stored)} got no response"
    # Late submits may be sent again, as their status says.
    assert {response.status for response in busy.responses} <= {0, Status.ESME_RMSGQFUL}
    assert len(busy.responses) == busy.sent


def stop_it(running: RunningServer, _member: Member) -> None:
    running.stop(5.0)


def end_bind(running: RunningServer, _member: Member) -> None:
    sessions.end(SmppSession.objects.get())
    running.report()


def disable(running: RunningServer, member: Member) -> None:
    SmppAccount.objects.filter(pk=member.account.pk).update(enabled=False)
    running.report()


def suspend(running: RunningServer, member: Member) -> None:
    member.customer.organization.status = "suspended"
    member.customer.organization.save(update_fields=["status"])
    running.report()


@pytest.mark.parametrize("end", [end_bind, disable, suspend, stop_it])
def test_every_accepted_submit_gets_a_response(
    member: Member, end: Callable[[RunningServer, Member], None]
) -> None:
    with running_server() as running, member.bound(running.port) as esme:
        busy = Busy(esme)
        eventually(lambda: len(busy.responses) > A_SECOND / 2, 20)
        end(running, member)
        busy.finished()
        is_accounted_for(busy, member)


@pytest.mark.timeout(180)
def test_stopped_server_process_responds_to_all_accepted_submits(
    member_of_process: Member,
) -> None:
    member = member_of_process
    port = free_port()
    process = server_process(port, reuse=False)
    try:
        eventually(lambda: _serves(port), 60)
        with member.bound(port) as esme:
            busy = Busy(esme)
            eventually(lambda: len(busy.responses) > A_SECOND / 2, 20)
            process.send_signal(signal.SIGTERM)
            busy.finished()
            assert process.wait(20) == 0
            is_accounted_for(busy, member)
    finally:
        process.kill()
        process.communicate()


def _serves(port: int) -> bool:
    with contextlib.suppress(OSError):
        RawEsme(port).socket.close()
        return True
    return False


def test_silent_receiver_does_not_delay_submit_responses(
    server: RunningServer, member: Member
) -> None:
    """It acknowledges no receipts, which must delay the stop only for a moment."""
    with member.bound(server.port) as esme:
        assert esme.request(submit(receipt=1)).status == 0
        delivered()
        assert isinstance(esme.receive(), pdus.DeliverSm)
        busy = Busy(esme)
        eventually(lambda: len(busy.responses) > A_SECOND / 4, 20)
        started = time.monotonic()
        end_bind(server, member)
        busy.finished()
        assert time.monotonic() - started < 5
        stored = {message.id for message in member.customer.messages()}
        assert len(stored - acknowledged(busy)) == 1  # the first, whose response was read here


# -- the customer unbinds ----------------------------------------------------------------------


def delivered() -> None:
    now = datetime.now(UTC)
    advance(
        Message.objects.filter(final_at=None), "delivered", sent_at=now, final_at=now, due_at=None
    )


def test_unbind_with_pending_receipts_gets_an_immediate_response(
    server: RunningServer, member: Member
) -> None:
    """Unacknowledged receipts return to the queue, and are sent over the next bind."""
    with member.bound(server.port) as esme:
        for _ in range(3):
            assert esme.request(submit(receipt=1)).status == 0
        delivered()
        pending = [esme.receive() for _ in range(3)]
        assert {type(pdu) for pdu in pending} == {pdus.DeliverSm}
        started = time.monotonic()
        assert type(esme.request(pdus.Unbind())) is pdus.UnbindResp
        assert esme.closed()
        assert time.monotonic() - started < 1
    with member.bound(server.port) as esme:
        again = [esme.receive() for _ in range(3)]
        for pdu in again:
            esme.respond(pdu)
        assert sorted(p.short_message for p in again) == sorted(p.short_message for p in pending)
        eventually(lambda: not SmppReceipt.objects.exists())


def test_unbind_response_comes_after_the_submit_responses(
    server: RunningServer, member: Member
) -> None:
    with member.bound(server.port) as esme:
        sequences = esme.send(*(submit() for _ in range(50)), pdus.Unbind())
        responses = [esme.receive() for _ in sequences]
        assert esme.closed()
    assert [type(response) for response in responses[:-1]] == [pdus.SubmitSmResp] * 50
    assert {response.status for response in responses} == {0}
    assert type(responses[-1]) is pdus.UnbindResp
    assert len(member.customer.messages()) == 50
