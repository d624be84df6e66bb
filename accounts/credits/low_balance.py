"""Low-balance alert: detects once that a balance has fallen below its organization's threshold.

The organization's row records the detection, and that a mail is due. Each step is a
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
    """Record the balances that have fallen below their threshold, and return them.

    Balances that have risen again are reset. Runs in the caller's transaction. A mail about each
    fall is due from `now` on.
    """
    with server_cursor() as cursor:
        cursor.execute(_RISEN)
        cursor.execute(_FALLEN, {"now": now})
        return [Fall(*row) for row in cursor.fetchall()]
