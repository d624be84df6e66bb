"""Batches: what one call accepted together, and what has become of it."""

import uuid
from dataclasses import dataclass
from typing import cast

from accounts.credits.fragments import REFUNDS
from accounts.credits.ledger import credits_text
from imissive.core import ids
from imissive.core.api.rendering import time_text
from imissive.core.lookups import existing_row
from imissive.core.sql import server_cursor
from messaging.models import Batch
from messaging.sending import schemas
from messaging.sending.reasons import MessageReason
from messaging.states import CANCELABLE, FINAL, UNDELIVERED, Status, sql_list

# A refund bears its message's id; few messages have one.
_COUNTS = f"""
SELECT m.status, count(*), sum(m.parts), sum(m.price), COALESCE(sum(r.amount), 0)
  FROM messaging_message m
  LEFT JOIN {REFUNDS} r
    ON r.reference = m.id AND m.price > 0 AND m.status IN {sql_list(UNDELIVERED)}
 WHERE m.batch_id = %s
 GROUP BY m.status
"""  # noqa: S608


def find(organization_id: uuid.UUID, batch_id: uuid.UUID | None, *, test: bool | None) -> Batch:
    """Return the organization's batch in that mode (None: either mode).

    Raises ApiError NOT_FOUND, for another organization's or the other mode's too.
    """
    mine = Batch.objects.filter(organization_id=organization_id)
    if test is not None:
        mine = mine.filter(test=test)
    return existing_row(mine, batch_id, MessageReason.NO_SUCH_BATCH)


@dataclass(frozen=True, slots=True)
class Summary:
    """A batch's messages as they stand: `counts` by every status; micro-credits charged for all
    their parts, and refunded."""

    counts: dict[str, int]
    parts: int
    price: int
    refunded: int

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        return sum(self.counts[status] for status in FINAL)

    @property
    def cancelable(self) -> int:
        """Return how many may be canceled still; a carrier may have some of them already."""
        return sum(self.counts[status] for status in CANCELABLE)


def summary(batch: Batch) -> Summary:
    """Its messages, counted now."""
    with server_cursor() as cursor:
        cursor.execute(_COUNTS, [batch.id])
        rows = cursor.fetchall()
    counts = dict.fromkeys(map(str, Status), 0) | {row[0]: row[1] for row in rows}
    parts, price, refunded = (int(sum(row[column] for row in rows)) for column in (2, 3, 4))
    return Summary(counts, parts, price, refunded)


def batch_json(batch: Batch) -> schemas.Batch:
    """Return a batch with its messages counted by status, charged and refunded, as they stand."""
    found = summary(batch)
    return {
        "batch_id": ids.public_id(ids.BATCH, batch.id),
        "created_at": time_text(batch.created_at),
        "total": found.total,
        "parts": found.parts,
        "credits": credits_text(found.price),
        "refunded": credits_text(found.refunded),
        "counts": cast("schemas.StatusCounts", found.counts),
    }
