"""URLs of messaging's dashboard, under /dashboard/<organization_id>/."""

from django.urls import include, path

from messaging.billing import views
from messaging.dashboard import account_closure_views, onboarding, overview_views

urlpatterns = [
    path("", overview_views.overview, name="overview"),
    path("test-message/", onboarding.send_test_message, name="test_message"),
    path("settings/close/", account_closure_views.close_organization, name="close_organization"),
    path("", include("messaging.contacts.urls")),
    path("", include("messaging.log.urls")),
    path("", include("messaging.compose.urls")),
    path("campaigns/", include("messaging.campaigns.urls")),
    path("", include("messaging.senders.urls")),
    path("credits/", views.credits_page, name="credits"),
    path("credits/ledger.csv", views.ledger_file, name="ledger_file"),
    path("credits/prices/", views.prices_page, name="prices"),
    path("", include("messaging.gateway.urls")),
]
