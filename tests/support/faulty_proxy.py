"""A faulty proxy in front of the platform, which a program's retries have to overcome."""

import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FaultyProxy:
    """For each idempotency key, lose the first response and respond to the second call with 503.

    The first call does reach the platform. Later ones pass. `seen`: the number of calls by key.
    """

    def __init__(self, platform: str) -> None:
        self.platform = platform
        self.seen: Counter[str] = Counter()
        self.url = ""

    def respond(self, handler: BaseHTTPRequestHandler) -> None:
        """Handle a POST by the number of calls with its key."""
        key = handler.headers["Idempotency-Key"]
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.seen[key] += 1
        if self.seen[key] == 2:
            unavailable = b'{"error": {"code": "UNAVAILABLE", "message": "Try again."}}'
            self._write(handler, 503, unavailable, {"Retry-After": "1"})
            return
        status, content, headers = self._forward(handler, body)
        if self.seen[key] == 1:
            assert status == 202, content
            handler.close_connection = True
            handler.connection.shutdown(2)
            return
        self._write(handler, status, content, headers)

    def _forward(
        self, handler: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, bytes, dict[str, str]]:
        names = ("Authorization", "Content-Type", "Idempotency-Key")
        headers = {name: handler.headers[name] for name in names}
        request = urllib.request.Request(self.platform + handler.path, body, headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310
                return response.status, response.read(), {}
        except urllib.error.HTTPError as error:
            return error.code, error.read(), {}

    def _write(
        self, handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]
    ) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@contextmanager
def faulty_proxy(platform: str) -> Iterator[FaultyProxy]:
    """Run the proxy in front of the platform at that URL."""
    proxy = FaultyProxy(platform)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            proxy.respond(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
