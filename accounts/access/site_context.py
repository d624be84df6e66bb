"""What every page may show of the installation."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def site(request: HttpRequest) -> dict[str, Any]:
    """For all templates: whether strangers may sign up, and the URL that people use."""
    return {"signup_open": settings.SIGNUP_OPEN, "public_url": settings.PUBLIC_URL}
