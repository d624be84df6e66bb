"""Python programs as forks of a process that has already imported their modules.

A new interpreter needs two seconds of CPU time to import Django, Celery and the applications, and
`make run` starts eight. A fork of a process that has imported them is ready in milliseconds, and
shares its memory. `preload` imports; `Forked` runs a command line such as `python -m celery …` in a
child, like a new interpreter.

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

FORKS = sys.platform == "linux"

# The modules of the programs, besides the applications.
_MODULES = (
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.thread",
    "granian.server",
    "kombu.transport.redis",
)


@contextlib.contextmanager
def shared_by_forks() -> Iterator[None]:
    """Keep garbage collections away from what is imported in this context.

    None of it becomes garbage. A collection in a child would make the kernel copy each page that it
    touches.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def preload() -> None:
    """Import the applications and the programs, and read the settings.

    Connections and threads do not survive a fork: importing must not create any, as a test checks.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imissive.settings")
    with shared_by_forks():
        import django
        from django.conf import settings

        from imissive.celery import app

        django.setup()
        app.loader.import_default_modules()
        for name in (settings.ROOT_URLCONF, *_MODULES):
            importlib.import_module(name)


class Forked:
    """A child that runs a Python command line, with the part of Popen's interface in use.

    With `piped`, `stdout` has the child's standard output and standard error.
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
        # Until the child has its own handlers, a signal would run the parent's handlers in it.
        signals = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)
            if writing is not None:
                os.close(writing)
        self.pid = self._process.pid or 0
        # The child does the same. Whichever is first, the group exists for both afterwards.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(self.pid, self.pid)

    @property
    def returncode(self) -> int | None:
        """Its exit code, or the negative number of the signal that ended it, like in Popen."""
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
    """Set this child up like a new interpreter with that command line, and run it.

    There is one difference: before Python 3.13, multiprocessing does not call functions of `atexit`
    in a fork. None of our programs relies on them.
    """
    os.setpgid(0, 0)
    prepare()
    _reset_signals()
    _reset_files(writing)
    os.environ.clear()
    os.environ.update(environment)
    if folder is not None:
        os.chdir(folder)
    _set_title(" ".join(command))
    _reset_logs()
    _, first, *arguments = command
    if first == "-m":
        sys.argv = arguments
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [first, *arguments]
        runpy.run_path(first, run_name="__main__")


def _reset_signals() -> None:
    """Set the signal handlers of a new interpreter, and unblock signals."""
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    # A Ctrl-C before this child had its own group was meant for the parent, which ends the child by
    # SIGTERM. Ignoring the signal discards it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _reset_files(writing: int | None) -> None:
    """Read from /dev/null, write to the pipe line by line, and close the parent's files.

    Otherwise, this child would keep the parent's lock and the pipes of other children open.
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


def _set_title(title: str) -> None:
    """Set the command line that `ps` displays, which identifies leftovers (processes.py).

    It overwrites the parent's arguments and the environment after them, like every setproctitle.
    That memory is not read any more, because the environment was replaced.
    """
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    first, end = int(fields[45]), int(fields[48])
    size = end - first
    ctypes.memmove(first, title.encode()[: size - 1].ljust(size, b"\0"), size)


def _reset_logs() -> None:
    """Log to this child's standard error, in colours only if that is a terminal."""
    from django.conf import settings

    from imissive.core.logs import configure

    if not settings.configured:
        return  # without applications, the parent has not configured logs
    configure(level=settings.LOG_LEVEL, as_json=settings.LOG_JSON)
