"""Parsing of DATABASE_URL, REDIS_URL and BROKER_URL, with all parameters, for every connection.

Every process uses it, with Django or without, so that all of them connect in the same way: to one
of several hosts, over TLS, with a timeout. An unsupported parameter is refused by its name,
because it might be the one that requires encryption.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final
from urllib.parse import ParseResult, parse_qsl, quote, unquote, urlparse

import psycopg
import redis
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

# ------------------------------------------------------------------ PostgreSQL

DATABASE_DEFAULTS: Final = {
    "application_name": "imissive",
    # An unresponsive server is detected after about ten seconds.
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
_NUMBERS: Final = frozenset(DATABASE_DEFAULTS) - {"application_name"}
NAME: Final = "imissive"


def database_parameters(url: str) -> dict[str, str]:
    """Return libpq's parameters for a URL, with our defaults for missing ones.

    Raises ValueError with a readable text, without the URL, because it has a password.
    """
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except psycopg.ProgrammingError as error:
        raise ValueError(str(error).strip()) from None
    if not given.get("port", "0").strip(","):
        del given["port"]  # libpq writes it for hosts without a port
    for name in _NUMBERS & given.keys():
        if not given[name].lstrip("-").isdigit():
            raise ValueError(f"{name} must be a whole number")
    hosts = given.get("host", given.get("hostaddr", "")).split(",")
    if len(hosts) > 1:
        # Several hosts are one primary and its standbys.
        given.setdefault("target_session_attrs", "read-write")
    if "service" not in given:
        given.setdefault("dbname", NAME)
    parameters = DATABASE_DEFAULTS | given
    _check_values(parameters, len(hosts))
    return parameters


def connect_database(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    """Return a new connection, for code that runs without Django."""
    parameters: dict[str, Any] = dict(database_parameters(url))
    return psycopg.connect(**parameters)


def _check_values(parameters: Mapping[str, str], hosts: int) -> None:
    """Let libpq check the values, which it does before it connects, here to no server."""
    nowhere = {"host": ",".join(["/nonexistent"] * hosts)}
    rest = {name: value for name, value in parameters.items() if name not in ("host", "hostaddr")}
    tried = pq.PGconn.connect_start(make_conninfo(**nowhere | rest).encode())
    message = tried.error_message.decode(errors="replace").strip()
    tried.finish()
    if not message.startswith("connection to server"):
        raise ValueError(message)


# ------------------------------------------------------------------ Redis, Valkey


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return text.lower() == "true"


def _verification(text: str) -> str:
    if text not in ("required", "optional", "none"):
        raise ValueError("must be required, optional or none")
    return text


_TLS: Final[dict[str, Callable[[str], Any]]] = {
    "ssl_cert_reqs": _verification,
    "ssl_ca_certs": str,
    "ssl_certfile": str,
    "ssl_keyfile": str,
    "ssl_check_hostname": _flag,
}
_PLAIN: Final[dict[str, Callable[[str], Any]]] = {"db": int, "client_name": str}
_SENTINEL: Final[dict[str, Callable[[str], Any]]] = {
    "sentinel_username": str,
    "sentinel_password": str,
}
REDIS_SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
AMQP_SCHEMES: Final = ("amqp", "amqps")
REDIS_PORT, SENTINEL_PORT = 6379, 26379
_VERIFY_MODES: Final = {
    "required": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_OPTIONAL,
    "none": ssl.CERT_NONE,
}


@dataclass(frozen=True)
class RedisServer:
    """A Redis or Valkey: at an address, on a socket, or the primary named by Sentinels."""

    hosts: tuple[tuple[str, int], ...]
    path: str = ""
    service: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    tls: dict[str, Any] | None = None
    sentinel: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, url: str) -> "RedisServer":
        """Return the server of a URL. Raise ValueError, without the URL."""
        scheme, _, rest = url.partition("://")
        parts = urlparse(f"http://{rest}")
        secure, sentinel = scheme.startswith("rediss"), scheme.endswith("+sentinel")
        known = _PLAIN | (_TLS if secure else {}) | (_SENTINEL if sentinel else {})
        options = _parameters(parts, known)
        options |= _credentials(parts)
        tls = {name: options.pop(name) for name in _TLS if name in options} if secure else None
        watch = {
            name.removeprefix("sentinel_"): options.pop(name)
            for name in _SENTINEL
            if name in options
        }
        if scheme == "unix":
            return cls((), unquote(parts.path), options=options)
        hosts = _hosts(parts.netloc.rpartition("@")[2], SENTINEL_PORT if sentinel else REDIS_PORT)
        names = [unquote(name) for name in parts.path.split("/") if name]
        service = ""
        if sentinel:
            if not names:
                raise ValueError("needs the primary's name: redis+sentinel://host:26379/name/0")
            service = names.pop(0)
        elif len(hosts) > 1:
            raise ValueError("several hosts are Sentinels: redis+sentinel://")
        if names:
            options["db"] = _number(names.pop(0), "the database")
        if names:
            raise ValueError("has a path that is too long")
        return cls(hosts, "", service, options, tls, watch)

    def client(self, seconds: float, **more: Any) -> redis.Redis:
        """Return a client with that timeout for responses, and without retries."""
        once = Retry(NoBackoff(), 0)
        waits: dict[str, Any] = {"socket_timeout": seconds, "retry": once} | more
        if self.path:
            return redis.Redis(unix_socket_path=self.path, **self.options, **waits)
        waits["socket_connect_timeout"] = seconds
        secure: dict[str, Any] = {} if self.tls is None else {"ssl": True, **self.tls}
        if not self.service:
            host, port = self.hosts[0]
            return redis.Redis(host=host, port=port, **self.options, **secure, **waits)
        watched = Sentinel(  # type: ignore[no-untyped-call]
            list(self.hosts), sentinel_kwargs={**self.sentinel, **secure, **waits}, **waits
        )
        found: redis.Redis = watched.master_for(  # type: ignore[no-untyped-call]
            self.service, **self.options, **secure
        )
        return found

    @cached_property
    def broker(self) -> "Broker":
        """Return the same server as Celery's broker."""
        user, password = self.options.get("username", ""), self.options.get("password", "")
        login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
        db = self.options.get("db", 0)
        options: dict[str, Any] = {}
        if name := self.options.get("client_name"):
            options["client_name"] = name
        if self.path:
            where = quote(self.path, safe="/")
            return Broker(f"redis+socket://{login}{where}?virtual_host={db}", options)
        scheme = "sentinel" if self.service else "redis"
        url = ";".join(
            f"{scheme}://{login}{_bracketed(host)}:{port}/{db}" for host, port in self.hosts
        )
        if self.service:
            options["master_name"] = self.service
            secure: dict[str, Any] = {} if self.tls is None else {"ssl": True, **self.tls}
            options["sentinel_kwargs"] = self.sentinel | secure
        tls = None
        if self.tls is not None:
            # Celery's default is not to verify.
            verify = _VERIFY_MODES[self.tls.get("ssl_cert_reqs", "required")]
            tls = self.tls | {"ssl_cert_reqs": verify}
        return Broker(url, options, tls)


