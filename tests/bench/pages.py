"""Every page at a million messages of its organization: how long it takes, and how many queries.

    python -m imissive.run.embedded -- python -m tests.bench.pages

Fills a fresh database (tests/support/showcase.py, and tests/support/bulk_data.py for the same
organization, with a row in the ledger for each message), sums the hours as beat does, and asks for
each page of tests/screenshots.py in this process. The median of three requests counts; a page over
LIMIT is marked. `--only overview usage` takes the pages whose names begin so.
"""

# ruff: noqa: E402 (the settings have to be known before models are imported)
import argparse
import os
import statistics
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imissive.settings")

import django

django.setup()

from django.core.management import call_command
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from messaging.usage import rollups
from tests.journeys.test_page_queries import acting_client
from tests.screenshots import pages_of
from tests.support import showcase
from tests.support.bulk_data import fill
from tests.support.people import PLAIN_STATIC

LIMIT = 300
"""What a page may take, in milliseconds."""

_LEDGER = """
INSERT INTO accounts_ledgerentry
       (organization_id, kind, amount, balance_after, reference, reason, created_at)
SELECT m.organization_id, kind, CASE WHEN kind = 'charge' THEN -price ELSE price END, 0, id, '',
       m.created_at
  FROM messaging_message m
 CROSS JOIN unnest(ARRAY['charge', 'refund']) AS kind
 WHERE m.organization_id = %s AND price > 0
   AND (kind = 'charge' OR status IN ('failed', 'expired', 'canceled'))
 ORDER BY m.id
    ON CONFLICT DO NOTHING
"""


def prepare(messages: int) -> showcase.Showcase:
    """The showcase, with that many messages more in its organization."""
    call_command("migrate", verbosity=0)
    shown = showcase.make()
    started = time.perf_counter()
    fill(shown.organization.id, shown.carrier.id, messages)
    with connection.cursor() as cursor:
        # Without its trigger, which would move one balance a million times.
        cursor.execute("ALTER TABLE accounts_ledgerentry DISABLE TRIGGER ledger_move_balance")
        cursor.execute(_LEDGER, [shown.organization.id])
        cursor.execute("ALTER TABLE accounts_ledgerentry ENABLE TRIGGER ledger_move_balance")
        cursor.execute("VACUUM ANALYZE")
    print(f"{messages:,} messages in {time.perf_counter() - started:.0f} s")
    started = time.perf_counter()
    rollups.roll_up()
    print(f"summed in {time.perf_counter() - started:.0f} s")
    return shown


def measure(shown: showcase.Showcase, only: list[str]) -> None:
    clients = {"": Client()}
    for who in ("owner", "newcomer", "operator"):
        clients[who] = Client()
        clients[who].force_login(getattr(shown, who))
    clients["acting"] = acting_client(shown)
    for name, (who, path) in pages_of(shown).items():
        if only and not name.startswith(tuple(only)):
            continue
        clients[who].get(path)  # templates are read once
        times, queries = [], 0
        for _ in range(3):
            with CaptureQueriesContext(connection) as captured:
                started = time.perf_counter()
                response = clients[who].get(path)
                b"".join(response) if response.streaming else response.content
                times.append((time.perf_counter() - started) * 1000)
            queries = len(captured)
        median = statistics.median(times)
        late = "  OVER" if median > LIMIT else ""
        print(f"{name:<32} {response.status_code} {median:8.1f} ms {queries:4} queries{late}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="+", default=[])
    options = parser.parse_args()
    with override_settings(STORAGES=PLAIN_STATIC, ALLOWED_HOSTS=["testserver"]):
        measure(prepare(options.messages), options.only)


if __name__ == "__main__":
    main()
