"""Every address, composed of the apps' own."""

from django.urls import URLPattern, URLResolver, include, path

from imissive import health

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path("v1/", include("accounts.urls")),
    path("v1/", include("messaging.urls")),
]
