"""Starting programs that refuse to run as root, such as PostgreSQL, when started by root.

No user is created and no folder is opened to others. There are three ways, tried in this order:

1. as `nobody`, if `nobody` can reach the program and its data;
2. as `nobody` with one capability of root, to traverse closed folders (CAP_DAC_OVERRIDE), if a
   parent folder is closed, such as root's home;
3. in a user namespace in which root's own files belong to `nobody`, if neither works.

Containers often forbid the third way and sandboxes the second, so all three are needed.
"""

import ctypes
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 4
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522
_CLONE_NEWUSER = 0x10000000

_PROBE = 'cd "$0" && : >.probe && rm .probe && "$@"'
_LINUX = sys.platform == "linux"
# Loaded here and not between fork and exec, where few operations are safe.
_libc = ctypes.CDLL(None, use_errno=True)

Prepare = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Way:
    """A way to run a program: the owner of its data, and the child's function before exec."""

    name: str
    uid: int
    gid: int
    prepare: Prepare


class NoWay(Exception):
    """None of the ways works here."""


def die_with_parent(death: signal.Signals, *, parent: int | None = None) -> Prepare:
    """Return a function by which a child gets that signal when its parent dies, even by SIGKILL.

    On Linux only. The parent is this process unless its process id is given.
    """
    parent = os.getpid() if parent is None else parent

    def prepare() -> None:
        if _LINUX:
            _libc.prctl(_PR_SET_PDEATHSIG, int(death), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return prepare


def ways() -> list[Way]:
    """Return the ways to try, best first. Other users than root run programs as themselves."""
    if os.geteuid() != 0:
        return [Way("as you", os.geteuid(), os.getegid(), lambda: None)]
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise NoWay("there is no user `nobody`") from None
    uid, gid = nobody.pw_uid, nobody.pw_gid
    candidates = [Way("as nobody", uid, gid, lambda: _become(uid, gid))]
    if _LINUX:
        candidates += [
            Way("as nobody, past closed folders", uid, gid, lambda: _become_passing(uid, gid)),
            Way("in a user namespace", 0, 0, lambda: _enter_namespace(uid, gid)),
        ]
    return candidates


def choose(trial: list[str], folder: Path) -> Way:
    """Return the first way that can run the trial and write to `folder`, which it then owns."""
    for way in ways():
        own(folder, way)
        try:
            subprocess.run(
                ["/bin/sh", "-c", _PROBE, str(folder), *trial],
                preexec_fn=way.prepare,
                cwd="/",
                check=True,
                capture_output=True,
                timeout=20,
            )
        except (OSError, subprocess.SubprocessError):
            continue
        return way
    raise NoWay(f"{trial[0]} cannot be run on {folder}")


def own(folder: Path, way: Way) -> None:
    """Change the owner of the folder and its contents to the way's user, if needed."""
    if os.geteuid() != 0 or folder.stat().st_uid == way.uid:
        return
    for parent, folders, files in os.walk(folder):
        for name in folders + files:
            os.chown(Path(parent, name), way.uid, way.gid, follow_symlinks=False)
    os.chown(folder, way.uid, way.gid)


def _become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _become_passing(uid: int, gid: int) -> None:
    """Change the user and keep one capability over the change and over exec.

    The secure bit lets it also count in access(2), by which PostgreSQL looks for its programs.
    """
    _call(_libc.prctl, _PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    _become(uid, gid)
    kept = 1 << _CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Effective, permitted, inheritable; then the same for capabilities 32 and above.
    sets = (ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0)
    _call(_libc.capset, header, sets)
    _call(_libc.prctl, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)


def _enter_namespace(uid: int, gid: int) -> None:
    _call(_libc.unshare, _CLONE_NEWUSER)
    for name, line in [
        ("setgroups", "deny"),
        ("uid_map", f"{uid} 0 1"),
        ("gid_map", f"{gid} 0 1"),
    ]:
        Path("/proc/self", name).write_text(line)


def _call(function: Callable[..., int], *arguments: object) -> None:
    if function(*arguments) != 0:
        raise OSError(ctypes.get_errno(), "system call refused")
