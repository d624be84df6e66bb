"""The customers' SMPP server with third-party clients: smpplib, smpp34, aiosmpplib.

Each binds, sends an English, an Arabic and a long text, and gets its receipts.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiosmpplib
import pytest
import smpp34
import smpplib.consts
import smpplib.gsm
from django.contrib.auth.hashers import make_password
from django.core.cache import cache
from django.db import connection

from messaging.models import Message, SmppAccount, SmppReceipt
from messaging.smpp.constants import Status
from messaging.smpp.receipt import parse_receipt
from tests.messaging.smpp.test_interop import aiosmpplib_client, aiosmpplib_message, soon
from tests.support.factories import advance
from tests.support.smpp_clients import smpplib_esme
from tests.support.smpp_servers import (
    QUICK_HASHERS,
    Member,
    RunningServer,
    eventually,
    running_server,
)

if TYPE_CHECKING:
    from collections.abc import Callable

PLAIN = "Your order has shipped, total 12 € [paid]"
ARABIC = "مرحبا، رقم الطلب ٤٧١١"
LONG_PLAIN = "A long text that takes several parts. " * 12
LONG_ARABIC = "رسالة طويلة إلى العميل " * 12
TEXTS = [PLAIN, ARABIC, LONG_PLAIN, LONG_ARABIC]


@pytest.fixture
def member(committed_world, settings):
    settings.PASSWORD_HASHERS = QUICK_HASHERS
    cache.clear()
    committed_world.serve()
    created = Member(committed_world, "demo", id_format="hex")
    SmppAccount.objects.update(password_hash=make_password("secret"))
    yield created
    created.close()


@pytest.fixture(scope="module")
def server(test_database, django_db_blocker):
    with django_db_blocker.unblock(), running_server() as running:
        yield running


def texts(member: Member) -> list[str]:
    return [message.text for message in member.customer.messages()]


def deliver_all() -> None:
    now = datetime.now(UTC)
    advance(Message.objects.filter(final_at=None), "delivered", sent_at=now, final_at=now)


async def beside(work: Callable[[], Any]) -> Any:
    """Run database work in a thread, which returns its connection afterwards."""

    def closing() -> Any:
        try:
            return work()
        finally:
            connection.close()

    return await asyncio.to_thread(closing)


def all_acknowledged() -> None:
    eventually(lambda: not SmppReceipt.objects.exists())


def test_smpplib(server: RunningServer, member) -> None:
    with smpplib_esme(server.port) as esme:
        for body in TEXTS:
            parts, data_coding, esm_class = smpplib.gsm.make_parts(body)
            for part in parts:
                response = esme.submit(
                    part, "966501234567", data_coding=data_coding, esm_class=esm_class
                )
                assert response.status == Status.ESME_ROK
        assert texts(member) == TEXTS
        deliver_all()
        esme.wait(lambda: len(esme.delivered) == len(esme.responses))
        received_ids = {receipt.message_id for receipt in esme.receipts}
        assert received_ids == {response.message_id.decode() for response in esme.responses}
        assert {receipt.state for receipt in esme.receipts} == {"delivered"}
        all_acknowledged()
        esme.client.unbind()
    eventually(lambda: not server.connections)


@pytest.mark.parametrize("kind", ["transmitter", "receiver", "transceiver"])
def test_smpplib_binds(server: RunningServer, member, kind) -> None:
    with smpplib_esme(server.port, kind) as esme:
        eventually(lambda: server.bound == 1)
        esme.client.unbind()


def test_smpplib_with_a_wrong_password(server: RunningServer, member) -> None:
    client = smpplib.client.Client("127.0.0.1", server.port, timeout=5)
    client.connect()
    with pytest.raises(smpplib.exceptions.PDUError):
        client.bind_transceiver(system_id="demo", password="wrong")
    client._socket.close()
    client._socket = None


def test_smpp34(server: RunningServer, member) -> None:
    async def run() -> None:
        client = smpp34.Client("127.0.0.1", server.port, "demo", "secret", bind_type="TRX")
        smsc = await soon(client.connect())
        responses = []
        for body in TEXTS:
            parts, data_coding, esm_class = smpplib.gsm.make_parts(body)
            for part in parts:
                response = await soon(
                    smsc.submit_sm(
                        "966501234567",
                        part,
                        source_addr="MyCompany",
                        source_addr_ton=5,
                        dest_addr_ton=1,
                        data_coding=data_coding,
                        esm_class=esm_class,
                        registered_delivery=1,
                    )
                )
                assert response.is_success
                responses.append(response.message_id)
        await beside(deliver_all)
        received_ids = set()
        for _ in responses:
            event = await soon(smsc.next())
            tlvs = {tlv.tag: tlv.value for tlv in event.tlvs}
            receipt = parse_receipt(event.short_message, tlvs)
            assert receipt is not None
            assert (receipt.state, event.esm_class) == ("delivered", 0x04)
            received_ids.add(receipt.message_id)
        assert received_ids == set(responses)
        await soon(smsc.unbind())
        assert isinstance(await soon(smsc.next()), smpp34.Disconnected)

    asyncio.run(run())
    assert texts(member) == TEXTS
    all_acknowledged()
    eventually(lambda: not server.connections)


def test_smpp34_in_a_window(server: RunningServer, member) -> None:
    async def run() -> None:
        client = smpp34.Client(
            "127.0.0.1", server.port, "demo", "secret", bind_type="TRX", window_size=50
        )
        smsc = await soon(client.connect())
        responses = await soon(
            asyncio.gather(
                *(
                    smsc.submit_sm(
                        "966501234567", b"x", source_addr="MyCompany", registered_delivery=1
                    )
                    for _ in range(90)
                )
            )
        )
        assert all(response.is_success for response in responses)
        assert len({response.message_id for response in responses}) == 90
        await soon(smsc.unbind())

    asyncio.run(run())
    assert len(member.customer.messages()) == 90


@pytest.mark.parametrize("body", TEXTS)
def test_aiosmpplib(server: RunningServer, member, body) -> None:
    async def run() -> None:
        async with aiosmpplib_client(server.port) as (esme, hook):
            long = len(body) > 70
            how = {"esm_class": 0x40, "auto_message_payload": False} if long else {}
            pdu = aiosmpplib_message(body, "one", registered_delivery=1, **how)
            pdu.destination = aiosmpplib.PhoneNumber("966501234567", aiosmpplib.TON.INTERNATIONAL)
            await esme.broker.enqueue(pdu)
            response = await soon(hook.messages.get())
            assert isinstance(response, aiosmpplib.SubmitSmResp)
            await beside(lambda: eventually(lambda: texts(member) == [body]))
            await beside(deliver_all)
            receipt = await soon(hook.messages.get())
            assert receipt.is_receipt()
            assert receipt.log_id == "one"  # it matched them itself

    asyncio.run(run())
    assert texts(member) == [body]
    all_acknowledged()


def test_aiosmpplib_with_message_payload(server: RunningServer, member) -> None:
    async def run() -> None:
        async with aiosmpplib_client(server.port) as (esme, hook):
            pdu = aiosmpplib_message(LONG_ARABIC, "one", auto_message_payload=True)
            pdu.destination = aiosmpplib.PhoneNumber("966501234567", aiosmpplib.TON.INTERNATIONAL)
            await esme.broker.enqueue(pdu)
            assert isinstance(await soon(hook.messages.get()), aiosmpplib.SubmitSmResp)

    asyncio.run(run())
    assert texts(member) == [LONG_ARABIC]
