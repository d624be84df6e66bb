"""Addresses of the SMPP pages, under /dashboard/<organization_id>/."""

from django.urls import path

from messaging.gateway import views

urlpatterns = [
    path("smpp/", views.console, name="smpp"),
    path("smpp/<uuid:account_id>/password/", views.new_password, name="smpp_password"),
]
