"""`python -m imissive.run.carriers`: the supervisor of a worker for each enabled carrier.

The workers are forks of it, where supported, so that each is ready in a moment: a start waits for
the binds. Its database connections last for one query, so that none is open at a fork.
"""

import os
import signal
import sys
from types import FrameType

import psycopg
import structlog
from django.core.exceptions import ImproperlyConfigured

from imissive.core.logs import configure
from imissive.core.servers import connect_database
from imissive.env import Env, read_env
from imissive.run.forking import FORKS, preload
from imissive.run.processes import process_name
from imissive.run.programs import ROOT, carrier_command
from imissive.run.supervisor import Program, Supervisor

log = structlog.get_logger(__name__)

POLL_SECONDS = 2.0
# A disabled carrier's worker awaits its responses and unbinds; at shutdown, it has less time.
GRACE = 15.0
GRACE_AT_END = 5.0


class Carriers:
    """The workers of one machine's carriers."""

    def __init__(self, env: Env) -> None:
        self.env = env
        self.supervisor = Supervisor(
            env.data_dir.absolute() / "pids",
            say=lambda text: log.warning("carrier_worker", what=text),
            died=self._died,
        )
        self.dead: list[str] = []

    def _died(self, pid: int) -> None:
        self.dead.append(process_name(pid))

    def record_deaths(self) -> None:
        """Record dead workers in the database, which frees the messages that they held."""
        if not self.dead:
            return
        try:
            with connect_database(self.env.database_url) as connection:
                connection.execute(
                    "UPDATE messaging_carrierworker SET died_at = now()"
                    " WHERE name = ANY(%s) AND died_at IS NULL",
                    [self.dead],
                )
        except psycopg.Error as error:
            log.warning("database_failed", error=str(error).strip(), effect="it is recorded later")
        else:
            self.dead.clear()

    def reconcile(self) -> None:
        """Start and stop workers, so that each enabled carrier has one."""
        wanted = self.enabled()
        if wanted is None:
            return
        names = {f"carrier-{slug}": slug for slug in wanted}
        for name in set(self.supervisor.names) - set(names):
            if self.supervisor.stop(name):
                log.info("carrier_worker_ends", name=name)
        for name in names.keys() - set(self.supervisor.names):
            log.info("carrier_worker_starts", name=name)
            self.supervisor.start(self._program(name, names[name]))

    def enabled(self) -> list[str] | None:
        """Return the carriers that need a worker, or None while the database is unavailable."""
        try:
            # One query every two seconds does not justify a permanent connection.
            with connect_database(self.env.database_url) as connection:
                rows = connection.execute("SELECT slug FROM messaging_carrier WHERE enabled")
                return [slug for (slug,) in rows]
        except psycopg.Error as error:
            log.warning("database_failed", error=str(error).strip(), effect="workers stay")
            return None

    def _program(self, name: str, slug: str) -> Program:
        return Program(
            name,
            carrier_command(self.env, slug),
            environment=os.environ | {"IMISSIVE_CARRIER": slug},
            folder=ROOT,
            grace=GRACE,
            forked=True,
        )


def main() -> int:
    """Run until a stop signal, then stop the workers."""
    try:
        env = read_env()
    except ImproperlyConfigured as error:
        print(f"imissive: {error}", file=sys.stderr)
        return 1
    configure(level=env.log_level, as_json=env.log_json)
    signals: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        signals.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    if FORKS:
        preload()
    carriers = Carriers(env)
    try:
        while not signals:
            carriers.record_deaths()
            carriers.reconcile()
            for _ in range(int(POLL_SECONDS / 0.1)):
                known = len(carriers.dead)
                if not signals:
                    carriers.supervisor.step(0.1)
                if len(carriers.dead) > known:
                    carriers.record_deaths()
    finally:
        carriers.supervisor.stop_all(patience=GRACE_AT_END)
    return 0


if __name__ == "__main__":
    sys.exit(main())
