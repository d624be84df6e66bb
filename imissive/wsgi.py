"""The WSGI application, which the HTTP server (Granian) calls, with a limit of concurrent requests.

The HTTP server has a thread for each connection that it accepts, so probes always find one; they
take no turn. All other requests take turns, WEB_THREADS at the same time.
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
Response = Any  # an iterable of bytes; Django's also has a close()


class Turns:
    """Calls `serve` in at most `at_once` threads. A request that waits too long gets 503."""

    def __init__(self, serve: Callable[[Environ, Any], Response], at_once: int) -> None:
        self._serve = serve
        self._turns = threading.BoundedSemaphore(at_once)

    def __call__(self, environ: Environ, start: Start) -> Response:
        path = environ.get("PATH_INFO", "")
        if path in PROBES:
            return self._serve(environ, start)
        if not self._turns.acquire(timeout=settings.DATABASE_POOL_TIMEOUT):
            return _busy(path, start)
        try:
            return self._serve(environ, start)
        finally:
            self._turns.release()


def _busy(path: str, start: Start) -> Response:
    error = ApiError(CoreReason.UNAVAILABLE)
    kind, body = "text/plain; charset=utf-8", english(error.problem).encode()
    if path.startswith(API_PREFIX):
        request_id = ids.public_id("req", ids.new_uuid())
        kind, body = "application/json", orjson.dumps(error_body(error, request_id))
    headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    start("503 Service Unavailable", [*headers, ("Retry-After", RETRY_AFTER)])
    return [body]


_django = get_wsgi_application()

# Imported here, because they need Django's settings, and some its models.
from imissive.core import ids  # noqa: E402
from imissive.core.api.requests import API_PREFIX  # noqa: E402
from imissive.core.errors import RETRY_AFTER, ApiError, error_body  # noqa: E402
from imissive.core.problems import english  # noqa: E402
from imissive.core.reasons import CoreReason  # noqa: E402
from imissive.core.sql import limit_statements  # noqa: E402
from imissive.pages.health import PROBES  # noqa: E402

limit_statements()
application = Turns(_django, settings.WEB_THREADS)
