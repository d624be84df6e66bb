"""Balances below their organization's threshold: each fall is noticed once.

The organization's row says whether its fall was noticed, and owes the mail. Each step is a
compare-and-swap, so that two workers do nothing twice.
"""

import uuid
from datetime import datetime
from typing import NamedTuple

from imissive.core.sql import server_cursor

_RISEN = """
UPDATE accounts_organization o SET low_balance_told_at = NULL, low_balance_mail_due_at = NULL
  FROM accounts_balance b
 WHERE b.organization_id = o.id AND o.low_balance_told_at IS NOT NULL
   AND b.micro >= o.low_balance_threshold
"""

_FALLEN = """
UPDATE accounts_organization o
   SET low_balance_told_at = %(now)s, low_balance_mail_due_at = %(now)s
  FROM accounts_balance b
 WHERE b.organization_id = o.id AND o.low_balance_told_at IS NULL AND o.status = 'active'
   AND b.micro < o.low_balance_threshold
RETURNING o.id, b.micro, o.low_balance_threshold
"""


class Fall(NamedTuple):
    """A balance that is newly below its threshold, in micro-credits."""

    organization_id: uuid.UUID
    balance: int
    threshold: int


def notice_falls(now: datetime) -> list[Fall]:
    """Return the balances that have fallen and note each; forget those that have risen again.

    In the caller's transaction. A mail about each fall is owed from `now` on.
    """
    with server_cursor() as cursor:
        cursor.execute(_RISEN)
        cursor.execute(_FALLEN, {"now": now})
        return [Fall(*row) for row in cursor.fetchall()]
