"""URLs of the guide."""

from django.urls import path
from django.views.generic import RedirectView

from imissive.guide import views

urlpatterns = [
    path("docs", views.guide, name="guide"),
    path("docs/", RedirectView.as_view(pattern_name="guide")),
    path("docs/key", views.make_key, name="guide_make_key"),
    path("docs/key/drop", views.drop_key, name="guide_drop_key"),
]
