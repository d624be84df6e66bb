"""SQL fragments of the ledger for other rooms' statements, where a round trip would cost too much.

A statement that is composed with a fragment needs to name no table of the ledger.
"""

from typing import Final


def charges(rows: str) -> str:
    """Return an INSERT of one charge for each row of the relation `rows` that costs something.

    Its columns: `organization_id`, `total` (the charge in micro-credits), and `charged` (the id of
    the charged message or batch). The balances are locked in the order of their organizations' ids
    until the transaction ends. A charge that a balance does not cover fails the whole statement,
    see `ledger.is_overdraft`.
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
"""The refunds, as a relation to join: `reference`, the id of the refunded message or batch, and
`amount` in micro-credits. A join by the reference uses the ledger's index of references."""
