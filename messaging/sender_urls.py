"""Addresses of the sender IDs' pages, under /dashboard/<organization_id>/."""

from django.urls import path

from messaging import senders_views

urlpatterns = [
    path("sender-ids/", senders_views.sender_list, name="sender_ids"),
    path("sender-ids/new/", senders_views.new_sender, name="new_sender"),
    path(
        "sender-ids/notices/<int:notice_id>/dismiss/",
        senders_views.dismiss,
        name="dismiss_sender_notice",
    ),
    path("sender-ids/<str:sender_id>/", senders_views.sender_page, name="sender_id"),
    path("sender-ids/<str:sender_id>/again/", senders_views.ask_again, name="ask_sender_again"),
    path("sender-ids/<str:sender_id>/default/", senders_views.make_default, name="default_sender"),
    path("sender-ids/<str:sender_id>/withdraw/", senders_views.withdraw, name="withdraw_sender"),
    path(
        "sender-ids/<str:sender_id>/documents/<uuid:document_id>/",
        senders_views.document,
        name="sender_document",
    ),
]
