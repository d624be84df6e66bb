"""What the HTTP server calls: Django, of which so many requests at once are served as threads may.

The HTTP server has a thread for each connection that it takes, so probes always find one; they are
answered without a turn. All other requests take turns, WEB_THREADS at once.
"""

import os
import threading
from collections.abc import Callable
from typing import Any

import orjson
from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imissive.settings")

Environ = dict[str, Any]
Start = Callable[[str, list[tuple[str, str]]], Any]
Answer = Any  # an iterable of bytes, which Django's has a close() beside


class Turns:
    """Has `serve` called by so many threads at once; who waits too long for its turn gets 503."""

    def __init__(self, serve: Callable[[Environ, Any], Answer], at_once: int) -> None:
        self._serve = serve
        self._turns = threading.BoundedSemaphore(at_once)

    def __call__(self, environ: Environ, start: Start) -> Answer:
        path = environ.get("PATH_INFO", "")
        if path in PROBES:
            return self._serve(environ, start)
        if not self._turns.acquire(timeout=settings.DATABASE_POOL_TIMEOUT):
            return _busy(path, start)
        try:
            return self._serve(environ, start)
        finally:
            self._turns.release()


def _busy(path: str, start: Start) -> Answer:
    error = ApiError("UNAVAILABLE", "The service is busy. Try again.")
    kind, body = "text/plain; charset=utf-8", error.problem.message.encode()
    if path.startswith(API_PREFIX):
        request_id = ids.public_id("req", ids.new_uuid())
        kind, body = "application/json", orjson.dumps(error_body(error, request_id))
    headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    start("503 Service Unavailable", [*headers, ("Retry-After", RETRY_AFTER)])
    return [body]


_django = get_wsgi_application()

# Only now: they need Django's settings, and some its models.
from imissive import ids  # noqa: E402
from imissive.errors import RETRY_AFTER, ApiError, error_body  # noqa: E402
from imissive.health import PROBES  # noqa: E402
from imissive.requests import API_PREFIX  # noqa: E402
from imissive.sql import limit_statements  # noqa: E402

limit_statements()
application = Turns(_django, settings.WEB_THREADS)
