"""URLs of the webhooks' pages, under /dashboard/<organization_id>/."""

from django.urls import path

from webhooks.dashboard import delivery_views, views

urlpatterns = [
    path("webhooks/", views.endpoint_list, name="webhooks"),
    path("webhooks/new/", views.new_endpoint, name="new_webhook"),
    path("webhooks/events/", delivery_views.event_feed, name="event_feed"),
    path(
        "webhooks/deliveries/<str:delivery_id>/",
        delivery_views.delivery_page,
        name="webhook_delivery",
    ),
    path(
        "webhooks/deliveries/<str:delivery_id>/replay/",
        delivery_views.replay_delivery,
        name="replay_delivery",
    ),
    path("webhooks/<str:webhook_id>/", views.endpoint_page, name="webhook"),
    path("webhooks/<str:webhook_id>/edit/", views.edit_endpoint, name="edit_webhook"),
    path("webhooks/<str:webhook_id>/rotate/", views.rotate, name="rotate_webhook"),
    path("webhooks/<str:webhook_id>/switch/", views.switch, name="switch_webhook"),
    path("webhooks/<str:webhook_id>/delete/", views.delete, name="delete_webhook"),
    path("webhooks/<str:webhook_id>/test/", views.send_test, name="test_webhook"),
    path("webhooks/<str:webhook_id>/replay/", delivery_views.replay_period, name="replay_webhook"),
]
