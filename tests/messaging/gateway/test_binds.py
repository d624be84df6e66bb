"""Binds to the customers' SMPP server: kinds, versions, timers, ends by either side, TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest
from django.core.cache import cache

from messaging.gateway import server as listening
from messaging.gateway import sessions
from messaging.models import SmppAccount, SmppSession
from messaging.smpp import pdus
from messaging.smpp.codec import encode
from messaging.smpp.constants import Status, Tag
from messaging.smpp.handlers import LinkConfig
from tests.support.smpp_clients import RawEsme
from tests.support.smpp_servers import (
    QUICK_HASHERS,
    Member,
    RunningServer,
    eventually,
    running_server,
    submit,
)


@pytest.fixture
def member(committed_world, settings):
    settings.PASSWORD_HASHERS = QUICK_HASHERS
    cache.clear()
    created = Member(committed_world)
    yield created
    created.close()


@pytest.fixture(scope="module")
def server(test_database, django_db_blocker):
    with (
        django_db_blocker.unblock(),
        running_server(link=LinkConfig(session_init_timeout=0.5)) as running,
    ):
        yield running


def certificate(folder) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The TLS context of a server, and that of a client that trusts it."""
    key, chain = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-keyout", key, "-out", chain, "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(chain, key)
    return serving, ssl.create_default_context(cafile=chain)


def bind(port: int, kind=pdus.BindTransceiver, **fields) -> tuple[RawEsme, pdus.BindResp]:
    esme = RawEsme(port)
    return esme, esme.request(kind(**fields))


@pytest.mark.parametrize(
    ("kind", "name"),
    [(pdus.BindTransmitter, "tx"), (pdus.BindReceiver, "rx"), (pdus.BindTransceiver, "trx")],
)
def test_each_kind_binds_and_unbinds(server: RunningServer, member, kind, name) -> None:
    with member.bound(server.port, kind) as esme:
        session = SmppSession.objects.get()
        assert (session.kind, session.address, session.tls) == (name, "127.0.0.1", False)
        assert esme.request(pdus.EnquireLink()).status == 0
        assert esme.request(pdus.Unbind()).status == 0
        assert esme.closed()
    eventually(lambda: not SmppSession.objects.exists())


@pytest.mark.parametrize(("version", "negotiated"), [(0x34, 0x34), (0x50, 0x34), (0x33, None)])
def test_version_is_negotiated(server: RunningServer, member, version, negotiated) -> None:
    esme, response = bind(
        server.port, system_id="acme", password=member.password, interface_version=version
    )
    assert (response.status, response.system_id) == (0, "imissive")
    assert response.tlv_int(Tag.SC_INTERFACE_VERSION) == negotiated
    esme.socket.close()


def test_wrong_password_and_unknown_system_id(server: RunningServer, member) -> None:
    for system_id, password in (("acme", "wrong"), ("nobody", member.password)):
        esme, response = bind(server.port, system_id=system_id, password=password)
        assert response.status == Status.ESME_RINVPASWD
        esme.socket.close()
    assert not SmppSession.objects.exists()


def test_a_refused_peer_may_retry_a_few_times(server: RunningServer, member) -> None:
    esme, response = bind(server.port, system_id="acme", password="wrong")
    assert response.status == Status.ESME_RINVPASWD
    assert esme.request(pdus.BindTransceiver("acme", member.password)).status == 0
    esme.socket.close()
    esme = RawEsme(server.port)
    for _ in range(listening.BINDS_REFUSED):
        esme.request(pdus.BindTransceiver("other", "wrong"))
    assert esme.closed()


def test_binds_are_counted_over_two_servers(server: RunningServer, member) -> None:
    member.set(max_binds=2)
    with (
        running_server() as second,
        member.bound(server.port),
        member.bound(second.port),
    ):
        for port in (server.port, second.port):
            esme, response = bind(port, system_id="acme", password=member.password)
            assert response.status == Status.ESME_RALYBND
            esme.socket.close()


