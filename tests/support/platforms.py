"""The whole platform, started like `make run`, for tests from outside."""

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psycopg
from dotenv import dotenv_values

from imissive.run.processes import free_port
from imissive.run.programs import ROOT
from imissive.run.unprivileged import die_with_parent
from tests.support import transitions

READY = "imissive is ready"
# Variables of the test run, of which a start must generate its own.
_GENERATED = ("DATABASE_URL", "REDIS_URL", "BROKER_URL", "SECRET_KEY", "FIELD_ENCRYPTION_KEYS")


class Platform:
    """`python -m imissive.run.launch` on a data folder; it can be started and stopped repeatedly.

    Its database refuses changes of status that are not in the transition table. `stop` checks that
    none was refused.
    """

    holds_transitions = True

    command: tuple[str, ...] = (sys.executable, "-m", "imissive.run.launch")

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.settings = {
            "DATA_DIR": str(data_dir),
            "PORT": str(self.port),
            "SMPP_PORT": str(free_port()),
            "SIMULATOR_PORT": str(free_port()),
            "WEB_WORKERS": "1",
        } | settings
        self.process: subprocess.Popen[str] | None = None
        self.output: list[str] = []

    @property
    def url(self) -> str:
        """The platform's URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def text(self) -> str:
        """Its output since its last start."""
        return "".join(self.output)

    @property
    def database_url(self) -> str:
        """The URL of its embedded database, empty where it has none."""
        return dotenv_values(self.data_dir / "runtime.env")["DATABASE_URL"] or ""

    @property
    def demo(self) -> dict[str, str]:
        """The values of the demo's `demo.env`."""
        values = dotenv_values(self.data_dir / "demo.env")
        return {name: value or "" for name, value in values.items()}

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of the platform and of `manage.py` for it."""
        inherited = {name: value for name, value in os.environ.items() if name not in _GENERATED}
        return inherited | self.settings | more

    def start(self, seconds: float = 90.0, *, line: str = READY) -> float:
        """Start it, wait for `line` of its output, and return the seconds that this took.

        By default, the line says that the platform is ready.
        """
        self.output = []
        started_at = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=self.environment(),
            start_new_session=True,
            # It stops with the test run, even a killed one.
            preexec_fn=_prepare(die_with_parent(signal.SIGTERM)),
        )
        self.reader = threading.Thread(target=self._read, args=[self.process], daemon=True)
        self.reader.start()
        until(lambda: line in self.text or self._ended(), seconds, lambda: self.text)
        assert line in self.text, self.text
        taken = time.monotonic() - started_at
        if self.holds_transitions and line == READY:
            with psycopg.connect(self.database_url, autocommit=True) as connection:
                transitions.install(connection.execute)
        return taken

    def stop(self, number: signal.Signals = signal.SIGINT, *, group: bool = False) -> float:
        """Stop it by a signal, with `group` to its process group like a terminal.

        Return the seconds that this took.
        """
        assert self.process is not None
        started_at = time.monotonic()
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        self.process.wait(30)
        taken = time.monotonic() - started_at
        assert transitions.REFUSED not in self.text
        return taken

    def close(self) -> None:
        """Stop it if it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.stop(signal.SIGTERM)

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Return the status and body of a page."""
        request = urllib.request.Request(self.url + path, headers=headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=15) as response:  # noqa: S310
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def pid(self, name: str) -> int | None:
        """Return the pid of the process of that name, or None where it does not run."""
        try:
            return int((self.data_dir / "pids" / f"{name}.pid").read_text())
        except FileNotFoundError:
            return None

    def kill(self, name: str, seconds: float = 30.0) -> None:
        """Kill a process by SIGKILL and wait until another one replaces it."""
        pid = self.pid(name)
        assert pid is not None, f"{name} does not run"
        os.kill(pid, signal.SIGKILL)
        until(lambda: self.pid(name) not in (None, pid), seconds, lambda: self.text)

    def processes(self, launcher: int | None = None) -> dict[int, str]:
        """Return the command of every process of this platform, or of that launcher, by its pid.

        A process belongs to it if it is in its session (a fork's environment cannot be read), or
        has the data folder in its environment or command.
        """
        mark = str(self.data_dir).encode()
        session = self.process.pid if launcher is None and self.process else launcher
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit() or int(folder.name) == os.getpid():
                continue
            try:
                command = (folder / "cmdline").read_bytes()
                marked = mark in command or mark in (folder / "environ").read_bytes()
                # A zombie has no command line; its parent will wait for it.
                if command and (marked or os.getsid(int(folder.name)) == session):
                    found[int(folder.name)] = command.replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found

    def is_running(self) -> bool:
        """Return whether the launcher runs."""
        return self.process is not None and self.process.poll() is None

    def _ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.output.append(line)


def _prepare(die: Callable[[], None]) -> Callable[[], None]:
    """Return what a platform's process does first: die with its parent, and hear Ctrl-C.

    A test run in the background of a shell ignores SIGINT, and its children would inherit that.
    """

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        die()

    return prepare


def until(true: Callable[[], object], seconds: float, state: Callable[[], object] = str) -> None:
    """Wait until a condition is true; fail with `state()` if it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {state()}"
        time.sleep(0.05)
