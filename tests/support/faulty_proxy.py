"""A proxy before the platform that a program has to get over to have its message sent."""

import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hurdles:
    """Of each idempotency key the first call reaches the platform and is never answered, the second
    is told that the platform is not available, later ones pass. `seen`: the calls of each."""

    def __init__(self, platform: str) -> None:
        self.platform = platform
        self.seen: Counter[str] = Counter()
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        key = handler.headers["Idempotency-Key"]
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.seen[key] += 1
        if self.seen[key] == 2:
            unavailable = b'{"error": {"code": "UNAVAILABLE", "message": "Try again."}}'
            self._write(handler, 503, unavailable, {"Retry-After": "1"})
            return
        status, answer, headers = self._forward(handler, body)
        if self.seen[key] == 1:
            assert status == 202, answer
            handler.close_connection = True
            handler.connection.shutdown(2)
            return
        self._write(handler, status, answer, headers)

    def _forward(
        self, handler: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, bytes, dict[str, str]]:
        names = ("Authorization", "Content-Type", "Idempotency-Key")
        headers = {name: handler.headers[name] for name in names}
        request = urllib.request.Request(self.platform + handler.path, body, headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
                return answer.status, answer.read(), {}
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
def hurdles(platform: str) -> Iterator[Hurdles]:
    """The proxy before the platform at that URL, for as long as the context lasts."""
    made = Hurdles(platform)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            made.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
