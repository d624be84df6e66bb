"""SMPP accounts: creating them, rotating and verifying their passwords."""

import hashlib
import hmac
import secrets
import string
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from django.contrib.auth.hashers import check_password, make_password
from django.db import transaction

from accounts.models import Organization
from imissive.core import clock
from messaging.models.smpp_accounts import SmppAccount

if TYPE_CHECKING:
    from uuid import UUID

PASSWORD_LENGTH: Final = 8  # SMPP 3.4, 4.1.1: nine octets with the terminating NUL
_ALPHABET: Final = string.ascii_letters + string.digits
_LONGEST_PASSWORD: Final = 64
VERIFIED_SECONDS: Final = 300.0


def new_password() -> str:
    """Return eight random letters and digits: 47 bits, behind a slow hash and a lockout."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(PASSWORD_LENGTH))


def create_account(
    organization: Organization, system_id: str, *, name: str = "", test: bool = False
) -> tuple[SmppAccount, str]:
    """Return a new account and its password, which cannot be read again."""
    password = new_password()
    account = SmppAccount.objects.create(
        organization=organization,
        system_id=system_id,
        name=name or system_id,
        test=test,
        password_hash=make_password(password),
        password_changed_at=clock.now(),
    )
    return account, password


@transaction.atomic
def rotate_password(account: SmppAccount, overlap: timedelta = timedelta(0)) -> str:
    """Return a new password; the old one stays valid for `overlap`, and binds stay up."""
    locked = SmppAccount.objects.select_for_update().get(pk=account.pk)
    password = new_password()
    now = clock.now()
    if overlap and locked.password_hash:
        locked.previous_hash, locked.previous_until = locked.password_hash, now + overlap
    else:
        locked.previous_hash, locked.previous_until = "", None
    locked.password_hash, locked.password_changed_at = make_password(password), now
    fields = ("password_hash", "previous_hash", "previous_until", "password_changed_at")
    locked.save(update_fields=fields)
    account.refresh_from_db(fields=fields)
    return password


class Verifier:
    """A verifier of passwords by the slow hash, with a short-lived cache of correct ones.

    The cache holds keyed digests, with a key that exists only in this process. So many binds of an
    account that reconnect at once cost one slow hash instead of one each.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._verified: dict[UUID, tuple[bytes, float]] = {}
        self._dummy_hash = make_password(secrets.token_hex(8))

    def verify(self, account: SmppAccount | None, password: str) -> bool:
        """Return whether it is the account's password.

        A wrong one costs two slow hashes, whether there is such an account or not and whether its
        password was rotated lately or not.
        """
        if account is None or not account.password_hash or len(password) > _LONGEST_PASSWORD:
            for _ in range(2):
                check_password(password[:_LONGEST_PASSWORD], self._dummy_hash)
            return False
        rotated = account.previous_hash and _is_future(account.previous_until)
        for encoded in (
            account.password_hash,
            account.previous_hash if rotated else self._dummy_hash,
        ):
            digest = hmac.digest(self._key, f"{encoded}\0{password}".encode(), hashlib.sha256)
            known = self._verified.get(account.id)
            if known and time.monotonic() < known[1] and hmac.compare_digest(known[0], digest):
                return True
            if check_password(password, encoded):
                self._verified[account.id] = digest, time.monotonic() + VERIFIED_SECONDS
                return True
        return False


def _is_future(moment: datetime | None) -> bool:
    return moment is not None and moment > clock.now()
