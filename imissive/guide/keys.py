"""The reader's test key for the guide's examples: created on request, valid for a day.

API keys are stored hashed and shown once, so an existing key cannot be filled in. The guide creates
a test key instead, which reaches only the simulator and is never charged. Its secret is stored
encrypted in the reader's session, and nowhere else.
"""

import re
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cryptography.fernet import InvalidToken
from django.http import HttpRequest

from accounts.keys.api_keys import create_key, revoke_key
from accounts.models import ApiKey, Member, Organization, User
from accounts.roles import Action, Role, may
from imissive.core import clock, crypto
from imissive.core.api.requests import client_address
from messaging.models import SenderId

NAME = "Documentation"
LIFETIME = timedelta(hours=24)
_SESSION_KEY = "guide_key"
_ROLES = [role for role in Role if may(role, Action.MANAGE_KEYS)]


@dataclass(frozen=True, slots=True)
class ReaderKey:
    """The API key that is filled in the reader's examples, with its secret."""

    key: ApiKey
    secret: str


def organizations(user: User) -> list[Organization]:
    """Return the organizations in which the user may create keys, oldest membership first."""
    mine = Member.objects.filter(user=user, role__in=_ROLES).order_by("created_at")
    return [member.organization for member in mine.select_related("organization")]


def current(request: HttpRequest, user: User) -> ReaderKey | None:
    """Return the session's key, or None where it has none that the user may still use.

    A key that is no longer usable is removed from the session.
    """
    stored: dict[str, Any] | None = request.session.get(_SESSION_KEY)
    if stored is None:
        return None
    key = _usable(user, uuid.UUID(stored["id"]))
    secret = _decrypted(stored["secret"])
    if key is None or secret is None:
        del request.session[_SESSION_KEY]
        return None
    return ReaderKey(key, secret)


_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*")


def plain_sender(organization: Organization) -> str | None:
    """Return an approved sender ID to fill in, the default one first, or None.

    It must be a valid literal in every language of the examples, without escaping.
    """
    approved = SenderId.objects.filter(
        organization=organization, status=SenderId.Status.APPROVED
    ).order_by("-is_default", "name")
    names = approved.values_list("name", flat=True)
    return next((name for name in names if _PLAIN.fullmatch(name)), None)


def create(request: HttpRequest, user: User, organization: Organization) -> None:
    """Create a test key for the examples, in place of the session's previous one. It is audited.

    The caller has checked that the user may create keys for the organization.
    """
    revoke(request, user)
    key, secret = create_key(
        organization,
        NAME,
        test=True,
        expires_at=clock.now() + LIFETIME,
        created_by=user,
        address=client_address(request),
    )
    request.session[_SESSION_KEY] = {"id": str(key.id), "secret": crypto.encrypt(secret)}


def revoke(request: HttpRequest, user: User) -> None:
    """Revoke the session's key and remove it from the session; do nothing if there is none."""
    reader_key = current(request, user)
    if reader_key is None:
        return
    revoke_key(reader_key.key, actor=user, address=client_address(request))
    del request.session[_SESSION_KEY]


def _usable(user: User, key_id: uuid.UUID) -> ApiKey | None:
    found = ApiKey.objects.select_related("organization").filter(
        id=key_id,
        test=True,
        revoked_at=None,
        expires_at__gt=clock.now(),
        organization__memberships__in=Member.objects.filter(user=user, role__in=_ROLES),
    )
    return found.first()


def _decrypted(secret: str) -> str | None:
    try:
        return crypto.decrypt(secret)
    except InvalidToken:  # the encryption key was replaced in the meantime
        return None
