"""Two PostgreSQL servers: a primary, and a standby that follows it and can take its place."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from imissive.run.embedded import (
    SERVER_ENVIRONMENT,
    Postgres,
    child_setup,
    open_to_servers,
)
from imissive.run.processes import LOOPBACK, free_port, stop_process
from tests.support.platforms import until

_STANDBY = ("-c", "hot_standby=on")
_PRIMARY = ("-c", "synchronous_commit=on", "-c", "synchronous_standby_names=*")


class Cluster:
    """`url` names both, as DATABASE_URL would. What the primary commits is on the standby too."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        homes = [folder / name for name in ("first", "second")]
        for home in homes:
            home.mkdir(mode=0o700)
            open_to_servers(home)
        self._first, self._second = (Postgres(home, fast=True) for home in homes)
        self._log = (folder / "postgres.log").open("ab")
        self._first.prepare()
        self._first._single("ALTER ROLE imissive REPLICATION", "GRANT pg_monitor TO imissive")
        hba = self._first.data / "pg_hba.conf"
        hba.write_text(hba.read_text() + f"host replication imissive {LOOPBACK}/32 scram-sha-256\n")
        # Without a standby a synchronous commit would wait for ever.
        self._primary = self._start(self._first, ["-c", "synchronous_commit=on"])
        self._copy()
        self._standby = self._start(self._second, list(_STANDBY))
        stop_process(self._primary, self._first.stop_signal, 20)
        self._primary = self._start(self._first, list(_PRIMARY))
        until(self._is_synchronous, 30)

    @property
    def url(self) -> str:
        first, second = urlsplit(self._first.url), urlsplit(self._second.url)
        both = f"{first.username}:{first.password}@{LOOPBACK}:{first.port},{LOOPBACK}:{second.port}"
        return first._replace(netloc=both).geturl()

    def kill_primary(self) -> None:
        """SIGKILL to the primary, its sessions with it."""
        group = self._primary.pid
        os.killpg(group, signal.SIGKILL)
        self._primary.wait(10)

    def promote(self) -> None:
        """Have the standby be the primary."""
        self._run("pg_ctl", "promote", "-w", "-D", str(self._second.data))

    def close(self) -> None:
        for process in (self._primary, self._standby):
            stop_process(process, signal.SIGQUIT, 10)
        self._log.close()

    def _start(self, server: Postgres, options: list[str]) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [*server.command(), *options],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=SERVER_ENVIRONMENT,
            process_group=0,
            preexec_fn=child_setup(server),
        )
        until(server.is_ready, 30)
        return process

    def _copy(self) -> None:
        """Make the standby, of the primary as it is."""
        self._second.folder.mkdir(mode=0o700)
        self._second._password, self._second._port = self._first._password, free_port()
        self._second._way = self._first._way
        if self._first._way is not None:
            # The cluster's folder belongs to whoever runs PostgreSQL.
            owner = self._first.folder.stat()
            os.chown(self._second.folder, owner.st_uid, owner.st_gid)
        self._run(
            *("pg_basebackup", "-R", "-X", "stream", "-c", "fast"),
            *("-d", self._first.url, "-D", str(self._second.data)),
        )

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._first._bin / program), *arguments],
            capture_output=True,
            text=True,
            cwd="/",
            env=SERVER_ENVIRONMENT,
            preexec_fn=self._first.before_exec,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr

    def _is_synchronous(self) -> bool:
        with psycopg.connect(self._first.url) as connection:
            return connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall() in (
                [("sync",)],
                [("quorum",)],
            )


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    made = Cluster(folder)
    try:
        yield made
    finally:
        made.close()
