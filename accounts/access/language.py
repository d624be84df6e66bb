"""Language preference: kept in a browser cookie, and in the account for new browsers."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST
from django.views.i18n import set_language as set_cookie

from accounts.models import User

_YEAR = 365 * 24 * 3600


@require_POST
def set_language(request: HttpRequest) -> HttpResponse:
    """Switch the pages to the posted `language`, and save it for a logged-in user."""
    response = set_cookie(request)
    language = request.POST.get("language")
    if request.user.is_authenticated and language in dict(settings.LANGUAGES):
        User.objects.filter(pk=request.user.pk).exclude(language=language).update(language=language)
    return response


def remember_language(response: HttpResponse, request: HttpRequest, language: str) -> None:
    """Set the language cookie, valid for a year, on the response."""
    response.set_cookie(
        settings.LANGUAGE_COOKIE_NAME,
        language,
        _YEAR,
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
    )
