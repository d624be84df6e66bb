"""`python -m imissive.run.web`: the HTTP server, granian, in front of `imissive/wsgi.py`.

Its workers are forks of a process that has imported the application, so a new one responds within
milliseconds. Each is restarted without the others, while granian's own loop ends them all if one
of them dies twice within some seconds.
"""

import importlib
import multiprocessing
import sys
import time
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import MPServer

from imissive.env import Env, read_env
from imissive.run.forking import FORKS, shared_by_forks
from imissive.run.supervisor import FIRST_PAUSE, LONGEST_PAUSE, SETTLED_SECONDS

APPLICATION = "imissive.wsgi"

# An idle connection occupies one of these too, so they are many more than the requests that are
# handled at the same time (imissive/wsgi.py). Each one has a thread, so probes always find one.
CONNECTIONS = 512


class Web(MPServer):
    """Granian's server, which restarts each worker without the others."""

    # Granian has no public method for this: it is the one private method that is replaced, so
    # pyproject.toml pins the version, and tests/journeys/test_service_returns.py kills workers.
    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        failures: dict[int, int] = {}
        started = dict.fromkeys(range(self.workers), time.monotonic())
        due: dict[int, float] = {}
        while not self.interrupt_signal:
            now = time.monotonic()
            self.main_loop_interrupt.wait(min(due.values()) - now if due else None)
            self.main_loop_interrupt.clear()
            now = time.monotonic()
            while self.interrupt_children:
                index = self.interrupt_children.pop()
                settled = now - started[index] > SETTLED_SECONDS
                failures[index] = 0 if settled else failures.get(index, 0) + 1
                due[index] = now + min(FIRST_PAUSE * 3 ** failures[index], LONGEST_PAUSE)
            for index in [index for index, at in due.items() if at <= now]:
                del due[index]
                started[index] = now
                self._respawn_workers([index], spawn_target, target_loader)


def server(env: Env) -> Web:
    """Return the server for these settings."""
    return Web(
        f"{APPLICATION}:application",
        address=env.host,
        port=env.port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(),
        websockets=False,
        workers=env.web_workers,
        backlog=1024,
        backpressure=CONNECTIONS,
        blocking_threads=CONNECTIONS,
        workers_kill_timeout=5,
        respawn_failed_workers=True,
        log_level=LogLevels.error,
        working_dir=Path.cwd(),
    )


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    try:
        env = read_env()
    except ImproperlyConfigured as error:
        print(f"imissive: {error}", file=sys.stderr)
        return 1
    if FORKS:
        # Python 3.14 has another default.
        multiprocessing.set_start_method("fork", force=True)
    web = server(env)
    with shared_by_forks():
        importlib.import_module(APPLICATION)
    web.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
