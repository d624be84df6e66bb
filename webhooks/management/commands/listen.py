"""`manage.py listen`: a webhook receiver for developers, registered while it runs."""

import json
import os
import signal
import threading
import urllib.error
import urllib.request
from argparse import ArgumentParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from imissive.core.logs import redact_text

LOOPBACK = "127.0.0.1"
DESCRIPTION = "manage.py listen"
MAX_BODY = 1024 * 1024
HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


class Command(BaseCommand):
    help = (
        "Receive webhooks on this machine: registers http://127.0.0.1:PORT with the platform,"
        " checks each signature, prints a line for each event, and removes the endpoint at Ctrl-C."
        " The platform must run with WEBHOOK_ALLOW_LOOPBACK=1. IMISSIVE_URL and IMISSIVE_API_KEY"
        " come from the environment, or from $DATA_DIR/demo.env."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8900, help="Listen here (default: 8900).")
        parser.add_argument(
            "--events", nargs="*", default=[], metavar="EVENT", help="Only these (default: all)."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        platform = Platform.from_environment()
        try:
            server = ThreadingHTTPServer((LOOPBACK, options["port"]), _Handler)
        except OSError as error:
            raise CommandError(f"Port {options['port']}: {error.strerror}.") from None
        url = f"http://{LOOPBACK}:{server.server_port}/"
        endpoint = register(platform, url, options["events"])
        receiver = Receiver(endpoint["secret"], self.stdout.write)
        _Handler.receiver = receiver
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # A stop by a supervisor (SIGTERM) removes the endpoint as Ctrl-C does.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            self.stdout.write(f"Listening on {url} as {endpoint['id']}. Ctrl-C ends it.")
            threading.Event().wait()
        except KeyboardInterrupt:
            pass
        finally:
            # A second Ctrl-C, of an impatient user or of `timeout`, must not leave the endpoint.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            platform.call("DELETE", f"/v1/webhooks/{endpoint['id']}")
            self.stdout.write(f"\nRemoved {endpoint['id']}; {receiver.count} events came.")
            server.shutdown()


def register(platform: "Platform", url: str, events: list[str]) -> dict[str, Any]:
    """Create an endpoint and return it with its secret; remove one left by a killed `listen`."""
    for left in platform.call("GET", "/v1/webhooks")["data"]:
        if (left["url"], left["description"]) == (url, DESCRIPTION):
            platform.call("DELETE", f"/v1/webhooks/{left['id']}")
    body = {"url": url, "description": DESCRIPTION, "events": events}
    endpoint: dict[str, Any] = platform.call("POST", "/v1/webhooks", body)
    return endpoint


class Platform:
    """A minimal client of the REST API."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._key = key

    @classmethod
    def from_environment(cls) -> "Platform":
        """Create a client from the environment or the demo's file.

        Raises CommandError, which names the missing variable.
        """
        known = _read_demo(settings.DATA_DIR / "demo.env") | os.environ
        for name in ("IMISSIVE_URL", "IMISSIVE_API_KEY"):
            if not known.get(name):
                raise CommandError(
                    f"{name} is neither set nor in {settings.DATA_DIR / 'demo.env'},"
                    " which `make run` writes."
                )
        return cls(known["IMISSIVE_URL"], known["IMISSIVE_API_KEY"])

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return the response's JSON. Raises CommandError, which says what to do about an error."""
        request = urllib.request.Request(  # noqa: S310  # the developer's own URL
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self._key}",
                "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
                text = response.read()
                return json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            raise CommandError(_explain(error)) from None
        except (OSError, ValueError) as error:
            raise CommandError(f"{self._url} cannot be reached: {error}. Is it running?") from None


def _explain(error: urllib.error.HTTPError) -> str:
    try:
        problem = json.loads(error.read())["error"]
    except (ValueError, KeyError, TypeError):
        return f"The platform answered {error.code}."
    if problem["code"] == "INVALID_URL":
        return (
            "The platform refuses to post to this machine. Start it with WEBHOOK_ALLOW_LOOPBACK=1"
            " in its environment (never in production), such as"
            " `WEBHOOK_ALLOW_LOOPBACK=1 make run`."
        )
    return f"The platform answered {problem['code']}: {problem['message']}"


def _read_demo(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


class Receiver:
    """Verify the signature of each post, and print a line for its event."""

    def __init__(self, secret: str, write: Any) -> None:
        self._webhook = Webhook(secret)
        self._write = write
        self.count = 0

    def receive(self, headers: dict[str, str], body: bytes) -> int:
        """Return the status to respond with: 204, or 400 where the signature is wrong."""
        try:
            event = self._webhook.verify(body, headers)
        except (WebhookVerificationError, ValueError) as error:
            self._write(f"REFUSED  {error}")
            return 400
        self.count += 1
        self._write(describe(event))
        return 204


def describe(event: dict[str, Any]) -> str:
    """Return a readable line: time, event, message and data, with phone numbers masked."""
    data = " ".join(f"{name}={value}" for name, value in event["data"].items())
    return redact_text(
        f"{event['timestamp']}  {event['event']:<18} {event.get('message_id', '-')}  {data}"
    )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    receiver: Receiver

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY:
            self.close_connection = True
            self._respond(413)
            return
        headers = {name: self.headers.get(name, "") for name in HEADERS}
        self._respond(self.receiver.receive(headers, self.rfile.read(length)))

    def _respond(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the receiver prints a line for each event."""
