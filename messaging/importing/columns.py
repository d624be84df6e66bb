"""Detection of a file's column of numbers, by its heading and its cells. Pure."""

import re
from collections.abc import Sequence
from typing import Final

from messaging.importing.csv_reader import looks_like_number
from messaging.numbers import e164
from messaging.numbers.reasons import InvalidNumber, NumberReason

SAMPLE: Final = 50
"""The number of rows that the detection reads."""

_NUMBER_WORDS: Final = (
    "phone", "mobile", "msisdn", "tel", "cell", "gsm", "whatsapp", "جوال", "هاتف", "موبايل",
    "محمول", "تلفون", "واتس", "contact no", "contact num",
)  # fmt: skip
_PHONE_WORDS: Final = frozenset({"mob", "ph", "hp"})
# Whole words of headings: a nine-digit order number that starts with 5 looks like a mobile number.
_OTHER_WORDS: Final = frozenset(
    {"order", "customer", "client", "invoice", "account", "id", "date", "total", "amount", "price",
     "balance", "reference", "ref", "code", "iban", "national", "passport", "employee", "طلب",
     "الطلب", "فاتورة", "الفاتورة", "حساب", "الحساب", "هوية", "الهوية", "تاريخ", "التاريخ",
     "مبلغ", "المبلغ", "المجموع", "الإجمالي", "مرجع", "المرجع"}
)  # fmt: skip
_HINT_WORDS: Final = ("number", "contact", "رقم")
_WORD: Final = re.compile(r"[^\W_]+")
# A heading outweighs unclear cells, but not a column full of numbers.
_HEADING, _HINT, _OTHER, _ENOUGH = 0.6, 0.1, -0.6, 0.5
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
    """Return the position of the column of phone numbers, or None if no column looks like it.

    `home` is the country of numbers without a code. Empty cells are ignored.
    """
    scores = [_score(position, heading, rows, home) for position, heading in enumerate(columns)]
    best = max(scores, default=0.0)
    return scores.index(best) if best >= _ENOUGH else None


def _score(position: int, heading: str, rows: Sequence[Sequence[str]], home: str) -> float:
    cells = [row[position].strip() for row in rows[:SAMPLE] if position < len(row)]
    likelihoods = [_likelihood(cell, home) for cell in cells if cell]
    return _heading_score(heading.lower()) + (
        sum(likelihoods) / len(likelihoods) if likelihoods else 0.0
    )


def _heading_score(heading: str) -> float:
    words = set(_WORD.findall(heading))
    if words & _PHONE_WORDS or any(word in heading for word in _NUMBER_WORDS):
        return _HEADING
    if words & _OTHER_WORDS:
        return _OTHER
    return _HINT if any(word in heading for word in _HINT_WORDS) else 0.0


def _likelihood(cell: str, home: str) -> float:
    """Return how likely a cell is a phone number, from 0 to 1."""
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
