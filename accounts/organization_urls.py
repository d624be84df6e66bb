"""Addresses of an organization's own pages, under /dashboard/<organization_id>/."""

from django.urls import path

from accounts import audit_views, keys_views, settings_views, team_views

urlpatterns = [
    path("team/", team_views.team_page, name="team"),
    path("team/invite/", team_views.invite, name="invite"),
    path("team/leave/", team_views.leave, name="leave"),
    path(
        "team/invitations/<int:invitation_id>/resend/", team_views.resend, name="resend_invitation"
    ),
    path(
        "team/invitations/<int:invitation_id>/revoke/", team_views.revoke, name="revoke_invitation"
    ),
    path("team/members/<int:member_id>/role/", team_views.change_role, name="change_role"),
    path("team/members/<int:member_id>/remove/", team_views.remove, name="remove_member"),
    path("keys/", keys_views.key_list, name="keys"),
    path("keys/new/", keys_views.new_key, name="new_key"),
    path("keys/<str:key_id>/rotate/", keys_views.rotate, name="rotate_key"),
    path("keys/<str:key_id>/addresses/", keys_views.restrict, name="restrict_key"),
    path("keys/<str:key_id>/revoke/", keys_views.revoke, name="revoke_key"),
    path("audit/", audit_views.audit_page, name="audit"),
    path("audit/export/", audit_views.export_audit, name="export_audit"),
    path("settings/", settings_views.settings_page, name="settings"),
    path("settings/name/", settings_views.rename, name="rename_organization"),
    path("settings/alert/", settings_views.set_alert, name="set_alert"),
]
