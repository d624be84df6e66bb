"""Django's cache in Redis, which goes on without Redis.

It counts what pages limit: posts (accounts/access/post_limits.py), guesses of passwords and codes,
mails to an address, and forms that act once. Django's own backend raises where Redis is away, and
so would every such page. Here the process's memory takes over until Redis answers again: each
process then counts alone, so that a limit holds for each web process rather than for all of them.
"""

from collections.abc import Callable
from typing import Any, Final

import redis
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis.backoff import NoBackoff
from redis.retry import Retry

from imissive.core.breaker import Breaker

SOCKET_SECONDS: Final = 0.25
"""How long a request waits for Redis; then it is decided without."""
_PATIENCE: Final = {
    "socket_timeout": SOCKET_SECONDS,
    "socket_connect_timeout": SOCKET_SECONDS,
    # Nobody waits twice. A connection that a restart cut is made anew by the pool.
    "retry": Retry(NoBackoff(), 0),
}


def new_breaker() -> Breaker:
    """Return the breaker of a process whose Redis has not failed yet."""
    return Breaker(
        "cache",
        lost="each process counts alone",
        restored="all processes count together again",
    )


_breaker = new_breaker()


def _either(name: str) -> Callable[..., Any]:
    """Return the operation of that name: by Redis, or by this process's memory."""

    def operation(cache: "SharedCache", *args: Any, **named: Any) -> Any:
        if _breaker.lets_pass():
            try:
                result = getattr(RedisCache, name)(cache, *args, **named)
            except (redis.RedisError, OSError) as error:
                _breaker.failed(error)
            else:
                _breaker.succeeded()
                return result
        return getattr(cache.memory, name)(*args, **named)

    operation.__name__ = name
    return operation


class SharedCache(RedisCache):
    """Redis; while it does not answer, the memory of this process."""

    def __init__(self, server: str | list[str], params: dict[str, Any]) -> None:
        params = {**params, "OPTIONS": _PATIENCE | params.get("OPTIONS", {})}
        super().__init__(server, params)
        # By one name, so that all threads of a process count together.
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
