"""Encryption at rest for secrets that must be read again: carrier passwords, webhook secrets."""

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
def _box(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt_bytes(plain: bytes) -> bytes:
    """Encrypt with the first of FIELD_ENCRYPTION_KEYS (Fernet: AES-128-CBC with HMAC-SHA256)."""
    return _box(tuple(settings.FIELD_ENCRYPTION_KEYS)).encrypt(plain)


def decrypt_bytes(token: bytes) -> bytes:
    """Decrypt with whichever key fits. Raises cryptography.fernet.InvalidToken if none does."""
    return _box(tuple(settings.FIELD_ENCRYPTION_KEYS)).decrypt(token)


def encrypt(text: str) -> str:
    """`encrypt_bytes` of text, as text."""
    return encrypt_bytes(text.encode()).decode()


def decrypt(token: str) -> str:
    """`decrypt_bytes` of what `encrypt` gave."""
    return decrypt_bytes(token.encode()).decode()


class EncryptedTextField(_TextField):
    """Text that is ciphertext in the database and plain on the model. It cannot be searched."""

    def get_prep_value(self, value: str | None) -> str | None:
        return value if not value else encrypt(value)

    def from_db_value(
        self, value: str | None, expression: Expression, connection: BaseDatabaseWrapper
    ) -> str | None:
        return value if not value else decrypt(value)
