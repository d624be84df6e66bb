"""Every address, composed of the apps' own."""

from django.urls import URLPattern, URLResolver, include, path

from accounts.admin_site import site
from imissive import health
from imissive.search import search
from imissive.usage_api import UsageView
from imissive.usage_views import usage_file, usage_page

# Called by Django where nothing else answers.
handler500 = "accounts.views.failed"

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path("v1/", include("accounts.urls")),
    path("v1/", include("messaging.urls")),
    path("v1/", include("webhooks.urls")),
    path("v1/", include("otp.urls")),
    path("v1/usage", UsageView.as_view()),
    path("", include("guide.urls")),
    path("", include("reference.urls")),
    path("", include("accounts.dashboard_urls")),
    path("dashboard/<str:organization_id>/search/", search, name="search"),
    path("dashboard/<str:organization_id>/", include("messaging.dashboard_urls")),
    path("dashboard/<str:organization_id>/usage/", usage_page, name="usage"),
    path("dashboard/<str:organization_id>/usage/usage.csv", usage_file, name="usage_file"),
    path("dashboard/<str:organization_id>/", include("webhooks.dashboard_urls")),
    path("dashboard/<str:organization_id>/", include("otp.dashboard_urls")),
    path("dashboard/<str:organization_id>/", include("accounts.organization_urls")),
    path("accounts/", include("allauth.urls")),
    path("admin/", site.urls),
]
