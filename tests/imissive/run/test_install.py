"""What `make` installs, and says of it: one line, or all of an error."""

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from imissive.run.programs import ROOT
from imissive.run.unprivileged import die_with_parent

SATISFIED = f"pytest=={version('pytest')} --hash=sha256:{'0' * 64}\n"
MISSING = f"imissive-is-not-there==1 --hash=sha256:{'0' * 64}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Has a `venv` whose Python is this one."""
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / ".made").touch()
    be(tmp_path, f'exec {sys.executable} "$@"')
    return tmp_path


def be(folder: Path, line: str) -> None:
    """Have the environment's Python be a shell's line."""
    python = folder / "venv" / "bin" / "python"
    python.write_text(f"#!/bin/sh\n{line}\n")
    python.chmod(0o755)


def install(folder: Path, lock: str) -> "subprocess.Popen[str]":
    (folder / "lock").write_text(lock)
    return subprocess.Popen(
        [
            *(sys.executable, "-P", str(ROOT / "imissive" / "install.py")),
            *(str(folder / name) for name in ("venv", "lock", "one", "two")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PIP_NO_INDEX": "1"},
        start_new_session=True,
        preexec_fn=die_with_parent(signal.SIGKILL),
    )


def test_one_line_and_the_stamps(folder: Path) -> None:
    process = install(folder, SATISFIED)
    assert process.communicate(timeout=60) == (
        "Installing 1 packages; the first time takes a minute …\n",
        "",
    )
    assert process.returncode == 0
    assert (folder / "one").exists()
    assert (folder / "two").exists()


def test_an_error_is_shown_whole_and_leaves_no_stamp(folder: Path) -> None:
    process = install(folder, SATISFIED + MISSING)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert output.count("\n") == 1
    assert f"Requirement already satisfied: pytest=={version('pytest')}" in errors
    assert "ERROR: No matching distribution found for imissive-is-not-there==1" in errors
    assert not (folder / "one").exists()


def test_a_killed_pip_is_an_error(folder: Path) -> None:
    be(folder, "kill -KILL $$")
    process = install(folder, SATISFIED)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGKILL
    assert not (folder / "one").exists()


def test_ctrl_c_ends_it_quietly(folder: Path) -> None:
    be(folder, "echo Collecting; exec sleep 60")
    process = install(folder, SATISFIED)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Installing")
    begun = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "")
    assert time.monotonic() - begun < 3
    assert not (folder / "one").exists()
