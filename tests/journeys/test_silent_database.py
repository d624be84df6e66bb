"""A database that falls silent: packets vanish without a reset, or the server stops responding.

Nothing waits forever: callers get 503, probes always get responses, and everything continues
when the database is back.
"""

import os
import secrets
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from imissive.core.sql import ImpatientConnection
from messaging.smpp.constants import Status as Smpp
from tests.support.platforms import until
from tests.support.proxies import Proxy, proxy
from tests.support.running_platform import Site
from tests.support.scenes import (
    BINDS,
    WINDOW,
    Scene,
    SmppClient,
)
from tests.support.simulators import running_simulator
from tests.support.webhook_receivers import receiver

pytestmark = [pytest.mark.platform, pytest.mark.timeout(300)]

DATABASE = urlsplit(os.environ["DATABASE_URL"])
SILENT_FOR = 25.0
REFUSED_WITHIN = 20.0
"""tcp_user_timeout, and then the wait for a connection."""
PROBED_WITHIN = 2.0


# ---------------------------------------------------------------- one connection


def direct(port: int) -> str:
    where = f"{DATABASE.username}:{DATABASE.password}@127.0.0.1:{port}"
    return DATABASE._replace(netloc=where).geturl()


def test_a_connection_gives_up_on_an_unresponsive_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImpatientConnection, "patience", 0.5)
    with ImpatientConnection.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        assert connection.execute("SELECT pg_sleep(0.2), 1").fetchone() == ("", 1)
        started = time.monotonic()
        with pytest.raises(psycopg.OperationalError, match=r"did not respond within 0\.5 s"):
            connection.execute("SELECT pg_sleep(20)")
        assert time.monotonic() - started < 5
        # A response that comes later is never read as the response to something else.
        assert connection.broken or connection.closed


def test_lost_packets_end_a_connection_by_its_parameters() -> None:
    """This holds for every process, including those that handle no requests."""
    assert DATABASE.port is not None
    quick = "?keepalives_idle=1&keepalives_interval=1&keepalives_count=2&tcp_user_timeout=2000"
    with proxy(DATABASE.port) as before, psycopg.connect(direct(before.port) + quick) as there:
        there.execute("SELECT 1")
        before.vanish()
        started = time.monotonic()
        with pytest.raises(psycopg.OperationalError):
            there.execute("SELECT 2")
        assert time.monotonic() - started < 15


# ---------------------------------------------------------------- the platform


@contextmanager
def database() -> Iterator[str]:
    """A new database of the tests' server; its URL."""
    name = f"silent_{secrets.token_hex(4)}"
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield DATABASE._replace(path=f"/{name}").geturl()
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Behind(Site):
    """A platform whose way to the database leads through a proxy; the test's own does not."""

    def __init__(self, folder: Any, url: str, before: Proxy) -> None:
        through = urlsplit(url)
        where = f"{through.username}:{through.password}@127.0.0.1:{before.port}"
        super().__init__(
            folder,
            WEBHOOK_TIMEOUT="2",
            SEED_DEMO="1",
            DATABASE_URL=through._replace(netloc=where).geturl(),
        )
        self._direct = url

    @property
    def database_url(self) -> str:
        return self._direct


@pytest.fixture(scope="module")
def cable() -> Iterator[Proxy]:
    assert DATABASE.port is not None
    with proxy(DATABASE.port) as made:
        yield made


