"""A running platform whose API and database a test uses: for kills and for benchmarks.

State is read from its database by plain SQL; the test imports none of the platform's code.
"""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psycopg
from dotenv import dotenv_values

from imissive.run.programs import ROOT
from imissive.run.unprivileged import die_with_parent
from tests.support.platforms import Platform, until

REMEMBERED = "remembered"
# The rows of processes are not restored: the processes that write them keep running.
OF_PROCESSES = (
    "messaging_carrierbind",
    "messaging_carrierworker",
    "messaging_smppserver",
    "messaging_smppsession",
    "messaging_sweeprun",
)


class Site(Platform):
    """A platform with its API, its database, and additional programs."""

    def __init__(self, folder: Path, **settings: str) -> None:
        # The embedded servers run as another user where the tests run as root.
        folder.chmod(0o755)
        # High rate limits, because tests measure or break other parts.
        settings = {"RATE_LIMIT_SEND": "10000000", "RATE_LIMIT_BULK": "100000000"} | settings
        super().__init__(folder / "data", WEBHOOK_ALLOW_LOOPBACK="1", **settings)
        self.folder = folder
        self.beside: list[subprocess.Popen[bytes]] = []

    def spawn(self, module: str, *arguments: str) -> None:
        """Run a module as a process until `close`."""
        log = (self.folder / f"{module}.log").open("ab")
        command = [sys.executable, "-m", module, *arguments]
        self.beside.append(
            subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
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
        command = [sys.executable, "-m", "imissive.run.carriers"]
        self.beside.append(
            subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        )

    def close(self) -> None:
        """Stop everything that was started."""
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

    # -- API and commands --------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        once: str | None = None,
    ) -> tuple[int, Any]:
        """Send a request to the API; return the status, 0 if the connection fails, and the body.

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
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
                return response.status, _decode(response.read())
        except urllib.error.HTTPError as error:
            return error.code, _decode(error.read())
        except (OSError, http.client.HTTPException):
            return 0, None  # an HTTPException if web is killed within the response

    def post(
        self, path: str, body: Any, *, key: str | None = None, once: str | None = None
    ) -> tuple[int, Any]:
        return self.request("POST", path, body, key=key, once=once)

    def manage(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run `manage.py` with the platform's environment."""
        return subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )

    # -- database ----------------------------------------------------------------------------

    def remember(self) -> None:
        """Copy the tables of its database, for `reset`."""
        for table in self._tables():
            self.sql(f"CREATE TABLE {REMEMBERED}_{table} AS TABLE {table}")

    def reset(self) -> None:
        """Restore the tables that `remember` copied, while the platform runs.

        All in one transaction, since its processes may read at any time. Foreign keys are checked
        at the end, and triggers (of the ledger, of messages) are disabled.
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
                # A process of the platform had locked one table and waited for another.
                if not left:
                    raise

    def _tables(self) -> list[str]:
        """Return the tables without the copies, and without the live binds of its processes."""
        found = self.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        names = [str(name) for (name,) in found]
        return [name for name in names if not name.startswith((f"{REMEMBERED}_", *OF_PROCESSES))]

    @property
    def database_url(self) -> str:
        """Return the URL of its own database, or of the one in its settings."""
        kept = dotenv_values(self.data_dir / "runtime.env")
        return self.settings.get("DATABASE_URL") or kept["DATABASE_URL"] or ""

    def sql(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Execute and commit a statement on a new connection; return its rows."""
        with _connected(self.database_url) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def use_simulator(self, port: int, *, binds: int = 2, window: int = 100) -> None:
        """Make the simulator on that port the demo's carrier, and wait until it is bound."""
        self.sql(
            'UPDATE messaging_carrier SET port = %s, binds = %s, "window" = %s',
            [port, binds, window],
        )
        changed_at = time.time()
        until(
            lambda: (
                self.sql(
                    "SELECT count(*) FROM messaging_carrierbind"
                    " WHERE state = 'bound' AND since > to_timestamp(%s)",
                    [changed_at],
                )
                == [(binds,)]
            ),
            30,
            lambda: self.sql("SELECT * FROM messaging_carrierbind"),
        )

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Make PostgreSQL refuse every write, like a standby or a demoted primary.

        Open sessions are affected, too.
        """
        self._set_default("default_transaction_read_only = on")
        until(lambda: self.sql("SHOW transaction_read_only") == [("on",)], 10)
        try:
            yield
        finally:
            self._set_default("")
            until(lambda: self.sql("SHOW transaction_read_only") == [("off",)], 10)

    def _set_default(self, line: str) -> None:
        """Replace the content of postgresql.auto.conf by that line, and reload it."""
        pid = self.pid("postgres")
        assert pid is not None
        (self.data_dir / "postgres/data/postgresql.auto.conf").write_text(f"{line}\n")
        os.kill(pid, signal.SIGHUP)

    def top_up(self, credits: int) -> None:
        """Top up the demo's organization by that many credits."""
        self.sql(
            "INSERT INTO accounts_ledgerentry"
            " (organization_id, kind, amount, balance_after, reason)"
            " SELECT id, 'top_up', %s * 1000000::bigint, 0, 'test' FROM accounts_organization",
            [credits],
        )

    def warnings(self) -> list[str]:
        """Return the last warnings and errors that its processes logged."""
        levels = ("warning", "error", "critical")
        return [line[:300] for line in self.output if any(each in line for each in levels)][-10:]

    def settle(self, seconds: float = 120, state: Callable[[], object] = lambda: "") -> None:
        """Wait until every message is final and every webhook delivery is finished.

        `state` is called where they are not, for the error.
        """
        until(
            lambda: (
                self.sql(
                    "SELECT (SELECT count(*) FROM messaging_message WHERE final_at IS NULL),"
                    " (SELECT count(*) FROM webhooks_delivery WHERE finished_at IS NULL)"
                )
                == [(0, 0)]
            ),
            seconds,
            lambda: (
                state(),
                self.sql(
                    "SELECT status, count(*) FROM messaging_message GROUP BY 1 UNION ALL"
                    " SELECT 'webhook ' || status, count(*) FROM webhooks_delivery GROUP BY 1"
                    " UNION ALL SELECT 'part ' || status, count(*) FROM messaging_messagepart"
                    " GROUP BY 1 UNION ALL SELECT 'receipt ' || reason, count(*)"
                    " FROM messaging_earlyreceipt GROUP BY 1"
                ),
                self.warnings(),
            ),
        )


def _connected(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    """Return a connection, after waiting for a PostgreSQL that restarts."""
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
