"""Both sides of our SMPP against independent implementations: smpp34 and aiosmpplib.

smpplib's client meets the simulator in test_simulator.py.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiosmpplib
import pytest
import smpp34

from imissive.run.processes import free_port
from messaging.smpp import pdus
from messaging.smpp.constants import Status, Tag
from messaging.smpp.link import Handlers, Link, LinkConfig, NotSent, connect_esme
from messaging.smpp.receipt import parse_receipt
from messaging.text.encoding import concat_udh, split
from tests.support.simulators import running_simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ARABIC = "رسالة طويلة إلى العميل " * 8


def soon(awaitable: Any) -> Any:
    return asyncio.wait_for(awaitable, 5)


@pytest.fixture
def simulator():
    with running_simulator(receipt_delay=0.02) as running:
        yield running


# -- smpp34's client against the simulator -----------------------------------------------------


@pytest.mark.parametrize("kind", ["TRX", "TX"])
def test_smpp34_client(simulator, kind):
    async def run() -> None:
        client = smpp34.Client("127.0.0.1", simulator.port, "demo", "secret", bind_type=kind)
        smsc = await soon(client.connect())
        response = await soon(
            smsc.submit_sm(
                "+966512345678",
                "مرحبا".encode("utf-16-be"),
                source_addr="MyCompany",
                source_addr_ton=5,
                data_coding=8,
                registered_delivery=1,
            )
        )
        (submit,) = simulator.submits
        assert (response.is_success, response.message_id) == (True, submit.message_id)
        assert (submit.text, submit.destination) == ("مرحبا", "+966512345678")
        if kind == "TRX":
            event = await soon(smsc.next())
            tlvs = {tlv.tag: tlv.value for tlv in event.tlvs}
            receipt = parse_receipt(event.short_message, tlvs)
            assert receipt is not None
            assert (receipt.message_id, receipt.state) == (submit.message_id, "delivered")
            assert event.esm_class == 0x04
        refused = await soon(smsc.submit_sm("966500000003", b"x", source_addr="MyCompany"))
        assert refused.command_status == Status.ESME_RINVDSTADR
        await soon(smsc.unbind())
        assert isinstance(await soon(smsc.next()), smpp34.Disconnected)

    asyncio.run(run())
    simulator.wait_for(lambda sim: not sim.connections)
    if kind == "TRX":
        assert simulator.tally.receipts_answered == 1
    else:
        simulator.wait_for(lambda sim: sim.waiting_receipts == 1)


def test_smpp34_client_in_a_window(simulator):
    simulator.options.receipt_delay = 0.0

    async def run() -> None:
        client = smpp34.Client(
            "127.0.0.1", simulator.port, "demo", "secret", bind_type="TRX", window_size=50
        )
        smsc = await soon(client.connect())
        responses = await soon(
            asyncio.gather(
                *(smsc.submit_sm("966512345678", b"x", registered_delivery=1) for _ in range(500))
            )
        )
        receipted: set[str | None] = set()
        while len(receipted) < 500:
            event = await soon(smsc.next())
            receipted.add(smpp34.Tlv(Tag.RECEIPTED_MESSAGE_ID, event.tlvs[0].value).as_string())
        assert receipted == {response.message_id for response in responses}
        await soon(smsc.unbind())

    asyncio.run(run())


def test_smpp34_client_with_a_wrong_password(simulator):
    simulator.options.password = "another"

    async def run() -> None:
        # It treats a refusal as temporary, and retries until its timeout.
        client = smpp34.Client(
            "127.0.0.1", simulator.port, "demo", "secret", connect_timeout_ms=300
        )
        with pytest.raises(smpp34.SmppError):
            await soon(client.connect())

    asyncio.run(run())


# -- aiosmpplib's client against the simulator -------------------------------------------------


class Hook(aiosmpplib.AbstractHook):
    def __init__(self) -> None:
        self.messages: asyncio.Queue[Any] = asyncio.Queue()

    async def sending(self, smpp_message: Any, pdu: bytes, client_id: str) -> None: ...

    async def received(self, smpp_message: Any, pdu: bytes, client_id: str) -> None:
        if isinstance(smpp_message, aiosmpplib.SubmitSmResp | aiosmpplib.DeliverSm):
            self.messages.put_nowait(smpp_message)

    async def send_error(self, smpp_message: Any, error: Exception, client_id: str) -> None:
        self.messages.put_nowait(error)


@asynccontextmanager
async def aiosmpplib_client(port: int) -> AsyncIterator[tuple[aiosmpplib.ESME, Hook]]:
    hook = Hook()
    esme = aiosmpplib.ESME("127.0.0.1", port, "demo", "secret", hook=hook, log_level="CRITICAL")
    running = asyncio.create_task(esme.start())
    try:
        yield esme, hook
    finally:
        await soon(esme.stop())
        running.cancel()


def aiosmpplib_message(text: str, log_id: str, **fields: Any) -> aiosmpplib.SubmitSm:
    return aiosmpplib.SubmitSm(
        short_message=text,
        source=aiosmpplib.PhoneNumber("MyCompany", aiosmpplib.TON.ALPHANUMERIC),
        destination=aiosmpplib.PhoneNumber("966512345678", aiosmpplib.TON.INTERNATIONAL),
        log_id=log_id,
        **fields,
    )


def test_aiosmpplib_client(simulator):
    async def run() -> None:
        async with aiosmpplib_client(simulator.port) as (esme, hook):
            await esme.broker.enqueue(aiosmpplib_message("hello", "one"))
            response, receipt = [await soon(hook.messages.get()) for _ in range(2)]
            assert isinstance(response, aiosmpplib.SubmitSmResp)
            assert receipt.is_receipt()
            assert (response.log_id, receipt.log_id) == ("one", "one")  # the client matched them
            parsed = receipt.parse_receipt()
            assert (parsed["id"], parsed["stat"]) == (response.message_id, "DELIVRD")
            assert response.message_id == simulator.submits[0].message_id

    asyncio.run(run())


def test_aiosmpplib_client_with_a_long_message(simulator):
    async def run() -> None:
        async with aiosmpplib_client(simulator.port) as (esme, hook):
            long = aiosmpplib_message(ARABIC, "long", esm_class=0x40, auto_message_payload=False)
            await esme.broker.enqueue(long)
            # It reports one response and one receipt for the message, once all parts have theirs.
            _, receipt = [await soon(hook.messages.get()) for _ in range(2)]
            assert receipt.log_id == "long"
        submits = simulator.submits
        assert len(submits) == len(split(ARABIC).parts)
        assert "".join(submit.text for submit in submits) == ARABIC
        assert simulator.tally.receipts_answered == len(submits)

    asyncio.run(run())


# -- our ESME against smpp34's server ----------------------------------------------------------


@asynccontextmanager
async def smpp34_server(
    bind: type[pdus.Bind] = pdus.BindTransceiver,
) -> AsyncIterator[tuple[smpp34.Server, smpp34.Esme, Link, asyncio.Queue[pdus.Request]]]:
    """Run smpp34's server with our link bound to it, and yield the link's requests."""
    received: asyncio.Queue[pdus.Request] = asyncio.Queue()

    def on_request(link: Link, pdu: pdus.Request) -> None:
        link.respond(pdu)
        received.put_nowait(pdu)

    port = free_port()
    server = smpp34.Server("127.0.0.1", port, system_id="SMPP34")
    await soon(server.start())
    link = await soon(
        connect_esme(
            "127.0.0.1",
            port,
            bind("demo", "secret"),
            LinkConfig(),
            handlers=Handlers(on_request=on_request),
        )
    )
    esme = await soon(server.next())
    try:
        yield server, esme, link, received
    finally:
        link.abort()
        await soon(server.stop())


def message(text: bytes = b"hello", **fields: Any) -> pdus.SubmitSm:
    return pdus.SubmitSm("", 5, 0, "MyCompany", 1, 1, "966512345678", short_message=text, **fields)


def test_our_esme_submits():
    async def run() -> None:
        async with smpp34_server() as (server, esme, link, _):
            assert (esme.system_id, esme.can_receive) == ("demo", True)
            assert link.interface_version == 0x34
            pending = asyncio.create_task(link.request(message(registered_delivery=1)))
            event = await soon(server.next())
            assert isinstance(event, smpp34.SubmitSmEvent)
            assert (event.source_addr, event.source_addr_ton) == ("MyCompany", 5)
            assert (event.destination_addr, event.dest_addr_npi) == ("966512345678", 1)
            assert (event.short_message, event.registered_delivery) == (b"hello", 1)
            event.accept("abc-123")
            response = await soon(pending)
            assert (response.status, response.message_id) == (0, "abc-123")

            pending = asyncio.create_task(link.request(message()))
            (await soon(server.next())).reject(Status.ESME_RTHROTTLED)
            response = await soon(pending)
            assert (response.status, response.message_id) == (Status.ESME_RTHROTTLED, "")

    asyncio.run(run())


def test_our_esme_submits_a_long_message_in_one_window():
    async def run() -> None:
        async with smpp34_server() as (server, _, link, _):
            parts = split(ARABIC).parts
            frames = [concat_udh(7, len(parts), i) + part for i, part in enumerate(parts, 1)]
            responses = [
                asyncio.create_task(link.request(message(frame, esm_class=0x40, data_coding=8)))
                for frame in frames
            ]
            seen = []
            for number in range(len(parts)):
                event = await soon(server.next())
                seen.append(event.short_message)
                assert (event.esm_class, event.data_coding) == (0x40, 8)
                event.accept(f"id-{number}")
            ids = [response.message_id for response in await soon(asyncio.gather(*responses))]
            assert sorted(seen) == sorted(frames)
            assert sorted(ids) == [f"id-{number}" for number in range(len(parts))]

    asyncio.run(run())


def test_our_esme_gets_receipts():
    async def run() -> None:
        async with smpp34_server() as (_, esme, _, received):
            pending = esme.deliver_sm(
                "MyCompany",
                b"id:abc sub:001 dlvrd:001 stat:DELIVRD err:000 text:hello",
                source_addr="966512345678",
                esm_class=0x04,
                tlvs=[
                    smpp34.Tlv(Tag.RECEIPTED_MESSAGE_ID, b"abc\0"),
                    smpp34.Tlv(Tag.MESSAGE_STATE, b"\x02"),
                ],
            )
            assert (await soon(pending)).is_success
            pdu = await soon(received.get())
            assert isinstance(pdu, pdus.DeliverSm)
            assert pdu.is_receipt
            assert (pdu.source_addr, pdu.destination_addr) == ("966512345678", "MyCompany")
            receipt = parse_receipt(pdu.short_message, pdu.tlvs)
            assert receipt is not None
            assert (receipt.message_id, receipt.state) == ("abc", "delivered")

    asyncio.run(run())


def test_our_esme_sends_enquire_link_and_unbinds():
    async def run() -> None:
        async with smpp34_server(pdus.BindReceiver) as (server, esme, link, _):
            assert esme.can_receive
            assert (await soon(link.request(pdus.EnquireLink()))).status == 0
            with pytest.raises(NotSent):
                link.send(message(), lambda *_: None)
            await soon(link.unbind())
            assert isinstance(await soon(server.next()), smpp34.Unbound)

    asyncio.run(run())


def test_our_esme_is_unbound_by_the_server():
    async def run() -> None:
        async with smpp34_server() as (server, esme, link, _):
            await soon(esme.unbind())
            await soon(link.wait_closed())
            assert not link.bound
            assert isinstance(await soon(server.next()), smpp34.Unbound)

    asyncio.run(run())
