"""Failed logins lock an account for the address that they come from, and for no other."""

import itertools
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core.cache import cache
from django.test import Client

from accounts.models import User
from tests.support.people import PLAIN_STATIC, person

PASSWORD = "a-long-and-odd-one"
MOST = 5
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _plain(settings: Any) -> None:
    settings.STORAGES = PLAIN_STATIC
    cache.clear()


@pytest.fixture
def user(db: None) -> User:
    found = person()
    found.set_password(PASSWORD)
    found.save()
    EmailAddress.objects.create(user=found, email=found.email, verified=True, primary=True)
    return found


def gets_in(user: User, password: str, address: str, *, host: str = "testserver") -> bool:
    client = Client(headers={"Host": host}, REMOTE_ADDR=address)
    fields = {"login": user.email, "password": password}
    return client.post("/accounts/login/", fields).status_code == 302


def new_address() -> str:
    return f"203.0.113.{next(_numbers)}"


def test_the_owner_gets_in_while_a_stranger_is_locked_out(user: User) -> None:
    stranger = new_address()
    for _ in range(MOST):
        assert not gets_in(user, "wrong", stranger)
    assert not gets_in(user, PASSWORD, stranger), "locked out, with the right one too"
    assert gets_in(user, PASSWORD, new_address())


def test_another_host_or_another_address_of_the_subnet_does_not_start_anew(
    user: User, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    for number in range(MOST):
        gets_in(user, "wrong", f"2001:db8:7::{number + 1}", host=f"host{number}.example")
    assert not gets_in(user, PASSWORD, "2001:db8:7::99", host="another.example")
    assert gets_in(user, PASSWORD, "2001:db8:8::1")


def test_other_accounts_are_not_locked_from_there(user: User) -> None:
    address = new_address()
    for _ in range(MOST):
        gets_in(user, "wrong", address)
    other = person()
    other.set_password(PASSWORD)
    other.save()
    EmailAddress.objects.create(user=other, email=other.email, verified=True, primary=True)
    assert gets_in(other, PASSWORD, address)
