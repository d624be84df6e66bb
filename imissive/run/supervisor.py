"""The process supervisor: it starts programs, restarts them when they die, and stops them in time.

One thread, one loop: the caller calls `step` until it is done. Programs are children in their own
process groups, so that Ctrl-C reaches only the supervisor, which then stops them in order. If the
supervisor itself is killed, the kernel sends them their stop signal (on Linux).
"""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imissive.run.forking import FORKS, Forked
from imissive.run.processes import end_leftover, write_private
from imissive.run.unprivileged import Prepare, die_with_parent

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 15.0
# A program that ran for this long was healthy: the restart pauses start from the first one again.
SETTLED_SECONDS = 10.0
LONGEST_LINE = 16_384

Emit = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run, and its way to stop: `grace` is the time for that, in seconds."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] | None = None
    folder: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 7.0
    # Runs once to its end, such as a migration, and is not restarted.
    once: bool = False
    # A Python command line, run in a fork of the supervisor where supported: see forking.py.
    forked: bool = False
    before_exec: Prepare | None = None

    @property
    def mark(self) -> str:
        """Its command line in the form of /proc, which identifies it by its pid after a crash."""
        return " ".join(self.command)


@dataclass(slots=True)
class _Child:
    program: Program
    process: subprocess.Popen[bytes] | Forked | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    failures: int = 0
    kill_at: float | None = None
    stopping: bool = False
    code: int | None = None
    rest: bytearray = field(default_factory=bytearray)