@pytest.mark.parametrize("tail", [b"\0", b"abc", b"and more than that"])
def test_bind_with_unreadable_trailing_octets_is_accepted(
    server: RunningServer, member, tail
) -> None:
    esme = RawEsme(server.port)
    octets = encode(pdus.BindTransceiver("acme", member.password, sequence=3)) + tail
    esme.send_raw(len(octets).to_bytes(4, "big") + octets[4:])
    assert esme.receive().status == 0
    assert esme.request(pdus.EnquireLink()).status == 0
    esme.socket.close()


def test_second_bind_on_one_connection(server: RunningServer, member) -> None:
    with member.bound(server.port) as esme:
        again = esme.request(pdus.BindReceiver("acme", member.password))
        assert again.status == Status.ESME_RALYBND
        assert esme.request(pdus.EnquireLink()).status == 0


def test_pdus_that_a_bind_may_not_send(server: RunningServer, member) -> None:
    with member.bound(server.port, pdus.BindReceiver) as esme:
        assert esme.request(submit()).status == Status.ESME_RINVBNDSTS
    esme = RawEsme(server.port)
    assert esme.request(submit()).status == Status.ESME_RINVBNDSTS
    esme.socket.close()


def test_silent_connection_is_closed(server: RunningServer) -> None:
    esme = RawEsme(server.port)
    started = time.monotonic()
    assert esme.closed()
    assert 0.3 < time.monotonic() - started < 1.5


def test_unresponsive_peer_is_dropped_after_enquire_link(member) -> None:
    config = LinkConfig(enquire_link_interval=0.2, response_timeout=0.3)
    with running_server(link=config) as server, member.bound(server.port) as esme:
        request = esme.receive()
        assert isinstance(request, pdus.EnquireLink)
        esme.respond(request)
        assert isinstance(esme.receive(), pdus.EnquireLink)
        assert esme.receive() is None


def test_inactive_bind_is_unbound(member) -> None:
    config = LinkConfig(inactivity_timeout=0.3)
    with running_server(link=config) as server, member.bound(server.port) as esme:
        request = esme.receive()
        assert isinstance(request, pdus.Unbind)
        esme.respond(request)
        assert esme.closed()


def test_account_that_is_switched_off_is_unbound(server: RunningServer, member) -> None:
    with member.bound(server.port) as esme:
        SmppAccount.objects.update(enabled=False)
        server.report()
        request = esme.receive()
        assert isinstance(request, pdus.Unbind)
        esme.respond(request)
        assert esme.closed()


def test_draining_responds_to_pending_requests_and_unbinds(member) -> None:
    with running_server() as server, member.bound(server.port, pdus.BindReceiver) as esme:
        ending = threading.Thread(target=server.stop)
        ending.start()
        request = esme.receive()
        assert isinstance(request, pdus.Unbind)
        esme.respond(request)
        assert esme.closed()
        ending.join(10)
        assert not ending.is_alive()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=2)
    assert not SmppSession.objects.exists()


def test_connections_over_the_limit_get_a_bind_response(member) -> None:
    with running_server(max_connections=3) as server:
        held = [RawEsme(server.port) for _ in range(3)]
        late, response = bind(server.port, system_id="acme", password=member.password)
        assert response.status == Status.ESME_RBINDFAIL
        assert late.closed()
        for _ in range(10):  # beyond twice the limit, they are closed immediately
            held.append(RawEsme(server.port))
        assert held[-1].closed()
        for esme in held:
            esme.socket.close()
        eventually(lambda: not server.connections)
        with member.bound(server.port):
            pass


def test_a_bind_that_ends_during_a_report_leaves_no_session(server, member, monkeypatch) -> None:
    """The report is prepared before the end and written after it."""
    report = sessions.report
    with contextlib.ExitStack() as held:
        esme = held.enter_context(member.bound(server.port))
        esme.request(submit())

        def slow(*arguments) -> bool:
            esme.socket.close()
            eventually(lambda: not SmppSession.objects.exists())
            return report(*arguments)

        monkeypatch.setattr(sessions, "report", slow)
        server.report()
    eventually(lambda: not SmppSession.objects.exists())


