"""URLs of allauth, with rate limits for posts of anonymous visitors and posts that send mails."""

from collections.abc import Iterable, Iterator

from allauth.urls import urlpatterns as allauth_urls
from django.urls import URLPattern, URLResolver

from accounts.access.post_limits import (
    CHANGE_PASSWORD,
    MANAGE_EMAIL,
    NEW_PASSWORD,
    PASSKEY_SIGN_IN,
    PASSWORD_RESET,
    REAUTHENTICATE,
    SECOND_FACTOR,
    SIGN_IN,
    SIGN_UP,
    limit_posts,
)

LIMITS = {
    "account_login": SIGN_IN,
    "mfa_authenticate": SECOND_FACTOR,
    "mfa_login_webauthn": PASSKEY_SIGN_IN,
    "account_signup": SIGN_UP,
    "account_reset_password": PASSWORD_RESET,
    "account_reset_password_from_key": NEW_PASSWORD,
    "account_change_password": CHANGE_PASSWORD,
    "account_set_password": CHANGE_PASSWORD,
    "account_email": MANAGE_EMAIL,
    "account_reauthenticate": REAUTHENTICATE,
    "mfa_reauthenticate": REAUTHENTICATE,
}
"""Limit of each URL name."""


def _limited(patterns: Iterable[URLPattern | URLResolver]) -> Iterator[URLPattern | URLResolver]:
    for each in patterns:
        if isinstance(each, URLResolver):
            inner = list(_limited(each.url_patterns))
            yield URLResolver(
                each.pattern, inner, each.default_kwargs, each.app_name, each.namespace
            )
        elif each.name in LIMITS:
            view = limit_posts(LIMITS[each.name])(each.callback)
            yield URLPattern(each.pattern, view, each.default_args, each.name)
        else:
            yield each


urlpatterns = list(_limited(allauth_urls))
