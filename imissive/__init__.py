"""The project: settings, URLs and the Celery application that combine the apps."""

from imissive.celery import app as celery_app

__all__ = ["celery_app"]
