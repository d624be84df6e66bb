"""The platform's processes and their command lines, defined only here.

`make run` runs all of them. `python -m imissive.run.programs web` becomes one of them, for
compose.yaml, systemd and the like.
"""

import os
import sys
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from imissive.env import Env, read_env
from imissive.run.processes import LOOPBACK

ROOT = Path(__file__).resolve().parent.parent.parent


def commands(env: Env) -> dict[str, list[str]]:
    """Return the command lines by process name, in the order in which processes need each other."""
    return {
        "simulator": [
            *_python("messaging.smpp.simulator"),
            *("--host", LOOPBACK, "--port", str(env.simulator_port)),
        ],
        "carriers": _python("imissive.run.carriers"),
        "web": _python("imissive.run.web"),
        "smpp": [sys.executable, "manage.py", "smpp_server"],
        "worker": [
            *_celery(env, "worker", "-Q", "default,webhooks", "-n", "worker@%h"),
            *("-P", "threads", "-c", "4", *_QUIET),
        ],
        "beat": _celery(env, "beat"),
    }


def carrier_command(env: Env, slug: str) -> list[str]:
    """Return the command line of a carrier's worker, which also needs IMISSIVE_CARRIER=<slug>."""
    return [
        *_celery(env, "worker", "-Q", f"carrier.{slug},carrier.{slug}.urgent"),
        *("-n", f"carrier-{slug}@%h", "-P", "threads", "-c", "2", *_QUIET),
    ]


# Workers need not know each other: they coordinate by the database.
_QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _celery(env: Env, command: str, *arguments: str) -> list[str]:
    # Django's checks are for `manage.py check`, not for each start of each process.
    head = _python("celery", "-A", "imissive", "-q", "--skip-checks")
    return [*head, command, *arguments, "--loglevel", env.log_level]


def main() -> int:
    """`python -m imissive.run.programs NAME`: become that process."""
    try:
        known = commands(read_env())
    except ImproperlyConfigured as error:
        print(f"imissive: {error}", file=sys.stderr)
        return 1
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in known:
        print(f"usage: python -m imissive.run.programs {{{','.join(known)}}}", file=sys.stderr)
        return 2
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imissive.settings")
    os.chdir(ROOT)
    os.execv(known[name][0], known[name])  # noqa: S606


if __name__ == "__main__":
    sys.exit(main())
