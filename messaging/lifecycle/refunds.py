"""Credits back for a message that ends without all its parts having been submitted."""

from typing import Final

from accounts.credits.ledger import Posting
from accounts.models import LedgerEntry
from messaging.lifecycle.record import MessageRecord

# The ledger's reasons; `messaging.billing.statement` shows them in the reader's language.
NOT_ACCEPTED: Final = "not accepted"
EXPIRED: Final = "expired in queue"
CANCELED: Final = "canceled"


def refunds(record: MessageRecord, submitted: int, reason: str) -> list[Posting]:
    """Return the posting that gives back the price of the parts that no carrier accepted.

    `submitted`: how many parts a carrier has accepted; it charges the platform for them too. None
    where there is nothing to give back.
    """
    amount = record.price // record.parts * (record.parts - submitted)
    if amount <= 0:
        return []
    kind = LedgerEntry.Kind.REFUND
    return [Posting(record.organization_id, kind, amount, record.id, reason)]
