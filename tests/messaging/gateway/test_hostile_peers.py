"""Malicious and broken peers of the customers' SMPP server, which keeps serving the others."""

from __future__ import annotations

import contextlib
import resource
import socket
import struct
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from django.core.cache import cache
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from messaging.gateway import account_session, queries
from messaging.gateway.console import Console
from messaging.models import Message
from messaging.smpp import pdus
from messaging.smpp.codec import encode
from messaging.smpp.constants import Status, Tag
from messaging.smpp.handlers import LinkConfig
from messaging.smpp.link import Link
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

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    created = Member(committed_world, customer={"credits": 10_000})
    yield created
    created.close()


@pytest.fixture(scope="module")
def server(test_database, django_db_blocker):
    config = LinkConfig(
        session_init_timeout=1.0, enquire_link_interval=10.0, response_timeout=0.5, linger=0.5
    )
    with django_db_blocker.unblock(), running_server(link=config) as running:
        yield running


def serves(server: RunningServer, member: Member) -> bool:
    """Return whether a new peer binds and submits."""
    with member.bound(server.port) as esme:
        return bool(esme.request(submit()).status == 0)


def test_ten_thousand_connections(member) -> None:
    """All silent, from one address: they are closed, memory stays low, and a customer binds."""
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
    """Binds that arrive one octet at a time, and never completely, do not block others."""
    frame = encode(pdus.BindTransceiver("acme", member.password, sequence=1))
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
    started = time.monotonic()
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
    assert time.monotonic() - started < 4


def test_peer_that_never_reads(server, member) -> None:
    """It floods and reads no response: reading from it stops, it is dropped, memory stays low."""
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


def test_flood_beyond_the_window_loses_nothing(server, member) -> None:
    member.set(window=5)
    with member.bound(server.port) as esme:
        sequences = esme.send(*(submit() for _ in range(300)))
        responses = [esme.receive() for _ in sequences]
    assert [response.sequence for response in responses] == sequences
    assert {response.status for response in responses} == {0}


def test_reused_sequence_numbers(server, member) -> None:
    with member.bound(server.port) as esme:
        frames = []
        for _ in range(20):
            pdu = submit()
            pdu.sequence = 7
            frames.append(encode(pdu))
        esme.send_raw(b"".join(frames))
        responses = [esme.receive() for _ in frames]
        assert {(response.sequence, response.status) for response in responses} == {(7, 0)}
        assert len({response.message_id for response in responses}) == 20


def test_connection_reset_during_submits(server, member) -> None:
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
    """Whatever octets arrive, there is no traceback, and the next peer is served."""
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
    """A submit_sm with unchecked TLVs."""
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
# Found by this test: the encoder refuses short_message and message_payload together; peers may not.
@example(fields={"tlvs": {int(Tag.MESSAGE_PAYLOAD): b""}})
def test_any_submit(server, member, fields) -> None:
    """Any submit gets a response, never ESME_RSYSERR, and the bind stays up."""
    pdu = submit()
    for name, value in fields.items():
        setattr(pdu, name, value)
    pdu.sequence = 7
    with member.bound(server.port) as esme:
        esme.send_raw(octets(pdu))
        response = esme.receive()
        assert (type(response), response.sequence) == (pdus.SubmitSmResp, 7)
        assert response.status != Status.ESME_RSYSERR
        if pdu.short_message and Tag.MESSAGE_PAYLOAD in pdu.tlvs:
            assert response.status != Status.ESME_ROK
        assert esme.request(pdus.EnquireLink()).status == 0


