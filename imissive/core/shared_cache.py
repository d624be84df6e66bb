"""Django's cache backend for Redis, with a fallback to the process's memory while Redis is down.

Pages use the cache for rate limits of posts (accounts/access/post_limits.py), of password and code
guesses and of mails to an address, and for single-use forms. Django's own backend raises while
Redis is down, so all these pages would fail. With the fallback, each process counts alone until
Redis responds again: a limit then holds for each web process instead of for all together.
"""

import json
from collections.abc import Callable
from typing import Any, Final

import redis
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache, RedisCacheClient

from imissive.core.breaker import Breaker
from imissive.core.servers import RedisServer

SOCKET_SECONDS: Final = 0.25
"""The timeout of a request to Redis; after it, the process's memory is used."""


def _ping() -> None:
    # In this thread, as it is configured now: cache objects belong to their threads.
    cache: Any = caches["default"]
    cache._cache.get_client().ping()


def new_breaker() -> Breaker:
    """Return a closed circuit breaker, for a process whose Redis has not failed yet."""
    return Breaker(
        "cache",
        _ping,
        lost="each process counts alone",
        restored="all processes count together again",
    )


_breaker = new_breaker()


def _either(name: str) -> Callable[..., Any]:
    """Return the cache operation of that name, with the fallback to this process's memory."""

    def operation(cache: "SharedCache", *args: Any, **named: Any) -> Any:
        if _breaker.lets_pass():
            try:
                result = getattr(RedisCache, name)(cache, *args, **named)
            except (redis.RedisError, OSError) as error:
                _breaker.failed(error)
            else:
                return result
        return getattr(cache.memory, name)(*args, **named)

    operation.__name__ = name
    return operation


class CacheClient(RedisCacheClient):
    """Django's client for the server that REDIS_URL names: by address, socket or Sentinels."""

    def __init__(
        self, servers: list[str], *, seconds: float = SOCKET_SECONDS, **options: Any
    ) -> None:
        super().__init__(servers, **options)
        self._shared = RedisServer.of(servers[0]).client(seconds)

    def get_client(self, key: Any = None, *, write: bool = False) -> redis.Redis:
        """Return the one client."""
        return self._shared


class JsonSerializer:
    """Values as JSON. Django's serializer is pickle: anyone who can write to Redis could run code.

    Values that are not JSON raise TypeError in `set`.
    """

    def dumps(self, value: Any) -> str | int:
        # A plain integer, so that Redis can increment it.
        return value if type(value) is int else json.dumps(value, separators=(",", ":"))

    def loads(self, data: bytes) -> Any:
        return json.loads(data)


class SharedCache(RedisCache):
    """A cache in Redis, and in this process's memory while Redis does not respond."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        options = {"serializer": JsonSerializer, **params.get("OPTIONS", {})}
        params = {**params, "OPTIONS": options}
        super().__init__(server, params)
        # One server: a list of Sentinels has commas too.
        self._servers = [server]
        self._class = CacheClient
        # With one name, all threads of a process share the counters.
        self.memory = LocMemCache("imissive", {"KEY_PREFIX": self.key_prefix})

    add = _either("add")
    get = _either("get")
    set = _either("set")
    touch = _either("touch")
    delete = _either("delete")
    get_many = _either("get_many")
    has_key = _either("has_key")
    incr = _either("incr")
    set_many = _either("set_many")
    delete_many = _either("delete_many")
    clear = _either("clear")
