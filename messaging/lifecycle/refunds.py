"""Refunds for a message that ends before all its parts were submitted."""

from typing import Final

from accounts.credits.ledger import Posting
from accounts.models import LedgerEntry
from messaging.lifecycle.record import MessageRecord

# The ledger's reasons; `messaging.billing.statement` shows them in the reader's language.
NOT_ACCEPTED: Final = "not accepted"
EXPIRED: Final = "expired in queue"
CANCELED: Final = "canceled"


def refunds(record: MessageRecord, submitted: int, reason: str) -> list[Posting]:
    """Return the posting that refunds the price of the parts that no carrier accepted, if any.

    `submitted`: the number of parts that a carrier has accepted, and charges the platform for.
    """
    amount = record.price // record.parts * (record.parts - submitted)
    if amount <= 0:
        return []
    kind = LedgerEntry.Kind.REFUND
    return [Posting(record.organization_id, kind, amount, record.id, reason)]
