"""URLs of the sender IDs' pages, under /dashboard/<organization_id>/."""

from django.urls import path

from messaging.senders import views

urlpatterns = [
    path("sender-ids/", views.sender_list, name="sender_ids"),
    path("sender-ids/new/", views.new_sender, name="new_sender"),
    path(
        "sender-ids/notices/<int:notice_id>/dismiss/",
        views.dismiss,
        name="dismiss_sender_notice",
    ),
    path("sender-ids/<str:sender_id>/", views.sender_page, name="sender_id"),
    path("sender-ids/<str:sender_id>/again/", views.request_again, name="ask_sender_again"),
    path("sender-ids/<str:sender_id>/default/", views.make_default, name="default_sender"),
    path("sender-ids/<str:sender_id>/withdraw/", views.withdraw, name="withdraw_sender"),
    path(
        "sender-ids/<str:sender_id>/documents/<uuid:document_id>/",
        views.document,
        name="sender_document",
    ),
]
