"""The record of a message, from which its events, refunds and wake-ups are built.

Every statement that moves messages returns them by `columns`, so that no code counts columns.
"""

import uuid
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """The fields of a message that every module that moves it needs.

    `price`: micro-credits for all `parts`. `carrier_id`: the carrier whose queue it is in, or that
    has it.
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

    `but` omits the last fields of a `record`, which are not plain columns of its row.
    """
    names = [field.name for field in fields(record)]
    return ", ".join(f'{alias}."{name}"' for name in names[: len(names) - but])
