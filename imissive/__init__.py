"""imissive: the composition of its apps into one platform."""

from imissive.celery import app as celery_app

__all__ = ["celery_app"]
