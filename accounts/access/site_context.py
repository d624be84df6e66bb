"""Context processor: facts about the installation that every template may show."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def site(request: HttpRequest) -> dict[str, Any]:
    """Return whether sign-up is open to everybody, and the installation's public URL."""
    return {"signup_open": settings.SIGNUP_OPEN, "public_url": settings.PUBLIC_URL}
