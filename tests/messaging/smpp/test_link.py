"""SMPP links over real loopback TCP: both sides ours, or a peer of raw bytes."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import subprocess
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import smpplib.client
import smpplib.exceptions

from messaging.smpp import pdus
from messaging.smpp.codec import EncodeError, decode, encode
from messaging.smpp.constants import Status
from messaging.smpp.events import Closed, CloseReason
from messaging.smpp.link import (
    BindRefused,
    ConnectError,
    Handlers,
    Link,
    LinkClosed,
    LinkConfig,
    LinkError,
    NotSent,
    ResponseTimeout,
    connect_esme,
    serve_smsc,
)
from messaging.smpp.session import LocalProtocolError
from messaging.smpp.states import State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HOST = "127.0.0.1"
CONFIG = LinkConfig(response_timeout=5.0, connect_timeout=2.0, linger=0.2)
BIND = pdus.BindTransceiver("me", "pw")


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(within())


def submit(text: bytes = b"x") -> pdus.SubmitSm:
    return pdus.SubmitSm(destination_addr="1", short_message=text)


class Owner:
    """The owner of a link's handlers; it records their calls."""

    def __init__(self, respond: bool = True) -> None:
        self.respond = respond
        self.links: list[Link] = []
        self.requests: list[Any] = []
        self.closed: list[tuple[Closed, list[Any]]] = []
        self.errors: list[Any] = []
        self.unbinding = 0
        self.changed = asyncio.Event()

    @property
    def handlers(self) -> Handlers:
        return Handlers(
            on_request=self.on_request,
            on_bind=self.on_bind,
            on_closed=self.on_closed,
            on_connected=self.links.append,
            on_peer_unbinding=self.on_peer_unbinding,
            on_protocol_error=lambda link, event: self.errors.append(event),
        )

    def on_request(self, link: Link, pdu: pdus.Request) -> None:
        self.requests.append(pdu)
        self.changed.set()
        if self.respond:
            fields: dict[str, Any] = {}
            if isinstance(pdu, pdus.SubmitSm):
                fields["message_id"] = str(len(self.requests))
            link.respond(pdu, **fields)

    def on_bind(self, link: Link, pdu: pdus.Bind) -> None:
        if pdu.password == "pw":
            link.accept_bind(pdu, "smsc")
        else:
            link.refuse_bind(pdu, Status.ESME_RINVPASWD)

    def on_peer_unbinding(self, link: Link) -> None:
        self.unbinding += 1

    def on_closed(self, link: Link, reason: Closed, unanswered: list[Any]) -> None:
        self.closed.append((reason, unanswered))
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()


