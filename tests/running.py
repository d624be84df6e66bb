"""A running platform that a test talks to, breaks and looks into: for kills and for benchmarks.

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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psycopg
from dotenv import dotenv_values

from imissive.programs import ROOT
from tests.platforms import Platform, until

REMEMBERED = "remembered"
# Who is bound to whom: the processes that write these rows go on.
OF_PROCESSES = (
    "messaging_carrierbind",
    "messaging_carrierworker",
    "messaging_smppserver",
    "messaging_smppsession",
    "messaging_sweeppulse",
)


class Site(Platform):
    """A platform with its API, its database, and other programs beside it."""

    def __init__(self, folder: Path, **settings: str) -> None:
        # The embedded servers run as another user where the tests are root.
        folder.chmod(0o755)
        # What is measured or broken here is not the rate limit.
        settings = {"RATE_LIMIT_SEND": "10000000", "RATE_LIMIT_BULK": "100000000"} | settings
        super().__init__(folder / "data", WEBHOOK_ALLOW_LOOPBACK="1", **settings)
        self.folder = folder
        self.beside: list[subprocess.Popen[bytes]] = []

    def spawn(self, module: str, *arguments: str) -> None:
        """Run a module beside the platform until `close`."""
        log = (self.folder / f"{module}.log").open("ab")
        command = [sys.executable, "-m", module, *arguments]
        self.beside.append(
            subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        )

    def start_carriers_elsewhere(self) -> None:
        """Run the carriers' workers on a second machine as well, until `close`."""
        folder = self.folder / "elsewhere"
        folder.mkdir(exist_ok=True)
        runtime = dotenv_values(self.data_dir / "runtime.env")
        environment = self.environment(
            DATA_DIR=str(folder), **{name: value or "" for name, value in runtime.items()}
        )
        log = (self.folder / "elsewhere.log").open("ab")
        command = [sys.executable, "-m", "imissive.carriers"]
        self.beside.append(
            subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        )

    def close(self) -> None:
        """End everything that was started."""
        super().close()
        self.close_beside()

    def close_beside(self) -> None:
        """End what runs beside the platform."""
        for child in self.beside:
            child.send_signal(signal.SIGTERM)
        for child in self.beside:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)
            child.kill()
        self.beside.clear()

    # -- its front doors ---------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        once: str | None = None,
    ) -> tuple[int, Any]:
        """(status, decoded body) of a request to the API; a refused connection is status 0.

        `once` is its Idempotency-Key.
        """
        request = urllib.request.Request(  # noqa: S310
            self.url + path,
            None if body is None else orjson.dumps(body),
            {
                "Authorization": f"Bearer {key or self.demo['IMISSIVE_API_KEY']}",
                "Content-Type": "application/json",
            }
            | ({"Idempotency-Key": once} if once else {}),
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return answer.status, _decode(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _decode(error.read())
        except OSError:
            return 0, None

    def post(
        self, path: str, body: Any, *, key: str | None = None, once: str | None = None
    ) -> tuple[int, Any]:
        return self.request("POST", path, body, key=key, once=once)

    def manage(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run `manage.py` beside it."""
        return subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )

    # -- its insides -------------------------------------------------------------------------

    def remember(self) -> None:
        """Keep what is in its database now, for `reset`."""
        for table in self._tables():
            self.sql(f"CREATE TABLE {REMEMBERED}_{table} AS TABLE {table}")

    def reset(self) -> None:
        """Put back what `remember` kept, while the platform runs: as if it had just been started.

        Deletes and inserts in one transaction, since its processes look at any time; foreign keys
        are checked at the end of it, and triggers (of the ledger, of messages) stand aside.
        """
        tables = self._tables()
        ours = ", ".join(tables)
        statements = [f"LOCK TABLE {ours} IN SHARE ROW EXCLUSIVE MODE"]
        statements += [f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in tables]
        statements += [f"DELETE FROM {table}" for table in tables]
        statements += [f"INSERT INTO {table} TABLE {REMEMBERED}_{table}" for table in tables]
        statements += ["SET CONSTRAINTS ALL IMMEDIATE"]
        statements += [f"ALTER TABLE {table} ENABLE TRIGGER USER" for table in tables]
        for left in reversed(range(5)):
            try:
                self.sql("BEGIN; " + "; ".join(statements) + "; COMMIT")
                return
            except psycopg.errors.DeadlockDetected:
                # Some process held one of the tables and wanted another.
                if not left:
                    raise

    def _tables(self) -> list[str]:
        """The tables that hold anything but what its processes say of themselves."""
        found = self.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        names = [str(name) for (name,) in found]
        return [name for name in names if not name.startswith((f"{REMEMBERED}_", *OF_PROCESSES))]

    @property
    def database_url(self) -> str:
        """Its own database, or the one that it was told to use."""
        kept = dotenv_values(self.data_dir / "runtime.env")
        return self.settings.get("DATABASE_URL") or kept["DATABASE_URL"] or ""

    def sql(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """The rows of a statement, committed, on a connection of its own."""
        with _connected(self.database_url) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def use_simulator(self, port: int, *, binds: int = 2, window: int = 100) -> None:
        """Have the demo's carrier be the simulator on that port, and wait until it is bound."""
        self.sql(
            'UPDATE messaging_carrier SET port = %s, binds = %s, "window" = %s',
            [port, binds, window],
        )
        began = time.time()
        until(
            lambda: (
                self.sql(
                    "SELECT count(*) FROM messaging_carrierbind"
                    " WHERE state = 'bound' AND since > to_timestamp(%s)",
                    [began],
                )
                == [(binds,)]
            ),
            30,
            lambda: self.sql("SELECT * FROM messaging_carrierbind"),
        )

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Have PostgreSQL refuse every write, of open sessions too: like a standby, or a primary
        that has been demoted."""
        self._set_default("default_transaction_read_only = on")
        until(lambda: self.sql("SHOW transaction_read_only") == [("on",)], 10)
        try:
            yield
        finally:
            self._set_default("")
            until(lambda: self.sql("SHOW transaction_read_only") == [("off",)], 10)

    def _set_default(self, line: str) -> None:
        """Write the only line of PostgreSQL's postgresql.auto.conf, and have that read."""
        pid = self.pid("postgres")
        assert pid is not None
        (self.data_dir / "postgres/data/postgresql.auto.conf").write_text(f"{line}\n")
        os.kill(pid, signal.SIGHUP)

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
        until(
            lambda: (
                self.sql(
                    "SELECT (SELECT count(*) FROM messaging_message WHERE final_at IS NULL),"
                    " (SELECT count(*) FROM webhooks_delivery WHERE finished_at IS NULL)"
                )
                == [(0, 0)]
            ),
            seconds,
            lambda: self.sql(
                "SELECT status, count(*) FROM messaging_message GROUP BY 1 UNION ALL"
                " SELECT 'webhook ' || status, count(*) FROM webhooks_delivery GROUP BY 1"
            ),
        )


def _connected(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection, waited for while PostgreSQL starts again."""
    for _ in range(100):
        try:
            return psycopg.connect(url, autocommit=True)
        except psycopg.OperationalError:
            time.sleep(0.1)
    return psycopg.connect(url, autocommit=True)


def _decode(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
