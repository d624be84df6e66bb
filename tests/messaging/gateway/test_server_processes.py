"""Several SMPP server processes on one port (SMPP_REUSE_PORT): shared state, and their ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from django.core.cache import cache
from django.db import connection

from imissive.run.unprivileged import die_with_parent
from messaging.gateway import sessions
from messaging.models import SmppServer
from messaging.smpp import pdus
from messaging.smpp.constants import Status
from tests.messaging.gateway.test_submits import LONG, parts_of
from tests.support.smpp_clients import RawEsme
from tests.support.smpp_servers import Member, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
BINDS = 16


@pytest.fixture
def member(committed_world):
    """With the slow hash, the only one that the processes support."""
    cache.clear()
    committed_world.serve()
    created = Member(committed_world, "shared", max_binds=BINDS)
    yield created
    created.close()


def server(port: int, *, reuse: bool = True) -> subprocess.Popen[bytes]:
    """Start `manage.py smpp_server` on that port, with this test's database."""
    database = urlsplit(os.environ["DATABASE_URL"])
    path = f"/{connection.settings_dict['NAME']}"
    env = {
        "DATABASE_URL": database._replace(path=path).geturl(),
        "SMPP_PORT": str(port),
        "SMPP_REUSE_PORT": str(int(reuse)),
    }
    return subprocess.Popen(
        [sys.executable, "manage.py", "smpp_server"],
        cwd=ROOT,
        env=os.environ | env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=die_with_parent(signal.SIGKILL),
    )


@pytest.fixture
def port() -> Iterator[int]:
    """Reserve a port for the processes that share it."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def pair(member, port) -> Iterator[list[subprocess.Popen[bytes]]]:
    running = [server(port), server(port)]
    try:
        eventually(lambda: _listening(running, port), 60)
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def _listening(running: list[subprocess.Popen[bytes]], port: int) -> bool:
    """Return whether both servers are registered and one responds."""
    assert all(process.poll() is None for process in running), [p.stderr for p in running]
    names = {f":{process.pid}" for process in running}
    seen = {f":{name.rpartition(':')[2]}" for name in _names()}
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return names <= seen
    return False


def _names() -> list[str]:
    return list(SmppServer.objects.values_list("name", flat=True))


def _bind(port: int, member: Member) -> tuple[RawEsme, int]:
    esme = RawEsme(port)
    esme.socket.settimeout(20)
    esme.send(pdus.BindTransceiver("shared", member.password))
    return esme, esme.receive(20).status


@pytest.mark.timeout(180)
def test_two_processes_on_one_port(member, port, pair) -> None:
    """They share the binds and their count, and one text; one stops, the other serves."""
    with contextlib.ExitStack() as stack:
        esmes = []
        for _ in range(BINDS):
            esme, status = _bind(port, member)
            stack.callback(esme.socket.close)
            assert status == Status.ESME_ROK
            esmes.append(esme)
        live = sessions.live().filter(account=member.account)
        by_server = dict.fromkeys(live.values_list("server_id", flat=True))
        assert (live.count(), len(by_server)) == (BINDS, 2)
        over, status = _bind(port, member)
        over.socket.close()
        assert status == Status.ESME_RALYBND

        for esme, pdu in zip(esmes, parts_of(LONG, "8"), strict=False):
            assert esme.request(pdu).status == Status.ESME_ROK
        assert [message.text for message in member.customer.messages()] == [LONG]

        taken = server(port, reuse=False)
        assert b"is taken" in taken.communicate(timeout=60)[1]
        assert taken.returncode

        pair[0].send_signal(signal.SIGTERM)
        assert pair[0].wait(30) == 0
        left = live.count()
        assert 0 < left < BINDS
        esme, status = _bind(port, member)
        stack.callback(esme.socket.close)
        assert status == Status.ESME_ROK
        assert esme.request(pdus.EnquireLink()).status == Status.ESME_ROK
        assert live.count() == left + 1