class Supervisor:
    """A supervisor that writes the pid of each program to `pids/<name>.pid`.

    With `emit`, the programs' output is passed line by line to `emit(name, line)`; without, they
    share the supervisor's output. `say` gets the supervisor's own messages, `died` the pid of each
    process that has ended.
    """

    def __init__(
        self,
        pids: Path,
        *,
        say: Callable[[str], None],
        emit: Emit | None = None,
        died: Callable[[int], None] = lambda _pid: None,
    ) -> None:
        self._pids = pids
        self._say = say
        self._emit = emit
        self._died = died
        self._children: dict[str, _Child] = {}
        self._selector = selectors.DefaultSelector()
        pids.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def names(self) -> list[str]:
        """The programs that run or will be restarted, including those being stopped."""
        return list(self._children)

    def start(self, program: Program) -> None:
        """Start a program, after stopping the one that a killed supervisor may have left."""
        end_leftover(self._pid_file(program.name), program.mark, program.stop_signal, program.grace)
        child = self._children[program.name] = _Child(program)
        self._spawn(child)

    def stop(self, name: str) -> bool:
        """Send a program its stop signal; `step` waits for it, and kills it after its grace.

        Returns False if it is being stopped already.
        """
        child = self._children[name]
        if child.stopping:
            return False
        child.stopping = True
        if child.process is None:
            self._forget(child)
        else:
            child.kill_at = time.monotonic() + child.program.grace
            _signal(child.process.pid, child.program.stop_signal)
        return True

    def stop_all(
        self, names: Iterable[str] | None = None, *, patience: float | None = None
    ) -> None:
        """Stop those programs (or all) and wait for them, `patience` seconds at most."""
        stopping = [
            name for name in (self.names if names is None else names) if name in self._children
        ]
        for name in stopping:
            self.stop(name)
            child = self._children.get(name)
            if child and child.kill_at and patience is not None:
                child.kill_at = min(child.kill_at, time.monotonic() + patience)
        while any(name in self._children for name in stopping):
            self.step(0.05)

    def hurry(self, names: Iterable[str]) -> None:
        """Kill those of the programs that are being stopped, at the next step."""
        for child in self._children.values():
            if child.program.name in names and child.kill_at is not None:
                child.kill_at = 0.0

    def exit_code(self, name: str) -> int | None:
        """Return and delete the exit code of a `once` program; None while it runs."""
        child = self._children.get(name)
        if child is None or child.code is None:
            return None
        del self._children[name]
        return child.code

    def is_running(self, name: str) -> bool:
        """Return whether the program has a live process now."""
        child = self._children.get(name)
        return child is not None and child.process is not None

    def step(self, seconds: float) -> None:
        """Forward output for up to that long; then handle dead, due and overdue programs."""
        if self._selector.get_map():
            for key, _ in self._selector.select(seconds):
                self._read(key.data, key.fd)
        else:
            time.sleep(seconds)
        now = time.monotonic()
        for child in list(self._children.values()):
            if child.process is not None and child.process.poll() is not None:
                self._clean_up(child)
            elif child.process is None and child.code is None and now >= child.start_at:
                self._spawn(child)
            elif child.process and child.kill_at is not None and now >= child.kill_at:
                self._say(f"{child.program.name} did not end in time and is killed")
                child.kill_at = now + 5
                _signal_group(child.process.pid, signal.SIGKILL)

    # ------------------------------------------------------------ one child

    def _spawn(self, child: _Child) -> None:
        program = child.program
        try:
            child.process = self._fork(program) if program.forked and FORKS else self._exec(program)
        except OSError as error:
            self._say(f"{program.name} cannot be started: {error}")
            self._plan_restart(child, 127)
            return
        child.started_at = time.monotonic()
        write_private(self._pid_file(program.name), f"{child.process.pid}\n")
        if child.process.stdout is not None:
            os.set_blocking(child.process.stdout.fileno(), False)
            self._selector.register(child.process.stdout, selectors.EVENT_READ, child)

    def _fork(self, program: Program) -> Forked:
        return Forked(
            program.command,
            environment=os.environ if program.environment is None else program.environment,
            folder=program.folder,
            piped=self._emit is not None,
            prepare=die_with_parent(program.stop_signal),
        )

    def _exec(self, program: Program) -> subprocess.Popen[bytes]:
        death = die_with_parent(program.stop_signal)

        def before_exec() -> None:
            if program.before_exec is not None:
                program.before_exec()
            # After a change of user, which would reset it.
            death()

        output = None if self._emit is None else subprocess.PIPE
        return subprocess.Popen(
            program.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            cwd=program.folder,
            env=program.environment,
            process_group=0,
            preexec_fn=before_exec,
        )

    def _clean_up(self, child: _Child) -> None:
        """Clean up after an ended process: kill the rest of its group, and plan a restart."""
        process = child.process
        if process is None:
            return
        _signal_group(process.pid, signal.SIGKILL)
        if process.stdout is not None:
            while self._read(child, process.stdout.fileno()):
                pass
            with contextlib.suppress(KeyError):
                self._selector.unregister(process.stdout)
            process.stdout.close()
        child.process = None
        self._died(process.pid)
        self._pid_file(child.program.name).unlink(missing_ok=True)
        self._plan_restart(child, process.returncode or 0)

    def _plan_restart(self, child: _Child, code: int) -> None:
        if child.stopping:
            self._forget(child)
        elif child.program.once:
            child.code = code
        else:
            settled = time.monotonic() - child.started_at > SETTLED_SECONDS
            child.failures = 1 if settled else child.failures + 1
            pause = min(FIRST_PAUSE * 3 ** (child.failures - 1), LONGEST_PAUSE)
            child.start_at = time.monotonic() + pause
            self._say(f"{child.program.name} {_end_text(code)}; starting it again in {pause:.1f} s")

    def _forget(self, child: _Child) -> None:
        self._children.pop(child.program.name, None)

    def _read(self, child: _Child, descriptor: int) -> bool:
        """Emit complete lines and buffer the rest of the last one; return False without data."""
        try:
            data = os.read(descriptor, 65_536)
        except BlockingIOError:
            return False
        if not data:
            if child.process is not None and child.process.stdout is not None:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(child.process.stdout)
            return False
        child.rest += data
        *lines, rest = child.rest.split(b"\n")
        child.rest = rest
        if len(rest) > LONGEST_LINE:
            lines.append(rest)
            child.rest = bytearray()
        if self._emit is not None:
            for line in lines:
                self._emit(child.program.name, line.decode("utf-8", "replace").rstrip())
        return True

    def _pid_file(self, name: str) -> Path:
        return self._pids / f"{name}.pid"


def _end_text(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
