"""The supervisor restarts programs, and stops them in time."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imissive.run.forking import FORKS
from imissive.run.processes import command_line, first_number
from imissive.run.programs import ROOT
from imissive.run.supervisor import Program, Supervisor
from imissive.run.unprivileged import die_with_parent
from tests.support.platforms import until


class Watched(Supervisor):
    """A supervisor whose messages and lines a test reads."""

    def __init__(self, folder: Path) -> None:
        self.messages: list[str] = []
        self.lines: list[tuple[str, str]] = []
        super().__init__(
            folder,
            say=self.messages.append,
            emit=lambda name, line: self.lines.append((name, line)),
        )

    def until(self, true: Callable[[], object], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, (self.messages, self.lines)
            self.step(0.02)


@pytest.fixture
def supervisor(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "pids")


def python(name: str, code: str, **more: object) -> Program:
    return Program(name, [sys.executable, "-uc", code], **more)  # type: ignore[arg-type]


def test_complete_lines_are_emitted_with_the_programs_name(supervisor: Watched) -> None:
    code = "import time; print('a', end=''); time.sleep(.1); print('b'); print('c', end='\\n\\n')"
    supervisor.start(python("one", code, once=True))
    supervisor.until(lambda: supervisor.exit_code("one") == 0)
    assert supervisor.lines == [("one", "ab"), ("one", "c"), ("one", "")]


def test_program_that_dies_is_restarted_after_growing_delays(supervisor: Watched) -> None:
    supervisor.start(python("weak", "raise SystemExit(3)"))
    supervisor.until(lambda: len(supervisor.messages) == 3)
    assert [message.partition(" in ")[0] for message in supervisor.messages] == [
        "weak ended with code 3; starting it again"
    ] * 3
    pauses = [float(message.split()[-2]) for message in supervisor.messages]
    assert pauses == sorted(set(pauses))
    supervisor.stop_all()
    assert supervisor.names == []


def test_program_that_ignores_its_signal_is_killed(supervisor: Watched) -> None:
    code = "import signal, time; signal.signal(15, lambda *_: 0); print('on'); time.sleep(60)"
    supervisor.start(python("deaf", code, grace=0.3))
    supervisor.until(lambda: ("deaf", "on") in supervisor.lines)
    started = time.monotonic()
    supervisor.stop_all()
    assert 0.2 < time.monotonic() - started < 3
    assert supervisor.messages == ["deaf did not end in time and is killed"]


def test_processes_of_a_dead_program_are_ended(supervisor: Watched) -> None:
    child = "import time; time.sleep(60)"
    code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {child!r}]).pid)"
    supervisor.start(python("parent", code, once=True))
    supervisor.until(lambda: supervisor.exit_code("parent") == 0)
    orphan = int(supervisor.lines[0][1])
    supervisor.until(lambda: child not in command_line(orphan))


def test_program_of_an_earlier_supervisor_is_ended_first(tmp_path: Path) -> None:
    sleeper = python("sleeper", "import time; time.sleep(60)")
    earlier = Watched(tmp_path)
    earlier.start(sleeper)
    first = first_number(tmp_path / "sleeper.pid")
    later = Watched(tmp_path)
    later.start(sleeper)
    earlier.until(lambda: earlier.messages)
    assert "SIGTERM" in earlier.messages[0]
    assert first_number(tmp_path / "sleeper.pid") != first
    earlier.stop_all()
    later.stop_all()


def test_pid_of_another_program_is_left_alone(tmp_path: Path) -> None:
    bystander = Watched(tmp_path / "other")
    bystander.start(python("bystander", "import time; time.sleep(60)"))
    pid = first_number(tmp_path / "other" / "bystander.pid")
    supervisor = Watched(tmp_path / "pids")
    (tmp_path / "pids" / "mine.pid").write_text(f"{pid}\n")
    supervisor.start(python("mine", "print('ran')", once=True))
    supervisor.until(lambda: supervisor.exit_code("mine") == 0)
    assert bystander.is_running("bystander")
    bystander.stop_all()


def test_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux signals children when their parent dies")
    code = f"""
import time
from pathlib import Path
from imissive.run.supervisor import Program, Supervisor
inner = Supervisor(Path({str(tmp_path)!r}), say=print)
inner.start(Program("inner", ["/bin/sleep", "60"]))
print("on")
time.sleep(60)
"""
    supervisor = Watched(tmp_path / "pids")
    supervisor.start(python("outer", code, stop_signal=signal.SIGKILL, once=True))
    supervisor.until(lambda: supervisor.lines == [("outer", "on")])
    pid = first_number(tmp_path / "inner.pid")
    assert pid
    supervisor.stop_all()
    supervisor.until(lambda: "sleep" not in command_line(pid))


FORKED = """
import json, sys, time
from pathlib import Path
from imissive.run.supervisor import Program, Supervisor
folder = Path(sys.argv[1])
kept = open(folder / "kept", "w")
supervisor = Supervisor(
    folder / "pids",
    say=lambda text: print(json.dumps(["said", text]), flush=True),
    emit=lambda name, line: print(json.dumps([name, line]), flush=True),
)
for name, arguments in json.loads(sys.argv[2]).items():
    supervisor.start(
        Program(
            name, [sys.executable, *arguments], forked=True, once=name.startswith("once"),
            environment={"GIVEN": name, "PATH": "/bin"}, folder=folder, grace=1.0,
        )
    )
