"""Sessions in the database, encrypted with FIELD_ENCRYPTION_KEYS.

Django only signs a session's data, so the table would show it to anyone: password reset keys and
TOTP secrets that allauth stores there between two pages, invitations, the guide's test keys.
So all of it is encrypted, and no secret needs protection of its own.
"""

import json
from typing import Any

from cryptography.fernet import InvalidToken
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessionStore

from imissive.core import crypto


class SessionStore(DatabaseSessionStore):
    """Django's sessions in the database, whose data is encrypted JSON.

    Data that cannot be decrypted is an empty session: the person logs in again.
    """

    def encode(self, session_dict: dict[str, Any]) -> str:
        return crypto.encrypt(json.dumps(session_dict, separators=(",", ":")))

    def decode(self, session_data: bytes | str) -> dict[str, Any]:
        token = session_data.encode() if isinstance(session_data, str) else session_data
        try:
            found: dict[str, Any] = json.loads(crypto.decrypt_bytes(token))
        except InvalidToken:
            return {}
        return found
