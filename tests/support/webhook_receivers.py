"""A customer's webhook receiver: a real HTTP server that verifies by `standardwebhooks`."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook


@dataclass
class Post:
    """One received post."""

    at: float
    path: str
    headers: dict[str, str]
    body: bytes

    def verified(self, secret: str) -> Any:
        """Return the event. Raises WebhookVerificationError where the signature is wrong."""
        return Webhook(secret).verify(self.body, self.headers)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Answer:
    """The receiver's response, sent after `delay` seconds."""

    status: int = 204
    delay: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Receiver:
    """Responds to each post with `answer(post)`; records posts and the most concurrent ones."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_port}/hook"
        self.posts: list[Post] = []
        self.connections = 0
        self.most_at_once = 0
        self.answer: Callable[[Post], Answer] = lambda _post: Answer()
        self._at_once = 0
        self._lock = threading.Lock()

    def script(self, *statuses: int) -> None:
        """Respond with these statuses, one after the other; then with 204."""
        left = list(statuses)
        self.answer = lambda _post: Answer(left.pop(0) if left else 204)

    def wait_for(self, count: int, seconds: float = 15.0) -> list[Post]:
        """Wait for that many posts and return them; fail if they do not come within `seconds`."""
        wait_until(lambda: len(self.posts) >= count, seconds, lambda: f"{len(self.posts)} posts")
        return self.posts

    @contextmanager
    def receiving(self, post: Post) -> Iterator[Answer]:
        with self._lock:
            self.posts.append(post)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            answer = self.answer(post)
            time.sleep(answer.delay)
            yield answer
        finally:
            with self._lock:
                self._at_once -= 1


def wait_until(
    condition: Callable[[], Any], seconds: float = 15.0, state: Callable[[], Any] = lambda: ""
) -> None:
    """Wait until the condition holds; fail with `state()` if it does not within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, state()
        time.sleep(0.01)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Run a receiver on loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            running.connections += 1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with running.receiving(Post(time.time(), self.path, headers, body)) as answer:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in answer.headers:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

        do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def handle(self) -> None:
            # The client may give up first, which some tests are about.
            with suppress(ConnectionError):
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    running = Receiver(server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