def test_a_bind_that_starts_while_accounts_are_read_stays(
    server: RunningServer, member, monkeypatch
) -> None:
    """It is the first bind of its account, which the query does not include."""
    eventually(lambda: not server.connections)
    server.report()
    read = sessions.accounts_of
    started: list[tuple[RawEsme, pdus.BindResp]] = []

    def slow(account_ids):
        found = read(account_ids)
        if not started:
            started.append(bind(server.port, system_id="acme", password=member.password))
        return found

    monkeypatch.setattr(sessions, "accounts_of", slow)
    server.report()
    ((esme, response),) = started
    assert response.status == 0
    assert esme.request(pdus.EnquireLink()).status == 0
    assert server.bound == 1
    esme.socket.close()


def test_tls(member, tmp_path) -> None:
    member.set(tls_only=True)
    server_side, client_side = certificate(tmp_path)
    with running_server(tls=server_side, tls_port=0) as server:
        esme, response = bind(server.port, system_id="acme", password=member.password)
        assert response.status == Status.ESME_RBINDFAIL
        esme.socket.close()
        esme = RawEsme(server.server.tls_port)
        esme.socket = client_side.wrap_socket(esme.socket, server_hostname="localhost")
        assert esme.request(pdus.BindTransceiver("acme", member.password)).status == 0
        assert SmppSession.objects.get().tls
        esme.socket.close()
        # A peer without a TLS handshake does not block others.
        silent = socket.create_connection(("127.0.0.1", server.server.tls_port))
        esme = RawEsme(server.server.tls_port)
        esme.socket = client_side.wrap_socket(esme.socket, server_hostname="localhost")
        assert esme.request(pdus.BindTransceiver("acme", member.password)).status == 0
        esme.socket.close()
        silent.close()


def test_console_has_the_last_pdus_masked(server: RunningServer, member) -> None:
    with member.bound(server.port, system_type="VMS") as esme:
        esme.request(submit(b"the secret text", "966509999999"))
        server.report()
        session = SmppSession.objects.get()
    displayed = "\n".join(str(line) for line in session.pdus)
    assert [line["command"] for line in session.pdus[1:]] == ["submit_sm", "submit_sm_resp"]
    assert "destination_addr=96650…99" in displayed
    assert session.system_type == "VMS"
    for hidden in ("secret text", "966509999999", member.password):
        assert hidden not in displayed


def test_operator_ends_a_bind(server: RunningServer, member) -> None:
    """At the next report; pending requests get their responses, and the history has the reason."""
    with member.bound(server.port) as esme, member.bound(server.port) as other:
        session = SmppSession.objects.order_by("bound_at").first()
        assert session is not None
        sessions.end(session)
        server.report()
        unbind = esme.receive()
        assert isinstance(unbind, pdus.Unbind)
        esme.respond(unbind)
        assert esme.closed()
        assert other.request(pdus.EnquireLink()).status == 0
    entries = member.account.smpphappening_set.filter(what="ended", reason="ended by an operator")
    eventually(entries.exists)


def test_history_of_binds(server: RunningServer, member) -> None:
    with member.bound(server.port) as esme:
        esme.send_raw(struct.pack(">IIII", 16, 0x00000063, 0, 9))  # no such command
        assert esme.receive().status == Status.ESME_RINVCMDID
        server.report()
        (error,) = SmppSession.objects.get().errors
        assert (error["sequence"], error["status"]) == (9, "ESME_RINVCMDID")
        assert esme.request(pdus.Unbind()).status == 0
    history = member.account.smpphappening_set.order_by("id")
    eventually(lambda: history.count() == 2)
    assert [(row.what, row.reason) for row in history] == [
        ("bound", ""),
        ("ended", "unbound by the peer"),
    ]
