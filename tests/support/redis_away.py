"""The shared cache while Redis is down."""

from collections.abc import Iterator
from typing import Any

import pytest

from imissive.core import breaker, shared_cache
from imissive.core.shared_cache import SharedCache
from tests.support.platforms import until


@pytest.fixture
def cache_without_redis(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Connect the cache to a port where no Redis listens."""
    monkeypatch.setattr(shared_cache, "_breaker", shared_cache.new_breaker())
    default = settings.CACHES["default"]
    settings.CACHES = {"default": {**default, "LOCATION": "redis://127.0.0.1:1"}}
    # Pinged often, so that its thread ends with the test: it would write into the next test's log.
    monkeypatch.setattr(breaker, "REST_SECONDS", 0.05)
    yield
    SharedCache("", {}).memory.clear()
    settings.CACHES = {"default": default}
    until(shared_cache._breaker.lets_pass, 10)
