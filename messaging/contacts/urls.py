"""Addresses of contacts and suppressions, under /dashboard/<organization_id>/."""

from django.urls import path

from messaging.contacts import import_views, suppressions_views, views

urlpatterns = [
    path("contacts/", views.contact_list_page, name="contacts"),
    path("contacts/new/", views.new_contact, name="new_contact"),
    path("contacts/import/", import_views.import_contacts, name="import_contacts"),
    path("contacts/import/<uuid:upload_id>/", import_views.import_columns, name="import_columns"),
    path("contacts/not-imported/<uuid:file_id>/", import_views.not_imported, name="not_imported"),
    path("contacts/export/", views.export_contacts, name="export_contacts"),
    path("contacts/lists/", views.contact_lists, name="contact_lists"),
    path("contacts/lists/<str:list_id>/", views.change_list, name="contact_list"),
    path(
        "contacts/lists/<str:list_id>/remove/",
        views.remove_list,
        name="remove_contact_list",
    ),
    path("contacts/<str:contact_id>/", views.change_contact, name="contact"),
    path("contacts/<str:contact_id>/remove/", views.remove_contact, name="remove_contact"),
    path("suppressions/", suppressions_views.suppression_list, name="suppressions"),
    path("suppressions/add/", suppressions_views.add_suppressions, name="add_suppressions"),
    path(
        "suppressions/<str:number>/remove/",
        suppressions_views.remove_suppression,
        name="remove_suppression",
    ),
]
