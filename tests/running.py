"""The whole platform as `make run` starts it, for tests that kill parts of it and for benchmarks.

State is read from its database by plain SQL; nothing of the platform is imported into the test.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import psycopg
from dotenv import dotenv_values

from imissive.processes import free_port

ROOT = Path(__file__).resolve().parent.parent
SERVERS = ("DATABASE_URL", "REDIS_URL", "BROKER_URL")


class Platform:
    """One running platform. `own_servers`: with a PostgreSQL and a Valkey that a test may kill."""

    def __init__(self, folder: Path, *, own_servers: bool, **environment: str) -> None:
        # The embedded servers run as another user where the tests are root.
        folder.chmod(0o755)
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not own_servers or name not in (*SERVERS, "SECRET_KEY", "FIELD_ENCRYPTION_KEYS")
            },
            "DATA_DIR": str(self.data),
            "PORT": str(self.port),
            "SMPP_PORT": str(free_port()),
            "SIMULATOR_PORT": str(free_port()),
            "WEBHOOK_ALLOW_LOOPBACK": "1",
            **environment,
        }
        self.children: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.spawn("imissive.launch", environment=self.environment)
        try:
            wait_until(lambda: self.get("/readyz")[0] == 200, 90, "the platform to be ready")
        except BaseException:
            self.stop()
            print(self.log())
            raise
        self.demo = dotenv_values(self.data / "demo.env")
        self.key = self.demo["IMISSIVE_API_KEY"] or ""

    def spawn(
        self, module: str, *arguments: str, environment: dict[str, str] | None = None
    ) -> None:
        """Run a module beside the platform until `stop`."""
        log = (self.folder / f"{module}.log").open("ab")
        self.children.append(
            subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        )

    def stop(self) -> None:
        """End everything that was started."""
        for child in reversed(self.children):
            child.send_signal(signal.SIGTERM)
        for child in self.children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(30)
            child.kill()

    def log(self, characters: int = 6000) -> str:
        """The end of what each process said."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-characters:]}"
            for path in sorted(self.folder.glob("*.log"))
        )

    # -- its front doors ---------------------------------------------------------------------

    def request(
        self, method: str, path: str, body: Any = None, *, key: str | None = None
    ) -> tuple[int, Any]:
        """(status, decoded body) of a request to the API; a refused connection is status 0."""
        request = urllib.request.Request(  # noqa: S310
            self.url + path,
            None if body is None else orjson.dumps(body),
            {
                "Authorization": f"Bearer {key or getattr(self, 'key', '')}",
                "Content-Type": "application/json",
            },
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return answer.status, _decode(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _decode(error.read())
        except OSError:
            return 0, None

    def get(self, path: str) -> tuple[int, Any]:
        return self.request("GET", path)

    def post(self, path: str, body: Any, *, key: str | None = None) -> tuple[int, Any]:
        return self.request("POST", path, body, key=key)

    def manage(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run `manage.py` beside it."""
        return subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    # -- its insides -------------------------------------------------------------------------

    def sql(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """The rows of a statement, committed, on a connection of its own."""
        url = self.environment.get("DATABASE_URL")
        url = url or dotenv_values(self.data / "runtime.env")["DATABASE_URL"]
        with psycopg.connect(url or "", autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def pid(self, name: str) -> int:
        """The process that the platform knows by that name, such as `carrier-simulator`."""
        return int((self.data / "pids" / f"{name}.pid").read_text().split()[0])

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send it a signal, by default the one that nobody can catch."""
        os.kill(self.pid(name), number)

    def use_simulator(self, port: int, *, binds: int = 2, window: int = 100) -> None:
        """Have the demo's carrier be the simulator on that port, and wait until it is bound."""
        self.sql(
            'UPDATE messaging_carrier SET port = %s, binds = %s, "window" = %s',
            [port, binds, window],
        )
        since = "now() - interval '1 second' * %s"
        began = time.monotonic()
        wait_until(
            lambda: (
                self.sql(
                    "SELECT count(*) FROM messaging_carrierbind WHERE state = 'bound'"
                    f" AND since > {since}",
                    [time.monotonic() - began + 0.5],
                )
                == [(binds,)]
            ),
            30,
            "the carrier worker to bind to the other simulator",
        )

    def top_up(self, credits: int) -> None:
        """Give the demo's organization that many credits."""
        self.sql(
            "INSERT INTO accounts_ledgerentry"
            " (organization_id, kind, amount, balance_after, reason)"
            " SELECT id, 'top_up', %s * 1000000::bigint, 0, 'test' FROM accounts_organization",
            [credits],
        )

    def settle(self, seconds: float = 120) -> None:
        """Wait until every message is final and every webhook posted."""
        wait_until(
            lambda: (
                self.sql(
                    "SELECT (SELECT count(*) FROM messaging_message WHERE final_at IS NULL),"
                    " (SELECT count(*) FROM webhooks_delivery WHERE finished_at IS NULL)"
                )
                == [(0, 0)]
            ),
            seconds,
            "every message to be final and every webhook posted",
        )


def wait_until(ready: Callable[[], bool], seconds: float, what: str) -> None:
    """Look again and again until it is so. Raises TimeoutError naming what was waited for."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.1)


def _decode(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
