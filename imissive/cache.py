"""Django's cache on whatever REDIS_URL names: a server, a socket, Sentinels, TLS or not."""

from typing import Any

import redis
from django.core.cache.backends.redis import RedisCache, RedisCacheClient

from imissive.servers import RedisServer

SECONDS = 0.25
"""How long a request waits for the cache, once."""


class CacheClient(RedisCacheClient):
    """Django's client, with connections of ours."""

    def __init__(self, servers: list[str], **options: Any) -> None:
        super().__init__(servers, **options)
        self._shared = RedisServer.of(servers[0]).client(SECONDS)

    def get_client(self, key: Any = None, *, write: bool = False) -> redis.Redis:
        """Return the one client that there is."""
        return self._shared


class Cache(RedisCache):
    """The shared cache."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        # One server: a list of Sentinels has commas too.
        self._servers = [server]
        self._class = CacheClient
