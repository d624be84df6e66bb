"""`make run`: the whole platform in the foreground, with its own servers if none are given."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs this has not read pyproject.toml
    sys.exit(f"imissive needs Python 3.11 or later; this is {sys.version.split()[0]}.")

import os
import signal
import time

if __name__ == "__main__":
    # For a Ctrl-C before there is anything to stop: no traceback of an import is printed, and make
    # reports no error, as it does if this process ends before make gets the signal.
    def _exit_quietly(*_: object) -> None:
        time.sleep(0.1)
        os._exit(0)

    signal.signal(signal.SIGINT, _exit_quietly)

import errno
import fcntl
import http.client
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from dotenv import dotenv_values

from imissive.env import Env, read_env
from imissive.run import boot
from imissive.run.embedded import (
    SERVER_ENVIRONMENT,
    START_SECONDS,
    STOP_SECONDS,
    EmbeddedError,
    Postgres,
    Server,
    Valkey,
    open_to_servers,
)
from imissive.run.forking import FORKS, preload
from imissive.run.processes import (
    LOOPBACK,
    end_leftover,
    reachable,
    try_port,
    write_private,
)
from imissive.run.programs import ROOT, commands
from imissive.run.supervisor import Program, Supervisor
from imissive.run.terminal import Terminal, welcome

# The platform stops within ten seconds: this time is for its processes, the rest for the servers.
PATIENCE = 6.5
# Before it is ready, no client waits for a response, and Granian's workers ignore signals.
UNREADY_PATIENCE = 1.5
UNREADY_NOTE_SECONDS = 30.0
SECRETS = ("SECRET_KEY", "FIELD_ENCRYPTION_KEYS")


class Refusal(Exception):
    """The platform cannot start; the message is one line for the operator."""


class StopRequested(Exception):
    """A signal asked the platform to stop."""


class Launch:
    """One run of the platform, from the first check to the end of its last process."""

    def __init__(self, data_dir: Path, runtime: dict[str, str], env: Env) -> None:
        self.data_dir = data_dir
        self.runtime = runtime
        self.env = env
        self.terminal = Terminal()
        self.servers: list[Server] = []
        self.stop_requests = 0
        self.patience = UNREADY_PATIENCE
        self.supervisor = Supervisor(
            data_dir / "pids", say=self.terminal.say, emit=self.terminal.line
        )

    def run(self) -> None:
        """Start, serve until asked to stop, and stop. Raise Refusal if the start fails."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._request_stop)
        try:
            self._start_servers()
            self._prepare()
            self._start_programs()
            while True:
                self._step(0.5)
        except StopRequested:
            self.terminal.say("ending …")
        except EmbeddedError:
            # A terminal's Ctrl-C reaches initdb too, which fails then.
            if not self.stop_requests:
                raise
        finally:
            self._end()

    # ------------------------------------------------------------ start

    def _start_servers(self) -> None:
        if not os.environ.get("DATABASE_URL"):
            url = self.runtime.get("DATABASE_URL")
            self.servers.append(Postgres(self.data_dir, url=url, check=self._check))
        if not os.environ.get("REDIS_URL"):
            self.servers.append(Valkey(self.data_dir, url=self.runtime.get("REDIS_URL")))
        if self.servers:
            open_to_servers(self.data_dir)
            self.terminal.say(f"starting {' and '.join(server.name for server in self.servers)} …")
        for server in self.servers:
            server.prepare()
            self.supervisor.start(
                Program(
                    server.name,
                    server.command(),
                    environment=SERVER_ENVIRONMENT,
                    folder=Path("/"),
                    stop_signal=server.stop_signal,
                    grace=STOP_SECONDS,
                    before_exec=server.before_exec,
                )
            )
        self._write_runtime()
        if FORKS:
            # While the servers start, which takes about as long.
            preload()
        deadline = time.monotonic() + START_SECONDS
        for server in self.servers:
            while not server.is_ready():
                if time.monotonic() > deadline:
                    raise Refusal(f"{server.name} does not answer; what it said is above")
                self._step(0.02)

    def _write_runtime(self) -> None:
        """Store the generated settings for manual `manage.py` calls, without the given ones.

        Generated secrets are stored even then, because they are needed to decrypt existing data.
        """
        values = {name: self.runtime[name] for name in SECRETS if name in self.runtime}
        for server in self.servers:
            values["DATABASE_URL" if server.name == "postgres" else "REDIS_URL"] = server.url
        lines = "".join(f"{name}={value}\n" for name, value in values.items())
        write_private(self.data_dir / "runtime.env", lines)
        self.runtime = values
        self.env = _read_env(self.data_dir)

    def _prepare(self) -> None:
        """Run the due boot jobs: migrations, static files, the demo."""
        boot.check_servers(self.env)
        done = boot.Done(self.data_dir)
        for job in boot.jobs(self.env, self.data_dir, demo=self._seeds_demo()):
            if done.has(job):
                continue
            self.terminal.say(f"manage.py {' '.join(job.arguments)} …")
            self._run_once(job.name, [sys.executable, "manage.py", *job.arguments])
            done.add(job)

    def _seeds_demo(self) -> bool:
        """Return whether the demo should be seeded into this database.

        Its logins and keys are printed in the terminal, so a database of somebody's own gets them
        only where they ask for it.
        """
        if self.env.seed_demo is not None:
            return self.env.seed_demo
        return any(server.name == "postgres" for server in self.servers)

    def _run_once(self, name: str, command: list[str]) -> None:
        self.supervisor.start(self._program(name, command, once=True))
        while (code := self.supervisor.exit_code(name)) is None:
            self._step(0.1)
        if code:
            raise Refusal(f"{' '.join(command[1:3])} failed with code {code}; see above")

    def _start_programs(self) -> None:
        programs = {
            name: self._program(name, command) for name, command in commands(self.env).items()
        }
        # Nothing waits for Celery beat, and each process needs a second of CPU time to start.
        clock = programs.pop("beat")
        for program in programs.values():
            self.supervisor.start(program)
        missing = self._wait_until_ready()
        self.patience = PATIENCE
        self.supervisor.start(clock)
        demo_file = self.data_dir / "demo.env"
        seeded = dotenv_values(demo_file) if self._seeds_demo() else {}
        demo = {name: value or "" for name, value in seeded.items()}
        url = (self.env.public_url or f"http://localhost:{self.env.port}").rstrip("/")
        self.terminal.write(welcome(demo, url, _short(demo_file)))
        if missing:
            self.terminal.say(f"not ready yet, as /readyz says: {missing}")

    def _wait_until_ready(self) -> str:
        """Wait for web without limit, and a while for the rest; return what is missing then."""
        noted = time.monotonic()
        while missing := self._missing():
            if time.monotonic() - noted > UNREADY_NOTE_SECONDS:
                if missing != "web":
                    break
                self.terminal.say("still waiting for web to answer")
                noted = time.monotonic()
            self._run_for(0.2)
        return missing

    def _missing(self) -> str:
        """Return the report of /readyz unless it is 200, or the process that does not respond."""
        connection = http.client.HTTPConnection(reachable(self.env.host), self.env.port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            if response.status != 200:
                return response.read(500).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            return "web"
        finally:
            connection.close()
        try:
            socket.create_connection((reachable(self.env.smpp_host), self.env.smpp_port), 1).close()
        except OSError:
            return "smpp"
        return ""

    def _program(self, name: str, command: list[str], *, once: bool = False) -> Program:
        environment = os.environ | {
            "DATA_DIR": str(self.data_dir),
            "DJANGO_SETTINGS_MODULE": "imissive.settings",
            "PYTHONUNBUFFERED": "1",
        }
        return Program(name, command, environment=environment, folder=ROOT, once=once, forked=True)

    # ------------------------------------------------------------ end

    def _request_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stop_requests += 1
        if self.stop_requests > 1:
            servers = {server.name for server in self.servers}
            self.supervisor.hurry(set(self.supervisor.names) - servers)

    def _step(self, seconds: float) -> None:
        self.supervisor.step(seconds)
        self._check()

    def _check(self) -> None:
        if self.stop_requests:
            raise StopRequested

    def _run_for(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._step(left)

    def _end(self) -> None:
        """Stop processes before the servers that they use, and the SMSC after its clients."""
        servers = [server.name for server in self.servers]
        last = [*servers, "simulator"]
        first = [name for name in self.supervisor.names if name not in last]
        self.supervisor.stop_all(first, patience=self.patience)
        self.supervisor.stop_all(["simulator"], patience=2)
        end_carriers(self.data_dir / "pids")
        self.supervisor.stop_all(servers)


def end_carriers(pids: Path) -> None:
    """Stop carrier workers whose supervisor was killed, which would stop only later."""
    for pid_file in pids.glob("carrier-*.pid"):
        end_leftover(pid_file, "celery -A imissive", signal.SIGTERM, 2.0)


def end_leftovers(env: Env, pids: Path) -> None:
    """Stop the processes that a killed launcher left."""
    for name, command in commands(env).items():
        end_leftover(pids / f"{name}.pid", " ".join(command), signal.SIGTERM, PATIENCE)
    end_carriers(pids)


def check_ports(env: Env) -> None:
    """Raise Refusal if a port that the platform needs is not available."""
    wanted = [
        ("PORT", env.port, env.host),
        ("SMPP_PORT", env.smpp_port, env.smpp_host),
        ("SIMULATOR_PORT", env.simulator_port, LOOPBACK),
    ]
    if env.smpp_tls_cert is not None:
        wanted.append(("SMPP_TLS_PORT", env.smpp_tls_port, env.smpp_host))
    by_number: dict[int, str] = {}
    for name, port, host in wanted:
        if port in by_number:
            raise Refusal(f"{name} {port} is taken: it is also {by_number[port]}.")
        by_number[port] = name
        try:
            try_port(port, host)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Refusal(
                    f"{name} {port} is taken: another program listens on it."
                    f" Stop that one, or choose another port: make run {name}={port + 10}"
                ) from None
            raise Refusal(f"{name} {port} on {host}: {error.strerror or error}.") from None


@contextmanager
def locked(data_dir: Path) -> Iterator[bool]:
    """Lock the folder within the `with`; yield whether this process is its only launcher."""
    with (data_dir / "launch.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


def _make_folder(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        data_dir.chmod(0o700)
    except OSError as error:
        raise Refusal(f"DATA_DIR {data_dir}: {error.strerror}.") from None


def _read_env(data_dir: Path, **provisional: str) -> Env:
    os.environ["DATA_DIR"] = str(data_dir)
    try:
        return read_env(**provisional)
    except ImproperlyConfigured as error:
        raise Refusal(str(error)) from None


def _first_values(runtime: dict[str, str]) -> dict[str, str]:
    """Return values for missing settings without a default: new secrets, and provisional URLs."""
    if not os.environ.get("SECRET_KEY"):
        runtime.setdefault("SECRET_KEY", secrets.token_urlsafe(50))
    if not os.environ.get("FIELD_ENCRYPTION_KEYS"):
        runtime.setdefault("FIELD_ENCRYPTION_KEYS", Fernet.generate_key().decode())
    unknown = {"DATABASE_URL": "postgresql://unknown", "REDIS_URL": "redis://unknown"}
    return {
        name.lower(): value
        for name, value in (unknown | runtime).items()
        if not os.environ.get(name)
    }


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def launch() -> None:
    """Check the preconditions, then run. Raise Refusal if one fails."""
    os.umask(0o077)
    data_dir = Path(os.environ.get("DATA_DIR") or "var").absolute()
    stored = dotenv_values(data_dir / "runtime.env")
    runtime = {name: value for name, value in stored.items() if value}
    env = _read_env(data_dir, **_first_values(runtime))
    _make_folder(data_dir)
    with locked(data_dir) as alone:
        if alone:
            end_leftovers(env, data_dir / "pids")
        check_ports(env)
        if not alone:
            raise Refusal(f"DATA_DIR {data_dir} is in use by another imissive.")
        Launch(data_dir, runtime, env).run()


def main() -> int:
    """Run `python -m imissive.run.launch`."""
    try:
        launch()
    except (Refusal, EmbeddedError, boot.Unusable) as refusal:
        print(f"imissive: {refusal}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
