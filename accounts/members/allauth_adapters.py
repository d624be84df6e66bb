"""Adapters that customize django-allauth: sign-up, login and second factors."""

from typing import Any, cast
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.core.mail import EmailMessage
from django.http import HttpRequest, HttpResponse

from accounts.access.language import remember_language
from accounts.access.post_limits import network_of
from accounts.members import invitations
from accounts.members.people import open_wanted_organization
from accounts.models import User
from imissive.core import crypto
from imissive.core.api.requests import client_address


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """allauth's account adapter: closed sign-up, organizations opened at the first login."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Return whether the visitor may sign up; an invited person always may."""
        return settings.SIGNUP_OPEN or invitations.pending(request) is not None

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the address that all other limits use, not the one that allauth would read."""
        return client_address(request) or str(super().get_client_ip(request))

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Return the key of failed logins: the account together with the caller's network.

        allauth's key is the account with the request's Host: whoever fails often enough locks its
        owner out, and another Host starts anew.
        """
        login = str(credentials.get("email") or credentials.get("username") or "").lower()
        return f"{network_of(client_address(request))}:{login}"

    def render_mail(
        self,
        template_prefix: str,
        email: str | list[str],
        context: dict[str, Any],
        headers: dict[str, str] | None = None,
    ) -> EmailMessage:
        """Render a mail with links to PUBLIC_URL, instead of the request's Host as in allauth."""
        links = {
            name: _public(value)
            for name, value in context.items()
            if name.endswith("url") and isinstance(value, str)
        }
        mail = super().render_mail(template_prefix, email, {**context, **links}, headers)
        return cast("EmailMessage", mail)

    def format_email_subject(self, subject: str) -> str:
        return str(subject)

    def post_login(self, request: HttpRequest, user: User, **more: Any) -> HttpResponse:
        """Open the organization named at sign-up, and set the language cookie of a new browser.

        allauth calls this only for users with a verified email address.
        """
        open_wanted_organization(user, client_address(request))
        response = cast("HttpResponse", super().post_login(request, user, **more))
        if settings.LANGUAGE_COOKIE_NAME not in request.COOKIES:
            remember_language(response, request, user.language)
        return response


def _public(url: str) -> str:
    """Return the URL with the scheme and host of PUBLIC_URL."""
    return settings.PUBLIC_URL + urlsplit(url)._replace(scheme="", netloc="").geturl()


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """allauth's MFA adapter: secrets of second factors are encrypted at rest."""

    def encrypt(self, text: str) -> str:
        return crypto.encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        return crypto.decrypt(encrypted_text)

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Return the WebAuthn relying party: the host, with the product's name."""
        return {**super().get_public_key_credential_rp_entity(), "name": "imissive"}
