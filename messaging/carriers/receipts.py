"""Applying of carriers' delivery receipts (DLR, delivery reports) to messages, in batches.

Each receipt has its effect once, in any order of arrival. `receipt_rules` reads them from PDUs, and
`receipt_intake` buffers them until they are stored here.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction

from imissive.core import clock
from imissive.core.sql import server_cursor
from messaging.lifecycle.events import MessageError, message_event
from messaging.lifecycle.record import MessageRecord, columns
from messaging.models.messages import EarlyReceipt
from messaging.states import Status, swap
from webhooks.events import outbox

Reason = EarlyReceipt.Reason
_ENDS = (Status.DELIVERED, Status.FAILED, Status.EXPIRED)

KEEP_EARLY = timedelta(days=3)
"""The time that unused receipts are kept, so that operators can ask the carrier about them."""
EARLY_AT_MOST = timedelta(hours=1)
"""The longest time that a receipt may arrive before its submit is written. An older one belongs to
another message: some carriers reuse their ids."""
_NO_ERROR = MessageError("", "")
_FINISHED = swap(Status.DELIVERED, Status.FAILED, Status.EXPIRED)


@dataclass(frozen=True, slots=True)
class FinalReceipt:
    """A receipt that is final for a part: its carrier's id in normalized form, and its status.

    `code` is the carrier's own word for a failure with its error number, such as `UNDELIV 027`.
    """

    carrier_message_id: str
    status: Status
    code: str = ""


@dataclass(frozen=True, slots=True)
class UnusedReceipt:
    """A receipt without effect, kept for operators and in case its carrier's settings change.

    `status` is the final status that it would set, if known; `word` is the carrier's status word;
    `raw` has its fields as received.
    """

    reason: Reason
    carrier_message_id: str = ""
    status: str = ""
    code: str = ""
    word: str = ""
    raw: str = ""


class _Ending(NamedTuple):
    """The final status of a message or a part; `code` as in FinalReceipt."""

    status: Status
    code: str

    @property
    def error(self) -> MessageError | None:
        """The message's error: the carrier's word, and a sentence."""
        if self.status is Status.DELIVERED:
            return None
        sentence = f"The carrier reported that the message was not delivered ({self.code})."
        if self.status is Status.EXPIRED:
            sentence = "The carrier could not deliver the message within its validity."
        return MessageError(self.code.partition(" ")[0] or str(self.status).upper(), sentence)


def apply(carrier_id: int, batch: Sequence[FinalReceipt | UnusedReceipt]) -> None:
    """Apply receipts in one transaction. Afterwards the carrier may get its response.

    A repeated or late receipt changes nothing. One without a known submit is kept for
    `apply_early`, and an unused one for operators.
    """
    if not batch:
        return
    with transaction.atomic():
        _keep([receipt for receipt in batch if isinstance(receipt, UnusedReceipt)], carrier_id)
        finals = [receipt for receipt in batch if isinstance(receipt, FinalReceipt)]
        endpoints = _apply(carrier_id, finals, keep_unknown=True)
    outbox.wake(endpoints)


def apply_early(carrier_id: int, carrier_message_ids: Sequence[str]) -> frozenset[uuid.UUID]:
    """Apply receipts that arrived before these submits were written, in the caller's transaction.

    Returns the webhook endpoints to wake after the commit.
    """
    wanted = [each for each in carrier_message_ids if each]
    if not wanted:
        return frozenset()
    with server_cursor() as cursor:
        cursor.execute(
            "DELETE FROM messaging_earlyreceipt WHERE carrier_id = %s"
            " AND carrier_message_id = ANY(%s) AND reason = 'unmatched'"
            " RETURNING id, carrier_message_id, status, error_code,"
            " received_at > now() - %s * interval '1 second'",
            [carrier_id, wanted, EARLY_AT_MOST.total_seconds()],
        )
        rows = sorted(row for row in cursor.fetchall() if row[4])
    early = [FinalReceipt(row[1], Status(row[2]), row[3]) for row in rows]
    return _apply(carrier_id, early, keep_unknown=False) if early else frozenset()


def match_waiting(limit: int = 1000) -> int:
    """Apply kept receipts whose submit was committed concurrently; return their number.

    Each of the two transactions may have read before the other was committed, so the sweep reads
    once more.
    """
    with server_cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT r.carrier_id, r.carrier_message_id FROM messaging_earlyreceipt r"
            " JOIN messaging_messagepart p USING (carrier_id, carrier_message_id)"
            " WHERE r.reason = 'unmatched' LIMIT %s",
            [limit],
        )
        found: dict[int, list[str]] = {}
        for carrier_id, carrier_message_id in cursor.fetchall():
            found.setdefault(carrier_id, []).append(carrier_message_id)
    for carrier_id, carrier_message_ids in found.items():
        with transaction.atomic():
            endpoints = apply_early(carrier_id, carrier_message_ids)
        outbox.wake(endpoints)
    return sum(map(len, found.values()))


# Kept receipts that their carrier's current settings allow, with the status that they set.
_NOW_USED = """
WITH used AS MATERIALIZED (
    SELECT r.id, r.carrier_id, r.carrier_message_id, r.error_code,
           CASE r.reason WHEN 'unknown_word' THEN c.receipt_words ->> r.word
                ELSE r.status END AS status
      FROM messaging_earlyreceipt r JOIN messaging_carrier c ON c.id = r.carrier_id
     WHERE r.reason <> 'unmatched'
       AND CASE r.reason WHEN 'unknown_word' THEN c.receipt_words ? r.word
                WHEN 'unmarked' THEN c.receipts_unmarked
                WHEN 'data_sm' THEN c.receipts_by_data_sm
                WHEN 'contradiction' THEN c.receipt_text_first
                ELSE false END
     ORDER BY r.id LIMIT %s FOR UPDATE OF r SKIP LOCKED
)
DELETE FROM messaging_earlyreceipt r USING used WHERE r.id = used.id
RETURNING used.id, used.carrier_id, used.carrier_message_id, used.status, used.error_code
"""


def use_kept(limit: int = 1000) -> int:
    """Apply kept receipts that their carriers' settings now allow; return their number."""
    with transaction.atomic():
        with server_cursor() as cursor:
            cursor.execute(_NOW_USED, [limit])
            rows = sorted(cursor.fetchall())
        found: dict[int, list[FinalReceipt]] = {}
        for _id, carrier_id, carrier_message_id, status, code in rows:
            batch = found.setdefault(carrier_id, [])
            if status in _ENDS:  # any other word leaves a part on its way
                code = "" if status == Status.DELIVERED else code
                batch.append(FinalReceipt(carrier_message_id, Status(status), code))
        endpoints: frozenset[uuid.UUID] = frozenset()
        for carrier_id, batch in sorted(found.items()):
            endpoints |= _apply(carrier_id, batch, keep_unknown=True)
    outbox.wake(endpoints)
    return len(rows)


