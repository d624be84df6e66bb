"""The Celery application. Run as `celery -A imissive …`; it reads CELERY_* of settings.py."""

import os
from typing import Any

from celery import Celery, bootsteps

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
