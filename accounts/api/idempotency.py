"""`Idempotency-Key`: one POST takes effect once, however often and however concurrently it comes.

The record is written in the transaction of the effect itself. So there is no moment at which a
crash leaves the one without the other: either both are there and the answer is given again, or
neither is and the call is made as if for the first time.

A refused call changes nothing, whatever its handler wrote before it refused, and leaves no record:
the same key may be used again once the cause is mended. The answers are kept encrypted, as some
hold a secret that is shown once.
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
"""How long a call waits for another one with its key, and how often it looks."""
PURGE_AFTER = KEPT + timedelta(minutes=1)
"""Later than `KEPT`, so that no record goes between being found and being read."""
PURGE_STEP = 5_000

# A customer who repeats calls faster than they are done must not hold every thread of the process.
_waiting = threading.BoundedSemaphore(max(1, settings.WEB_THREADS // 2))


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as it is kept: its status and its JSON."""

    status: int
    body: bytes


def check_key(key: str) -> None:
    """Raises ApiError INVALID_REQUEST for what cannot be an idempotency key."""
    if not key or len(key) > MAX_KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise ApiError(CallReason.INVALID_IDEMPOTENCY_KEY, "Idempotency-Key", most=MAX_KEY_LENGTH)


def fingerprint(method: str, path: str, body: bytes) -> bytes:
    """SHA-256 of a request. The order of a JSON object's fields makes no difference."""
    # What is no JSON, or nested too deeply to be written again, is refused later with the reason.
    with contextlib.suppress(orjson.JSONDecodeError, orjson.JSONEncodeError):
        body = orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(f"{method} {path}\n".encode() + body).digest()


# The advisory lock is held to the end of the transaction, so that two calls with one key run one
# after the other; whoever does not get it asks again, and waits with no snapshot taken.
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


def once(
    api_key_id: UUID, key: str, fingerprint: bytes, work: Callable[[], Answer]
) -> tuple[Answer, bool]:
    """Do the work, or give the answer that it gave before; the second value is whether so.

    `work` runs inside a transaction; it refuses by an exception, which rolls that back. Raises
    ApiError: IDEMPOTENCY_MISMATCH where the key was used for another request,
    IDEMPOTENCY_IN_PROGRESS where that one still runs.
    """
    with transaction.atomic():
        record_id = _claim(api_key_id, key, fingerprint)
        if record_id is None:
            return _answer_of(api_key_id, key, fingerprint), True
        answer = work()
        with server_cursor() as cursor:
            cursor.execute(
                "UPDATE accounts_idempotencyrecord SET status = %s, body = %b WHERE id = %s",
                [answer.status, _sealed(answer.body), record_id],
            )
    return answer, False


def _claim(api_key_id: UUID, key: str, fingerprint: bytes) -> int | None:
    """The id of the new record, or None where there is one already.

    Waits a while for another call with the key; raises ApiError IDEMPOTENCY_IN_PROGRESS after it,
    or at once where too many wait in this process.
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
    """Whether no other call with the key runs, and the id of the new record if there was none."""
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


def _answer_of(api_key_id: UUID, key: str, fingerprint: bytes) -> Answer:
    with server_cursor() as cursor:
        cursor.execute(
            "SELECT fingerprint, status, body FROM accounts_idempotencyrecord"
            " WHERE api_key_id = %s AND key = %s",
            [api_key_id, key],
        )
        known, status, body = cursor.fetchone()
    if bytes(known) != fingerprint:
        raise ApiError(CallReason.IDEMPOTENCY_MISMATCH, "Idempotency-Key")
    return Answer(status, _opened(body))


def _sealed(body: bytes) -> bytes:
    return crypto.encrypt_bytes(zlib.compress(body, 1))


def _opened(sealed: bytes) -> bytes:
    return zlib.decompress(crypto.decrypt_bytes(bytes(sealed)))


def purge(limit: int = PURGE_STEP) -> int:
    """Forget a batch of the records whose time is over; how many those were."""
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
