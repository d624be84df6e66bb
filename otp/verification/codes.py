"""Codes and their storage: the database alone does not reveal a code, without the server's keys.

Each verification has a random seed. Its code is derived with HMAC-SHA256 from its id and the seed,
under a key that only the server has, so the same code can be sent again although it is never
stored. A code that a person types is checked against a second HMAC, under another key, of the id
and the right code.

Both keys are derived from one of FIELD_ENCRYPTION_KEYS by HKDF (RFC 5869). The short id of that key
is stored with the seed, so verifications survive a key rotation; a verification whose key was
removed can only expire.
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

from messaging.numbers.characters import bare

SEED_OCTETS = 16
MIN_LENGTH, MAX_LENGTH = 4, 8
"""In digits."""
_KEY_OCTETS, _ID_OCTETS = 32, 4

MAX_INPUT = 64
"""Characters of a text that may be a code, with all that was pasted along."""
_BETWEEN = (
    r"[\t\n\r \-.()\u00a0\u06d4\u2000-\u200f\u2010-\u2015\u202a-\u202f\u2060\u2066-\u2069\ufeff]*"
)
INPUT_PATTERN = f"^{_BETWEEN}(?:[0-9٠-٩۰-۹０-９]{_BETWEEN}){{{MIN_LENGTH},{MAX_LENGTH}}}$"
"""Regular expression of what people paste, for API schemas; `normalize` also accepts the digits and
invisible characters of other scripts."""
_CODE = re.compile(rf"[0-9]{{{MIN_LENGTH},{MAX_LENGTH}}}")


class KeyLost(Exception):
    """The key of a verification is no longer among FIELD_ENCRYPTION_KEYS."""


@dataclass(frozen=True, slots=True)
class Secret:
    """The data stored instead of a code: seed, id of the key, and HMAC of the code."""

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


def normalize(text: str) -> str:
    """Normalize a typed or pasted code by the rules of phone numbers: any script's digits become
    ASCII digits; blanks, dashes, dots and what nobody sees are removed.

    Raises ValueError where the text cannot be a code.
    """
    code = bare(text) if len(text) <= MAX_INPUT else ""
    if not _CODE.fullmatch(code):
        raise ValueError(f"must be {MIN_LENGTH} to {MAX_LENGTH} digits")
    return code


def create(verification_id: uuid.UUID, length: int) -> tuple[str, Secret]:
    """Create a code of `length` decimal digits; return it with the secret to store."""
    keys = _keys(settings.FIELD_ENCRYPTION_KEYS[0])
    seed = secrets.token_bytes(SEED_OCTETS)
    code = _code(keys, verification_id, seed, length)
    return code, Secret(seed, keys.id, _digest(keys, verification_id, code))


def code_of(verification_id: uuid.UUID, length: int, secret: Secret) -> str:
    """Derive the code again from its secret, to send it again. Raises KeyLost."""
    return _code(_keys_of(secret.key_id), verification_id, secret.seed, length)


def matches(verification_id: uuid.UUID, secret: Secret, code: str) -> bool:
    """Return whether the code is right, compared in constant time. Raises KeyLost."""
    keys = _keys_of(secret.key_id)
    return hmac.compare_digest(_digest(keys, verification_id, code), secret.digest)


def _code(keys: _Keys, verification_id: uuid.UUID, seed: bytes, length: int) -> str:
    # 256 bits modulo at most 10^8: the bias towards any code is below 10^-69.
    number = int.from_bytes(hmac.digest(keys.code, verification_id.bytes + seed, "sha256"), "big")
    return f"{number % 10**length:0{length}d}"


def _digest(keys: _Keys, verification_id: uuid.UUID, code: str) -> bytes:
    return hmac.digest(keys.check, verification_id.bytes + code.encode(), "sha256")
