"""The API's addresses of webhooks, under /v1/."""

from django.urls import path

from webhooks import api, deliveries_api

urlpatterns = [
    path("webhooks", api.WebhooksView.as_view()),
    path("webhooks/deliveries/<str:delivery_id>", deliveries_api.DeliveryView.as_view()),
    path("webhooks/deliveries/<str:delivery_id>/replay", deliveries_api.ReplayView.as_view()),
    path("webhooks/<str:webhook_id>", api.WebhookView.as_view()),
    path("webhooks/<str:webhook_id>/test", api.TestView.as_view()),
    path("webhooks/<str:webhook_id>/rotate-secret", api.RotateSecretView.as_view()),
    path("webhooks/<str:webhook_id>/deliveries", deliveries_api.DeliveriesView.as_view()),
    path("webhooks/<str:webhook_id>/replay", deliveries_api.ReplaySpanView.as_view()),
]
