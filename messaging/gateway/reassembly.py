"""Reassembly of concatenated messages (UDH, SAR) from parts that arrive one by one.

The parts may arrive in any order, over any bind of their account. Their reference, their addresses
and the number of parts identify the text. If a different part is stored under the same number, the
sender has reused the reference: over the same bind, it has abandoned the earlier text; over another
bind, both texts continue, and further parts of that bind belong to the new one.

Each part gets its response as soon as it is stored. The first one charges for the whole text; with
the last one that is refunded, and the message is accepted like any other. An incomplete text is
refunded when it expires.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction

from accounts.credits import ledger
from accounts.models import LedgerEntry
from imissive.core import ids
from imissive.core.sql import server_cursor
from messaging.gateway.submit_parser import Part
from messaging.states import Status

STEP: Final = 1000
INCOMPLETE: Final = "INCOMPLETE"
_HELD, _BACK, _INCOMPLETE = "held for its parts", "all parts came", "parts are missing"


@dataclass(slots=True)
class Assembly:
    """A text being reassembled; its row is locked until the end of the transaction."""

    id: UUID
    key: bytes
    total: int
    is_new: bool
    held: int
    bind: UUID | None


_LOCK = """
INSERT INTO messaging_smppassembly AS a (id, account_id, key, total, held, expires_at, bind)
SELECT new.id, %(account)s, new.key, new.total, 0, now() + %(kept)s * interval '1 second', new.bind
  FROM unnest(%(id)b::uuid[], %(key)b::bytea[], %(total)b::int[], %(bind)b::uuid[])
       AS new(id, key, total, bind)
 ORDER BY new.key
    ON CONFLICT (account_id, key) DO UPDATE SET total = a.total
RETURNING id, key, total, xmax = 0, held, bind
"""


def lock(account_id: UUID, parts: Sequence[tuple[Part, UUID | None]]) -> dict[bytes, Assembly]:
    """Lock the assemblies of those parts, created if missing; return them by key.

    Each part comes with its bind. Locking in the order of the keys avoids deadlocks.
    """
    totals = {part.key: part.total for part, _ in parts}
    binds = {part.key: bind for part, bind in reversed(parts)}
    if not totals:
        return {}
    with server_cursor() as cursor:
        cursor.execute(
            _LOCK,
            {
                "account": account_id,
                "kept": settings.SMPP_PARTS_TIMEOUT,
                "id": [ids.new_uuid() for _ in totals],
                "key": list(totals),
                "total": list(totals.values()),
                "bind": [binds[key] for key in totals],
            },
        )
        assemblies = [Assembly(row[0], bytes(row[1]), *row[2:]) for row in cursor.fetchall()]
        return {assembly.key: assembly for assembly in assemblies}


def existing(account_id: UUID, keys: Iterable[bytes]) -> set[bytes]:
    """Return those of the keys that have an assembly."""
    with server_cursor() as cursor:
        cursor.execute(
            "SELECT key FROM messaging_smppassembly WHERE account_id = %s"
            " AND key = ANY(%b::bytea[])",
            [account_id, list(keys)],
        )
        return {bytes(row[0]) for row in cursor.fetchall()}


def stored_parts(assembly_ids: Sequence[UUID]) -> dict[tuple[UUID, int], bytes]:
    """Return the digests of the stored parts' octets, by assembly and part number."""
    if not assembly_ids:
        return {}
    with server_cursor() as cursor:
        cursor.execute(
            "SELECT assembly_id, number, sha256(content) FROM messaging_smppsubmit"
            " WHERE assembly_id = ANY(%b::uuid[])",
            [list(assembly_ids)],
        )
        return {(row[0], row[1]): bytes(row[2]) for row in cursor.fetchall()}


def reserve(organization_id: UUID, assembly: Assembly, price: int) -> bool:
    """Charge the whole text's price; return False if the balance does not cover it."""
    if price <= 0:
        return True
    charge = LedgerEntry.Kind.CHARGE
    posting = ledger.Posting(organization_id, charge, -price, assembly.id, _HELD)
    try:
        with transaction.atomic():
            ledger.post([posting])
    except ledger.InsufficientCredits:
        return False
    with server_cursor() as cursor:
        cursor.execute(
            "UPDATE messaging_smppassembly SET held = %s WHERE id = %s", [price, assembly.id]
        )
    assembly.held = price
    return True


