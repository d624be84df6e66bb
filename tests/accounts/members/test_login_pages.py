"""Every page of login and account: in our design, in both languages, from one table.

A new URL of allauth without a row in the table fails.
"""

import time
from collections.abc import Iterator

import pytest
from allauth.account.internal.flows.login import (
    _AUTHENTICATION_METHODS_USER_SESSION_KEY as AUTHENTICATED_USER,
)
from allauth.account.internal.flows.login import (
    AUTHENTICATION_METHODS_SESSION_KEY as AUTHENTICATED_BY,
)
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.core.cache import cache
from django.test import Client
from django.urls import URLResolver, get_resolver, reverse

from accounts.members.people import vouch_for_address
from accounts.models import User
from imissive.core import crypto
from tests.support.people import PLAIN_STATIC

PASSWORD = "a-long-and-odd-one"

STRANGER, SECURED = "stranger", "secured"

TABLE: dict[str, tuple[str, int]] = {
    "account_login": (STRANGER, 200),
    "account_signup": (STRANGER, 200),
    "account_inactive": (STRANGER, 200),
    "account_email_verification_sent": (STRANGER, 200),
    "account_confirm_email": (STRANGER, 200),
    "account_reset_password": (STRANGER, 200),
    "account_reset_password_done": (STRANGER, 200),
    "account_reset_password_from_key": (STRANGER, 200),
    "account_reset_password_from_key_done": (STRANGER, 200),
    "account_logout": (SECURED, 200),
    "account_reauthenticate": (SECURED, 200),
    "account_email": (SECURED, 200),
    "account_change_password": (SECURED, 200),
    # Redirects to the change, because every user has a password.
    "account_set_password": (SECURED, 302),
    # Login by a mailed code is not offered.
    "account_confirm_login_code": (STRANGER, 302),
    "mfa_index": (SECURED, 200),
    # Only between the password and the second step.
    "mfa_authenticate": (STRANGER, 302),
    "mfa_reauthenticate": (SECURED, 200),
    # The user has an authenticator app already.
    "mfa_activate_totp": (SECURED, 302),
    "mfa_deactivate_totp": (SECURED, 200),
    "mfa_view_recovery_codes": (SECURED, 200),
    "mfa_generate_recovery_codes": (SECURED, 200),
    # A text file.
    "mfa_download_recovery_codes": (SECURED, 200),
    "mfa_list_webauthn": (SECURED, 200),
    "mfa_add_webauthn": (SECURED, 200),
    # The user has no passkey to confirm with.
    "mfa_reauthenticate_webauthn": (SECURED, 302),
    "mfa_remove_webauthn": (SECURED, 404),
    "mfa_edit_webauthn": (SECURED, 404),
    # JSON for the login page's script, as its Content-Type says.
    "mfa_login_webauthn": (STRANGER, 302),
    "usersessions_list": (SECURED, 200),
}
NO_PAGES = {"mfa_download_recovery_codes"}


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC
    cache.clear()


@pytest.fixture
def secured(db: None) -> User:
    """Create a user with an authenticator app and recovery codes."""
    user = User.objects.create_user("noor@najd.example", PASSWORD, name="Noor")
    vouch_for_address(user)
    TOTP.activate(user, generate_totp_secret())
    RecoveryCodes.activate(user)
    return user


def _names() -> Iterator[str]:
    for resolver in get_resolver().url_patterns:
        if str(resolver.pattern) == "accounts/":
            assert isinstance(resolver, URLResolver)
            yield from (str(name) for name in resolver.reverse_dict if isinstance(name, str))


def _url(name: str) -> str:
    more = {
        "account_confirm_email": {"key": "x"},
        "account_reset_password_from_key": {"uidb36": "1", "key": "x-y"},
        "mfa_remove_webauthn": {"pk": 1},
        "mfa_edit_webauthn": {"pk": 1},
    }
    return reverse(name, kwargs=more.get(name))  # type: ignore[arg-type]


def _client(user: User) -> Client:
    """Return a client that has logged in and confirmed the password a moment ago."""
    client = Client()
    client.force_login(user)
    session = client.session
    session[AUTHENTICATED_BY] = [{"method": "password", "at": time.time(), "reauthenticated": True}]
    session[AUTHENTICATED_USER] = str(user.pk)
    session.save()
    return client


def test_every_address_has_its_row() -> None:
    assert set(TABLE) == set(_names())


@pytest.mark.parametrize("language", ["en", "ar"])
@pytest.mark.parametrize("name", TABLE)
def test_each_page_looks_like_ours(name: str, language: str, secured: User) -> None:
    who, status = TABLE[name]
    client = _client(secured) if who == SECURED else Client()
    client.cookies["django_language"] = language
    response = client.get(_url(name))
    assert response.status_code == status
    if status != 200 or name in NO_PAGES:
        return
    page = response.content.decode()
    assert "css/public.css" in page
    assert f'dir="{"rtl" if language == "ar" else "ltr"}"' in page
    assert "unsafe" not in response["Content-Security-Policy"]
    for forbidden in (" style=", "<style", " onclick=", "javascript:"):
        assert forbidden not in page


# ---------------------------------------------------------------- the second step


def _code(user: User) -> str:
    """Return the code that the authenticator app shows now."""
    kept = Authenticator.objects.get(user=user, type="totp").data["secret"]
    counter = next(iter(yield_hotp_counters_from_time()))
    return format_hotp_value(hotp_value(crypto.decrypt(kept), counter))


def _log_in(client: Client, user: User):
    return client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})


def test_the_password_alone_is_not_enough(secured: User) -> None:
    client = Client()
    assert _log_in(client, secured)["Location"] == "/accounts/2fa/authenticate/"
    page = client.get("/accounts/2fa/authenticate/").content.decode()
    assert "css/public.css" in page
    assert client.get("/dashboard/").status_code == 302
    assert client.post("/accounts/2fa/authenticate/", {"code": "000000"}).status_code == 200
    assert client.post("/accounts/2fa/authenticate/", {"code": _code(secured)}).status_code == 302
    assert client.get("/accounts/profile/").status_code == 200


def test_a_recovery_code_works_once(secured: User) -> None:
    codes = Authenticator.objects.get(user=secured, type="recovery_codes").wrap()
    code = codes.get_unused_codes()[0]
    for expected in (200, 302):
        client = Client()
        _log_in(client, secured)
        client.post("/accounts/2fa/authenticate/", {"code": code})
        assert client.get("/accounts/profile/").status_code == expected


def test_a_changed_password_is_notified_by_mail(secured: User, mailoutbox: list) -> None:
    new = "another-long-and-odd-one"
    data = {"oldpassword": PASSWORD, "password1": new, "password2": new}
    _client(secured).post("/accounts/password/change/", data)
    secured.refresh_from_db()
    assert secured.check_password(new)
    assert [message.to for message in mailoutbox] == [[secured.email]]
    assert "127.0.0.1" in mailoutbox[0].body


def test_other_sessions_are_ended(secured: User) -> None:
    Authenticator.objects.filter(user=secured).delete()
    here, there = Client(), Client()
    for client in (here, there):
        _log_in(client, secured)
    page = here.get("/accounts/sessions/").content.decode()
    assert "This one" in page
    here.post("/accounts/sessions/")
    assert here.get("/accounts/profile/").status_code == 200
    assert there.get("/accounts/profile/").status_code == 302


def test_guessing_a_password_is_stopped(secured: User) -> None:
    client = Client()
    for _ in range(5):
        client.post("/accounts/login/", {"login": secured.email, "password": "wrong-wrong"})
    page = _log_in(client, secured).content.decode()
    assert "Too many failed" in page
