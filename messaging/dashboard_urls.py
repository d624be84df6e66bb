"""Addresses of an organization's dashboard, under /dashboard/<organization_id>/."""

from django.urls import include, path

from messaging import (
    closing_views,
    credits_views,
    first_steps,
    overview_views,
)

urlpatterns = [
    path("", overview_views.overview, name="overview"),
    path("test-message/", first_steps.send_test_message, name="test_message"),
    path("settings/close/", closing_views.close_organization, name="close_organization"),
    path("", include("messaging.audience_urls")),
    path("", include("messaging.log_urls")),
    path("", include("messaging.compose_urls")),
    path("campaigns/", include("messaging.campaigns.urls")),
    path("", include("messaging.sender_urls")),
    path("credits/", credits_views.credits_page, name="credits"),
    path("credits/ledger.csv", credits_views.ledger_file, name="ledger_file"),
    path("credits/prices/", credits_views.prices_page, name="prices"),
    path("", include("messaging.smpp_urls")),
]
