"""Bulk data by SQL: very many messages, for measurements and query plans of lists and usage.

The messages of 90 days, all of one organization, spread by a hash so that no two columns are
correlated: nine of ten delivered, the rest failed, expired, sent, canceled and scheduled; three
senders, of which `Rare` has a thousandth. A tenth goes to MONITOR, always delivered and by `Big`,
and `Mid` is always delivered: filters that match many rows each, and none together. Half of them
have a reference, of which a tenth is CAMPAIGN.
"""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from imissive.core import ids

MONITOR = "+966500000099"
CAMPAIGN = "campaign"
DAYS = 90

_BATCHES = """
INSERT INTO messaging_batch (id, organization_id, created_at)
SELECT id, %(organization)s, now() FROM unnest(%(batches)s::uuid[]) AS id
"""
# Ids are UUIDv7 of the message's time: 48 bits of milliseconds, then a hash.
_MESSAGES = """
INSERT INTO messaging_message
       (id, organization_id, batch_id, source, test, urgent, "to", country, sender, text,
        masked_text, encoding, parts, price, reference, status, due_at, carrier_id, submits,
        unanswered, created_at, expires_at, queued_at, error_code, error_message)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'
            || substr(md5(%(organization)s::text || i), 1, 3) || '8'
            || substr(md5(i::text), 1, 15))::uuid,
       %(organization)s,
       CASE WHEN i / %(batch)s %% 2 = 0 THEN (%(batches)s::uuid[])[i / %(batch)s / 2 + 1] END,
       'api', h %% 100 = 7, i / %(batch)s %% 2 = 1,
       CASE WHEN to_monitor THEN %(monitor)s
            ELSE '+9665' || lpad((h %% 100000)::text, 8, '0') END,
       CASE WHEN h %% 10 < 8 THEN 'SA' WHEN h %% 10 = 8 THEN 'AE' ELSE 'EG' END,
       sender, 'Your order has shipped and arrives tomorrow. Thank you for shopping with us.',
       '', 'gsm7', parts, parts * 1000000,
       CASE WHEN i %% 2 = 0 THEN '' WHEN h %% 10 = 5 THEN %(campaign)s ELSE 'order-' || i END,
       status, CASE WHEN status = 'scheduled' THEN at + interval '100 days' END, %(carrier)s, 1, 0,
       at, at + interval '200 days', at, '', ''
  FROM generate_series(0, %(messages)s - 1) AS i
 CROSS JOIN LATERAL (
       SELECT abs(hashint4(i)) AS h, abs(hashint4(i + 77777777)) AS other,
              %(begin)s::timestamptz + i * (%(span)s::interval / %(messages)s) AS at) AS hashed
 CROSS JOIN LATERAL (
       SELECT h %% 10 = 3 AS to_monitor, 1 + (h %% 20 = 0)::int AS parts,
              CASE WHEN h %% 10 = 3 THEN 'Big' WHEN h %% 1000 = 1 THEN 'Rare'
                   WHEN h %% 5 = 1 THEN 'Mid' ELSE 'Big' END AS sender) AS drawn
 CROSS JOIN LATERAL (
       SELECT CASE WHEN to_monitor OR sender = 'Mid' OR other %% 1000 < 900 THEN 'delivered'
                   WHEN other %% 1000 < 960 THEN 'failed' WHEN other %% 1000 < 985 THEN 'expired'
                   WHEN other %% 1000 < 998 THEN 'sent' WHEN other %% 1000 = 998 THEN 'canceled'
                   ELSE 'scheduled' END AS status) AS ended
"""


def fill(
    organization_id: uuid.UUID,
    carrier_id: int,
    messages: int,
    *,
    batch: int = 10_000,
    run: Callable[[str, dict[str, Any]], object] | None = None,
) -> list[uuid.UUID]:
    """Insert that many messages without charges, and analyze the table for the planner.

    Every second run of `batch` messages is a batch; return the batches' ids. `run` runs the
    statements where they are not for Django's connection.
    """
    batches = [ids.new_uuid() for _ in range(messages // batch // 2 + 1)]
    parameters: dict[str, Any] = {
        "organization": organization_id,
        "batches": batches,
        "batch": batch,
        "carrier": carrier_id,
        "messages": messages,
        "monitor": MONITOR,
        "campaign": CAMPAIGN,
        "begin": datetime.now(UTC) - timedelta(days=DAYS),
        "span": timedelta(days=DAYS),
    }
    for statement in (_BATCHES, _MESSAGES, "ANALYZE messaging_message"):
        (run or _execute)(statement, parameters)
    return batches


def _execute(statement: str, parameters: dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
