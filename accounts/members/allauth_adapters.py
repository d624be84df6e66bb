"""How allauth behaves here."""

from typing import Any, cast

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from accounts.access.language import remember_language
from accounts.members import invitations
from accounts.members.people import open_wanted_organization
from accounts.models import User
from imissive.core import crypto
from imissive.core.api.requests import client_address


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Whether a stranger may sign up; who was invited always may."""
        return settings.SIGNUP_OPEN or invitations.pending(request) is not None

    def format_email_subject(self, subject: str) -> str:
        return str(subject)

    def post_login(self, request: HttpRequest, user: User, **more: Any) -> HttpResponse:
        """Only who has proved their address comes so far."""
        open_wanted_organization(user, client_address(request))
        response = cast("HttpResponse", super().post_login(request, user, **more))
        if settings.LANGUAGE_COOKIE_NAME not in request.COOKIES:
            remember_language(response, request, user.language)
        return response


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Second factors' secrets are encrypted at rest as carriers' passwords are."""

    def encrypt(self, text: str) -> str:
        return crypto.encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        return crypto.decrypt(encrypted_text)

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """What a passkey belongs to: the host, under the name that people know."""
        return {**super().get_public_key_credential_rp_entity(), "name": "imissive"}
