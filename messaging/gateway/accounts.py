"""SMPP accounts: made, given passwords, checked."""

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
    """Eight random letters and digits: 47 bits, behind a slow hash and a lockout."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(PASSWORD_LENGTH))


def create_account(
    organization: Organization, system_id: str, *, name: str = "", test: bool = False
) -> tuple[SmppAccount, str]:
    """A new account and its password, which cannot be read again."""
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
    """A new password; the one before stays good for `overlap` beside it. Binds stay up."""
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
    """Checks passwords by the slow hash, and remembers for a while which were right.

    What is remembered is a keyed digest; the key lives and dies with the process. Many binds of an
    account that come back at once so cost one slow hash and not one each.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._right: dict[UUID, tuple[bytes, float]] = {}
        self._nobody = make_password(secrets.token_hex(8))

    def verify(self, account: SmppAccount | None, password: str) -> bool:
        """Return whether it is the account's password.

        A wrong one costs two slow hashes, whether there is such an account or not and whether its
        password was rotated lately or not.
        """
        if account is None or not account.password_hash or len(password) > _LONGEST_PASSWORD:
            for _ in range(2):
                check_password(password[:_LONGEST_PASSWORD], self._nobody)
            return False
        rotated = account.previous_hash and _lies_ahead(account.previous_until)
        for encoded in (account.password_hash, account.previous_hash if rotated else self._nobody):
            mark = hmac.digest(self._key, f"{encoded}\0{password}".encode(), hashlib.sha256)
            known = self._right.get(account.id)
            if known and time.monotonic() < known[1] and hmac.compare_digest(known[0], mark):
                return True
            if check_password(password, encoded):
                self._right[account.id] = mark, time.monotonic() + VERIFIED_SECONDS
                return True
        return False


def _lies_ahead(moment: datetime | None) -> bool:
    return moment is not None and moment > clock.now()
