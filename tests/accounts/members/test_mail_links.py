"""Links in mails lead to PUBLIC_URL, whatever Host the request that causes them has."""

import re
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.cache import cache
from django.test import Client

from accounts.models import User
from tests.support.people import PLAIN_STATIC, person

PUBLIC, EVIL = "https://sms.example.com", "evil.example"
PASSWORD = "a-long-and-odd-one"


@pytest.fixture(autouse=True)
def _installation(settings: Any) -> None:
    settings.STORAGES = PLAIN_STATIC
    settings.PUBLIC_URL = PUBLIC
    settings.ALLOWED_HOSTS = ["*"]
    cache.clear()


def known() -> User:
    user = person()
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user


def posted(path: str, **fields: str) -> None:
    """Post a form with an attacker's Host, in each spelling in which one may come."""
    client = Client(HTTP_HOST=EVIL, HTTP_X_FORWARDED_HOST=EVIL)
    assert client.post(path, fields).status_code == 302


def sign_up(email: str) -> None:
    posted(
        "/accounts/signup/",
        name="Huda Alqahtani",
        organization="Hala Clinics",
        email=email,
        password1=PASSWORD,
    )


def everything_in(message: Any) -> str:
    html = "".join(str(content) for content, _ in getattr(message, "alternatives", []))
    return f"{message.subject}\n{message.body}\n{html}"


@pytest.mark.parametrize(
    ("cause", "path"),
    [
        (lambda: posted("/accounts/password/reset/", email=known().email), "/accounts/password/"),
        (lambda: sign_up("new@hala.example"), "/accounts/confirm-email/"),
        (lambda: sign_up(known().email), "/accounts/password/reset/"),
        (lambda: posted("/accounts/password/reset/", email="nobody@hala.example"), ""),
    ],
    ids=["password reset", "confirmation", "account exists", "unknown account"],
)
def test_a_mail_has_links_to_the_public_url_only(db: None, cause: Any, path: str) -> None:
    cause()
    [message] = mail.outbox
    text = everything_in(message)
    assert EVIL not in text
    found = re.findall(r"https?://\S+", text)
    assert found
    assert all(url == PUBLIC or url.startswith(f"{PUBLIC}/") for url in found), found
    assert any(url.startswith(PUBLIC + path) for url in found), found


def test_a_link_works_at_the_public_host(db: None) -> None:
    user = known()
    posted("/accounts/password/reset/", email=user.email)
    [message] = mail.outbox
    found = re.search(rf"{PUBLIC}(/accounts/password/reset/key/\S+)", str(message.body))
    assert found
    assert Client().get(found[1], follow=True).status_code == 200
