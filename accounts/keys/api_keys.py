"""API keys: create, hash, rotate, revoke, and restrict by IP allow-list, with audit log entries."""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from accounts.audit import trail
from accounts.keys import ip_allow_list
from accounts.keys.reasons import KeyReason
from accounts.models import ApiKey, Organization, User
from imissive.core import clock
from imissive.core.errors import ApiError

_RANDOM_BYTES = 32
OVERLAP = timedelta(hours=24)
LONGEST_OVERLAP = timedelta(days=30)


def digest(secret: str) -> bytes:
    """Return the SHA-256 of a key's secret.

    The secret holds 256 random bits, so a slow hash would not protect it any better.
    """
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
    """Create a key; return it with its secret, `imk_live_…` or `imk_test_…`.

    The secret cannot be read again. `allowed` is the IP allow-list: addresses and networks in CIDR,
    empty for no restriction. `address` is the IP address of `created_by`; a key that a person
    created is recorded in the audit log. Raises ApiError INVALID_REQUEST for a wrong allow-list.
    """
    key, secret = _create(
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
        _audit("apikey.added", key, created_by, address, **detail, expires_at=_iso(expires_at))
    return key, secret


def _create(*, test: bool, **fields: Any) -> tuple[ApiKey, str]:
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
    """Replace the key by a new one; return that with its secret. Both work during the overlap.

    The new key has the same name, scopes, IP allow-list and mode, and the same lifetime as the old
    one was given. The old key expires after the overlap, but never later than it would have anyway;
    `key` is refreshed from the database. A key can be rotated only once.

    Raises ApiError: INVALID_REQUEST for an overlap below zero or above LONGEST_OVERLAP; CONFLICT
    where the key is expired, revoked or rotated already.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise ApiError(KeyReason.OVERLAP_TOO_LONG, "overlap", days=LONGEST_OVERLAP.days)
    # The lock makes the second of two concurrent rotations find the first one's new key.
    old = ApiKey.objects.select_for_update(no_key=True).get(pk=key.pk)
    now = clock.now()
    if old.revoked_at is not None or (old.expires_at is not None and old.expires_at <= now):
        raise ApiError(KeyReason.KEY_OVER)
    if old.replaced_by.exists():
        raise ApiError(KeyReason.KEY_ROTATED)
    new, secret = _create(
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
    detail = {"new": new.public_id, "old_expires_at": _iso(old.expires_at)}
    _audit("apikey.rotated", old, actor, address, **detail)
    key.refresh_from_db()
    return new, secret


@transaction.atomic
def restrict_key(
    key: ApiKey, allowed: Iterable[str], *, actor: User | None = None, address: str | None = None
) -> None:
    """Set the key's IP allow-list; an empty one removes the restriction.

    Raises ApiError: INVALID_REQUEST, which names the invalid entries; CONFLICT for a revoked key.
    """
    networks = _clean(allowed)
    locked = ApiKey.objects.select_for_update(no_key=True).get(pk=key.pk)
    if locked.revoked_at is not None:
        raise ApiError(KeyReason.KEY_REVOKED)
    if locked.networks != networks:
        before, locked.networks = locked.networks, networks
        locked.save(update_fields=["networks"])
        _audit("apikey.restricted", locked, actor, address, networks=[before, networks])
    key.refresh_from_db()


@transaction.atomic
def revoke_key(key: ApiKey, *, actor: User | None = None, address: str | None = None) -> None:
    """Revoke the key immediately. Revoking it again changes nothing."""
    working = ApiKey.objects.filter(pk=key.pk, revoked_at=None)
    if working.update(revoked_at=clock.now()):
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


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
