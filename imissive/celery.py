"""The Celery application. Run as `celery -A imissive …`; it reads CELERY_* of settings.py."""

import os
import warnings
from typing import Any

from celery import Celery, bootsteps, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imissive.settings")
# Each worker would tell root so in ten lines; README and docs/operating.md say it once.
warnings.filterwarnings("ignore", "You're running the worker with superuser privileges")

app = Celery("imissive")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


class WakeUp(bootsteps.StartStopStep):  # type: ignore[misc]
    """Has a worker's loop look twice a second whether it shall stop.

    A signal does not wake the loop, and a silent AMQP broker does not either for ten seconds. A
    step, because a timer does not outlive its connection.
    """

    def start(self, consumer: Any) -> None:
        if consumer.hub is not None:
            consumer.hub.call_repeatedly(0.5, lambda: None)


app.steps["consumer"].add(WakeUp)


def _carrier() -> str:
    """Return the carrier whose binds this worker holds beside its queues, if it is started so."""
    return os.environ.get("IMISSIVE_CARRIER", "")


@signals.worker_ready.connect
def _begin(**_: Any) -> None:
    if carrier := _carrier():
        from messaging import carrier_process

        carrier_process.start(carrier)


@signals.worker_shutdown.connect
def _end(**_: Any) -> None:
    if _carrier():
        from messaging import carrier_process

        carrier_process.stop()
