"""Credit ledger: every change of a balance is a ledger row, whose trigger updates the balance.

Locking rule: messages first, then balances, and several balances in the order of their
organizations' ids. Transactions that follow it cannot deadlock.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation

from django.db import IntegrityError, transaction

from accounts.models import MICRO, LedgerEntry, Organization, User
from imissive.core.sql import server_cursor

TEST_BALANCE = 1_000_000 * MICRO
"""The balance that a test key reads: not real credits, and constant."""


class InsufficientCredits(Exception):
    """The balance does not cover the sum; nothing was charged."""


@dataclass(frozen=True, slots=True)
class Posting:
    """A ledger row to insert: `amount` in signed micro-credits.

    `reference` is the id of the message or batch that is charged or refunded, or of the form of a
    top-up or a correction; a unique key per kind and reference prevents doing it twice.
    """

    organization_id: uuid.UUID
    kind: str
    amount: int
    reference: uuid.UUID | None = None
    reason: str = ""
    actor_id: int | None = None


_INSERT = """
INSERT INTO accounts_ledgerentry (organization_id, kind, amount, balance_after, reference, reason,
                                  actor_id)
SELECT organization_id, kind, amount, 0, reference, reason, actor_id
  FROM unnest(%s::uuid[], %s::text[], %s::bigint[], %s::uuid[], %s::text[], %s::int[])
       AS new(organization_id, kind, amount, reference, reason, actor_id)
"""


def post(postings: Sequence[Posting]) -> None:
    """Insert the postings in the caller's transaction, which locks the balances until it ends.

    Raises InsufficientCredits if a balance would fall below zero; the caller must then roll the
    transaction back.
    """
    if not postings:
        return
    rows = sorted(postings, key=lambda posting: posting.organization_id)
    try:
        with server_cursor() as cursor:
            cursor.execute(
                _INSERT,
                [
                    [row.organization_id for row in rows],
                    [row.kind for row in rows],
                    [row.amount for row in rows],
                    [row.reference for row in rows],
                    [row.reason for row in rows],
                    [row.actor_id for row in rows],
                ],
            )
    except IntegrityError as error:
        if is_overdraft(error):
            raise InsufficientCredits from error
        raise


def is_overdraft(error: IntegrityError) -> bool:
    """Return whether the database refused a change because a balance would fall below zero."""
    diagnostics = getattr(error.__cause__, "diag", None)
    return getattr(diagnostics, "constraint_name", None) == "balance_not_negative"


@transaction.atomic
def adjust(
    organization: Organization,
    micro: int,
    *,
    reason: str,
    actor: User | None,
    reference: uuid.UUID | None = None,
) -> None:
    """Top up (positive) or correct (negative) a balance by `micro` micro-credits.

    Operators' changes go through `accounts.credits.changes`, which gives them a reference. Raises
    InsufficientCredits where the balance does not cover a correction.
    """
    kind = LedgerEntry.Kind.TOP_UP if micro >= 0 else LedgerEntry.Kind.CORRECTION
    actor_id = actor.pk if actor else None
    post([Posting(organization.id, kind, micro, reference, reason, actor_id)])


def credits_text(micro: int) -> str:
    """Return micro-credits as the API writes credits: a decimal string without trailing zeros."""
    text = f"{Decimal(micro) / MICRO:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse_credits(text: str) -> int:
    """Return a decimal number of credits in micro-credits.

    Raises ValueError for anything but a finite number, and for more than six decimals.
    """
    try:
        micro = Decimal(text) * MICRO
    except InvalidOperation:
        raise ValueError("credits are a decimal number") from None
    if not micro.is_finite():
        raise ValueError("credits are a finite number")
    if micro != micro.to_integral_value():
        raise ValueError("credits have six decimals at most")
    return int(micro)


# A binary search over the ids: some thirty steps in the index, in one statement. An index by time,
# which every charge would have to write, is not needed.
_BEFORE = """
WITH RECURSIVE halved(low, high) AS (
    SELECT 0::bigint, COALESCE(max(id), 0) FROM accounts_ledgerentry
     WHERE organization_id = %(organization)s
    UNION ALL
    SELECT CASE WHEN found.earlier THEN middle ELSE low END,
           CASE WHEN found.earlier THEN high ELSE middle - 1 END
      FROM halved
     CROSS JOIN LATERAL (SELECT (low + high + 1) / 2 AS middle) AS between_them
     CROSS JOIN LATERAL (
           SELECT COALESCE((SELECT created_at < %(moment)s FROM accounts_ledgerentry
                             WHERE organization_id = %(organization)s AND id <= middle
                             ORDER BY id DESC LIMIT 1), TRUE) AS earlier) AS found
     WHERE low < high
)
SELECT low FROM halved WHERE low >= high LIMIT 1
"""


def number_before(organization_id: uuid.UUID, moment: datetime) -> int:
    """Return the highest id up to which all of the organization's rows are older than `moment`."""
    with server_cursor() as cursor:
        cursor.execute(_BEFORE, {"organization": organization_id, "moment": moment})
        return int(cursor.fetchone()[0])


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A balance that does not match its ledger; both in micro-credits."""

    organization_id: uuid.UUID
    what: str
    balance: int
    ledger: int


# A ledger is consistent if its sum equals the balance, and if each row's balance equals the
# previous row's balance plus its own amount.
_DISCREPANCIES = """
WITH rows AS (
    SELECT organization_id, amount, balance_after,
           lag(balance_after, 1, 0::bigint) OVER running + amount AS expected,
           row_number() OVER (PARTITION BY organization_id ORDER BY id DESC) AS from_end
      FROM accounts_ledgerentry WINDOW running AS (PARTITION BY organization_id ORDER BY id)
), sums AS (
    SELECT organization_id, sum(amount) AS total,
           count(*) FILTER (WHERE balance_after <> expected) AS broken,
           max(balance_after) FILTER (WHERE from_end = 1) AS last
      FROM rows GROUP BY organization_id
)
SELECT COALESCE(b.organization_id, s.organization_id),
       CASE WHEN b.micro IS DISTINCT FROM COALESCE(s.total, 0) THEN 'the sum differs'
            ELSE 'the running balance breaks' END,
       COALESCE(b.micro, 0), COALESCE(s.total, 0)
  FROM accounts_balance b FULL JOIN sums s ON s.organization_id = b.organization_id
 WHERE b.micro IS DISTINCT FROM COALESCE(s.total, 0) OR s.broken > 0 OR s.last <> b.micro
"""


def discrepancies() -> list[Discrepancy]:
    """Return the organizations whose balance and ledger disagree; empty if all are consistent."""
    with server_cursor() as cursor:
        cursor.execute(_DISCREPANCIES)
        return [Discrepancy(row[0], row[1], int(row[2]), int(row[3])) for row in cursor.fetchall()]
