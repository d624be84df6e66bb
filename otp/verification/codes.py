"""Codes and how they are kept: nothing in the database tells one without the server's key.

A verification has a random seed, and a code that HMAC-SHA256 makes of its id and seed under a key
that only the server has; so the same code can be sent again although it is stored nowhere. What
people type in is compared with another HMAC, under another key, of the id and the right code.

Both keys come from one of FIELD_ENCRYPTION_KEYS by HKDF (RFC 5869). Its short id is kept beside the
seed, so that verifications outlive a new key in front; one whose key is gone can only expire.
"""

import base64
import functools
import hmac
import re
import secrets
import uuid
from dataclasses import dataclass
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

SEED_OCTETS = 16
MIN_LENGTH, MAX_LENGTH = 4, 8
"""In digits."""
_KEY_OCTETS, _ID_OCTETS = 32, 4

_DIGITS = str.maketrans("٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹", "01234567890123456789", " -\u200e\u200f\u00a0")
_BETWEEN = r"[ \-\u200e\u200f\u00a0]*"
TYPED_PATTERN = f"^{_BETWEEN}(?:[0-9٠-٩۰-۹]{_BETWEEN}){{{MIN_LENGTH},{MAX_LENGTH}}}$"
"""What `typed` takes, for schemas."""
_CODE = re.compile(rf"[0-9]{{{MIN_LENGTH},{MAX_LENGTH}}}")


class KeyLost(Exception):
    """The key that a verification was made with is not among FIELD_ENCRYPTION_KEYS any more."""


@dataclass(frozen=True, slots=True)
class Secret:
    """What is stored in the place of a code."""

    seed: bytes
    key_id: str
    digest: bytes


class _Keys(NamedTuple):
    id: str
    code: bytes
    check: bytes


@functools.cache
def _keys(master: str) -> _Keys:
    derived = HKDF(
        hashes.SHA256(),
        length=2 * _KEY_OCTETS + _ID_OCTETS,
        salt=None,
        info=b"imissive one-time passwords, 1",
    ).derive(base64.urlsafe_b64decode(master))
    code, check, id = (
        derived[:_KEY_OCTETS],
        derived[_KEY_OCTETS : 2 * _KEY_OCTETS],
        derived[2 * _KEY_OCTETS :],
    )
    return _Keys(id.hex(), code, check)


def _keys_of(key_id: str) -> _Keys:
    for master in settings.FIELD_ENCRYPTION_KEYS:
        keys = _keys(master)
        if keys.id == key_id:
            return keys
    raise KeyLost


def typed(text: str) -> str:
    """The code that somebody typed: in Arabic digits too, with spaces or dashes between them.

    Raises ValueError for what can be no code.
    """
    code = text.translate(_DIGITS)
    if not _CODE.fullmatch(code):
        raise ValueError(f"must be {MIN_LENGTH} to {MAX_LENGTH} digits")
    return code


def make(verification_id: uuid.UUID, length: int) -> tuple[str, Secret]:
    """A new code of `length` decimal digits for a verification, and what to store of it."""
    keys = _keys(settings.FIELD_ENCRYPTION_KEYS[0])
    seed = secrets.token_bytes(SEED_OCTETS)
    code = _code(keys, verification_id, seed, length)
    return code, Secret(seed, keys.id, _digest(keys, verification_id, code))


def code_of(verification_id: uuid.UUID, length: int, secret: Secret) -> str:
    """The code again, to send it again. Raises KeyLost."""
    return _code(_keys_of(secret.key_id), verification_id, secret.seed, length)


def matches(verification_id: uuid.UUID, secret: Secret, code: str) -> bool:
    """Whether that is the code, told in a time that does not depend on it. Raises KeyLost."""
    keys = _keys_of(secret.key_id)
    return hmac.compare_digest(_digest(keys, verification_id, code), secret.digest)


def _code(keys: _Keys, verification_id: uuid.UUID, seed: bytes, length: int) -> str:
    # 256 bits modulo 10^8 at most: no digit is likelier than another by more than 10^-69.
    number = int.from_bytes(hmac.digest(keys.code, verification_id.bytes + seed, "sha256"), "big")
    return f"{number % 10**length:0{length}d}"


def _digest(keys: _Keys, verification_id: uuid.UUID, code: str) -> bytes:
    return hmac.digest(keys.check, verification_id.bytes + code.encode(), "sha256")
