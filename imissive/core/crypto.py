"""Encryption at rest of secrets that must be read again: carrier passwords, webhook secrets."""

import functools
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Expression

if TYPE_CHECKING:
    _TextField = models.TextField[str, str]
else:
    _TextField = models.TextField


@functools.cache
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt_bytes(plain: bytes) -> bytes:
    """Encrypt with the first of FIELD_ENCRYPTION_KEYS (Fernet: AES-128-CBC with HMAC-SHA256)."""
    return _cipher(tuple(settings.FIELD_ENCRYPTION_KEYS)).encrypt(plain)


def decrypt_bytes(token: bytes) -> bytes:
    """Decrypt with whichever of FIELD_ENCRYPTION_KEYS fits.

    Raises cryptography.fernet.InvalidToken if none does.
    """
    return _cipher(tuple(settings.FIELD_ENCRYPTION_KEYS)).decrypt(token)


def encrypt(text: str) -> str:
    """Encrypt text by `encrypt_bytes`; return the token as text."""
    return encrypt_bytes(text.encode()).decode()


def decrypt(token: str) -> str:
    """Decrypt a token that `encrypt` returned. Raises like `decrypt_bytes`."""
    return decrypt_bytes(token.encode()).decode()


class EncryptedTextField(_TextField):
    """A text field that is encrypted in the database and plain on the model.

    It cannot be searched. An empty text is stored as it is.
    """

    def get_prep_value(self, value: str | None) -> str | None:
        return value if not value else encrypt(value)

    def from_db_value(
        self, value: str | None, expression: Expression, connection: BaseDatabaseWrapper
    ) -> str | None:
        return value if not value else decrypt(value)
