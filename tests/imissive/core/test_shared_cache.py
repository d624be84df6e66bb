"""The shared cache holds JSON only: whoever writes to Redis must not run code in the platform."""

import pickle
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.cache import cache

VALUES: list[Any] = [1, 0, -7, 1.5, True, None, "text, \0 too", [1700000000.25, 3], {"a": [1]}]


class Exploit:
    """An object whose unpickling runs a function."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("a value of Redis was unpickled",)


@pytest.fixture(autouse=True)
def _empty() -> None:
    cache.clear()


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_with_its_type(value: Any) -> None:
    cache.set("a", value, 60)
    found = cache.get("a", "nothing")
    assert (found, type(found)) == (value, type(value))
    assert cache.get_many(["a", "b"]) == {"a": value}


def test_a_counter_is_incremented_by_redis() -> None:
    assert cache.add("n", 1, 60)
    assert not cache.add("n", 1, 60)
    assert [cache.incr("n"), cache.incr("n", 5), cache.get("n")] == [2, 7, 7]


def test_what_is_in_redis_is_not_unpickled() -> None:
    cache.set("a", ["x"], 60)
    client = redis.Redis.from_url(settings.REDIS_URL)
    [name] = client.keys("imissive.json:*:a")
    assert client.get(name) == b'["x"]'
    client.set(name, pickle.dumps(Exploit()))
    with pytest.raises(ValueError, match=r"utf-8|UTF-8"):
        cache.get("a")


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(TypeError):
        cache.set("a", Exploit(), 60)
