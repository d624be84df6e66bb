"""Boot jobs, which run once before the processes start, and are skipped if nothing changed.

Migrating, collecting static files and seeding take seconds each, even if there is nothing to do. So
each job stores a hash of its inputs in `$DATA_DIR/boot.json`, and is skipped while it is the same.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
import redis

from imissive.core.servers import RedisServer, connect_database
from imissive.env import Env
from imissive.run.processes import write_private
from imissive.run.programs import ROOT

OLDEST_POSTGRESQL = 15


class Unusable(Exception):
    """A server named in the environment cannot be used; the text has its name and the reason."""


def check_servers(env: Env) -> None:
    """Raise Unusable if the database or Redis does not respond or is too old."""
    try:
        with connect_database(env.database_url) as connection:
            version = connection.info.server_version // 10_000
    except psycopg.Error as error:
        raise Unusable(f"DATABASE_URL: {' '.join(str(error).split())}") from None
    if version < OLDEST_POSTGRESQL:
        raise Unusable(
            f"DATABASE_URL: PostgreSQL {OLDEST_POSTGRESQL} or later is needed; this is {version}"
        )
    client = RedisServer.of(env.redis_url).client(5)
    try:
        client.ping()
    except (redis.RedisError, OSError) as error:
        raise Unusable(f"REDIS_URL: {error}") from None
    finally:
        client.close()


@dataclass(frozen=True, slots=True)
class Job:
    """A management command, and the key that stands for its inputs."""

    name: str
    arguments: list[str]
    key: Callable[[], str]


def jobs(env: Env, data_dir: Path, *, demo: bool) -> list[Job]:
    """Return the jobs of a start, in order; `demo`: whether the demo is one of them."""
    found = [
        Job("migrate", ["migrate", "--verbosity", "1"], lambda: _schema(env)),
        Job("static", ["collectstatic", "--no-input", "-v", "0"], lambda: _static(data_dir)),
    ]
    if demo:
        found.append(Job("demo", ["seed_demo"], lambda: _demo(env, data_dir)))
    return found


class Done:
    """The record of the jobs that earlier starts completed."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "boot.json"
        try:
            self._keys: dict[str, str] = json.loads(self._path.read_text())
        except (OSError, ValueError):
            self._keys = {}

    def has(self, job: Job) -> bool:
        return self._keys.get(job.name) == job.key()

    def add(self, job: Job) -> None:
        self._keys[job.name] = job.key()
        write_private(self._path, json.dumps(self._keys, indent=1) + "\n")


def _schema(env: Env) -> str:
    """Return a hash of the migration files and of the migrations applied to this database."""
    files = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("*/migrations/[0-9]*.py"))
    return _hash(_dependencies(), *files, _applied(env))


def _applied(env: Env) -> str:
    """Return a hash of the database's migrations with their times, which identify the database."""
    query = (
        "SELECT md5(string_agg(concat_ws(' ', app, name, applied), ',' ORDER BY id))"
        " FROM django_migrations"
    )
    with connect_database(env.database_url) as connection:
        there = connection.execute("SELECT to_regclass('django_migrations')").fetchone()
        row = connection.execute(query).fetchone() if there and there[0] else None
    return str(row[0]) if row else "none"


def _static(data_dir: Path) -> str:
    target = data_dir / "static"
    files = sorted(
        f"{path.relative_to(ROOT)} {path.stat().st_size} {path.stat().st_mtime_ns}"
        for path in (ROOT / "static").rglob("*")
        if path.is_file()
    )
    there = (target / "staticfiles.json").exists()
    return _hash(_dependencies(), *files, str(target), str(there))


def _demo(env: Env, data_dir: Path) -> str:
    there = (data_dir / "demo.env").exists()
    ports = f"{env.port} {env.smpp_host} {env.smpp_port} {env.simulator_port} {env.public_url}"
    return _hash(ports, _applied(env), str(there))


def _dependencies() -> str:
    """Return the locked versions of the packages, which may have migrations and static files."""
    lock = ROOT / "requirements.lock"
    return lock.read_text() if lock.exists() else ""


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