@dataclass(frozen=True)
class Broker:
    """Celery's broker: `broker_url`, `broker_transport_options` and `broker_use_ssl`."""

    url: str
    options: dict[str, Any] = field(default_factory=dict)
    tls: dict[str, Any] | None = None

    @property
    def is_amqp(self) -> bool:
        """Return whether it is RabbitMQ or the like."""
        return self.url.startswith("amqp")

    @classmethod
    def of(cls, url: str) -> "Broker":
        """Return the broker of a URL. Raise ValueError, without the URL."""
        if not url.startswith("amqp"):
            return RedisServer.of(url).broker
        # Several nodes of RabbitMQ, one after the other, in Celery's form.
        each = [_amqp(part) for part in url.split(";")]
        if len({broker.url.partition("://")[0] for broker in each}) > 1:
            raise ValueError("has amqp:// and amqps:// together")
        return cls(";".join(broker.url for broker in each), {}, each[0].tls)


def _amqp(url: str) -> Broker:
    scheme, _, rest = url.partition("://")
    if scheme not in AMQP_SCHEMES:
        raise ValueError("has nodes that are not amqp:// or amqps://")
    parts = urlparse(f"http://{rest}")
    tls = _parameters(parts, _TLS if scheme == "amqps" else {})
    plain = f"{scheme}://{parts.netloc}{parts.path}"
    if scheme == "amqp":
        return Broker(plain)
    checks_name = tls.pop("ssl_check_hostname", True)
    options = {name.removeprefix("ssl_"): value for name, value in tls.items()}
    options["cert_reqs"] = _VERIFY_MODES[options.get("cert_reqs", "required")]
    if checks_name and options["cert_reqs"] != ssl.CERT_NONE:
        options["server_hostname"] = None  # the node's own
    return Broker(plain, {}, options)


def _parameters(parts: ParseResult, known: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Return a URL's parameters, parsed. Raises ValueError with the name of an unknown one."""
    found: dict[str, Any] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            hint = " without rediss://" if name in _TLS else ""
            raise ValueError(f"has a parameter that is not supported{hint}: {name}")
        try:
            found[name] = known[name](value)
        except ValueError as error:
            wrong = str(error) if known[name] is not int else "must be a whole number"
            raise ValueError(f"{name} {wrong}") from None
    return found


def _credentials(parts: ParseResult) -> dict[str, str]:
    login, _, _ = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    found = {"username": unquote(user), "password": unquote(password)}
    return {name: value for name, value in found.items() if value}


def _hosts(netloc: str, port: int) -> tuple[tuple[str, int], ...]:
    found = []
    for each in netloc.split(","):
        # An IPv6 address is in brackets.
        host, colon, number = each.rpartition(":") if not each.endswith("]") else (each, "", "")
        if not colon:
            host, number = each, ""
        where = host.removeprefix("[").removesuffix("]") or "localhost"
        found.append((where, _number(number, "a port") if number else port))
    return tuple(found)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else quote(host, safe="")


def _number(text: str, what: str) -> int:
    if not text.isdigit():
        raise ValueError(f"{what} must be a whole number")
    return int(text)
