"""Every page at a million messages of its organization: how long it takes, and how many queries.

    python -m imissive.embedded -- python -m tests.bench.pages

Fills a fresh database (tests/showcase.py, and tests/filling.py for the same organization), and asks
for each page of tests/screenshots.py in this process. The median of three requests counts; a page
over LIMIT is marked.
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

from tests import showcase
from tests.filling import fill
from tests.people import PLAIN_STATIC
from tests.screenshots import pages_of

LIMIT = 300
"""What a page may take, in milliseconds."""


def prepare(messages: int) -> showcase.Showcase:
    """The showcase, with that many messages more in its organization."""
    call_command("migrate", verbosity=0)
    shown = showcase.make()
    began = time.perf_counter()
    fill(shown.organization.id, shown.carrier.id, messages)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    print(f"{messages:,} messages in {time.perf_counter() - began:.0f} s")
    return shown


def measure(shown: showcase.Showcase) -> None:
    clients = {"": Client()}
    for who in ("owner", "newcomer", "operator"):
        clients[who] = Client()
        clients[who].force_login(getattr(shown, who))
    for name, (who, path) in pages_of(shown).items():
        clients[who].get(path)  # templates are read once
        times, queries = [], 0
        for _ in range(3):
            with CaptureQueriesContext(connection) as captured:
                began = time.perf_counter()
                answer = clients[who].get(path)
                b"".join(answer) if answer.streaming else answer.content
                times.append((time.perf_counter() - began) * 1000)
            queries = len(captured)
        median = statistics.median(times)
        late = "  OVER" if median > LIMIT else ""
        print(f"{name:<32} {answer.status_code} {median:8.1f} ms {queries:4} queries{late}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    options = parser.parse_args()
    with override_settings(STORAGES=PLAIN_STATIC, ALLOWED_HOSTS=["testserver"]):
        measure(prepare(options.messages))


if __name__ == "__main__":
    main()
