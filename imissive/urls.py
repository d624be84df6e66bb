"""Root URL configuration: the URLs of all applications under their prefixes."""

from importlib import import_module

from django.urls import URLPattern, URLResolver, include, path

from accounts.access.post_limits import too_many_requests
from accounts.operators.site import site
from imissive.pages import health
from imissive.pages.search import search
from imissive.pages.usage_api import UsageView
from imissive.pages.usage_views import usage_file, usage_page

# Importing the admin's pages registers them with the site. Only processes that serve pages need
# them, so this is the place.
for admin_pages in (
    "accounts.operators.admin",
    "messaging.admin",
    "webhooks.dashboard.admin",
    "otp.dashboard.admin",
):
    import_module(admin_pages)

# For posts that allauth refuses by its own rate limits.
handler429 = too_many_requests

# Django calls it for an exception that no view or middleware handles.
handler500 = "accounts.access.views.failed"

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path("v1/", include("accounts.urls")),
    path("v1/", include("messaging.urls")),
    path("v1/", include("webhooks.urls")),
    path("v1/", include("otp.urls")),
    path("v1/usage", UsageView.as_view()),
    path("", include("imissive.guide.urls")),
    path("", include("imissive.reference.urls")),
    path("", include("accounts.access.urls")),
    path("dashboard/<str:organization_id>/search/", search, name="search"),
    path("dashboard/<str:organization_id>/", include("messaging.dashboard.urls")),
    path("dashboard/<str:organization_id>/usage/", usage_page, name="usage"),
    path("dashboard/<str:organization_id>/usage/usage.csv", usage_file, name="usage_file"),
    path("dashboard/<str:organization_id>/", include("webhooks.dashboard.urls")),
    path("dashboard/<str:organization_id>/", include("otp.dashboard.urls")),
    path("dashboard/<str:organization_id>/", include("accounts.members.urls")),
    path("dashboard/<str:organization_id>/", include("accounts.keys.urls")),
    path("dashboard/<str:organization_id>/", include("accounts.audit.urls")),
    path("accounts/", include("accounts.members.account_urls")),
    path("admin/", site.urls),
]
