"""Reports of unused delivery receipts: counts by reason, unknown status words, and the export."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from imissive.core.sql import server_cursor
from messaging.carriers.receipt_rules import MEANINGS
from messaging.models import Carrier, EarlyReceipt

COUNTED_TO = 100_000
EXPORTED_AT_MOST = 100_000
WORDS_SHOWN = 50
_LONGEST_WORD = 20

# A receipt may arrive a moment before its submit_sm response is stored; it is not counted yet.
_COUNTS = """
SELECT reason, count(*) FILTER (WHERE received_at > now() - interval '1 hour'),
       count(*) FILTER (WHERE received_at > now() - interval '1 day'), count(*)
  FROM (SELECT reason, received_at FROM messaging_earlyreceipt
         WHERE carrier_id = %s
           AND (reason <> 'unmatched' OR received_at < now() - interval '10 seconds')
         ORDER BY received_at DESC LIMIT %s) AS newest
 GROUP BY reason ORDER BY count(*) DESC, reason
"""
_LAST_HOUR = """
SELECT carrier_id, reason, count(*) FROM messaging_earlyreceipt
 WHERE received_at > now() - interval '1 hour'
   AND (reason <> 'unmatched' OR received_at < now() - interval '10 seconds')
 GROUP BY carrier_id, reason
"""


@dataclass(frozen=True, slots=True)
class Count:
    """The number of a carrier's receipts that are unused for one reason."""

    reason: str
    label: Any
    hour: int
    day: int
    kept: int


def counts(carrier_id: int) -> list[Count]:
    """Return a carrier's counts by reason, of the newest COUNTED_TO receipts."""
    with server_cursor() as cursor:
        cursor.execute(_COUNTS, [carrier_id, COUNTED_TO])
        labels = dict(EarlyReceipt.Reason.choices)
        return [Count(row[0], labels[row[0]], *row[1:]) for row in cursor.fetchall()]


def last_hour() -> list[tuple[str, str, int]]:
    """Return the carrier's slug, the reason and the count, for all carriers, zeros included."""
    with server_cursor() as cursor:
        cursor.execute(_LAST_HOUR)
        counts = {(row[0], row[1]): row[2] for row in cursor.fetchall()}
    slugs = Carrier.objects.order_by("slug").values_list("id", "slug")
    reasons = EarlyReceipt.Reason.values
    return [
        (slug, reason, counts.get((carrier_id, reason), 0))
        for carrier_id, slug in slugs
        for reason in reasons
    ]


@dataclass(frozen=True, slots=True)
class Word:
    """An unknown status word, with an example of a receipt."""

    word: str
    count: int
    latest: datetime
    example: str


def unknown_words(carrier_id: int) -> list[Word]:
    """Return the unknown words of a carrier's kept receipts, the most frequent first."""
    with server_cursor() as cursor:
        cursor.execute(
            "SELECT word, count(*), max(received_at), min(raw) FROM messaging_earlyreceipt"
            " WHERE carrier_id = %s AND reason = 'unknown_word' GROUP BY word"
            " ORDER BY count(*) DESC, word LIMIT %s",
            [carrier_id, WORDS_SHOWN],
        )
        return [Word(*row) for row in cursor.fetchall()]


def check_words(words: object) -> dict[str, str]:
    """Return a carrier's table of status words in stored form. Raise a readable ValueError."""
    if not isinstance(words, dict):
        raise ValueError('write an object, such as {"NODLV": "failed"}')
    checked: dict[str, str] = {}
    for word, meaning in words.items():
        if not word.strip() or len(word.strip()) > _LONGEST_WORD:
            raise ValueError(f"{word!r}: a status word has 1 to {_LONGEST_WORD} characters")
        if meaning not in MEANINGS:
            raise ValueError(f"{word}: {meaning!r} is not one of {', '.join(MEANINGS)}")
        checked[word.strip().upper()] = meaning
    return checked


def rows(receipts: QuerySet[EarlyReceipt]) -> Iterator[tuple[object, ...]]:
    """Yield the rows of the receipts' export: a heading, then the newest first."""
    yield (
        "received_at", "carrier", "reason", "carrier_message_id", "status_word", "would_end_as",
        "error_code", "as_it_came",
    )  # fmt: skip
    for row in receipts.select_related("carrier").order_by("-id")[:EXPORTED_AT_MOST].iterator():
        yield (
            row.received_at.isoformat(timespec="seconds"),
            row.carrier.slug,
            row.reason,
            row.carrier_message_id,
            row.word,
            row.status,
            row.error_code,
            row.raw,
        )
