"""A reader's own test key for the examples: made on request, kept in the session, gone in a day.

Keys are stored hashed and shown once, so one that exists cannot be filled in. The guide makes one
of its own instead: a test key, which reaches only the simulator and is never charged. Its secret is
kept in the reader's session, encrypted, and nowhere else.
"""

import re
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cryptography.fernet import InvalidToken
from django.http import HttpRequest
from django.utils import timezone

from accounts.keys.api_keys import create_key, revoke_key
from accounts.models import ApiKey, Member, Organization, User
from accounts.roles import Action, Role, may
from imissive.core import crypto
from imissive.core.api.requests import client_address
from messaging.models import SenderId

NAME = "Documentation"
LIFETIME = timedelta(hours=24)
_SESSION = "guide_key"
_ROLES = [role for role in Role if may(role, Action.MANAGE_KEYS)]


@dataclass(frozen=True, slots=True)
class ReaderKey:
    """The key that a reader's examples are filled in with."""

    key: ApiKey
    secret: str


def organizations(user: User) -> list[Organization]:
    """Those for which the user may make keys, oldest membership first."""
    mine = Member.objects.filter(user=user, role__in=_ROLES).order_by("created_at")
    return [member.organization for member in mine.select_related("organization")]


def current(request: HttpRequest, user: User) -> ReaderKey | None:
    """The key of this session, or None where there is none that the user may still use."""
    kept: dict[str, Any] | None = request.session.get(_SESSION)
    if kept is None:
        return None
    found = _usable(user, uuid.UUID(kept["id"]))
    secret = _opened(kept["secret"])
    if found is None or secret is None:
        del request.session[_SESSION]
        return None
    return ReaderKey(found, secret)


_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*")


def plain_sender(organization: Organization) -> str | None:
    """An approved sender ID to fill in, the default one rather than another.

    Only one that reads the same in every language of the examples, without quoting.
    """
    approved = SenderId.objects.filter(
        organization=organization, status=SenderId.Status.APPROVED
    ).order_by("-is_default", "name")
    names = approved.values_list("name", flat=True)
    return next((name for name in names if _PLAIN.fullmatch(name)), None)


def make(request: HttpRequest, user: User, organization: Organization) -> None:
    """A test key for the examples, in the place of the session's former one. It is audited.

    The caller has made sure that the user may make keys for the organization.
    """
    drop(request, user)
    key, secret = create_key(
        organization,
        NAME,
        test=True,
        expires_at=timezone.now() + LIFETIME,
        created_by=user,
        address=client_address(request),
    )
    request.session[_SESSION] = {"id": str(key.id), "secret": crypto.encrypt(secret)}


def drop(request: HttpRequest, user: User) -> None:
    """Revoke the session's key and forget it. Without one nothing happens."""
    kept = current(request, user)
    if kept is None:
        return
    revoke_key(kept.key, actor=user, address=client_address(request))
    del request.session[_SESSION]


def _usable(user: User, key_id: uuid.UUID) -> ApiKey | None:
    found = ApiKey.objects.select_related("organization").filter(
        id=key_id,
        test=True,
        revoked_at=None,
        expires_at__gt=timezone.now(),
        organization__memberships__in=Member.objects.filter(user=user, role__in=_ROLES),
    )
    return found.first()


def _opened(secret: str) -> str | None:
    try:
        return crypto.decrypt(secret)
    except InvalidToken:  # the encryption key was replaced meanwhile
        return None
