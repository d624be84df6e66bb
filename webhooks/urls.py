"""URLs of the webhooks' REST API, under /v1/."""

from django.urls import path

from webhooks.api import deliveries, endpoints

urlpatterns = [
    path("webhooks", endpoints.WebhooksView.as_view()),
    path("webhooks/deliveries/<str:delivery_id>", deliveries.DeliveryView.as_view()),
    path("webhooks/deliveries/<str:delivery_id>/replay", deliveries.ReplayView.as_view()),
    path("webhooks/<str:webhook_id>", endpoints.WebhookView.as_view()),
    path("webhooks/<str:webhook_id>/test", endpoints.TestView.as_view()),
    path("webhooks/<str:webhook_id>/rotate-secret", endpoints.RotateSecretView.as_view()),
    path("webhooks/<str:webhook_id>/deliveries", deliveries.DeliveriesView.as_view()),
    path("webhooks/<str:webhook_id>/replay", deliveries.ReplayPeriodView.as_view()),
]