@pytest.fixture(scope="module")
def scene(cable: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with (
        database() as url,
        running_simulator(receipt_delay=0.05, receipt_attempts=100) as carrier,
        receiver() as customer,
    ):
        site = Behind(tmp_path_factory.mktemp("site"), url, cable)
        try:
            site.start()
            site.use_simulator(carrier.port, binds=BINDS, window=WINDOW)
            yield Scene(site, carrier, customer, set())
            print(site.text[-20_000:])
        finally:
            site.close()


class Probes:
    """Requests /healthz repeatedly."""

    def __init__(self, site: Site) -> None:
        self.took: list[float] = []
        self._site = site
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            started = time.monotonic()
            assert self._site.get("/healthz")[0] == 200
            self.took.append(time.monotonic() - started)

    def end(self) -> list[float]:
        self._stop.set()
        self._thread.join(30)
        return self.took


def test_everything_continues_after_lost_packets(scene: Scene, cable: Proxy) -> None:
    site, carrier = scene.site, scene.carrier
    carrier.options.answer_delay = 0.05
    customer = SmppClient(site)
    scene.send(1000)
    carrier.wait_for(lambda carrier: len(carrier.submits) > 100, 30)
    assert site.get("/readyz")[0] == 200

    probes = Probes(site)
    started = time.monotonic()
    cable.vanish()
    try:
        with ThreadPoolExecutor(24) as callers:
            responses = list(callers.map(lambda _: _timed_send(site), range(24)))
            submitted = callers.submit(customer.submit, "966550000000")
            ready = site.get("/readyz")
        refused = submitted.result(60)
        time.sleep(max(0.0, SILENT_FOR - (time.monotonic() - started)))
    finally:
        cable.restore()
    back = time.monotonic()
    # More callers than threads: none waits forever, and each gets the same status.
    assert {status for status, _ in responses} == {503}
    print("refused after", max(took for _, took in responses))
    assert max(took for _, took in responses) < REFUSED_WITHIN
    assert ready[0] == 503
    assert "database" in ready[1]
    assert refused is None or refused.status == Smpp.ESME_RMSGQFUL
    until(lambda: site.get("/readyz")[0] == 200, 30, lambda: site.text[-3000:])
    scene.send_one()
    print("back after", time.monotonic() - back)
    assert time.monotonic() - back < 15
    took = probes.end()
    print("probed in", max(took))
    assert len(took) > 20
    assert max(took) < PROBED_WITHIN, statistics.quantiles(took, n=20)
    customer.close()
    scene.everything_is_right(may_repeat=0)


def _timed_send(site: Site) -> tuple[int, float]:
    started = time.monotonic()
    status, _ = site.post("/v1/sms/send", {"to": "+966550000000", "message": "Not now"})
    return status, time.monotonic() - started


# ---------------------------------------------------------------- a server that is stopped


@contextmanager
def stopped(site: Site) -> Iterator[None]:
    """Stop every process of its PostgreSQL, as when its disk hangs: TCP still works."""
    pid = site.pid("postgres")
    assert pid is not None
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]

    def signal_all(number: signal.Signals) -> None:
        for process in processes:
            # A session may end at any moment.
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    signal_all(signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all(signal.SIGCONT)


def test_callers_do_not_wait_for_a_stopped_server(tmp_path_factory: pytest.TempPathFactory) -> None:
    site = Site(
        tmp_path_factory.mktemp("site"), DATABASE_STATEMENT_TIMEOUT="2", WEBHOOK_TIMEOUT="2"
    )
    with running_simulator(receipt_delay=0.05) as carrier, receiver() as customer:
        try:
            site.start()
            site.use_simulator(carrier.port, binds=BINDS, window=WINDOW)
            scene = Scene(site, carrier, customer, set())
            scene.send(200)
            site.settle(60)
            probes = Probes(site)
            with stopped(site), ThreadPoolExecutor(24) as callers:
                responses = list(callers.map(lambda _: _timed_send(site), range(24)))
                ready = site.get("/readyz")
            print("refused after", max(took for _, took in responses))
            assert {status for status, _ in responses} == {503}
            assert max(took for _, took in responses) < REFUSED_WITHIN
            assert ready[0] == 503
            until(lambda: site.get("/readyz")[0] == 200, 15, lambda: site.text[-3000:])
            scene.send_one()
            assert max(probes.end()) < PROBED_WITHIN
            site.settle(60)
            # A send whose statement was in transit may be stored after all, but never partly.
            [(messages, charged)] = site.sql(
                "SELECT (SELECT count(*) FROM messaging_message),"
                " (SELECT -sum(amount) / 1000000 FROM accounts_ledgerentry WHERE kind = 'charge')"
            )
            assert messages == charged >= len(scene.sent)
        finally:
            site.close()
