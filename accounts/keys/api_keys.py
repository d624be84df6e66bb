"""API keys: made, read back from a request, restricted, rotated, revoked; people's acts audited."""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.audit import trail
from accounts.keys import ip_allow_list
from accounts.keys.reasons import KeyReason
from accounts.models import ApiKey, Organization, User
from imissive.core.errors import ApiError

_RANDOM_BYTES = 32
OVERLAP = timedelta(hours=24)
LONGEST_OVERLAP = timedelta(days=30)


def digest(secret: str) -> bytes:
    """SHA-256 of a key. The key is 256 random bits, so no slow hash is needed to protect it."""
    return hashlib.sha256(secret.encode()).digest()


@transaction.atomic
def create_key(
    organization: Organization,
    name: str,
    *,
    test: bool,
    scopes: Iterable[str] = (),
    allowed: Iterable[str] = (),
    expires_at: datetime | None = None,
    created_by: User | None = None,
    address: str | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its secret, `imk_live_…` or `imk_test_…`. The secret cannot be read again.

    `allowed`: addresses and networks that it may be used from; none means everywhere. `address`:
    where `created_by` sits; a key that a person made is audited. Raises ApiError INVALID_REQUEST.
    """
    key, secret = _make(
        organization=organization,
        name=name,
        test=test,
        scopes=list(scopes),
        networks=_clean(allowed),
        expires_at=expires_at,
        created_by=created_by,
    )
    if created_by is not None:
        detail = {"test": test, "scopes": key.scopes, "networks": key.networks}
        _audit("apikey.added", key, created_by, address, **detail, expires_at=_told(expires_at))
    return key, secret


def _make(*, test: bool, **fields: Any) -> tuple[ApiKey, str]:
    random = secrets.token_bytes(_RANDOM_BYTES).hex()
    secret = f"imk_{'test' if test else 'live'}_{random}"
    key = ApiKey.objects.create(
        test=test, digest=digest(secret), hint=f"{secret[:13]}…{secret[-4:]}", **fields
    )
    return key, secret


@transaction.atomic
def rotate_key(
    key: ApiKey,
    overlap: timedelta = OVERLAP,
    *,
    actor: User | None = None,
    address: str | None = None,
) -> tuple[ApiKey, str]:
    """A new key in the place of this one, and its secret; both work until the overlap is over.

    The new one has the same name, scopes, networks and kind, and as long a life as the old one was
    given. The old one expires after the overlap, never later than it would have; `key` is
    refreshed. A key is rotated once: what is on its way out leads to no third one. Raises ApiError:
    INVALID_REQUEST for an overlap below zero or above LONGEST_OVERLAP; CONFLICT where the key does
    not work any more, or was rotated already.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise ApiError(KeyReason.OVERLAP_TOO_LONG, "overlap", days=LONGEST_OVERLAP.days)
    # Of two at once, the second finds the first one's successor.
    old = ApiKey.objects.select_for_update(no_key=True).get(pk=key.pk)
    now = timezone.now()
    if old.revoked_at is not None or (old.expires_at is not None and old.expires_at <= now):
        raise ApiError(KeyReason.KEY_OVER)
    if old.replaced_by.exists():
        raise ApiError(KeyReason.KEY_ROTATED)
    new, secret = _make(
        organization=old.organization,
        name=old.name,
        test=old.test,
        scopes=old.scopes,
        networks=old.networks,
        expires_at=now + (old.expires_at - old.created_at) if old.expires_at else None,
        created_by=actor,
        replaces=old,
    )
    ends = now + overlap
    old.expires_at = min(old.expires_at or ends, ends)
    old.save(update_fields=["expires_at"])
    detail = {"new": new.public_id, "old_expires_at": _told(old.expires_at)}
    _audit("apikey.rotated", old, actor, address, **detail)
    key.refresh_from_db()
    return new, secret


@transaction.atomic
def restrict_key(
    key: ApiKey, allowed: Iterable[str], *, actor: User | None = None, address: str | None = None
) -> None:
    """Have the key work from those addresses and networks only; from everywhere if there is none.

    Raises ApiError: INVALID_REQUEST that names what is no network; CONFLICT for a revoked key.
    """
    wanted = _clean(allowed)
    locked = ApiKey.objects.select_for_update(no_key=True).get(pk=key.pk)
    if locked.revoked_at is not None:
        raise ApiError(KeyReason.KEY_REVOKED)
    if locked.networks != wanted:
        before, locked.networks = locked.networks, wanted
        locked.save(update_fields=["networks"])
        _audit("apikey.restricted", locked, actor, address, networks=[before, wanted])
    key.refresh_from_db()


@transaction.atomic
def revoke_key(key: ApiKey, *, actor: User | None = None, address: str | None = None) -> None:
    """Refuse the key from now on. Revoking again changes nothing."""
    working = ApiKey.objects.filter(pk=key.pk, revoked_at=None)
    if working.update(revoked_at=timezone.now()):
        _audit("apikey.revoked", key, actor, address)
    key.refresh_from_db()


def _clean(allowed: Iterable[str]) -> list[str]:
    try:
        return ip_allow_list.clean(allowed)
    except ip_allow_list.NotAList as error:
        raise ApiError.of(error.problem) from None


def _audit(
    action: str, key: ApiKey, actor: User | None, address: str | None, **detail: object
) -> None:
    trail.record(
        action,
        actor=actor,
        organization=key.organization,
        target=str(key),
        detail={"id": key.public_id} | detail,
        address=address,
    )


def _told(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