def forget_early(limit: int = 1000) -> int:
    """Delete kept receipts that were never used; return their number.

    It reads only the oldest, which have the smallest ids, so it needs no index.
    """
    with server_cursor() as cursor:
        cursor.execute(
            "WITH oldest AS MATERIALIZED ("
            " SELECT id, received_at FROM messaging_earlyreceipt"
            " ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)"
            " DELETE FROM messaging_earlyreceipt r USING oldest"
            " WHERE r.id = oldest.id AND oldest.received_at < now() - %s * interval '1 second'",
            [limit, KEEP_EARLY.total_seconds()],
        )
        deleted: int = cursor.rowcount
    return deleted


def _apply(
    carrier_id: int, batch: Sequence[FinalReceipt], *, keep_unknown: bool
) -> frozenset[uuid.UUID]:
    # The first final receipt for an id is the one that counts.
    first: dict[str, FinalReceipt] = {}
    for receipt in batch:
        first.setdefault(receipt.carrier_message_id, receipt)
    known = _known_parts(carrier_id, first)
    if keep_unknown:
        unmatched = [receipt for key, receipt in first.items() if key not in known]
        _keep([_as_unmatched(receipt) for receipt in unmatched], carrier_id)
    open_parts = [(part, first[key]) for key, part in known.items() if part.status == Status.SENT]
    if not open_parts:
        return frozenset()
    messages = _lock_messages({part.message_id for part, _ in open_parts})
    _end_parts(open_parts)
    return _end_messages(messages, open_parts)


@dataclass(frozen=True, slots=True)
class _Part:
    id: int
    message_id: uuid.UUID
    status: str


def _known_parts(carrier_id: int, wanted: Iterable[str]) -> dict[str, _Part]:
    """Return parts by the carrier's id; of an id that the carrier reused, the latest part."""
    with server_cursor() as cursor:
        cursor.execute(
            "SELECT carrier_message_id, id, message_id, status FROM messaging_messagepart"
            " WHERE carrier_id = %s AND carrier_message_id = ANY(%s) ORDER BY id",
            [carrier_id, list(wanted)],
        )
        return {row[0]: _Part(row[1], row[2], row[3]) for row in cursor.fetchall()}


def _as_unmatched(receipt: FinalReceipt) -> UnusedReceipt:
    return UnusedReceipt(
        Reason.UNMATCHED, receipt.carrier_message_id, str(receipt.status), receipt.code
    )


def _keep(unused: Sequence[UnusedReceipt], carrier_id: int) -> None:
    if not unused:
        return
    with server_cursor() as cursor:
        cursor.execute(
            "INSERT INTO messaging_earlyreceipt"
            " (carrier_id, reason, carrier_message_id, status, error_code, word, raw)"
            " SELECT %s, * FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[],"
            " %b::text[], %b::text[])",
            [
                carrier_id,
                [str(receipt.reason) for receipt in unused],
                [receipt.carrier_message_id for receipt in unused],
                [receipt.status for receipt in unused],
                [receipt.code for receipt in unused],
                [receipt.word for receipt in unused],
                [receipt.raw for receipt in unused],
            ],
        )


