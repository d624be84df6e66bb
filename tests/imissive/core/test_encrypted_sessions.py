"""Sessions: what the table holds tells nothing, and what is not encrypted is not a session."""

import base64
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore as DjangoStore
from django.contrib.sessions.models import Session
from django.test import Client

from imissive.core.encrypted_sessions import SessionStore
from tests.support.people import PLAIN_STATIC, person

SECRET = "a-token-that-nobody-may-read"


def stored(session: Any) -> str:
    return Session.objects.get(pk=session.session_key).session_data


def saved(**values: Any) -> SessionStore:
    session = SessionStore()
    session.update(values)
    session.save()
    return session


def test_the_settings_name_this_store() -> None:
    assert settings.SESSION_ENGINE == "imissive.core.encrypted_sessions"


def test_the_table_does_not_hold_what_the_session_has(db: None) -> None:
    session = saved(token=SECRET, more={"list": [1, "é"]})
    for spelling in (SECRET, base64.b64encode(SECRET.encode()).decode()[:20]):
        assert spelling not in stored(session)
    again = SessionStore(session.session_key)
    assert (again["token"], again["more"]) == (SECRET, {"list": [1, "é"]})


def test_a_second_factor_that_is_being_added_is_not_readable(db: None, settings: Any) -> None:
    settings.STORAGES = PLAIN_STATIC
    client = Client()
    client.force_login(person())
    session = client.session
    session["mfa.totp.secret"] = SECRET
    session.save()
    assert SECRET not in stored(session)
    assert client.get("/accounts/email/").status_code in {200, 302}


def test_a_session_that_was_not_encrypted_is_empty(db: None) -> None:
    session = saved()
    plain = DjangoStore().encode({"_auth_user_id": "1"})
    Session.objects.filter(pk=session.session_key).update(session_data=plain)
    assert dict(SessionStore(session.session_key).items()) == {}


def test_keys_are_rotated_without_logging_anybody_out(
    db: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = saved(token=SECRET)
    old = settings.FIELD_ENCRYPTION_KEYS
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *old]
    assert SessionStore(session.session_key)["token"] == SECRET
    settings.FIELD_ENCRYPTION_KEYS = settings.FIELD_ENCRYPTION_KEYS[:1]
    assert dict(SessionStore(session.session_key).items()) == {}
