"""Runs a worker for each enabled carrier, for as long as it is enabled."""

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, connection

from imissive.env import read_env
from imissive.programs import ROOT, carrier_command
from imissive.supervisor import Program, Supervisor
from messaging.models import Carrier

log = structlog.get_logger(__name__)

POLL_SECONDS = 2.0
# A disabled carrier's worker gets its answers and unbinds; at the end of everything there is less.
GRACE = 15.0
GRACE_AT_END = 5.0


class Command(BaseCommand):
    help = "Run a worker for each enabled carrier; begin and end workers as carriers change."

    def handle(self, *args: Any, **options: Any) -> None:
        asked: list[int] = []

        def ask(number: int, _frame: FrameType | None) -> None:
            asked.append(number)

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, ask)
        supervisor = Supervisor(
            Path(settings.DATA_DIR) / "pids", say=lambda text: log.warning("carrier", said=text)
        )
        try:
            while not asked:
                reconcile(supervisor)
                for _ in range(int(POLL_SECONDS / 0.1)):
                    if not asked:
                        supervisor.step(0.1)
        finally:
            supervisor.stop_all(patience=GRACE_AT_END)


def reconcile(supervisor: Supervisor) -> None:
    """Make the workers that run those of the carriers that are enabled."""
    wanted = enabled_slugs()
    if wanted is None:
        return
    names = {f"carrier-{slug}": slug for slug in wanted}
    for name in set(supervisor.names) - set(names):
        if supervisor.stop(name):
            log.info("carrier_worker_ends", name=name)
    for name in names.keys() - set(supervisor.names):
        log.info("carrier_worker_starts", name=name)
        supervisor.start(carrier_program(name, names[name]))


def enabled_slugs() -> list[str] | None:
    """The carriers that need a worker, or None while the database does not say."""
    try:
        return list(Carrier.objects.filter(enabled=True).values_list("slug", flat=True))
    except (DatabaseError, InterfaceError) as error:
        log.warning("database_failed", error=str(error).strip(), effect="workers stay as they are")
        return None
    finally:
        # One query every two seconds holds no connection.
        connection.close()


def carrier_program(name: str, slug: str) -> Program:
    """The worker of one carrier as a program to keep running."""
    return Program(
        name,
        carrier_command(read_env(), slug),
        environment=os.environ | {"IMISSIVE_CARRIER": slug},
        folder=ROOT,
        grace=GRACE,
    )
