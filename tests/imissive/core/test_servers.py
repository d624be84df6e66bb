"""DATABASE_URL, REDIS_URL and BROKER_URL are used completely, by every process that connects.

For TLS, the tests run a proxy with its own certificates before the real servers.
"""

import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from django.core.exceptions import ImproperlyConfigured
from redis.sentinel import SentinelConnectionPool

from imissive.core.servers import (
    DATABASE_DEFAULTS,
    Broker,
    RedisServer,
    database_parameters,
)
from imissive.env import Env, read_env
from imissive.run import boot
from imissive.run.carriers import Carriers
from imissive.run.embedded import Valkey
from imissive.run.processes import free_port, write_private
from imissive.run.programs import ROOT
from tests.support import certificates
from tests.support.platforms import until
from tests.support.proxies import proxy

DATABASE = urlsplit(os.environ["DATABASE_URL"])
REDIS = urlsplit(os.environ["REDIS_URL"])
PASSWORD = "p@ss/word"


# ------------------------------------------------------------------ supported parameters


@pytest.mark.parametrize(
    ("url", "parameters"),
    [
        ("postgresql://u:p%40ss%2Fword@h:5433/n", {
            "user": "u", "password": PASSWORD, "host": "h", "port": "5433", "dbname": "n"}),
        ("postgres://h", {"host": "h", "dbname": "imissive"}),
        ("postgresql://%2Frun%2Fpg/n", {"host": "/run/pg", "dbname": "n"}),
        ("postgresql://[::1]:5433/n", {"host": "::1", "port": "5433", "dbname": "n"}),
        ("postgresql://h1:1,h2:2/n", {
            "host": "h1,h2", "port": "1,2", "dbname": "n", "target_session_attrs": "read-write"}),
        ("postgresql://h1,h2/n?target_session_attrs=primary", {
            "host": "h1,h2", "dbname": "n", "target_session_attrs": "primary"}),
        ("postgresql://h/n?sslmode=verify-full&sslrootcert=%2Fca.pem", {
            "host": "h", "dbname": "n", "sslmode": "verify-full", "sslrootcert": "/ca.pem"}),
        ("postgresql://h/n?connect_timeout=9&keepalives_idle=60&tcp_user_timeout=0", {
            "host": "h", "dbname": "n", "connect_timeout": "9", "keepalives_idle": "60",
            "tcp_user_timeout": "0"}),
        ("postgresql://h/n?options=-c%20work_mem%3D8MB&application_name=x", {
            "host": "h", "dbname": "n", "options": "-c work_mem=8MB", "application_name": "x"}),
    ],
)  # fmt: skip
def test_every_parameter_of_libpq(url: str, parameters: dict[str, str]) -> None:
    assert database_parameters(url) == DATABASE_DEFAULTS | parameters


def test_a_service_of_libpq(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "services").write_text("[mine]\nhost=h\ndbname=n\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    found = database_parameters("postgresql:///?service=mine")
    assert found == DATABASE_DEFAULTS | {"service": "mine"}
    with pytest.raises(ValueError, match="service"):
        database_parameters("postgresql:///?service=another")


@pytest.mark.parametrize(
    ("name", "url", "expected"),
    [
        ("DATABASE_URL", "postgresql://u:secret@h/n?sslmod=require", "sslmod"),
        ("DATABASE_URL", "postgresql://u:secret@h/n?sslmode=full", "sslmode"),
        ("DATABASE_URL", "postgresql://u:secret@h1,h2/n?target_session_attrs=rw", "target_session"),
        ("DATABASE_URL", "postgresql://u:secret@h/n?connect_timeout=soon", "connect_timeout"),
        ("DATABASE_URL", "postgresql://u:secret@h/n?pool_size=5", "pool_size"),
        ("DATABASE_URL", "postgresql://u:secret@h:65536/n", "port"),
        ("REDIS_URL", "redis://:secret@h/0?ssl_ca_certs=x", "ssl_ca_certs"),
        ("REDIS_URL", "redis://:secret@h/0?max_connections=1", "max_connections"),
        ("REDIS_URL", "rediss://:secret@h/0?ssl_cert_reqs=never", "ssl_cert_reqs"),
        ("REDIS_URL", "redis://:secret@h/zero", "database"),
        ("REDIS_URL", "redis://:secret@h:port/0", "port"),
        ("REDIS_URL", "redis://:secret@h1,h2/0", "redis+sentinel"),
        ("REDIS_URL", "redis+sentinel://:secret@h1,h2", "primary's name"),
        ("REDIS_URL", "redis+sentinel://h/mine/0?sentinel_name=x", "sentinel_name"),
        ("BROKER_URL", "rediss://:secret@h/0?ssl=1", "ssl"),
        ("BROKER_URL", "amqp://u:secret@h//?ssl_ca_certs=x", "ssl_ca_certs"),
        ("BROKER_URL", "amqps://u:secret@h//?verify=1", "verify"),
        ("BROKER_URL", "amqp://u:secret@h//;amqps://u:secret@h//", "amqps"),
        ("BROKER_URL", "amqp://u:secret@h//;redis://:secret@h", "amqp"),
    ],
)
def test_unsupported_parameters_stop_the_start_with_their_name(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str, expected: str
) -> None:
    monkeypatch.setenv(name, url)
    with pytest.raises(ImproperlyConfigured) as refusal:
        read_env()
    assert str(refusal.value).startswith(f"{name}: ")
    assert expected in str(refusal.value)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "broker", "options", "tls"),
    [
        ("redis://h", "redis://h:6379/0", {}, None),
        ("redis://u:p%40ss%2Fword@h:7/3", "redis://u:p%40ss%2Fword@h:7/3", {}, None),
        ("redis://[::1]:7/3", "redis://[::1]:7/3", {}, None),
        ("unix:///run/redis?db=2", "redis+socket:///run/redis?virtual_host=2", {}, None),
        ("rediss://:p@h", "redis://:p@h:6379/0", {}, {"ssl_cert_reqs": ssl.CERT_REQUIRED}),
        ("rediss://h?ssl_cert_reqs=none&ssl_check_hostname=false", "redis://h:6379/0", {},
         {"ssl_cert_reqs": ssl.CERT_NONE, "ssl_check_hostname": False}),
        ("redis+sentinel://:p@h1,h2:27/mine/4?sentinel_password=q",
         "sentinel://:p@h1:26379/4;sentinel://:p@h2:27/4",
         {"master_name": "mine", "sentinel_kwargs": {"password": "q"}}, None),
        ("amqp://u:p@h1//;amqp://u:p@h2//", "amqp://u:p@h1//;amqp://u:p@h2//", {}, None),
        ("amqps://u:p@h//?ssl_ca_certs=/ca.pem", "amqps://u:p@h//", {},
         {"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": "/ca.pem", "server_hostname": None}),
    ],
)  # fmt: skip
def test_the_broker_of_a_url(
    url: str, broker: str, options: dict[str, object], tls: dict[str, object] | None
) -> None:
    """Celery verifies no certificate of Redis by default, and not the name of RabbitMQ."""
    assert Broker.of(url) == Broker(broker, options, tls)


