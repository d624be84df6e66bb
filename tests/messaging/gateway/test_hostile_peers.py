"""Peers of the customers' SMPP server that mean harm, or do it: it goes on serving the others."""

from __future__ import annotations

import contextlib
import resource
import socket
import struct
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime

import psutil
import pytest
from django.core.cache import cache
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from messaging.models import Message
from messaging.smpp import pdus
from messaging.smpp.codec import encode
from messaging.smpp.constants import Status, Tag
from messaging.smpp.handlers import LinkConfig
from messaging.smpp.tlv import write_tlvs
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

MANY = 10_000
LATIN_1 = st.characters(codec="latin-1", min_codepoint=1)


@pytest.fixture(scope="module", autouse=True)
def _many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def member(committed_world, settings):
    settings.PASSWORD_HASHERS = QUICK_HASHERS
    cache.clear()
    committed_world.serve()
    made = Member(committed_world, customer={"credits": 10_000})
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(test_database, django_db_blocker):
    config = LinkConfig(
        session_init_timeout=1.0, enquire_link_interval=10.0, response_timeout=0.5, linger=0.5
    )
    with django_db_blocker.unblock(), running_server(link=config) as running:
        yield running


def serves(server: RunningServer, member: Member) -> bool:
    """Whether a newcomer binds and submits."""
    with member.bound(server.port) as esme:
        return bool(esme.request(submit()).status == 0)


