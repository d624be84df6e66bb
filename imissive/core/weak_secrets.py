"""Detection of guessable secrets: placeholders from documentation, repetitions, keyboard rows.

It does not prove strength: it refuses values that people paste just to make the start pass.
"""

import base64
import itertools
import re
from typing import Final

_PLACEHOLDER: Final = re.compile(
    r"change.?(me|it|this)|example|placeholder|insecure|password|secret|default|your.?key|dummy"
    r"|qwerty|letmein|imissive",
    re.IGNORECASE,
)
_FEWEST_CHARACTERS: Final = 8
"""Distinct characters. 24 random characters almost never have fewer, not even hexadecimal ones."""
_ADVICE: Final = "python3 -c 'import secrets; print(secrets.token_urlsafe(50))'"


def check_text(secret: str, *, shortest: int) -> str:
    """Return a secret of random characters. Raises ValueError for one that can be guessed."""
    if len(secret) < shortest:
        raise ValueError(f"must have {shortest} characters or more: {_ADVICE}")
    if _PLACEHOLDER.search(secret) or _is_regular(secret):
        raise ValueError(f"can be guessed; make a random one: {_ADVICE}")
    return secret


def check_key(key: str) -> str:
    """Return a Fernet key. Raises ValueError for one whose bytes can be guessed."""
    found = base64.urlsafe_b64decode(key)
    # 32 random bytes are almost never all printable; a passphrase is.
    if all(32 <= byte < 127 for byte in found) or _is_regular(found.decode("latin-1")):
        raise ValueError("can be guessed; make a random one, as compose.yaml says at its top")
    return key


def _is_regular(text: str) -> bool:
    """Return whether a text has few distinct characters, repeats itself, or counts up or down."""
    if len(set(text)) < _FEWEST_CHARACTERS:
        return True
    if any(text.startswith(text[period:]) for period in range(1, len(text) // 2 + 1)):
        return True
    steps = [ord(after) - ord(before) for before, after in itertools.pairwise(text)]
    return sum(abs(step) <= 1 for step in steps) > len(steps) / 2
