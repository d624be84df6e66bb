"""Users for the tests of pages: members in each role, operators, and logged-in clients."""

import itertools

from django.conf import settings
from django.test import Client

from accounts.models import Member, Organization, User
from accounts.roles import Role

_numbers = itertools.count(1)

# Files from the source tree: a test needs no manifest of collectstatic.
PLAIN_STATIC = {
    **settings.STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}


def person(*, is_staff: bool = False, is_superuser: bool = False) -> User:
    """Create a user without a password and without an organization."""
    email = f"person{next(_numbers)}@example.com"
    return User.objects.create_user(email, is_staff=is_staff, is_superuser=is_superuser)


def member(organization: Organization, role: Role = Role.OWNER) -> User:
    """Create a user with that role in the organization."""
    user = person()
    Member.objects.create(organization=organization, user=user, role=role)
    return user


def operator() -> User:
    """Create an operator with all permissions in the admin."""
    return person(is_staff=True, is_superuser=True)


def browser(user: User | None) -> Client:
    """Return a client that is logged in as that user, or anonymous for None."""
    client = Client()
    if user is not None:
        client.force_login(user)
    return client