@asynccontextmanager
async def smsc(owner: Owner, config: LinkConfig = CONFIG, **options):
    server = await serve_smsc(HOST, 0, config, owner.handlers, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for link in owner.links:
            link.abort()


@asynccontextmanager
async def linked(
    esme: Owner, other: Owner, config: LinkConfig = CONFIG, smsc_config: LinkConfig | None = None
):
    async with smsc(other, smsc_config or config) as port:
        link = await connect_esme(HOST, port, BIND, config, handlers=esme.handlers)
        try:
            yield link
        finally:
            link.abort()


@asynccontextmanager
async def raw_smsc(
    after_bind: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
):
    """Run an SMSC that accepts the bind and then calls `after_bind`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bind = await read_pdu(reader)
        writer.write(encode(pdus.BindTransceiverResp("raw", sequence=bind.sequence)))
        try:
            await after_bind(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def read_pdu(reader: asyncio.StreamReader) -> Any:
    head = await reader.readexactly(4)
    return decode(head + await reader.readexactly(int.from_bytes(head, "big") - 4))


# -- connecting ------------------------------------------------------------------------------


def test_bind_submit_deliver_unbind():
    async def test() -> None:
        esme, other = Owner(), Owner()
        async with linked(esme, other) as link:
            assert link.bound
            assert link.bind == BIND
            assert link.interface_version == 0x34
            response: Any = await link.request(submit())
            assert (response.status, response.message_id) == (0, "1")
            (served,) = other.links
            assert served.bind == BIND
            response = await served.request(pdus.DeliverSm(short_message=b"y"))
            assert response == pdus.DeliverSmResp(sequence=response.sequence)
            assert esme.requests[0].short_message == b"y"

            await link.unbind()

            await served.wait_closed()
            assert link.state is State.CLOSED
            assert [reason.reason for reason, _ in esme.closed] == [CloseReason.UNBOUND]
            assert [reason.reason for reason, _ in other.closed] == [CloseReason.PEER_UNBOUND]
            assert other.unbinding == 1
            assert esme.errors == other.errors == []
            with pytest.raises(NotSent):
                await link.request(submit())

    run(test)


def test_a_refused_bind_reports_the_status_and_closes_the_connection():
    async def test() -> None:
        esme, other = Owner(), Owner()
        async with smsc(other) as port:
            wrong = pdus.BindTransceiver("me", "wrong")
            with pytest.raises(BindRefused, match="invalid password") as refused:
                await connect_esme(HOST, port, wrong, CONFIG, handlers=esme.handlers)
            assert refused.value.status == Status.ESME_RINVPASWD
            await other.links[0].wait_closed()

    run(test)


def test_a_bind_that_does_not_fit_opens_no_connection():
    async def test() -> None:
        pdu = pdus.BindTransceiver("me", "a long password")
        with pytest.raises(EncodeError, match="password"):
            await connect_esme(HOST, 1, pdu, CONFIG, handlers=Owner().handlers)

    run(test)


def test_connecting_to_a_closed_port():
    async def test() -> None:
        with socket.socket() as unused:
            unused.bind((HOST, 0))
            port = unused.getsockname()[1]
            with pytest.raises(ConnectError, match=f"{HOST}:{port}: "):
                await connect_esme(HOST, port, BIND, CONFIG, handlers=Owner().handlers)

    run(test)


def test_a_host_that_does_not_exist():
    async def test() -> None:
        with pytest.raises(ConnectError, match=r"smsc\.invalid:2775: "):
            await connect_esme("smsc.invalid", 2775, BIND, CONFIG, handlers=Owner().handlers)

    run(test)


@pytest.mark.parametrize("octets", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"\0\0\0\x10"])
def test_a_server_that_does_not_respond_to_the_bind(octets):
    async def test() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(octets)
            writer.close()

        server = await asyncio.start_server(serve, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectError, match=r"connection lost|cannot be followed"):
            await connect_esme(HOST, port, BIND, CONFIG, handlers=Owner().handlers)
        server.close()

    run(test)


def test_a_server_that_is_silent():
    async def test() -> None:
        server = await asyncio.start_server(lambda r, w: None, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        config = replace(CONFIG, response_timeout=0.1)
        with pytest.raises(ConnectError, match="no answer to the bind"):
            await connect_esme(HOST, port, BIND, config, handlers=Owner().handlers)
        server.close()

    run(test)


def test_connecting_may_be_canceled():
    async def test() -> None:
        esme, connected = Owner(), asyncio.Event()

        def on_connected(link: Link) -> None:
            esme.links.append(link)
            connected.set()

        handlers = replace(esme.handlers, on_connected=on_connected)
        server = await asyncio.start_server(lambda r, w: None, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        connecting = asyncio.create_task(connect_esme(HOST, port, BIND, CONFIG, handlers=handlers))
        await connected.wait()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await esme.links[0].wait_closed()
        server.close()

    run(test)


def test_a_peer_that_does_not_bind_is_disconnected():
    async def test() -> None:
        other = Owner()
        async with smsc(other, replace(CONFIG, session_init_timeout=0.1)) as port:
            reader, writer = await asyncio.open_connection(HOST, port)
            assert await reader.read() == b""
            writer.close()
            assert other.closed[0][0].reason is CloseReason.SESSION_INIT_TIMEOUT

    run(test)


def test_the_response_to_a_bind_may_be_deferred():
    async def test() -> None:
        asked: asyncio.Future[tuple[Link, pdus.Bind]] = asyncio.Future()
        handlers = Handlers(
            on_request=lambda link, pdu: None,
            on_bind=lambda link, pdu: asked.set_result((link, pdu)),
        )
        server = await serve_smsc(HOST, 0, CONFIG, handlers)
        port = server.sockets[0].getsockname()[1]
        connecting = asyncio.create_task(
            connect_esme(HOST, port, BIND, CONFIG, handlers=Owner().handlers)
        )
        link, pdu = await asked
        assert link.accept_bind(pdu, "smsc")
        assert (await connecting).bound
        (await connecting).abort()
        server.close()

    run(test)


def test_binds_are_refused_without_a_handler():
    async def test() -> None:
        server = await serve_smsc(HOST, 0, CONFIG, Handlers(on_request=lambda link, pdu: None))
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BindRefused, match="ESME_RBINDFAIL"):
            await connect_esme(HOST, port, BIND, CONFIG, handlers=Owner().handlers)
        server.close()

    run(test)


def test_tls(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", key, "-out", certificate]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(certificate, key)

    async def test() -> None:
        async with smsc(Owner(), ssl=serving) as port:
            trusting = ssl.create_default_context(cafile=str(certificate))
            link = await connect_esme(
                HOST, port, BIND, CONFIG, handlers=Owner().handlers, ssl=trusting
            )
            response: Any = await link.request(submit())
            assert response.message_id == "1"
            await link.unbind()
            distrusting = ssl.create_default_context()
            with pytest.raises(ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await connect_esme(
                    HOST, port, BIND, CONFIG, handlers=Owner().handlers, ssl=distrusting
                )

    run(test)


# -- requests --------------------------------------------------------------------------------


def test_a_window_of_requests_by_callback():
    async def test() -> None:
        outcomes: list[tuple[Any, Any]] = []
        done = asyncio.Event()

        def on_done(context: Any, outcome: Any) -> None:
            outcomes.append((context, outcome.message_id))
            if len(outcomes) == 500:
                done.set()

        async with linked(Owner(), Owner()) as link:
            for number in range(500):
                link.send(submit(), on_done, number)
            assert link.outstanding == 500
            await done.wait()
            assert outcomes == [(number, str(number + 1)) for number in range(500)]
            assert link.outstanding == 0

    run(test)


def test_the_context_is_the_pdu_unless_given():
    async def test() -> None:
        async with linked(Owner(), Owner()) as link:
            pdu, done = submit(), asyncio.get_running_loop().create_future()
            link.send(pdu, lambda context, outcome: done.set_result(context))
            assert await done is pdu

    run(test)


def test_responses_may_be_deferred():
    async def test() -> None:
        other = Owner(respond=False)
        async with linked(Owner(), other) as link:
            asked: list[asyncio.Task[Any]] = [
                asyncio.create_task(link.request(submit())) for _ in range(3)
            ]
            await other.until(lambda: len(other.requests) == 3)
            (served,) = other.links
            assert served.inbound_pending == 3
            for number, pdu in reversed(list(enumerate(other.requests))):
                assert served.respond(pdu, message_id=f"m{number}")
            assert [r.message_id for r in await asyncio.gather(*asked)] == ["m0", "m1", "m2"]

    run(test)


def test_a_peer_that_never_responds():
    async def test() -> None:
        other = Owner(respond=False)
        config = replace(CONFIG, response_timeout=0.1)
        async with linked(Owner(), other, config) as link:
            with pytest.raises(ResponseTimeout):
                await link.request(submit())
            assert link.bound
            assert link.outstanding == 0
            other.links[0].respond(other.requests[0])
            other.respond = True
            assert (await link.request(submit())).status == 0
            assert link.protocol_errors == 1  # the late response

    run(test)


def test_a_request_after_a_long_silence_has_its_own_timeout():
    """By then the timer is set for a later enquire_link, and has to be set again."""

    async def test() -> None:
        config = replace(CONFIG, response_timeout=0.05)
        async with linked(Owner(), Owner(respond=False), config) as link:
            await asyncio.sleep(0.1)
            with pytest.raises(ResponseTimeout):
                await asyncio.wait_for(link.request(submit()), timeout=1)

    run(test)


def test_a_silent_peer_gets_enquire_link_and_is_dropped():
    async def test() -> None:
        esme = Owner()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(-1)

        config = replace(CONFIG, enquire_link_interval=0.05, response_timeout=0.1)
        async with raw_smsc(silent) as port:
            await connect_esme(HOST, port, BIND, config, handlers=esme.handlers)
            await esme.until(lambda: bool(esme.closed))
            assert esme.closed[0][0].reason is CloseReason.ENQUIRE_LINK_TIMEOUT

    run(test)


def test_an_idle_link_is_kept_alive():
    async def test() -> None:
        config = replace(CONFIG, enquire_link_interval=0.02, response_timeout=0.2)
        async with linked(Owner(), Owner(), config) as link:
            await asyncio.sleep(0.3)
            assert link.bound

    run(test)


def test_a_peer_that_drops_the_connection_within_a_window():
    """Of a window of five, two have responses; the outcomes of the other three are unknown."""

    async def test() -> None:
        esme = Owner()

        async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            window = [await read_pdu(reader) for _ in range(5)]
            for pdu in window[:2]:
                writer.write(encode(pdus.SubmitSmResp("1", sequence=pdu.sequence)))
            await writer.drain()

        async with raw_smsc(drop) as port:
            link = await connect_esme(HOST, port, BIND, CONFIG, handlers=esme.handlers)
            outcomes: dict[Any, Any] = {}
            for number in range(5):
                link.send(submit(), outcomes.__setitem__, number)
            await link.wait_closed()
            assert isinstance(outcomes[0], pdus.SubmitSmResp)
            assert isinstance(outcomes[1], pdus.SubmitSmResp)
            assert [type(outcomes[n]) for n in (2, 3, 4)] == [LinkClosed] * 3
            ((reason, unanswered),) = esme.closed
            assert reason.reason is CloseReason.CONNECTION_LOST
            assert unanswered == [2, 3, 4]
            with pytest.raises(NotSent):
                link.send(submit(), outcomes.__setitem__, 5)

    run(test)


def test_unwritten_requests_are_reported_as_not_sent():
    async def test() -> None:
        esme = Owner()
        async with linked(esme, Owner(respond=False)) as link:
            outcomes: dict[Any, Any] = {}
            link.send(submit(), outcomes.__setitem__, "written")
            await link.drain()
            link.send(submit(), outcomes.__setitem__, "not written")
            link.connection_lost(ConnectionResetError("reset"))  # in the same iteration
            assert type(outcomes["written"]) is LinkClosed
            assert type(outcomes["not written"]) is NotSent
            assert esme.closed[0][1] == ["written"]

    run(test)


def test_requests_queued_during_a_disconnect_are_not_sent():
    async def test() -> None:
        async with linked(Owner(), Owner()) as link:
            outcomes: dict[Any, Any] = {}
            assert link._transport is not None
            link._transport.abort()  # asyncio notifies the protocol in its next iteration
            link.send(submit(), outcomes.__setitem__, "not written")
            await link.drain()
            await link.wait_closed()
            assert type(outcomes["not written"]) is NotSent

    run(test)


def test_abort_reports_immediately():
    async def test() -> None:
        other = Owner(respond=False)
        async with linked(Owner(), other) as link:
            asked: asyncio.Task[Any] = asyncio.create_task(link.request(submit()))
            await other.until(lambda: bool(other.requests))
            link.abort()
            with pytest.raises(LinkClosed, match="aborted"):
                await asked
            await link.wait_closed()

    run(test)


def test_a_canceled_request_does_no_harm():
    async def test() -> None:
        other = Owner(respond=False)
        async with linked(Owner(), other) as link:
            asked: asyncio.Task[Any] = asyncio.create_task(link.request(submit()))
            await other.until(lambda: bool(other.requests))
            asked.cancel()
            other.links[0].respond(other.requests[0])
            other.respond = True
            assert (await link.request(submit())).status == 0

    run(test)


def test_requests_that_the_bind_does_not_allow_are_not_sent():
    async def test() -> None:
        async with smsc(Owner()) as port:
            bind = pdus.BindReceiver("me", "pw")
            link = await connect_esme(HOST, port, bind, CONFIG, handlers=Owner().handlers)
            assert not link.may_send(pdus.SubmitSm.command_id)
            with pytest.raises(NotSent, match="BOUND_RX"):
                await link.request(submit())
            await link.unbind()

    run(test)


def test_requests_that_do_not_fit_are_not_sent():
    async def test() -> None:
        other = Owner(respond=False)
        async with linked(Owner(), other) as link:
            with pytest.raises(EncodeError, match="short_message"):
                await link.request(submit(b"x" * 255))
            asked: asyncio.Task[Any] = asyncio.create_task(link.request(submit()))
            await other.until(lambda: bool(other.requests))
            (served,), (pdu,) = other.links, other.requests
            with pytest.raises(EncodeError, match="message_id"):
                served.respond(pdu, message_id="x" * 65)
            served.respond(pdu, message_id="1")
            assert (await asked).message_id == "1"
            with pytest.raises(LocalProtocolError):
                served.respond(pdu)

    run(test)


# -- failing handlers ------------------------------------------------------------------------


def test_a_failing_handler_responds_with_a_system_error(caplog):
    async def test() -> None:
        def fail(link: Link, pdu: pdus.Request) -> None:
            raise RuntimeError("no")

        owner = Owner()
        handlers = replace(owner.handlers, on_request=fail)
        server = await serve_smsc(HOST, 0, CONFIG, handlers)
        port = server.sockets[0].getsockname()[1]
        link = await connect_esme(HOST, port, BIND, CONFIG, handlers=Owner().handlers)
        response: Any = await link.request(submit(b"a secret text"))
        assert response.status == Status.ESME_RSYSERR
        assert (await link.request(submit())).status == Status.ESME_RSYSERR
        link.abort()
        server.close()

    with caplog.at_level(logging.DEBUG):
        run(test)
    assert "handler failed" in caplog.text
    assert "a secret text" not in caplog.text


def test_a_failing_callback_does_not_affect_others(caplog):
    async def test() -> None:
        async with linked(Owner(), Owner()) as link:

            def fail(context: Any, outcome: Any) -> None:
                raise RuntimeError("no")

            link.send(submit(), fail)
            assert (await link.request(submit())).message_id == "2"

    run(test)
    assert "on_done failed" in caplog.text


def test_a_peer_cannot_fill_the_log(caplog):
    async def test() -> None:
        async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(encode(pdus.SubmitSmResp("1", sequence=77)) * 100)
            writer.write(encode(pdus.SubmitSm(sequence=1)))
            await read_pdu(reader)

        handlers = Handlers(on_request=lambda link, pdu: None)
        async with raw_smsc(babble) as port:
            link = await connect_esme(HOST, port, BIND, CONFIG, handlers=handlers)
            await link.wait_closed()
            assert link.protocol_errors == 101

    with caplog.at_level(logging.INFO, "messaging.smpp"):
        run(test)
    (warning,) = caplog.messages
    assert "unexpected submit_sm_resp" in warning


# -- misbehaving peers -----------------------------------------------------------------------


def test_garbage_ends_the_link_with_a_nack():
    async def test() -> None:
        other = Owner()
        async with smsc(other) as port:
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(b"GET / HTTP/1.1\r\nHost: smsc\r\n\r\n")
            assert await read_pdu(reader) == pdus.GenericNack(status=Status.ESME_RINVCMDLEN)
            assert await reader.read() == b""
            writer.close()
            assert other.closed[0][0].reason is CloseReason.FRAME_ERROR

    run(test)


def test_a_response_with_an_odd_body():
    async def test() -> None:
        async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            pdu = await read_pdu(reader)
            octets = bytearray(encode(pdus.SubmitSmResp("1", sequence=pdu.sequence)))
            octets[-1] = 0x41
            writer.write(octets)
            await reader.read(1)

        async with raw_smsc(respond) as port:
            link = await connect_esme(HOST, port, BIND, CONFIG, handlers=Owner().handlers)
            answered: Any = await link.request(submit())
            assert (answered.status, answered.message_id) == (0, "1A")
            link.abort()

    run(test)


def test_a_flooding_peer_is_not_read_until_it_has_responses():
    async def test() -> None:
        other = Owner(respond=False)
        smsc_config = replace(CONFIG, max_inbound_pending=10)
        async with linked(Owner(), other, CONFIG, smsc_config) as link:
            asked = asyncio.gather(*(link.request(submit()) for _ in range(100)))
            answered = 0
            while answered < 100:
                await asyncio.sleep(0.001)
                (served,) = other.links
                assert served.inbound_pending <= 10
                for pdu in other.requests[answered:]:
                    served.respond(pdu)
                    answered += 1
            assert {response.status for response in await asked} == {0}

    run(test)


def test_immediate_responses_never_stall_at_a_bound_of_one():
    async def test() -> None:
        smsc_config = replace(CONFIG, max_inbound_pending=1)
        async with linked(Owner(), Owner(), CONFIG, smsc_config) as link:
            responses = await asyncio.gather(*(link.request(submit()) for _ in range(50)))
            assert len(responses) == 50

    run(test)


async def flood(writer: asyncio.StreamWriter) -> None:
    octets = encode(pdus.EnquireLink(sequence=1)) * 10_000
    while True:
        writer.write(octets)
        await writer.drain()


def test_a_peer_that_sends_without_reading_is_not_read():
    async def test() -> None:
        other = Owner()
        config = replace(CONFIG, max_unsent=100_000)
        async with smsc(other, config) as port:
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(encode(replace(BIND, sequence=1)))
            await read_pdu(reader)
            (served,) = other.links
            assert served._transport is not None
            # Otherwise the kernel would buffer megabytes first.
            peer_socket = served._transport.get_extra_info("socket")
            peer_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(flood(writer), timeout=0.7)
            assert served._transport.get_write_buffer_size() < 100_000 + 300_000
            assert served.bound

            reader._transport.resume_reading()  # type: ignore[attr-defined]
            writer.write(encode(pdus.EnquireLink(sequence=2)))
            while await read_pdu(reader) != pdus.EnquireLinkResp(sequence=2):
                continue
            writer.transport.abort()

    run(test)


def test_drain_waits_for_a_slow_peer():
    async def test() -> None:
        reading = asyncio.Event()

        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reading.wait()
            while await reader.read(1 << 20):
                continue

        async with raw_smsc(slow) as port:
            link = await connect_esme(HOST, port, BIND, CONFIG, handlers=Owner().handlers)
            await link.drain()
            payload = {0x0424: b"x" * 60_000}
            for _ in range(300):
                link.send(pdus.SubmitSm(tlvs=payload), lambda context, outcome: None)
            draining = asyncio.create_task(link.drain())
            await asyncio.sleep(0.05)
            assert not draining.done()
            reading.set()
            await draining
            assert link.bound
            reading.clear()
            link.abort()
            with pytest.raises(LinkClosed):
                await link.drain()

    run(test)


def test_drain_ends_with_the_link():
    async def test() -> None:
        async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(1)

        async with raw_smsc(deaf) as port:
            link = await connect_esme(HOST, port, BIND, CONFIG, handlers=Owner().handlers)
            for _ in range(300):
                link.send(
                    pdus.SubmitSm(tlvs={0x0424: b"x" * 60_000}), lambda context, outcome: None
                )
            draining = asyncio.create_task(link.drain())
            await asyncio.sleep(0.01)
            assert not draining.done()
            link.abort()
            with pytest.raises(LinkClosed, match="aborted"):
                await asyncio.wait_for(draining, timeout=1)

    run(test)


# -- the end ---------------------------------------------------------------------------------


def test_unbind_waits_for_pending_responses_of_both_sides():
    async def test() -> None:
        esme, other = Owner(respond=False), Owner(respond=False)
        async with linked(esme, other) as link:
            (served,) = other.links
            asked: asyncio.Task[Any] = asyncio.create_task(link.request(submit()))
            asking = asyncio.create_task(served.request(pdus.DeliverSm()))
            await other.until(lambda: bool(other.requests))
            await esme.until(lambda: bool(esme.requests))

            unbinding = asyncio.create_task(link.unbind())
            await asyncio.sleep(0.02)
            with pytest.raises(NotSent):
                await link.request(submit())
            assert link.bound
            served.respond(other.requests[0], message_id="1")
            assert (await asked).message_id == "1"
            await asyncio.sleep(0.02)
            assert link.bound
            assert other.unbinding == 0
            link.respond(esme.requests[0])
            assert (await asking).status == 0
            await unbinding
            assert esme.closed == [(Closed(CloseReason.UNBOUND), [])]

    run(test)


def test_unbind_completes_while_the_peer_keeps_sending():
    async def test() -> None:
        esme, other = Owner(respond=False), Owner()
        async with linked(esme, other) as link:
            (served,) = other.links

            def respond_later(link: Link, pdu: pdus.Request) -> None:
                asyncio.get_running_loop().call_later(0.05, link.respond, pdu)

            link.handlers = replace(link.handlers, on_request=respond_later)
            asking = asyncio.create_task(keep_sending(served))
            await asyncio.sleep(0.02)
            assert link.inbound_pending
            await link.unbind(timeout=2)
            with pytest.raises(NotSent, match=r"UNBOUND|CLOSED|unbinding"):
                await asking
            assert esme.closed[0][0].reason is CloseReason.UNBOUND

    async def keep_sending(served: Link) -> None:
        while True:
            served.send(pdus.DeliverSm(), lambda context, outcome: None)
            await asyncio.sleep(0.001)

    run(test)


def test_unbind_does_not_wait_for_ever():
    async def test() -> None:
        esme, other = Owner(), Owner(respond=False)
        async with linked(esme, other) as link:
            link.send(submit(), lambda context, outcome: None, "context")
            await other.until(lambda: bool(other.requests))
            await link.unbind(timeout=0.05)
            await link.wait_closed()
            ((reason, unanswered),) = esme.closed
            assert reason.reason is CloseReason.LOCAL
            assert unanswered == ["context"]

    run(test)


def test_unbind_of_a_lost_link():
    async def test() -> None:
        async with linked(Owner(), Owner()) as link:
            link.abort()
            await link.unbind()
            await link.unbind()

    run(test)


def test_a_peer_that_does_not_read_does_not_keep_a_closed_link_open():
    async def test() -> None:
        async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(5)

        async with raw_smsc(deaf) as port:
            link = await connect_esme(HOST, port, BIND, CONFIG, handlers=Owner().handlers)
            for _ in range(300):
                link.send(
                    pdus.SubmitSm(tlvs={0x0424: b"x" * 60_000}), lambda context, outcome: None
                )
            await asyncio.sleep(0.02)
            link.close()
            await asyncio.wait_for(link.wait_closed(), timeout=2)

    run(test)


def test_link_errors_are_of_one_family():
    family = (NotSent, LinkClosed, ResponseTimeout, ConnectError, BindRefused)
    assert all(issubclass(error, LinkError) for error in family)
    # Code that catches an unknown outcome must not catch NotSent, which may be sent again.
    assert not issubclass(NotSent, LinkClosed)


# -- an independent peer ---------------------------------------------------------------------


def test_smpplib_as_the_esme():
    def use(port: int) -> list[str]:
        client = smpplib.client.Client(HOST, port, timeout=5, allow_unknown_opt_params=True)
        sent: list[str] = []
        client.set_message_sent_handler(lambda pdu: sent.append(pdu.message_id.decode()))
        client.connect()
        client.bind_transceiver(system_id="me", password="pw")
        for number in range(3):
            client.send_message(
                source_addr="A", destination_addr="966", short_message=b"%d" % number
            )
            client.read_once()
        client.unbind()
        client.disconnect()
        return sent

    async def test() -> None:
        other = Owner()
        async with smsc(other) as port:
            assert await asyncio.to_thread(use, port) == ["1", "2", "3"]
            assert [pdu.short_message for pdu in other.requests] == [b"0", b"1", b"2"]
            await other.until(lambda: bool(other.closed))
            assert other.closed[0][0].reason is CloseReason.PEER_UNBOUND
            assert other.errors == []

    run(test)
