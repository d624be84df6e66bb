"""The API's addresses of messages, under /v1/."""

from django.urls import path

from messaging.contacts import suppressions_api
from messaging.log import api as lists_api
from messaging.senders import api as senders_api
from messaging.sending import api

urlpatterns = [
    path("sms/send", api.SendView.as_view()),
    path("sms/bulk", api.BulkView.as_view()),
    path("sms/estimate", api.EstimateView.as_view()),
    path("sms", lists_api.MessagesView.as_view()),
    path("sms/<str:message_id>/cancel", api.CancelView.as_view()),
    path("batches/<str:batch_id>", lists_api.BatchView.as_view()),
    path("batches/<str:batch_id>/cancel", api.CancelBatchView.as_view()),
    path("sms/<str:message_id>", lists_api.MessageView.as_view()),
    path("sender-ids", senders_api.SenderIdsView.as_view()),
    path("sender-ids/<str:sender_id>", senders_api.SenderIdView.as_view()),
    path("suppressions", suppressions_api.SuppressionsView.as_view()),
    path("suppressions/<str:number>", suppressions_api.SuppressionView.as_view()),
]
