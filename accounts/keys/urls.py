"""URLs of the API keys' pages, under /dashboard/<organization_id>/."""

from django.urls import path

from accounts.keys import views

urlpatterns = [
    path("keys/", views.key_list, name="keys"),
    path("keys/new/", views.new_key, name="new_key"),
    path("keys/<str:key_id>/rotate/", views.rotate, name="rotate_key"),
    path("keys/<str:key_id>/addresses/", views.restrict, name="restrict_key"),
    path("keys/<str:key_id>/revoke/", views.revoke, name="revoke_key"),
]
