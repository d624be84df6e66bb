"""The queue of pending delivery receipts in the database: claimed, acknowledged, or retried later.

A claimed receipt has the lease of its server process. It is sent again only if its bind or process
was lost before the customer's response was committed.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction

from imissive.core import clock, ids
from imissive.core.sql import server_cursor
from messaging.gateway.formatting import DueReceipt, error_of
from messaging.gateway.submit_parser import Address
from messaging.models.smpp_accounts import SmppServer

STEP: Final = 1000
COUNTED_AT_MOST: Final = 10_000
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 5, 300
KNOWN_FOR: Final = timedelta(days=30)
"""The time that a message can be queried by the id of its submit_sm_resp."""
ONCE_FOR: Final = timedelta(hours=24)
"""The time that a repeated submit is recognized by its user_message_reference."""

_CLAIM = """
WITH due AS MATERIALIZED (
    SELECT id FROM messaging_smppreceipt
     WHERE account_id = %(account)s AND lease IS NULL AND due_at <= now() AND expires_at > now()
     ORDER BY due_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE messaging_smppreceipt r SET lease = %(server)s, attempts = r.attempts + 1
      FROM due WHERE r.id = due.id
    RETURNING r.id, r.submit_id, r.status, r.error_code, r.at, r.attempts
)
SELECT c.id, COALESCE(s.shown_id, s.id), c.status, c.error_code,
       COALESCE((SELECT p.error_code FROM messaging_messagepart p
                  WHERE p.message_id = s.message_id AND p.error_code <> '' AND c.error_code <> ''
                  ORDER BY p.number LIMIT 1), ''),
       c.at, m.created_at, left(COALESCE(NULLIF(m.masked_text, ''), m.text, ''), 20),
       s.source_ton, s.source_npi, s.source_addr, s.dest_ton, s.dest_npi, s.dest_addr, s.reference,
       c.attempts
  FROM claimed c JOIN messaging_smppsubmit s ON s.id = c.submit_id
  LEFT JOIN messaging_message m ON m.id = s.message_id
 ORDER BY c.id
"""


def claim(server_id: UUID, account_id: UUID, limit: int) -> list[DueReceipt]:
    """Claim up to `limit` due receipts of the account, oldest first."""
    if limit <= 0:
        return []
    with server_cursor() as cursor:
        cursor.execute(_CLAIM, {"account": account_id, "server": server_id, "limit": limit})
        return [_due_receipt(row) for row in cursor.fetchall()]


def _due_receipt(row: Any) -> DueReceipt:
    return DueReceipt(
        id=row[0],
        submit_id=row[1],
        status=row[2],
        error_code=row[3],
        error=error_of(row[3], row[4]),
        at=row[5],
        submitted_at=row[6] or ids.time_of(row[1]),
        text=row[7],
        source=Address(*row[8:11]),
        destination=Address(*row[11:14]),
        reference=row[14],
        attempts=row[15],
    )


def settle(server_id: UUID, done: Sequence[int], again: Sequence[tuple[int, int]]) -> None:
    """Delete acknowledged receipts and queue others `again`: (id, seconds until due)."""
    with transaction.atomic(), server_cursor() as cursor:
        if done:
            cursor.execute(
                "DELETE FROM messaging_smppreceipt WHERE id = ANY(%s::bigint[])", [list(done)]
            )
        if again:
            cursor.execute(
                "UPDATE messaging_smppreceipt r SET lease = NULL,"
                " due_at = now() + new.seconds * interval '1 second'"
                " FROM unnest(%b::bigint[], %b::int[]) AS new(id, seconds)"
                " WHERE r.id = new.id AND r.lease = %s",
                [[row[0] for row in again], [row[1] for row in again], server_id],
            )


def retry_seconds(attempts: int) -> int:
    """Return the delay of a refused receipt: five seconds, doubling up to five minutes."""
    return min(FIRST_RETRY_SECONDS << min(attempts - 1, 10), LONGEST_RETRY_SECONDS)


def due(account_ids: Sequence[UUID]) -> set[UUID]:
    """Return those of the accounts that have due receipts."""
    with server_cursor() as cursor:
        cursor.execute(
            "SELECT wanted.id FROM unnest(%b::uuid[]) AS wanted(id) CROSS JOIN LATERAL ("
            " SELECT FROM messaging_smppreceipt r WHERE r.account_id = wanted.id"
            " AND r.lease IS NULL AND r.due_at <= now() AND r.expires_at > now() LIMIT 1) AS one",
            [list(account_ids)],
        )
        return {row[0] for row in cursor.fetchall()}


def waiting(account_ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return the number of waiting receipts of each account, up to COUNTED_AT_MOST."""
    with server_cursor() as cursor:
        cursor.execute(
            "SELECT wanted.id, counted.found FROM unnest(%b::uuid[]) AS wanted(id)"
            " CROSS JOIN LATERAL (SELECT count(*) AS found FROM ("
            " SELECT FROM messaging_smppreceipt r WHERE r.account_id = wanted.id"
            " AND r.lease IS NULL LIMIT %s) AS few) AS counted",
            [list(account_ids), COUNTED_AT_MOST],
        )
        return dict(cursor.fetchall())


def reclaim() -> int:
    """Release the receipts claimed by servers that are gone; return their number."""
    with server_cursor() as cursor:
        cursor.execute(
            "UPDATE messaging_smppreceipt SET lease = NULL WHERE lease IS NOT NULL"
            " AND lease NOT IN (SELECT id FROM messaging_smppserver"
            " WHERE seen_at > now() - %s * interval '1 second')",
            [SmppServer.LEASE_SECONDS],
        )
        return int(cursor.rowcount)


def purge(limit: int = STEP) -> int:
    """Delete expired receipts, and submits that are too old for queries."""
    with transaction.atomic(), server_cursor() as cursor:
        cursor.execute(
            "DELETE FROM messaging_smppreceipt WHERE id IN (SELECT id FROM messaging_smppreceipt"
            " WHERE expires_at <= now() AND lease IS NULL LIMIT %s)",
            [limit],
        )
        count = int(cursor.rowcount)
        cursor.execute(
            "UPDATE messaging_smppsubmit SET fingerprint = NULL WHERE id IN ("
            " SELECT id FROM messaging_smppsubmit WHERE fingerprint IS NOT NULL AND id < %s"
            " ORDER BY id LIMIT %s)",
            [ids.first_id_at(clock.now() - ONCE_FOR), limit],
        )
        count = max(count, int(cursor.rowcount))
        cursor.execute(
            "DELETE FROM messaging_smppsubmit s WHERE s.id IN ("
            " SELECT old.id FROM messaging_smppsubmit old WHERE old.id < %s AND NOT EXISTS ("
            " SELECT FROM messaging_smppreceipt r WHERE r.submit_id = old.id)"
            " ORDER BY old.id LIMIT %s)",
            [ids.first_id_at(clock.now() - KNOWN_FOR), limit],
        )
        return max(count, int(cursor.rowcount))
