"""Starts Python programs as forks of a process that has already imported what they import.

A new interpreter spends two seconds of a core on importing Django, Celery and the applications, and
`make run` starts eight. A fork of a process that has them is there in some milliseconds, and shares
the memory. `preload` imports; `Forked` runs a command line such as `python -m celery …` in a child,
as a new interpreter would.

On Linux only: system libraries of macOS do not survive a fork. `FORKS` is false there, and the
supervisor starts interpreters.
"""

import contextlib
import ctypes
import gc
import importlib
import io
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

FORKS = sys.platform == "linux"

# What the programs are made of, beside the applications.
_MODULES = (
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.thread",
    "granian.server",
    "kombu.transport.redis",
)


def preload() -> None:
    """Import the applications and the programs. The settings are read here.

    Connections and threads do not survive a fork: importing makes none, and a test watches that.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imissive.settings")
    # Nothing of this becomes garbage. A collector that went over it in a child would have the
    # kernel copy each page that it touches.
    gc.disable()
    import django
    from django.conf import settings

    from imissive.celery import app

    django.setup()
    app.loader.import_default_modules()
    for name in (settings.ROOT_URLCONF, *_MODULES):
        importlib.import_module(name)
    gc.freeze()
    gc.enable()


class Forked:
    """A child that runs a Python command line. The supervisor uses it as it uses a Popen.

    With `piped`, `stdout` gives what the child writes to standard output and standard error.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path | None,
        piped: bool,
        prepare: Callable[[], None],
    ) -> None:
        self.stdout: IO[bytes] | None = None
        writing = None
        if piped:
            reading, writing = os.pipe()
            self.stdout = os.fdopen(reading, "rb", buffering=0)
        self._process = multiprocessing.get_context("fork").Process(
            target=_become, args=(command, environment, folder, writing, prepare)
        )
        # Until the child has handlers of its own, a signal to it would run the parent's in it.
        signals = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)
            if writing is not None:
                os.close(writing)
        self.pid = self._process.pid or 0
        # The child does so too. Whichever is first, both find the group made.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(self.pid, self.pid)

    @property
    def returncode(self) -> int | None:
        """Its exit code, or the negative number of the signal that ended it, as of a Popen."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode


def _become(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path | None,
    writing: int | None,
    prepare: Callable[[], None],
) -> None:
    """Turn this child into what a new interpreter with that command line would be; run it.

    One thing differs: before Python 3.13, multiprocessing calls no functions of `atexit` in a fork.
    None of our programs relies on them.
    """
    os.setpgid(0, 0)
    prepare()
    _reset_signals()
    _reset_files(writing)
    os.environ.clear()
    os.environ.update(environment)
    if folder is not None:
        os.chdir(folder)
    _show(" ".join(command))
    _reset_logs()
    _, first, *arguments = command
    if first == "-m":
        sys.argv = arguments
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [first, *arguments]
        runpy.run_path(first, run_name="__main__")


def _reset_signals() -> None:
    """Handle signals as an interpreter does at its start, and let them come."""
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    # A Ctrl-C that came before this child had its own group was for the parent, which ends it by
    # SIGTERM: to ignore the signal discards it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _reset_files(writing: int | None) -> None:
    """Read from nothing, write to the pipe line by line, and close what is the parent's.

    The parent's lock and the pipes of other children would else be open for as long as this one.
    """
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    if writing is not None:
        os.dup2(writing, 1)
        os.dup2(writing, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout, sys.stderr = _writer(1), _writer(2)


def _writer(descriptor: int) -> IO[str]:
    raw = open(descriptor, "wb", buffering=0, closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True)


def _show(title: str) -> None:
    """Have `ps` show that as the command line, by which a leftover is known (processes.py).

    It is written over the arguments of the parent's start and the environment behind them, as
    every setproctitle does. Nobody reads that place any more: the environment was set anew.
    """
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    first, end = int(fields[45]), int(fields[48])
    room = end - first
    ctypes.memmove(first, title.encode()[: room - 1].ljust(room, b"\0"), room)


def _reset_logs() -> None:
    """Log to this child's standard error, in colours only if that is a terminal."""
    from django.conf import settings

    from imissive.core.logs import configure

    if not settings.configured:
        return  # a parent that imports no application has configured no logs
    configure(level=settings.LOG_LEVEL, as_json=settings.LOG_JSON)
