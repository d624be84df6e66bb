"""The ledger's SQL for statements of others, where a round trip of its own would cost too much.

Whoever composes one of these into a statement names no table of the ledger.
"""

from typing import Final


def charges(rows: str) -> str:
    """Return an INSERT of one charge for each row of the relation `rows` that costs something.

    Its columns: `organization_id`, `total` (micro-credits, all that is charged), and `charged` (the
    id of what it is for). The balances are locked in the order of their organizations' ids until
    the transaction's end. What a balance does not cover undoes the whole statement: see
    `ledger.is_overdraft`.
    """
    return f"""
    INSERT INTO accounts_ledgerentry
           (organization_id, kind, amount, balance_after, reference, reason)
    SELECT organization_id, 'charge', -total, 0, charged, ''
      FROM {rows} WHERE total > 0 ORDER BY organization_id
    """  # noqa: S608


REFUNDS: Final = """
(SELECT reference, amount FROM accounts_ledgerentry WHERE kind = 'refund')
"""
"""The refunds, as a relation to join: `reference`, the id of what was refunded, and `amount` in
micro-credits. Joined by the reference, it is read from the ledger's index of references."""
