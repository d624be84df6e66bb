"""Addresses of an organization's dashboard, under /dashboard/<organization_id>/."""

from django.urls import path

from messaging import views

urlpatterns = [
    path("", views.overview, name="overview"),
    path("messages/", views.message_log, name="messages"),
    path("messages/<str:message_id>/", views.message_page, name="message"),
]
