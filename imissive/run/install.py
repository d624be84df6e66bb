"""Creation of `.venv` and installation of a lock file, for the Makefile, with one progress line.

    python -P imissive/run/install.py VENV LOCK STAMP…

The stamps are written last, so that an interrupted installation is repeated. This runs before
anything is installed, so it may only import the standard library.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

_PINNED = re.compile(r"^\S+==", re.MULTILINE)
# Prefixes of pip's lines for packages that it downloads, has as a file, has installed, or skips.
_HANDLED = ("Collecting ", "Processing ", "Requirement already satisfied: ", "Ignoring ")
_PLACED = "Installing collected packages: "


def main(venv: Path, lock: Path, stamps: list[Path]) -> int:
    """Install, and return the exit code; a failed command's whole output goes to standard error."""
    made = venv / ".made"
    if not made.exists():
        print(f"Making the environment in {venv} with Python {sys.version.split()[0]} …")
        if code := _run([sys.executable, "-m", "venv", str(venv)], lambda _: None):
            hint = "This Python cannot make environments (on Debian: apt install python3-venv)."
            print(hint, file=sys.stderr)
            return code
        made.touch()
    if code := _install(venv, lock):
        return code
    for stamp in stamps:
        stamp.touch()
    return 0


def _install(venv: Path, lock: Path) -> int:
    total = len(_PINNED.findall(lock.read_text()))
    is_terminal = sys.stdout.isatty()
    taken = 0

    def show(text: str) -> None:
        if is_terminal:
            print(f"\r\x1b[K{text}", end="", flush=True)

    def watch(line: str) -> None:
        nonlocal taken
        if line.startswith(_HANDLED):
            taken += 1
            show(f"Getting packages: {taken} of {total} …")
        elif line.startswith(_PLACED):
            show(f"Installing {total} packages …")

    if not is_terminal:
        print(f"Installing {total} packages; the first time takes a minute …", flush=True)
    show(f"Getting packages: 0 of {total} …")
    pip = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    code = _run([*pip, "install", "--require-hashes", "-r", str(lock)], watch)
    show("")
    return code


def _run(command: list[str], watch: Callable[[str], None]) -> int:
    """Run a command, pass its output lines to `watch`, and return its exit code."""
    lines = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        signal.signal(signal.SIGINT, lambda *_: _leave(process))
        assert process.stdout is not None  # noqa: S101 - for the type only: it is a pipe
        for line in process.stdout:
            lines.append(line)
            watch(line)
    code = process.returncode
    if code:
        print(f"\n{''.join(lines)}", file=sys.stderr)
    return code if code >= 0 else 128 - code


def _leave(process: subprocess.Popen[str] | None = None) -> None:
    """Exit at Ctrl-C, which the command and make receive, too.

    Make knows that it was interrupted and stops; an exit code would only cause another message.
    """
    if process is None:
        time.sleep(0.1)  # Make reports an error if this process ends before make gets the signal.
    else:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
    if sys.stdout.isatty():
        print(flush=True)
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, lambda *_: _leave())
    environment, locked, *written = map(Path, sys.argv[1:])
    sys.exit(main(environment, locked, written))
