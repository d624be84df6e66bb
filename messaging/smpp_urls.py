"""Addresses of the SMPP pages, under /dashboard/<organization_id>/."""

from django.urls import path

from messaging import smpp_views

urlpatterns = [
    path("smpp/", smpp_views.console, name="smpp"),
    path("smpp/<uuid:account_id>/password/", smpp_views.new_password, name="smpp_password"),
]