# The ways in which one request of a batch may fail after the batch was committed.
FAULTS = {
    "its response cannot be created": "id_text",
    "its response cannot be written": "respond",
    "its response cannot be displayed": "note_response",
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_failing_request_does_not_affect_the_others(server, member, monkeypatch, fault) -> None:
    """Whatever raises for one request of a batch, each request gets exactly one response."""
    owner: Any = {"id_text": account_session, "respond": Link, "note_response": Console}[fault]
    was, calls = getattr(owner, fault), iter(range(1_000))

    def failing(*arguments: Any, **named: Any) -> Any:
        if next(calls) == 2:
            raise RuntimeError("made up")
        return was(*arguments, **named)

    with member.bound(server.port) as esme:
        monkeypatch.setattr(owner, fault, failing)
        sequences = esme.send(*(submit() for _ in range(6)))
        responses = responses_of(esme, sequences)
    assert len(member.customer.messages()) == 6
    # Each was accepted, so each gets that response, whatever failed in between.
    assert {response.status for response in responses} == {0}
    assert len({response.message_id for response in responses}) == 6


def test_query_whose_response_fails_gets_a_response(server, member, monkeypatch) -> None:
    def response(*_arguments: Any) -> queries.Result:
        return queries.Result(fields={"message_id": "x" * 70})

    monkeypatch.setattr(queries, "query", response)
    with member.bound(server.port) as esme:
        assert esme.request(pdus.QuerySm("1")).status == Status.ESME_RSYSERR
        assert esme.request(submit()).status == 0


def responses_of(esme: RawEsme, sequences: Sequence[int]) -> list[Any]:
    """Return the responses to those requests: one for each, and no other, in any order."""
    responses = [esme.receive() for _ in sequences]
    (fence,) = esme.send(pdus.EnquireLink())
    last = esme.receive()
    assert (type(last), last.sequence) == (pdus.EnquireLinkResp, fence)
    # Responses from a thread would arrive after the fence.
    with pytest.raises(TimeoutError):
        esme.receive(0.05)
    assert sorted(response.sequence for response in responses) == sorted(sequences)
    return responses


# A regression: with number_of_dests 0, the failing response lost those of its whole batch.
TO_NOBODY = bytes.fromhex(
    "0000002a0000002100000000000000020005004d79436f6d70616e790000000000000000000000026869"
)


def test_submit_multi_without_destinations(server, member) -> None:
    with member.bound(server.port) as esme:
        before, nobody, after = submit(b"before"), submit(), submit(b"after")
        for sequence, pdu in enumerate((before, nobody, after), 1):
            pdu.sequence = sequence
        esme.send_raw(encode(before) + TO_NOBODY + encode(after))
        esme._sequence = 3
        responses = {response.sequence: response for response in responses_of(esme, [1, 2, 3])}
    assert type(responses[2]) is pdus.SubmitMultiResp
    assert responses[2].status == Status.ESME_RINVNUMDESTS
    assert [responses[1].status, responses[3].status] == [0, 0]
    assert {message.text for message in member.customer.messages()} == {"before", "after"}


def test_submit_multi_without_destinations_releases_the_window(server, member) -> None:
    with member.bound(server.port) as esme:
        esme.send_raw(TO_NOBODY * member.account.window)
        for _ in range(member.account.window):
            assert esme.receive().status == Status.ESME_RINVNUMDESTS
        assert esme.request(submit()).status == 0


_BODIES = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda pdu, cut, tail: encode(pdu)[16 : 16 + cut] + tail,
        st.sampled_from(
            [
                submit(),
                pdus.SubmitMulti(
                    source_addr="MyCompany",
                    dest_address=[pdus.SmeAddress(1, 1, "966501234567"), pdus.SmeAddress(1, 1, "")],
                    short_message=b"hi",
                ),
                pdus.DataSm(destination_addr="966501234567", tlvs={int(Tag.MESSAGE_PAYLOAD): b"x"}),
                pdus.QuerySm("1"),
                pdus.CancelSm(message_id="1"),
                pdus.ReplaceSm("1", short_message=b"x"),
            ]
        ),
        st.integers(0, 80),
        st.binary(max_size=6),
    ),
)
_REQUESTS = st.lists(
    st.tuples(
        st.sampled_from([0x3, 0x4, 0x5, 0x7, 0x8, 0x21, 0x103, 0x15, 0x9, 0x77]),
        _BODIES,
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=_REQUESTS)
@example(requests=[(0x4, encode(submit())[16:]), (0x21, TO_NOBODY[16:])])
def test_each_request_gets_one_response(server, member, requests) -> None:
    """Of many valid and invalid requests at once, each gets one response by its sequence."""
    frames = [
        struct.pack(">IIII", 16 + len(body), command, 0, number) + body
        for number, (command, body) in enumerate(requests, 1)
    ]
    with member.bound(server.port) as esme:
        esme.send_raw(b"".join(frames))
        esme._sequence = len(frames)
        responses_of(esme, range(1, len(frames) + 1))


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
            receipt = good.receive()
            assert isinstance(receipt, pdus.DeliverSm)
            good.respond(receipt)
            assert isinstance(silent.receive(), pdus.DeliverSm)
            assert good.request(submit()).status == 0
    finally:
        other.close()


def test_rapid_failed_binds_are_locked_out_quickly(server, member) -> None:
    """A thousand wrong binds do not cost a thousand slow hashes, and other addresses may bind."""
    statuses = []
    for number in range(30):
        esme = RawEsme(server.port)
        statuses.append(esme.request(pdus.BindTransceiver(f"guess{number}", "wrong")).status)
        esme.socket.close()
    assert statuses.count(Status.ESME_RINVPASWD) == 20
    assert statuses[20:] == [Status.ESME_RBINDFAIL] * 10
