"""Idempotency of POST requests with an `Idempotency-Key`, also under concurrency and crashes.

The record of the response is written in the same transaction as the effect. A crash therefore never
leaves one without the other: either both exist and the response is replayed, or neither exists and
the request runs as if for the first time.

A refused request is rolled back, including what its handler wrote before it refused, and leaves no
record: the same key may be used again once the cause is fixed. Responses are stored encrypted,
because some contain a secret that is shown only once.
"""

import contextlib
import hashlib
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import orjson
from django.conf import settings
from django.db import transaction

from accounts.api.reasons import CallReason
from imissive.core import crypto
from imissive.core.errors import ApiError
from imissive.core.sql import server_cursor

KEPT = timedelta(hours=24)
MAX_KEY_LENGTH = 255
WAIT_SECONDS, POLL_SECONDS = 2.0, 0.02
"""Seconds that a request waits for a concurrent one with its key, and between its checks."""
PURGE_AFTER = KEPT + timedelta(minutes=1)
"""Longer than `KEPT`, so that no record is deleted between being found and being read."""
PURGE_STEP = 5_000

# A customer who repeats requests faster than they complete must not occupy every thread of the
# process.
_waiting = threading.BoundedSemaphore(max(1, settings.WEB_THREADS // 2))


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """An HTTP response as stored for replay: its status code and its JSON body."""

    status: int
    body: bytes


def check_key(key: str) -> None:
    """Raise ApiError INVALID_REQUEST where `key` is not a valid idempotency key.

    A key has 1 to MAX_KEY_LENGTH printable ASCII characters.
    """
    if not key or len(key) > MAX_KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise ApiError(CallReason.INVALID_IDEMPOTENCY_KEY, "Idempotency-Key", most=MAX_KEY_LENGTH)


def fingerprint(method: str, path: str, body: bytes) -> bytes:
    """Return the SHA-256 of a request; the order of fields in JSON objects does not matter."""
    # A body that is not JSON, or nested too deeply to be serialized, is refused by the handler.
    with contextlib.suppress(orjson.JSONDecodeError, orjson.JSONEncodeError):
        body = orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(f"{method} {path}\n".encode() + body).digest()


# The advisory lock is held until the end of the transaction, so two requests with one key run one
# after the other. The loser retries the statement instead of blocking in it, so that it waits
# without a snapshot.
_CLAIM = """
WITH locked AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(%(lock)s) AS got),
claimed AS (
    INSERT INTO accounts_idempotencyrecord AS record
           (api_key_id, key, fingerprint, status, body, created_at)
    SELECT %(api_key)s, %(key)s, %(fingerprint)s, 0, '', now() FROM locked WHERE got
    ON CONFLICT (api_key_id, key) DO UPDATE
       SET fingerprint = EXCLUDED.fingerprint, status = 0, body = '', created_at = now()
     WHERE record.created_at < now() - %(kept)s * interval '1 second'
    RETURNING record.id
)
SELECT got, (SELECT id FROM claimed) FROM locked
"""


def run_once(
    api_key_id: UUID, key: str, fingerprint: bytes, work: Callable[[], StoredResponse]
) -> tuple[StoredResponse, bool]:
    """Run `work` unless the key was used before; return the response and whether it is a replay.

    `work` runs inside a transaction; it refuses by raising, which rolls the transaction back.
    Raises ApiError: IDEMPOTENCY_MISMATCH where the key was used for another request,
    IDEMPOTENCY_IN_PROGRESS where that request is still running.
    """
    with transaction.atomic():
        record_id = _claim(api_key_id, key, fingerprint)
        if record_id is None:
            return _stored_response(api_key_id, key, fingerprint), True
        response = work()
        with server_cursor() as cursor:
            cursor.execute(
                "UPDATE accounts_idempotencyrecord SET status = %s, body = %b WHERE id = %s",
                [response.status, _encrypted(response.body), record_id],
            )
    return response, False


def _claim(api_key_id: UUID, key: str, fingerprint: bytes) -> int | None:
    """Return the id of a new record, or None where the key has a record already.

    Waits up to WAIT_SECONDS for a concurrent request with the key. Raises ApiError
    IDEMPOTENCY_IN_PROGRESS after that, or immediately where too many requests wait in this process.
    """
    got, record_id = _try_to_claim(api_key_id, key, fingerprint)
    if not got and _waiting.acquire(blocking=False):
        try:
            until = time.monotonic() + WAIT_SECONDS
            while not got and time.monotonic() < until:
                time.sleep(POLL_SECONDS)
                got, record_id = _try_to_claim(api_key_id, key, fingerprint)
        finally:
            _waiting.release()
    if not got:
        raise ApiError(CallReason.IDEMPOTENCY_IN_PROGRESS, headers={"Retry-After": "1"})
    return record_id


def _try_to_claim(api_key_id: UUID, key: str, fingerprint: bytes) -> tuple[bool, int | None]:
    """Return whether the key's lock was acquired, and a new record's id, None if one exists."""
    lock = hashlib.sha256(api_key_id.bytes + key.encode()).digest()[:8]
    with server_cursor() as cursor:
        cursor.execute(
            _CLAIM,
            {
                "lock": int.from_bytes(lock, "big", signed=True),
                "api_key": api_key_id,
                "key": key,
                "fingerprint": fingerprint,
                "kept": KEPT.total_seconds(),
            },
        )
        got, record_id = cursor.fetchone()
    return got, record_id


def _stored_response(api_key_id: UUID, key: str, fingerprint: bytes) -> StoredResponse:
    with server_cursor() as cursor:
        cursor.execute(
            "SELECT fingerprint, status, body FROM accounts_idempotencyrecord"
            " WHERE api_key_id = %s AND key = %s",
            [api_key_id, key],
        )
        known, status, body = cursor.fetchone()
    if bytes(known) != fingerprint:
        raise ApiError(CallReason.IDEMPOTENCY_MISMATCH, "Idempotency-Key")
    return StoredResponse(status, _decrypted(body))


def _encrypted(body: bytes) -> bytes:
    return crypto.encrypt_bytes(zlib.compress(body, 1))


def _decrypted(encrypted: bytes) -> bytes:
    return zlib.decompress(crypto.decrypt_bytes(bytes(encrypted)))


def purge(limit: int = PURGE_STEP) -> int:
    """Delete up to `limit` expired records; return their number."""
    with server_cursor() as cursor:
        cursor.execute(
            "DELETE FROM accounts_idempotencyrecord WHERE id IN ("
            " SELECT id FROM accounts_idempotencyrecord"
            " WHERE created_at < now() - %s * interval '1 second'"
            " ORDER BY created_at LIMIT %s FOR UPDATE SKIP LOCKED)",
            [PURGE_AFTER.total_seconds(), limit],
        )
        purged: int = cursor.rowcount
    return purged
