"""Secrets at rest are ciphertext in the database, and their keys can be rotated."""

import pytest
from cryptography.fernet import Fernet, InvalidToken
from django.db import connection

from imissive.core import crypto
from messaging.models import Carrier
from webhooks.models import Endpoint

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))


def stored(column: str, table: str) -> str:
    """Return the stored value of a column in the table's only row."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {table}")
        [(value,)] = cursor.fetchall()
    return str(value)


def row_text(table: str) -> str:
    return stored("row_to_json(t)::text", f"{table} t")


def test_encrypted_text_can_be_decrypted(settings):
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    for text in ("hunter2", "", "سرّ", "a" * 10_000):
        token = crypto.encrypt(text)
        assert crypto.decrypt(token) == text
        assert not text or text not in token


def test_the_same_text_is_never_the_same_ciphertext(settings):
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    assert crypto.encrypt("hunter2") != crypto.encrypt("hunter2")


def test_after_a_rotation_old_tokens_are_read_and_the_new_key_encrypts(settings):
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    old_token = crypto.encrypt("hunter2")
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    assert crypto.decrypt(old_token) == "hunter2"
    new_token = crypto.encrypt("hunter3")
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    assert crypto.decrypt(new_token) == "hunter3"
    with pytest.raises(InvalidToken):
        crypto.decrypt(old_token)


def test_tokens_are_not_decrypted_without_their_key_or_after_tampering(settings):
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    token = crypto.encrypt("hunter2")
    for wrong in (token[:-8] + "AAAAAAA=", "", "hunter2"):
        with pytest.raises(InvalidToken):
            crypto.decrypt(wrong)
    settings.FIELD_ENCRYPTION_KEYS = [OTHER]
    with pytest.raises(InvalidToken):
        crypto.decrypt(token)


def test_a_carriers_password_is_plain_on_the_model_only(world):
    carrier = world.carrier(password="hunter2")
    assert "hunter2" not in row_text("messaging_carrier")
    assert crypto.decrypt(stored("password", "messaging_carrier")) == "hunter2"
    assert Carrier.objects.get(id=carrier.id).password == "hunter2"
    assert Carrier.objects.values_list("password", flat=True).get() == "hunter2"


def test_an_endpoints_secrets_are_plain_on_the_model_only(world):
    endpoint = world.endpoint(world.customer())
    Endpoint.objects.filter(id=endpoint.id).update(previous_secret="whsec_before")
    text = row_text("webhooks_endpoint")
    assert endpoint.secret not in text
    assert "whsec" not in text
    endpoint.refresh_from_db()
    assert (endpoint.secret, endpoint.previous_secret) == ("whsec_c2VjcmV0", "whsec_before")


def test_an_empty_secret_stays_empty(world):
    carrier = world.carrier(password="")
    assert stored("password", "messaging_carrier") == ""
    assert Carrier.objects.get(id=carrier.id).password == ""


def test_rows_written_before_a_rotation_are_read_after_it_and_renewed_by_saving(world, settings):
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    carrier = world.carrier(password="hunter2")
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    carrier = Carrier.objects.get(id=carrier.id)
    assert carrier.password == "hunter2"
    carrier.save()
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    assert Carrier.objects.get(id=carrier.id).password == "hunter2"
