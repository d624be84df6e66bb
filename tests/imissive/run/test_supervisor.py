"""The supervisor restarts programs, and stops them in time."""

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imissive.run.processes import command_line, first_number
from imissive.run.supervisor import Program, Supervisor


class Watched(Supervisor):
    """A supervisor whose messages and lines a test reads."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        self.lines: list[tuple[str, str]] = []
        super().__init__(
            folder, say=self.said.append, emit=lambda name, line: self.lines.append((name, line))
        )

    def until(self, true: Callable[[], object], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, (self.said, self.lines)
            self.step(0.02)


@pytest.fixture
def supervisor(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "pids")


def python(name: str, code: str, **more: object) -> Program:
    return Program(name, [sys.executable, "-uc", code], **more)  # type: ignore[arg-type]


def test_lines_come_whole_and_under_the_programs_name(supervisor: Watched) -> None:
    code = "import time; print('a', end=''); time.sleep(.1); print('b'); print('c', end='\\n\\n')"
    supervisor.start(python("one", code, once=True))
    supervisor.until(lambda: supervisor.exit_code("one") == 0)
    assert supervisor.lines == [("one", "ab"), ("one", "c"), ("one", "")]


def test_program_that_dies_is_started_again_ever_more_slowly(supervisor: Watched) -> None:
    supervisor.start(python("weak", "raise SystemExit(3)"))
    supervisor.until(lambda: len(supervisor.said) == 3)
    assert [said.partition(" in ")[0] for said in supervisor.said] == [
        "weak ended with code 3; starting it again"
    ] * 3
    pauses = [float(said.split()[-2]) for said in supervisor.said]
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
    assert supervisor.said == ["deaf did not end in time and is killed"]


def test_what_a_dead_program_left_behind_is_ended(supervisor: Watched) -> None:
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
    earlier.until(lambda: earlier.said)
    assert "SIGTERM" in earlier.said[0]
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
        pytest.skip("only Linux tells children of their parent's death")
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
