"""The Celery application, for `celery -A imissive …`. It reads CELERY_* of settings.py."""

import os
import warnings
from typing import Any

from celery import Celery, bootsteps, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imissive.settings")
# Each worker would print ten lines about it as root; README and docs/operating.md mention it once.
warnings.filterwarnings("ignore", "You're running the worker with superuser privileges")

app = Celery("imissive")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


class WakeUp(bootsteps.StartStopStep):  # type: ignore[misc]
    """Wake a worker's event loop twice a second, so that it notices a request to stop.

    A signal does not wake the loop, and an idle AMQP connection does not either for ten seconds.
    This is a boot step, because a timer is lost with its connection.
    """

    def start(self, consumer: Any) -> None:
        if consumer.hub is not None:
            consumer.hub.call_repeatedly(0.5, lambda: None)


app.steps["consumer"].add(WakeUp)


@signals.task_failure.connect
def _leave_database(exception: Exception, **_: Any) -> None:
    """Close broken connections after a restart of PostgreSQL, so that no other task fails."""
    from imissive.core.sql import Fault, fault_of, forget_broken_connections

    if fault_of(exception) is Fault.DATABASE:
        forget_broken_connections(exception)
