"""Which column of a file holds the numbers, by what its heading and its cells say. Pure."""

from collections.abc import Sequence
from typing import Final

from messaging.importing.csv_reader import looks_like_number
from messaging.numbers import e164
from messaging.numbers.reasons import InvalidNumber, NumberReason

SAMPLE: Final = 50
"""Rows that the guess looks at."""

_SAYS_SO: Final = (
    "phone", "mobile", "msisdn", "tel", "cell", "gsm", "whatsapp", "جوال", "هاتف", "موبايل",
    "محمول", "تلفون", "واتس",
)  # fmt: skip
_MAY_SAY_SO: Final = ("number", "رقم")
# A heading outweighs cells that may be anything, but not cells that are numbers throughout.
_HEADING, _HINT, _ENOUGH = 0.6, 0.1, 0.5
_OTHER_KINDS: Final = frozenset(
    {
        NumberReason.FIXED_LINE,
        NumberReason.TOLL_FREE,
        NumberReason.PREMIUM_RATE,
        NumberReason.SHARED_COST,
        NumberReason.VOIP,
        NumberReason.COMPANY_ACCESS,
        NumberReason.RANGE_NOT_SERVED,
    }
)


def guess_number_column(
    columns: Sequence[str], rows: Sequence[Sequence[str]], home: str
) -> int | None:
    """Return the position of the column of phone numbers, None where none looks like it.

    `home` is the country of numbers without a code. An empty cell says nothing about its column.
    """
    scores = [_score(position, heading, rows, home) for position, heading in enumerate(columns)]
    best = max(scores, default=0.0)
    return scores.index(best) if best >= _ENOUGH else None


def _score(position: int, heading: str, rows: Sequence[Sequence[str]], home: str) -> float:
    cells = [row[position].strip() for row in rows[:SAMPLE] if position < len(row)]
    worth = [_worth(cell, home) for cell in cells if cell]
    return _of_heading(heading.lower()) + (sum(worth) / len(worth) if worth else 0.0)


def _of_heading(heading: str) -> float:
    if any(word in heading for word in _SAYS_SO):
        return _HEADING
    return _HINT if any(word in heading for word in _MAY_SAY_SO) else 0.0


def _worth(cell: str, home: str) -> float:
    """Return how much a cell is like a phone number, from 0 to 1."""
    reasons = set()
    for read in (e164.parse, e164.parse_with_code):
        try:
            read(cell, home)
        except InvalidNumber as error:
            reasons.add(error.reason)
        else:
            return 1.0
    if NumberReason.DAMAGED in reasons and "e" in cell.lower():
        return 1.0  # in scientific notation; 1500000.50 is an amount
    if reasons & _OTHER_KINDS:
        return 0.5
    return 0.25 if looks_like_number(cell) else 0.0
