"""The addresses of the API's schema and its reference."""

from django.urls import path

from reference import views

urlpatterns = [path("v1/openapi.json", views.openapi, name="openapi")]
