"""The one record of a message: what its events, its refunds and its wake-ups are made from.

Every statement that moves messages returns them by `columns`, so that no place counts columns.
"""

import uuid
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """A message as far as any room that moves it must know it.

    `price`: micro-credits for all `parts`. `carrier_id`: whose queue it is in, or who has it.
    """

    id: uuid.UUID
    organization_id: uuid.UUID
    batch_id: uuid.UUID | None
    carrier_id: int
    test: bool
    urgent: bool
    to: str
    reference: str
    parts: int
    price: int


def columns(alias: str, record: type[MessageRecord] = MessageRecord, *, but: int = 0) -> str:
    """Return the columns of the message's row, `alias`, in the order of the record's fields.

    `but` leaves out the last fields of a `record` that its row does not have as they are.
    """
    names = [field.name for field in fields(record)]
    return ", ".join(f'{alias}."{name}"' for name in names[: len(names) - but])
