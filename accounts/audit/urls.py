"""URLs of the audit log's pages, under /dashboard/<organization_id>/."""

from django.urls import path

from accounts.audit import views

urlpatterns = [
    path("audit/", views.audit_page, name="audit"),
    path("audit/export/", views.export_audit, name="export_audit"),
]
