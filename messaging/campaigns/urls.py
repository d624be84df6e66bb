"""Addresses of campaigns, under /dashboard/<organization_id>/campaigns/."""

from django.urls import path

from messaging.campaigns import views, wizard_views

urlpatterns = [
    path("", views.campaign_list, name="campaigns"),
    path("new/", wizard_views.new_campaign, name="new_campaign"),
    path("<str:campaign_id>/", views.campaign_page, name="campaign"),
    path("<str:campaign_id>/recipients/", wizard_views.recipients, name="campaign_recipients"),
    path("<str:campaign_id>/columns/", wizard_views.columns, name="campaign_columns"),
    path("<str:campaign_id>/text/", wizard_views.write, name="campaign_text"),
    path("<str:campaign_id>/check/", wizard_views.check, name="campaign_check"),
    path("<str:campaign_id>/start/", wizard_views.start, name="campaign_start"),
    path("<str:campaign_id>/pause/", views.pause, name="pause_campaign"),
    path("<str:campaign_id>/resume/", views.resume, name="resume_campaign"),
    path("<str:campaign_id>/change/", views.unschedule, name="unschedule_campaign"),
    path("<str:campaign_id>/cancel/", views.cancel, name="cancel_campaign"),
    path("<str:campaign_id>/delete/", views.delete, name="delete_campaign"),
    path("<str:campaign_id>/problems.csv", views.problems_file, name="campaign_problems"),
    path("<str:campaign_id>/failures.csv", views.failures_file, name="campaign_failures"),
]
