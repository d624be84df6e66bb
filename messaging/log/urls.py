"""URLs of messages, batches and exports, under /dashboard/<organization_id>/."""

from django.urls import path

from messaging.log import (
    batch_views,
    export_views,
    message_views,
    views,
)

urlpatterns = [
    path("messages/", views.message_log, name="messages"),
    path("messages/exports/", export_views.export_list, name="exports"),
    path("messages/exports/new/", export_views.new_export, name="new_export"),
    path("messages/exports/<str:export_id>/", export_views.fetch_export, name="fetch_export"),
    path(
        "messages/exports/<str:export_id>/cancel/", export_views.cancel_export, name="cancel_export"
    ),
    path("messages/<str:message_id>/", message_views.message_page, name="message"),
    path("messages/<str:message_id>/cancel/", message_views.cancel_message, name="cancel_message"),
    path("messages/<str:message_id>/resend/", message_views.resend, name="resend_message"),
    path("batches/<str:batch_id>/", batch_views.batch_page, name="batch"),
    path("batches/<str:batch_id>/cancel/", batch_views.cancel_batch, name="cancel_batch"),
]
