"""The Celery application. Run as `celery -A imissive …`; it reads CELERY_* of settings.py."""

import os
from typing import Any

from celery import Celery, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imissive.settings")

app = Celery("imissive")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


# A worker that is started for a carrier holds that carrier's binds beside its queues.
CARRIER = os.environ.get("IMISSIVE_CARRIER", "")


@signals.worker_ready.connect
def _begin(**_: Any) -> None:
    if CARRIER:
        from messaging import carrier_worker

        carrier_worker.start(CARRIER)


@signals.worker_shutdown.connect
def _end(**_: Any) -> None:
    if CARRIER:
        from messaging import carrier_worker

        carrier_worker.stop()
