"""Helpers for processes (names, stopping, leftovers by pid file), private files and free ports."""

import contextlib
import errno
import os
import random
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

LOOPBACK = "127.0.0.1"


def reachable(host: str) -> str:
    """Return the address by which this machine connects to a listener on `host`."""
    return LOOPBACK if host in ("0.0.0.0", "::", "") else host  # noqa: S104


def process_name(pid: int) -> str:
    """Return the name of a process of this machine in the database."""
    return f"{socket.gethostname()[:64]}:{pid}"


def stop_process(process: subprocess.Popen[bytes], first: signal.Signals, seconds: float) -> None:
    """Stop a process and wait for it; kill it if it does not end in time."""
    if process.poll() is None:
        process.send_signal(first)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    if process.poll() is None:
        process.kill()
    process.wait()


def end_leftover(pid_file: Path, mark: str, first: signal.Signals, seconds: float) -> None:
    """Stop the process that an earlier start left, and delete its pid file.

    The process is stopped only if its command line has `mark`: after a reboot or in a new
    container, another process may have its id.
    """
    pid = first_number(pid_file)
    if pid is not None:
        for number, patience in ((first, seconds), (signal.SIGKILL, 5.0)):
            if mark in command_line(pid):
                _signal_and_wait(pid, mark, number, patience)
    pid_file.unlink(missing_ok=True)


def _signal_and_wait(pid: int, mark: str, number: signal.Signals, patience: float) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
    deadline = time.monotonic() + patience
    while mark in command_line(pid) and time.monotonic() < deadline:
        time.sleep(0.05)


def command_line(pid: int) -> str:
    """Return a process's command line, or "" if there is no such process, or only a zombie."""
    if Path("/proc/self/cmdline").exists():
        try:
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return ""
        return raw.replace(b"\0", b" ").decode("utf-8", "replace")
    ps = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(ps, capture_output=True, text=True).stdout


def first_number(path: Path) -> int | None:
    """Return the number at the start of a pid file, or None."""
    try:
        match = re.match(r"\d+", path.read_text())
    except OSError:
        return None
    return int(match.group()) if match else None


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, atomically for its readers."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


# Below the ports of outgoing connections (from 32768 on Linux, 49152 elsewhere): any program could
# use such a port while a server restarts.
_OWN_PORTS = range(10_000, 32_768)


def try_port(port: int, host: str = LOOPBACK) -> None:
    """Raise OSError, such as EADDRINUSE, if a server cannot listen on that port now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        # With SO_REUSEADDR some systems let two bind, but none lets two listen.
        probe.listen(1)


def free_port(wanted: int | None = None) -> int:
    """Return a free loopback port, the wanted one if possible.

    Raises OSError if it finds none after many attempts.
    """
    if wanted is not None:
        with contextlib.suppress(OSError):
            try_port(wanted)
            return wanted
    for port in random.sample(_OWN_PORTS, 100):
        with contextlib.suppress(OSError):
            try_port(port)
            return port
    raise OSError(errno.EADDRINUSE, "no port is free")
