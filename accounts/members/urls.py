"""URLs of the team's and the settings' pages, under /dashboard/<organization_id>/."""

from django.urls import path

from accounts.members import settings_views, team_views

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
    path("settings/", settings_views.settings_page, name="settings"),
    path("settings/name/", settings_views.rename, name="rename_organization"),
    path("settings/country/", settings_views.set_country, name="set_country"),
    path("settings/alert/", settings_views.set_alert, name="set_alert"),
]