def refund(organization_id: UUID, assemblies: Sequence[Assembly]) -> None:
    """Refund the reserved prices of complete texts, whose messages are charged instead."""
    kind = LedgerEntry.Kind.REFUND
    ledger.post(
        [
            ledger.Posting(organization_id, kind, assembly.held, assembly.id, _BACK)
            for assembly in assemblies
            if assembly.held
        ]
    )


_COMPLETE = """
SELECT s.assembly_id, array_agg(s.id ORDER BY s.number), array_agg(s.content ORDER BY s.number)
  FROM messaging_smppsubmit s JOIN messaging_smppassembly a ON a.id = s.assembly_id
 WHERE a.id = ANY(%s::uuid[]) GROUP BY s.assembly_id, a.total HAVING count(*) = a.total
"""


def complete(assembly_ids: Sequence[UUID]) -> dict[UUID, tuple[list[UUID], list[bytes]]]:
    """Return the ids and octets of the parts, in order, of those assemblies that have all parts."""
    if not assembly_ids:
        return {}
    with server_cursor() as cursor:
        cursor.execute(_COMPLETE, [list(assembly_ids)])
        return {row[0]: (row[1], [bytes(part) for part in row[2]]) for row in cursor.fetchall()}


def join(message_id: UUID, part_ids: Sequence[UUID]) -> None:
    """Link the parts to their message, and delete their octets, which are not needed any more."""
    with server_cursor() as cursor:
        cursor.execute(
            "UPDATE messaging_smppsubmit SET message_id = %s, content = '', assembly_id = NULL"
            " WHERE id = ANY(%s::uuid[])",
            [message_id, list(part_ids)],
        )


def remove(assembly_ids: Sequence[UUID]) -> None:
    """Remove assemblies that are complete, or were refused with their first part."""
    with server_cursor() as cursor:
        cursor.execute(
            "DELETE FROM messaging_smppassembly WHERE id = ANY(%s::uuid[])", [list(assembly_ids)]
        )


_DROP_PARTS = """
WITH dropped AS (
    UPDATE messaging_smppsubmit SET assembly_id = NULL, content = '', fingerprint = NULL
     WHERE assembly_id = ANY(%(id)b::uuid[]) AND NOT id = ANY(%(but)b::uuid[])
    RETURNING id, account_id, registered_delivery
)
INSERT INTO messaging_smppreceipt
       (account_id, submit_id, status, error_code, at, due_at, expires_at, attempts)
SELECT d.account_id, d.id, %(status)s::text, %(code)s, now(), now(),
       now() + a.receipt_hours * interval '1 hour', 0
  FROM dropped d JOIN messaging_smppaccount a ON a.id = d.account_id
 WHERE smpp_wants_receipt(d.registered_delivery, %(status)s::text)
"""


def drop(assembly_ids: Sequence[UUID], status: Status, code: str, but: Sequence[UUID] = ()) -> None:
    """Drop incomplete texts: their parts, except `but`, get this status and its receipts."""
    with server_cursor() as cursor:
        cursor.execute(
            _DROP_PARTS,
            {"id": list(assembly_ids), "but": list(but), "status": str(status), "code": code},
        )
    remove(assembly_ids)


_EXPIRED = """
SELECT s.id, a.organization_id, s.held FROM messaging_smppassembly s
  JOIN messaging_smppaccount a ON a.id = s.account_id
 WHERE {which} ORDER BY s.key LIMIT %(limit)s FOR UPDATE OF s SKIP LOCKED
"""


def expire(limit: int = STEP) -> int:
    """Drop the texts whose parts did not arrive in time; return their number."""
    return _abandon("s.expires_at <= now()", {"limit": limit}, Status.EXPIRED)


def cancel(assembly_id: UUID) -> bool:
    """Drop a text that its customer cancels; return False if it is already complete."""
    which = "s.id = %(id)s"
    return _abandon(which, {"limit": 1, "id": assembly_id}, Status.CANCELED) == 1


def supersede(assembly_id: UUID) -> None:
    """Drop a text whose sender has reused the reference for another one."""
    _abandon("s.id = %(id)s", {"limit": 1, "id": assembly_id}, Status.EXPIRED)


def _abandon(which: str, parameters: dict[str, Any], status: Status) -> int:
    with transaction.atomic():
        with server_cursor() as cursor:
            cursor.execute(_EXPIRED.format(which=which), parameters)
            rows: list[tuple[UUID, UUID, int]] = cursor.fetchall()
        drop([row[0] for row in rows], status, INCOMPLETE)
        kind = LedgerEntry.Kind.REFUND
        ledger.post(
            [ledger.Posting(row[1], kind, row[2], row[0], _INCOMPLETE) for row in rows if row[2]]
        )
    return len(rows)
