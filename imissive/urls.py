"""Every address, composed of the apps' own."""

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("v1/", include("accounts.urls")),
    path("v1/", include("messaging.urls")),
]