def _lock_messages(message_ids: set[uuid.UUID]) -> dict[uuid.UUID, MessageRecord]:
    with server_cursor() as cursor:
        cursor.execute(
            f"SELECT {columns('m')} FROM messaging_message m"  # noqa: S608
            " WHERE m.id = ANY(%s) ORDER BY m.id FOR UPDATE",
            [list(message_ids)],
        )
        records = [MessageRecord(*row) for row in cursor.fetchall()]
    return {record.id: record for record in records}


def _end_parts(open_parts: Sequence[tuple[_Part, FinalReceipt]]) -> None:
    with server_cursor() as cursor:
        cursor.execute(
            """
            UPDATE messaging_messagepart p
               SET status = new.status, error_code = new.error_code, final_at = now()
              FROM unnest(%b::bigint[], %b::text[], %b::text[]) AS new(id, status, error_code)
             WHERE p.id = new.id AND p.status = 'sent'
            """,
            [
                [part.id for part, _ in open_parts],
                [str(receipt.status) for _, receipt in open_parts],
                [receipt.code for _, receipt in open_parts],
            ],
        )


def settle(message_ids: Sequence[uuid.UUID]) -> frozenset[uuid.UUID]:
    """Complete the messages whose parts are all final, in the caller's transaction.

    It is for messages that were submitted again: receipts that arrived while they were queued
    ended only their parts. Returns the webhook endpoints to wake after the commit.
    """
    if not message_ids:
        return frozenset()
    messages = _lock_messages(set(message_ids))
    return _finish(messages, _endings_of_several(messages, list(messages)))


def _end_messages(
    messages: dict[uuid.UUID, MessageRecord],
    open_parts: Sequence[tuple[_Part, FinalReceipt]],
) -> frozenset[uuid.UUID]:
    """Set the final status of each message whose parts are now all final."""
    endings: dict[uuid.UUID, _Ending] = {}
    several = []
    for part, receipt in open_parts:
        if messages[part.message_id].parts == 1:
            endings[part.message_id] = _Ending(receipt.status, receipt.code)
        else:
            several.append(part.message_id)
    endings |= _endings_of_several(messages, several)
    return _finish(messages, endings)


def _finish(
    messages: dict[uuid.UUID, MessageRecord], endings: dict[uuid.UUID, _Ending]
) -> frozenset[uuid.UUID]:
    """Set these final statuses and write the events of the messages that changed."""
    now = clock.now()
    events = []
    for message_id in _swap(endings, now):
        ending = endings[message_id]
        events.append(message_event(messages[message_id], ending.status, now, ending.error))
    return outbox.record(events)


def _endings_of_several(
    messages: dict[uuid.UUID, MessageRecord], message_ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, _Ending]:
    """Return the final status of the messages with several parts that are all final.

    One lost part makes the text unreadable, so a message is delivered only if all its parts are.
    """
    if not message_ids:
        return {}
    with server_cursor() as cursor:
        cursor.execute(
            "SELECT message_id, status, error_code FROM messaging_messagepart"
            " WHERE message_id = ANY(%s) ORDER BY message_id, number",
            [list(set(message_ids))],
        )
        parts: dict[uuid.UUID, list[tuple[str, str]]] = {}
        for message_id, status, code in cursor.fetchall():
            parts.setdefault(message_id, []).append((status, code))
    endings = {}
    for message_id, rows in parts.items():
        ended = [_Ending(Status(status), code) for status, code in rows if status != Status.SENT]
        if len(ended) == messages[message_id].parts:
            worst = [ending for ending in ended if ending.status is not Status.DELIVERED]
            endings[message_id] = worst[0] if worst else ended[0]
    return endings


def _swap(endings: dict[uuid.UUID, _Ending], now: datetime) -> list[uuid.UUID]:
    """Compare-and-swap messages into their final status; return the ids of those that changed."""
    if not endings:
        return []
    errors = [ending.error or _NO_ERROR for ending in endings.values()]
    with server_cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE messaging_message m
               SET status = new.status, due_at = NULL, lease = NULL, final_at = %s,
                   sent_at = COALESCE(m.sent_at, %s), error_code = new.code,
                   error_message = new.message
              FROM unnest(%b::uuid[], %b::text[], %b::text[], %b::text[])
                   AS new(id, status, code, message)
             WHERE m.id = new.id AND m.status IN {_FINISHED.before_sql}
            RETURNING m.id
            """,  # noqa: S608
            [
                now,
                now,
                list(endings),
                _FINISHED.values(ending.status for ending in endings.values()),
                [error.code for error in errors],
                [error.message for error in errors],
            ],
        )
        return [row[0] for row in cursor.fetchall()]
