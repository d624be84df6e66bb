"""API keys: made, read back from a request, revoked."""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from accounts.models import ApiKey, Organization, User

_RANDOM_BYTES = 32


def digest(secret: str) -> bytes:
    """SHA-256 of a key. The key is 256 random bits, so no slow hash is needed to protect it."""
    return hashlib.sha256(secret.encode()).digest()


def create_key(
    organization: Organization,
    name: str,
    *,
    test: bool,
    scopes: Iterable[str] = (),
    expires_at: datetime | None = None,
    created_by: User | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its secret, `imk_live_…` or `imk_test_…`. The secret cannot be read again."""
    random = secrets.token_bytes(_RANDOM_BYTES).hex()
    secret = f"imk_{'test' if test else 'live'}_{random}"
    key = ApiKey.objects.create(
        organization=organization,
        name=name,
        test=test,
        digest=digest(secret),
        hint=f"{secret[:13]}…{secret[-4:]}",
        scopes=list(scopes),
        expires_at=expires_at,
        created_by=created_by,
    )
    return key, secret


@transaction.atomic
def revoke_key(key: ApiKey) -> None:
    """Refuse the key from now on. Revoking again changes nothing."""
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())
    key.refresh_from_db()
