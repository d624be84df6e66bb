"""The API's addresses of messages, under /v1/."""

from django.urls import path

from messaging import api, lists_api

urlpatterns = [
    path("sms/send", api.SendView.as_view()),
    path("sms/bulk", api.BulkView.as_view()),
    path("sms/estimate", api.EstimateView.as_view()),
    path("sms", lists_api.MessagesView.as_view()),
    path("sms/<str:message_id>/cancel", api.CancelView.as_view()),
    path("batches/<str:batch_id>", lists_api.BatchView.as_view()),
    path("batches/<str:batch_id>/cancel", api.CancelBatchView.as_view()),
    path("sms/<str:message_id>", lists_api.MessageView.as_view()),
]