# ------------------------------------------------------------------ TLS


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> certificates.Certificates:
    return certificates.make(tmp_path_factory.mktemp("certificates"))


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python after Django's setup, as a process of the platform."""
    return subprocess.run(
        [sys.executable, "-c", f"import django; django.setup()\n{code}"],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "imissive.settings"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


IN_USE = """
import psycopg
from django.db import connection
from imissive.core.sql import own_parameters
connection.ensure_connection()
print(connection.connection.pgconn.ssl_in_use)
print(psycopg.connect(**own_parameters()).pgconn.ssl_in_use)
"""


def database_url(port: int, query: str) -> str:
    where = f"{DATABASE.username}:{DATABASE.password}@127.0.0.1:{port}"
    return DATABASE._replace(netloc=where, query=query).geturl()


def environment_of(url: str) -> Env:
    return read_env(database_url=url)


@pytest.mark.parametrize(
    ("query", "in_use"),
    [
        ("sslmode=disable", False),
        ("sslmode=require", True),
        ("sslmode=verify-full&sslrootcert={authority}", True),
        ("sslmode=verify-full&sslrootcert={stranger}", None),
        ("sslmode=verify-full&sslrootcert=/nonexistent", None),
    ],
)
def test_requested_encryption_applies_to_all_connections(
    made: certificates.Certificates, query: str, in_use: bool | None
) -> None:
    assert DATABASE.port is not None
    with proxy(DATABASE.port, tls=made.server, asks_first=True) as before:
        url = database_url(
            before.port, query.format(authority=made.authority, stranger=made.stranger)
        )
        done = run(IN_USE, DATABASE_URL=url)
        if in_use is None:
            assert done.returncode
            with pytest.raises(boot.Unusable, match=r"DATABASE_URL: .*(certificate|sslrootcert)"):
                boot.check_servers(environment_of(url))
        else:
            assert done.stdout.split() == [str(in_use)] * 2, done.stderr
            boot.check_servers(environment_of(url))
        assert before.accepted > 1


def test_a_server_without_tls_is_refused_if_tls_is_required() -> None:
    assert DATABASE.port is not None
    with proxy(DATABASE.port, asks_first=True) as before:
        url = database_url(before.port, "sslmode=require")
        with pytest.raises(boot.Unusable, match="does not support SSL"):
            boot.check_servers(environment_of(url))
        carriers = Carriers(environment_of(url))
        assert carriers.enabled() is None
        assert run(IN_USE, DATABASE_URL=url).returncode


USED = """
from accounts.api.rate_limits import take_tokens
from django.conf import settings
from django.core.cache import cache
from imissive.celery import app
cache._cache.get_client().ping()
assert take_tokens("servers", 10, 60).known
with app.connection_for_write() as broker:
    broker.ensure_connection(max_retries=0)
    app.send_task("nothing", queue="servers", connection=broker, retry=False)
print("used")
"""


@pytest.mark.parametrize(
    ("query", "used"),
    [
        ("ssl_ca_certs={authority}", True),
        ("ssl_cert_reqs=none&ssl_check_hostname=false", True),
        ("ssl_ca_certs={stranger}", False),
        ("", False),
    ],
)
def test_redis_over_tls_is_verified(
    made: certificates.Certificates, query: str, used: bool
) -> None:
    assert REDIS.port is not None
    with proxy(REDIS.port, tls=made.server) as before:
        query = query.format(authority=made.authority, stranger=made.stranger)
        url = f"rediss://:{REDIS.password}@127.0.0.1:{before.port}/9?{query}"
        done = run(USED, REDIS_URL=url)
        assert (done.stdout == "used\n") is used, done.stderr
        if used:
            boot.check_servers(read_env(redis_url=url))
        else:
            assert "CERTIFICATE_VERIFY_FAILED" in done.stderr
            with pytest.raises(boot.Unusable, match=r"REDIS_URL: .*CERTIFICATE_VERIFY_FAILED"):
                boot.check_servers(read_env(redis_url=url))


# ------------------------------------------------------------------ Sentinel, sockets


class Valkeys:
    """Valkey servers of a test in processes of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._binary = str(Valkey(folder)._binary)
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, lines: str, *arguments: str) -> int:
        """One with these lines of configuration; its port."""
        port = free_port()
        folder = self._folder / str(port)
        folder.mkdir()
        write_private(folder / "conf", f'bind 127.0.0.1\nport {port}\ndir "{folder}"\n{lines}\n')
        self._running[port] = subprocess.Popen(
            [self._binary, str(folder / "conf"), *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return port

    def kill(self, port: int) -> None:
        self._running[port].send_signal(signal.SIGKILL)
        self._running.pop(port).wait(10)

    def close(self) -> None:
        for port in list(self._running):
            self.kill(port)


@pytest.fixture
def valkeys(tmp_path: Path) -> Iterator[Valkeys]:
    made = Valkeys(tmp_path)
    yield made
    made.close()


LOGIN = "requirepass secret\nmasterauth secret"


def test_the_primary_named_by_sentinels(valkeys: Valkeys) -> None:
    """The clients find it, and the next one after it has been killed."""
    first = valkeys.start(LOGIN)
    second = valkeys.start(f"{LOGIN}\nreplicaof 127.0.0.1 {first}")
    sentinel = valkeys.start(
        f"requirepass watch\nsentinel monitor mine 127.0.0.1 {first} 1\n"
        "sentinel auth-pass mine secret\nsentinel down-after-milliseconds mine 500\n"
        "sentinel failover-timeout mine 2000",
        "--sentinel",
    )
    url = f"redis+sentinel://:secret@127.0.0.1:{sentinel}/mine/3?sentinel_password=watch"
    client = RedisServer.of(url).client(2)
    assert isinstance(client.connection_pool, SentinelConnectionPool)

    def primary() -> int:
        try:
            return int(client.info()["tcp_port"])
        except redis.RedisError:
            return 0

    until(lambda: primary() == first, 20)
    until(lambda: client.info().get("slave0", {}).get("state") == "online", 20)
    watch = redis.Redis(port=sentinel, password="watch")
    until(lambda: watch.sentinel_slaves("mine"), 20)
    boot.check_servers(read_env(redis_url=url))
    done = run(USED, REDIS_URL=url)
    assert done.stdout == "used\n", done.stderr
    assert redis.Redis(port=first, password="secret", db=3).llen("servers") == 1

    valkeys.kill(first)
    until(lambda: primary() == second, 30)
    done = run(USED, REDIS_URL=url)
    assert done.stdout == "used\n", done.stderr
    # The queue was copied to the replica, and one task was added.
    assert redis.Redis(port=second, password="secret", db=3).llen("servers") == 2


def test_a_socket_of_this_machine(valkeys: Valkeys, tmp_path: Path) -> None:
    path = tmp_path / "valkey.sock"
    valkeys.start(f"{LOGIN}\nunixsocket {path}")
    until(path.exists, 10)
    url = f"unix://:secret@{path}?db=2"
    boot.check_servers(read_env(redis_url=url))
    done = run(USED, REDIS_URL=url)
    assert done.stdout == "used\n", done.stderr


def test_a_client_tries_once_and_respects_its_timeout() -> None:
    assert REDIS.port is not None
    with proxy(REDIS.port) as before:
        url = f"redis://:{REDIS.password}@127.0.0.1:{before.port}/0"
        client = RedisServer.of(url).client(0.2)
        assert client.ping()
        before.vanish()
        start = time.monotonic()
        with pytest.raises(redis.RedisError):
            client.ping()
        assert time.monotonic() - start < 0.2 + 0.4
        before.restore()
        until(lambda: _pings(client), 10)


def _pings(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def test_the_documentation_names_the_defaults() -> None:
    text = (ROOT / "docs" / "operating.md").read_text()
    for name, value in DATABASE_DEFAULTS.items():
        assert re.search(rf"`{name}={value}`", text), name