def test_ten_thousand_connections(member) -> None:
    """All from one place, and silent: they are closed, memory stays, and a customer binds."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < MANY + 3_000:
        pytest.skip("the system allows too few open files")
    with running_server(max_connections=500, link=LinkConfig(session_init_timeout=3.0)) as server:
        before = psutil.Process().memory_info().rss
        with member.bound(server.port) as esme, contextlib.ExitStack() as held:
            for _ in range(MANY):
                held.enter_context(socket.create_connection(("127.0.0.1", server.port), 5))
            assert esme.request(submit()).status == 0
            assert server.connections <= 1001
            grown = psutil.Process().memory_info().rss - before
            assert grown < 100_000_000, f"{grown:,} octets"
        eventually(lambda: server.connections == 0, 10)
        assert serves(server, member)


def test_slow_loris(server, member) -> None:
    """Binds that come an octet at a time never come to an end, and hold up nobody."""
    frame = encode(pdus.BindTransceiver("acme", member.password, sequence=1))
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
    begun = time.monotonic()
    for octet in frame[:8]:
        for peer in slow:
            with contextlib.suppress(OSError):
                peer.sendall(bytes((octet,)))
        time.sleep(0.05)
    assert serves(server, member)
    for peer in slow:
        peer.settimeout(5)
        assert peer.recv(100) == b""
        peer.close()
    assert time.monotonic() - begun < 4


def test_peer_that_never_reads(server, member) -> None:
    """It floods and reads no answer: it is read from no more, then dropped; memory stays."""
    with member.bound(server.port) as esme:
        esme.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        before = psutil.Process().memory_info().rss
        flood = b"".join(encode(pdus.EnquireLink(sequence=n)) for n in range(1, 20_000))
        stop = threading.Event()

        def flooding() -> None:
            with contextlib.suppress(OSError):
                while not stop.is_set():
                    esme.socket.sendall(flood)

        thread = threading.Thread(target=flooding, daemon=True)
        thread.start()
        time.sleep(1.0)
        assert serves(server, member)
        grown = psutil.Process().memory_info().rss - before
        assert grown < 50_000_000, f"{grown:,} octets"
        stop.set()
        esme.socket.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_flood_beyond_the_window_waits_and_loses_nothing(server, member) -> None:
    member.set(window=5)
    with member.bound(server.port) as esme:
        sequences = esme.send(*(submit() for _ in range(300)))
        answers = [esme.receive() for _ in sequences]
    assert [answer.sequence for answer in answers] == sequences
    assert {answer.status for answer in answers} == {0}


def test_sequence_numbers_used_again(server, member) -> None:
    with member.bound(server.port) as esme:
        frames = []
        for _ in range(20):
            pdu = submit()
            pdu.sequence = 7
            frames.append(encode(pdu))
        esme.send_raw(b"".join(frames))
        answers = [esme.receive() for _ in frames]
        assert {(answer.sequence, answer.status) for answer in answers} == {(7, 0)}
        assert len({answer.message_id for answer in answers}) == 20


def test_connection_reset_while_submits_are_under_way(server, member) -> None:
    for _ in range(5):
        with member.bound(server.port) as esme:
            esme.send(*(submit() for _ in range(50)))
            esme.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert serves(server, member)
    eventually(lambda: server.connections == 0)


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00" * 64,
        b"\xff" * 64,
        struct.pack(">IIII", 17, 4, 0, 1) + b"\x00",
        struct.pack(">IIII", 0x7FFFFFFF, 4, 0, 1),
        struct.pack(">IIII", 15, 4, 0, 1),
    ],
)
def test_garbage(server, member, octets) -> None:
    with member.bound(server.port) as esme:
        esme.send_raw(octets)
        with contextlib.suppress(TimeoutError):
            while esme.receive(0.2) is not None:
                pass
    assert serves(server, member)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chunks=st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.builds(
                lambda command, body: struct.pack(">IIII", 16 + len(body), command, 0, 9) + body,
                st.sampled_from([0x3, 0x4, 0x5, 0x7, 0x8, 0x21, 0x103, 0x102, 0x15, 0x80000005]),
                st.binary(max_size=120),
            ),
        ),
        max_size=5,
    )
)
def test_any_octets(server, member, caplog, chunks) -> None:
    """Whatever comes, there is no traceback, and the next one is served."""
    caplog.clear()
    with member.bound(server.port) as esme:
        for chunk in chunks:
            with contextlib.suppress(OSError):
                esme.send_raw(chunk)
        with contextlib.suppress(TimeoutError):
            while esme.receive(0.01) is not None:
                pass
    eventually(lambda: server.connections == 0)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def octets(pdu: pdus.SubmitSm) -> bytes:
    """A submit_sm whose TLVs nobody has looked at."""
    frame = encode(replace(pdu, tlvs={})) + write_tlvs(pdu.tlvs)
    return struct.pack(">I", len(frame)) + frame[4:]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fields=st.fixed_dictionaries(
        {},
        optional={
            "esm_class": st.integers(0, 255),
            "data_coding": st.integers(0, 255),
            "registered_delivery": st.integers(0, 255),
            "dest_addr_ton": st.integers(0, 255),
            "source_addr_npi": st.integers(0, 255),
            "short_message": st.binary(max_size=160),
            "destination_addr": st.text(LATIN_1, max_size=20),
            "source_addr": st.text(LATIN_1, max_size=20),
            "schedule_delivery_time": st.text("0123456789R+-", min_size=16, max_size=16),
            "validity_period": st.text("0123456789R+-", min_size=16, max_size=16),
            "tlvs": st.dictionaries(
                st.one_of(st.integers(0, 0xFFFF), st.sampled_from([int(tag) for tag in Tag])),
                st.binary(max_size=12),
                max_size=4,
            ),
        },
    )
)  # fmt: skip
# Found: our own encoder refuses short_message and message_payload together, as peers may not.
@example(fields={"tlvs": {int(Tag.MESSAGE_PAYLOAD): b""}})
def test_any_submit(server, member, fields) -> None:
    """Whatever a submit says, it is answered, never by ESME_RSYSERR, and the bind holds."""
    pdu = submit()
    for name, value in fields.items():
        setattr(pdu, name, value)
    pdu.sequence = 7
    with member.bound(server.port) as esme:
        esme.send_raw(octets(pdu))
        answer = esme.receive()
        assert (type(answer), answer.sequence) == (pdus.SubmitSmResp, 7)
        assert answer.status != Status.ESME_RSYSERR
        if pdu.short_message and Tag.MESSAGE_PAYLOAD in pdu.tlvs:
            assert answer.status != Status.ESME_ROK
        assert esme.request(pdus.EnquireLink()).status == 0


def test_never_acknowledging_peer_does_not_stop_another_account(
    server, member, committed_world
) -> None:
    other = Member(committed_world, "other")
    try:
        with member.bound(server.port) as silent, other.bound(server.port) as good:
            for esme in (silent, good):
                assert esme.request(submit(receipt=1)).status == 0
            now = datetime.now(UTC)
            advance(Message.objects.all(), "delivered", sent_at=now, final_at=now)
            told = good.receive()
            assert isinstance(told, pdus.DeliverSm)
            good.answer(told)
            assert isinstance(silent.receive(), pdus.DeliverSm)
            assert good.request(submit()).status == 0
    finally:
        other.close()


def test_binds_that_hammer_are_locked_out_at_once(server, member) -> None:
    """A thousand wrong binds cost no thousand slow hashes, and another address gets in."""
    statuses = []
    for number in range(30):
        esme = RawEsme(server.port)
        statuses.append(esme.request(pdus.BindTransceiver(f"guess{number}", "wrong")).status)
        esme.socket.close()
    assert statuses.count(Status.ESME_RINVPASWD) == 20
    assert statuses[20:] == [Status.ESME_RBINDFAIL] * 10