while True:
    supervisor.step(0.05)
    for name in list(supervisor.names):
        code = supervisor.exit_code(name)
        if code is not None:
            print(json.dumps(["ended", f"{name} {code}"]), flush=True)
"""


class Forking:
    """A supervisor in a process without threads, like the platform's, with its messages."""

    def __init__(self, folder: Path, **programs: str) -> None:
        self.folder = folder
        arguments = {}
        for name, code in programs.items():
            (folder / f"{name}.py").write_text(code)
            arguments[name] = [str(folder / f"{name}.py"), "argument"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKED, str(folder), json.dumps(arguments)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )

    def next(self) -> tuple[str, str]:
        assert self.process.stdout is not None
        name, line = json.loads(self.process.stdout.readline())
        return name, line

    def pid(self, name: str) -> int:
        pid = first_number(self.folder / "pids" / f"{name}.pid")
        assert pid is not None
        return pid


@pytest.fixture
def forking(tmp_path: Path) -> Iterator[Callable[..., Forking]]:
    if not FORKS:
        pytest.skip("programs are forked on Linux only")
    started: list[Forking] = []

    def start(**programs: str) -> Forking:
        started.append(Forking(tmp_path, **programs))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()


def test_fork_behaves_like_a_new_interpreter(forking: Callable[..., Forking]) -> None:
    code = """
import json, os, signal, sys, threading
print(json.dumps({
    "argv": sys.argv,
    "name": __name__,
    "environment": dict(os.environ),
    "folder": os.getcwd(),
    "files": sorted(
        os.readlink(f"/proc/self/fd/{n}").partition(":")[0] for n in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{n}")
    ),
    "stdin": sys.stdin.read(),
    "handled": [n for n in signal.valid_signals() if callable(signal.getsignal(n))],
    "blocked": list(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "leads": os.getpgid(0) == os.getpid(),
    "title": open("/proc/self/cmdline").read().rstrip(chr(0)),
    "environ": open("/proc/self/environ").read().strip(chr(0)),
    "threads": threading.active_count(),
}))
"""
    supervised = forking(once=code)
    script = str(supervised.folder / "once.py")
    name, line = supervised.next()
    assert name == "once"
    assert json.loads(line) == {
        "argv": [script, "argument"],
        "name": "__main__",
        "environment": {"GIVEN": "once", "PATH": "/bin"},
        "folder": str(supervised.folder),
        "files": ["/dev/null", "pipe", "pipe"],
        "stdin": "",
        "handled": [signal.SIGINT],
        "blocked": [],
        "leads": True,
        "title": f"{sys.executable} {script} argument",
        "environ": "",
        "threads": 1,
    }
    assert supervised.next() == ("ended", "once 0")


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("print('a', end=''); print('b')", [("once", "ab"), ("ended", "once 0")]),
        ("raise SystemExit(3)", [("ended", "once 3")]),
        ("raise SystemExit('why')", [("once", "why"), ("ended", "once 1")]),
        ("import os; os.kill(os.getpid(), 9)", [("ended", "once -9")]),
        ("import os; os.kill(os.getpid(), 15)", [("ended", "once -15")]),
        (
            "import threading, time\n"
            "threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()",
            [("once", "thread"), ("ended", "once 0")],
        ),
    ],
)
def test_fork_ends_like_an_interpreter(
    forking: Callable[..., Forking], code: str, lines: list[tuple[str, str]]
) -> None:
    supervised = forking(once=code)
    assert [supervised.next() for _ in lines] == lines


def test_forks_exception_is_printed(forking: Callable[..., Forking]) -> None:
    supervised = forking(once="raise ValueError('seen')")
    lines = [supervised.next()]
    while lines[-1][0] != "ended":
        lines.append(supervised.next())
    assert ("once", "ValueError: seen") in lines
    assert lines[-1] == ("ended", "once 1")


def test_forks_draw_other_random_numbers(forking: Callable[..., Forking]) -> None:
    code = "import random, time; print(random.random()); time.sleep(60)"
    supervised = forking(one=code, two=code)
    assert len({supervised.next()[1], supervised.next()[1]}) == 2


def test_killed_fork_is_restarted_and_its_group_ended(forking: Callable[..., Forking]) -> None:
    code = (
        "import subprocess, time\n"
        "print(subprocess.Popen(['/bin/sleep', '61']).pid, flush=True)\n"
        "time.sleep(60)"
    )
    supervised = forking(one=code)
    _, sleeper = supervised.next()
    first = supervised.pid("one")
    os.kill(first, signal.SIGKILL)
    assert supervised.next() == ("said", "one was ended by SIGKILL; starting it again in 0.1 s")
    supervised.next()
    assert supervised.pid("one") != first
    until(lambda: "sleep 61" not in command_line(int(sleeper)), 10)


def test_forks_die_with_a_killed_supervisor(forking: Callable[..., Forking]) -> None:
    supervised = forking(one="import time; print('on'); time.sleep(60)")
    assert supervised.next() == ("one", "on")
    pid = supervised.pid("one")
    supervised.process.kill()
    until(lambda: "one.py" not in command_line(pid), 10)


def test_imports_before_a_fork_leave_no_threads_and_no_connections() -> None:
    code = """
import os, threading
from imissive.run import forking
before = set(os.listdir("/proc/self/fd"))
forking.preload()
print(os.listdir("/proc/self/task") == [str(os.getpid())], threading.active_count())
print(set(os.listdir("/proc/self/fd")) == before)
"""
    if not FORKS:
        pytest.skip("programs are forked on Linux only")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("True 1\nTrue\n", "")
