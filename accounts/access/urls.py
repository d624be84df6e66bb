"""URLs of the pages outside an organization: landing page, profile, theme, language, invitation."""

from django.urls import path

from accounts.access import language, views
from accounts.members import invitation_views, profile_views
from accounts.operators import impersonation_views

urlpatterns = [
    path("", views.home, name="home"),
    path("dashboard/", views.dashboard, name="dashboard"),
    path("new-organization/", views.new_organization, name="new_organization"),
    path("accounts/profile/", profile_views.profile, name="profile"),
    path("acting/end/", impersonation_views.end, name="end_acting"),
    path("theme/", views.set_theme, name="set_theme"),
    path("i18n/setlang/", language.set_language, name="set_language"),
    path("invitations/<str:token>/", invitation_views.invitation_page, name="invitation"),
]
