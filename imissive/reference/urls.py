"""URLs of the API's schema and of its reference."""

from django.urls import path
from django.views.generic import RedirectView

from imissive.reference import views

urlpatterns = [
    path("v1/openapi.json", views.openapi, name="openapi"),
    path("docs/reference", views.overview, name="reference"),
    path("docs/reference/", RedirectView.as_view(pattern_name="reference")),
    path("docs/reference/events", views.events, name="reference_events"),
    path("docs/reference/<slug:slug>", views.tag, name="reference_tag"),
]
