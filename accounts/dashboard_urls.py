"""Addresses of the pages for people that belong to no organization."""

from django.urls import path

from accounts import views

urlpatterns = [
    path("", views.home, name="home"),
    path("dashboard/", views.dashboard, name="dashboard"),
    path("theme/", views.set_theme, name="set_theme"),
]
