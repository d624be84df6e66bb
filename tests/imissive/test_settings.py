"""Settings: each wrong value is refused with its name, and the documentation lists them all."""

import base64
import re
import secrets
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from pydantic_core import PydanticUndefined

from imissive.env import Env, read_env
from imissive.run.programs import ROOT

# Fixed: it is part of the names of tests, which each test process must find alike.
KEY = "2ve8sSN5u_HRoFY04nXMAZJnlLm5FSZrHfOhAlrxm8s="
GOOD = {
    "SECRET_KEY": secrets.token_urlsafe(50),
    "FIELD_ENCRYPTION_KEYS": KEY,
    "DATABASE_URL": "postgresql://user:password@host/name",
    "REDIS_URL": "redis://host",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Set the required variables and no others."""
    for name in Env.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "0"),
        ("SMPP_PORT", "65536"),
        ("SIMULATOR_PORT", "-1"),
        ("DATABASE_URL", "mysql://host/name"),
        ("REDIS_URL", "host:6379"),
        ("BROKER_URL", "kafka://host"),
        ("SECRET_KEY", "short"),
        ("FIELD_ENCRYPTION_KEYS", "not a key"),
        ("FIELD_ENCRYPTION_KEYS", f"{KEY},not a key"),
        ("FIELD_ENCRYPTION_KEYS", ","),
        ("PUBLIC_URL", "example.com"),
        ("DEBUG", "perhaps"),
        ("WEBHOOK_ALLOW_LOOPBACK", "2"),
        ("WEBHOOK_TIMEOUT", "0"),
        ("LOG_LEVEL", "loud"),
        ("WEB_WORKERS", "none"),
        ("WEB_THREADS", "0"),
        ("CARRIER_LEASE", "1"),
        ("TRUSTED_PROXIES", "-1"),
        ("BULK_MAX_MESSAGES", "10001"),
    ],
)
def test_wrong_value_is_refused_with_its_name(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(ImproperlyConfigured) as refusal:
        read_env()
    assert re.match(rf"{name}[:.]", str(refusal.value))
    assert "\n" not in str(refusal.value)
    if name in ("SECRET_KEY", "FIELD_ENCRYPTION_KEYS", "DATABASE_URL") and len(value) > 1:
        assert value not in str(refusal.value), "a secret is not repeated"


def _key(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode()


WEAK = [
    ("SECRET_KEY", "s" * 50),
    ("SECRET_KEY", "0123456789" * 6),
    ("SECRET_KEY", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    ("SECRET_KEY", "django-insecure-" + "k3!x9$QpL0vZ7@mW2#nR5^tY8&uJ4*hG6(d)s"),
    ("SECRET_KEY", "please-change-me-" + "k3!x9$QpL0vZ7@mW2#nR5^tY8&uJ4*hG6"),
    ("SECRET_KEY", "correcthorsebattery" * 3),
    ("FIELD_ENCRYPTION_KEYS", "A" * 43 + "="),
    ("FIELD_ENCRYPTION_KEYS", _key(bytes(range(32)))),
    ("FIELD_ENCRYPTION_KEYS", _key(b"\x01\xff\x80\x03" * 8)),
    ("FIELD_ENCRYPTION_KEYS", _key(b"this is my own passphrase, 32 by")),
    ("FIELD_ENCRYPTION_KEYS", f"{KEY},{'A' * 43}="),
    ("METRICS_TOKEN", "metrics"),
    ("METRICS_TOKEN", "prometheus-password-2026"),
    ("METRICS_TOKEN", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
]


@pytest.mark.parametrize(("name", "value"), WEAK)
def test_a_secret_that_can_be_guessed_is_refused(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(ImproperlyConfigured, match=f"^{name}: ") as refusal:
        read_env()
    assert value not in str(refusal.value)


def test_random_secrets_are_taken(environment: pytest.MonkeyPatch) -> None:
    for _ in range(300):
        environment.setenv("SECRET_KEY", secrets.token_urlsafe(50))
        environment.setenv("FIELD_ENCRYPTION_KEYS", Fernet.generate_key().decode())
        environment.setenv("METRICS_TOKEN", secrets.token_hex(16))
        read_env()


PRODUCTION = {
    "HTTPS": "1",
    "PUBLIC_URL": "https://sms.example.com",
    "ALLOWED_HOSTS": "sms.example.com",
}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DEBUG", "1", "DEBUG=1"),
        ("WEBHOOK_ALLOW_LOOPBACK", "1", "WEBHOOK_ALLOW_LOOPBACK=1"),
        ("ALLOWED_HOSTS", "*", "ALLOWED_HOSTS=*"),
        ("ALLOWED_HOSTS", "sms.example.com,*", "ALLOWED_HOSTS=*"),
        ("PUBLIC_URL", "http://sms.example.com", "PUBLIC_URL without https://"),
        ("PUBLIC_URL", "", "PUBLIC_URL without https://"),
    ],
)
def test_production_refuses_what_is_for_development(
    environment: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    for known, good in PRODUCTION.items():
        environment.setenv(known, good)
    assert read_env().https
    environment.setenv(name, value)
    with pytest.raises(ImproperlyConfigured, match=re.escape(told)) as refusal:
        read_env()
    assert str(refusal.value).startswith("HTTPS: ")
    environment.setenv("HTTPS", "0")
    assert not read_env().https


@pytest.mark.parametrize("name", GOOD)
def test_missing_value_is_named(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.delenv(name)
    with pytest.raises(ImproperlyConfigured, match=f"{name}: Field required"):
        read_env()


def test_every_wrong_value_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PORT", "x")
    environment.setenv("LOG_LEVEL", "y")
    with pytest.raises(ImproperlyConfigured, match=r"PORT: .*; LOG_LEVEL: "):
        read_env()


def test_runtime_env_fills_in_what_the_environment_lacks(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.delenv("REDIS_URL")
    (tmp_path / "runtime.env").write_text(
        "REDIS_URL=redis://made-by-make-run\nDATABASE_URL=postgresql://made-by-make-run/x\n"
    )
    env = read_env()
    assert env.redis_url == "redis://made-by-make-run"
    assert env.database_url == GOOD["DATABASE_URL"], "the environment goes first"


def test_lists_are_split_at_commas(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALLOWED_HOSTS", "sms.example.com, 10.0.0.1")
    assert read_env().allowed_hosts == ["sms.example.com", "10.0.0.1"]


def test_empty_value_means_the_default(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PORT", "")
    assert read_env().port == 8000


def documented() -> dict[str, tuple[str, str]]:
    """Return each setting's default and description from the table in docs/operating.md."""
    text = (ROOT / "docs" / "operating.md").read_text()
    section = text.partition("## Settings")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| (.*) \|$", section, re.M)
    return {name: (default, meaning) for name, default, meaning in rows}


def shown(default: Any) -> str:
    """Return a default as the table writes it."""
    if default is PydanticUndefined:
        return "needed"
    if default is None or default == "":
        return "—"
    if isinstance(default, bool):
        return f"`{int(default)}`"
    if isinstance(default, list):
        return f"`{','.join(default)}`"
    return f"`{default}`"


def test_documentation_lists_every_setting_as_it_is() -> None:
    actual = {
        name.upper(): (shown(field.default), field.description)
        for name, field in Env.model_fields.items()
    }
    assert documented() == actual
