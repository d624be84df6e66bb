"""CPU seconds by kind of process, from /proc, including live and dead children."""

import os
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")

# The first name that matches a process's command line is its kind.
_KINDS = [
    ("carrier worker", "carrier."),
    ("web", "imissive.run.web"),
    ("smpp", "smpp_server"),
    ("worker", "default,webhooks"),
    ("beat", " beat"),
    ("simulator", "messaging.smpp.simulator"),
    ("receiver (bench)", "tests.bench.receiver"),
    ("load (bench)", "tests.bench"),
    ("postgres", "postgres"),
    ("valkey", "valkey"),
]


def by_kind() -> dict[str, float]:
    """Return the CPU seconds (user and system) of this benchmark's processes, by kind."""
    processes = _processes()
    ours = _descendants(processes, os.getpid())
    found: dict[str, float] = {}
    for pid in ours:
        _, command, seconds = processes[pid]
        kind = next((name for name, mark in _KINDS if mark in command), None)
        if kind is not None:
            found[kind] = found.get(kind, 0.0) + seconds
    return found


def milliseconds_of(*pids: int) -> float:
    """Return the CPU time of these processes in milliseconds."""
    processes = _processes()
    return 1000 * sum(processes[pid][2] for pid in pids)


def _processes() -> dict[int, tuple[int, str, float]]:
    """Return each process's parent, command line and CPU seconds, reaped children included."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(entry.name)] = int(fields[1]), command, sum(map(int, fields[11:15])) / _TICK
    return found


def _descendants(processes: dict[int, tuple[int, str, float]], root: int) -> set[int]:
    """Return the process and all its descendants."""
    family = {root}
    grew = True
    while grew:
        grown = family | {pid for pid, row in processes.items() if row[0] in family}
        grew, family = grown != family, grown
    return family & processes.keys()
