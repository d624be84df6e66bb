"""The API's addresses of messages, under /v1/."""

from django.urls import path

from messaging import api

urlpatterns = [
    path("sms/send", api.SendView.as_view()),
    path("sms/bulk", api.BulkView.as_view()),
    path("sms/estimate", api.EstimateView.as_view()),
    path("sms", api.MessagesView.as_view()),
    path("sms/<str:message_id>/cancel", api.CancelView.as_view()),
    path("batches/<str:batch_id>", api.BatchView.as_view()),
    path("batches/<str:batch_id>/cancel", api.CancelBatchView.as_view()),
    path("sms/<str:message_id>", api.MessageView.as_view()),
]
