"""What an organization used in a span of time: messages, parts and credits, by day and the like."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from imissive.sql import server_cursor
from messaging.listing import CLOCKS_DIFFER, id_bound

Group = Literal["day", "status", "sender_id", "country"]

_KEYS: dict[Group, str] = {
    # Plain arithmetic: a fifth faster than a conversion to UTC's date.
    "day": "date_bin('1 day', m.created_at, '2000-01-01T00:00Z'::timestamptz)",
    "status": "m.status",
    "sender_id": "m.sender",
    "country": "m.country",
}

_MINE = """
       m.organization_id = %(organization)s AND NOT m.test
   AND m.id >= %(first_id)s AND m.id < %(last_id)s
   AND m.created_at >= %(start)s AND m.created_at < %(end)s
"""

# In one statement, so that what is charged and what came back are of one moment. Few messages have
# a refund, so those are found by themselves: joining all of them takes twice as long. The bounds of
# the references keep other times' refunds out.
_USED = """
WITH charged AS (
    SELECT {key} AS key, count(*) AS messages, sum(m.parts) AS parts, sum(m.price) AS price
      FROM messaging_message m WHERE {mine} GROUP BY 1
), refunded AS (
    SELECT {key} AS key, sum(r.amount) AS amount
      FROM messaging_message m
      JOIN accounts_ledgerentry r ON r.kind = 'refund' AND r.reference = m.id
     WHERE {mine} AND m.status IN ('failed', 'expired', 'canceled') AND m.price > 0
       AND r.reference >= %(first_id)s AND r.reference < %(last_id)s
     GROUP BY 1
)
SELECT charged.key, messages, parts, price - COALESCE(amount, 0)
  FROM charged LEFT JOIN refunded ON refunded.key = charged.key
 ORDER BY {order}
"""


@dataclass(frozen=True, slots=True)
class Used:
    """`credits`: micro-credits charged, less what came back."""

    messages: int
    parts: int
    credits: int


def used_by(
    organization_id: uuid.UUID, start: datetime, end: datetime, group: Group
) -> dict[str, Used]:
    """What was accepted from `start` to before `end` (aware), without tests.

    By day in UTC (`2027-01-15`, in their order), or by status, sender or country, the most used
    first. Nothing used is left out.
    """
    statement = _USED.format(
        key=_KEYS[group], mine=_MINE, order="1" if group == "day" else "messages DESC, 1"
    )
    with server_cursor() as cursor:
        cursor.execute(
            statement,
            {
                "organization": organization_id,
                "start": start,
                "end": end,
                "first_id": id_bound(start, -CLOCKS_DIFFER),
                "last_id": id_bound(end, CLOCKS_DIFFER),
            },
        )
        rows = cursor.fetchall()
    return {_text(row[0]): Used(row[1], int(row[2]), int(row[3])) for row in rows}


def _text(key: str | datetime) -> str:
    return key if isinstance(key, str) else key.astimezone(UTC).date().isoformat()
