"""The Celery application. Run as `celery -A imissive …`; it reads CELERY_* of settings.py."""

import os
from typing import Any

from celery import Celery, bootsteps, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imissive.settings")

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


# A worker that is started for a carrier holds that carrier's binds beside its queues.
CARRIER = os.environ.get("IMISSIVE_CARRIER", "")


@signals.worker_ready.connect
def _begin(**_: Any) -> None:
    if CARRIER:
        from messaging import carrier_process

        carrier_process.start(CARRIER)


@signals.worker_shutting_down.connect
def _start_to_end(**_: Any) -> None:
    """End the binds while Celery's own parts end, not after them."""
    if CARRIER:
        from messaging import carrier_process

        carrier_process.stop_soon()


@signals.worker_shutdown.connect
def _end(**_: Any) -> None:
    if CARRIER:
        from messaging import carrier_process

        carrier_process.stop()
