"""Lists, the dashboard's log and usage at a million messages of one organization.

    python -m imissive.run.embedded -- python -m tests.bench.lists

Fills a fresh database with SQL (tests/support/bulk_data.py), with a second organization, and makes
calls through the whole API, in this process. For each filter and each pair of filters it prints the
slowest of the first, middle and last page, for frequent, rare and missing values, and the indexes
that were used. Each call is made three times, and the median counts. For the dashboard's log it
measures filters without an index, alone and with each other filter, on their slowest page.
"""

# ruff: noqa: E402 (the settings have to be known before models are imported)
import argparse
import itertools
import os
import statistics
import time
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imissive.settings")
os.environ.setdefault("RATE_LIMIT_CALLS", "1000000")

import django

django.setup()

from django.core.management import call_command
from django.db import connection
from django.test import override_settings

from accounts.access.page_access import public_id
from imissive.core import ids
from imissive.core.cursors import encode_cursor
from messaging.models import Message
from messaging.usage import rollups
from tests.bench.cpu import milliseconds_of
from tests.support.bulk_data import CAMPAIGN, MONITOR, fill
from tests.support.factories import Api, Customer, World
from tests.support.people import PLAIN_STATIC, browser, member

NOW = datetime.now(UTC)


def day(ago: int) -> str:
    return (NOW - timedelta(days=ago)).isoformat()


VALUES: dict[str, list[str]] = {
    "status": ["delivered", "failed", "canceled", "queued"],
    "to": [MONITOR, "+966500012345", "+966599999999"],
    "sender_id": ["Big", "Mid", "Rare", "Nobody"],
    "reference": [CAMPAIGN, "order-12345", "none"],
    "batch_id": [],
    "created_after": [day(60), day(1)],
    "created_before": [day(30), day(89)],
}


def prepare(messages: int) -> Customer:
    """Create a customer with that many messages, and another with a fifth of them."""
    call_command("migrate", verbosity=0)
    world = World()
    carrier = world.carrier()
    customer, other = world.customer(), world.customer()
    started = time.perf_counter()
    batches = fill(customer.id, carrier.id, messages)
    fill(other.id, carrier.id, messages // 5)
    VALUES["batch_id"] = [ids.public_id(ids.BATCH, batches[len(batches) // 2])]
    with connection.cursor() as cursor:
        # Refunds without their trigger, which would update one balance sixty thousand times.
        cursor.execute("ALTER TABLE accounts_ledgerentry DISABLE TRIGGER ledger_move_balance")
        cursor.execute(
            "INSERT INTO accounts_ledgerentry"
            " (organization_id, kind, amount, balance_after, reference, reason)"
            " SELECT organization_id, 'refund', price, 0, id, '' FROM messaging_message"
            " WHERE status IN ('failed', 'expired', 'canceled')"
        )
        cursor.execute("ALTER TABLE accounts_ledgerentry ENABLE TRIGGER ledger_move_balance")
        cursor.execute("VACUUM ANALYZE")
    print(f"{messages:,} messages in {time.perf_counter() - started:.0f} s")
    return customer


def pages(customer: Customer, messages: int) -> dict[str, str]:
    """Return the cursors of the first page, of one in the middle, and of the last."""
    newest = Message.objects.filter(organization=customer.organization).order_by("-id")
    found = newest.values_list("id", flat=True)
    middle, last = found[messages // 2], found[messages - 20]
    return {"first": "", "middle": encode_cursor(middle), "last": encode_cursor(last)}


def timed_request(api: Api, path: str, query: dict[str, str]) -> float:
    """Make a call three times, and return the median in milliseconds."""
    url = f"{path}?{urllib.parse.urlencode(query)}"
    milliseconds = []
    for _ in range(3):
        started = time.perf_counter()
        response = api.get(url)
        milliseconds.append((time.perf_counter() - started) * 1000)
        if response.status_code != 200:
            raise RuntimeError(response.content)
    return statistics.median(milliseconds)


def indexes_of(api: Api, path: str, query: dict[str, str]) -> str:
    """Return the indexes from which the call reads messages, according to the query plans."""
    found: dict[str, None] = {}

    def explain(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if "messaging_message" in sql:
            execute(f"EXPLAIN (FORMAT JSON) {sql}", parameters, many, context)
            [(plan,)] = context["cursor"].fetchall()
            found.update(dict.fromkeys(_read_from(plan[0]["Plan"])))
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(explain):
        api.get(f"{path}?{urllib.parse.urlencode(query)}")
    return ", ".join(found)


def _read_from(plan: dict[str, Any]) -> Iterator[str]:
    if "Scan" in plan["Node Type"] and "Plans" not in plan and "CTE" not in plan["Node Type"]:
        yield plan.get("Index Name") or plan["Node Type"]
    for below in plan.get("Plans", ()):
        yield from _read_from(below)


def measure_lists(customer: Customer, messages: int, limit: int) -> None:
    print(f"\n{'filters':<32}{'worst, ms':>10}  where, and read from")
    cursors = pages(customer, messages)
    single = [(), *((name,) for name in VALUES)]
    for names in [*single, *itertools.combinations(VALUES, 2)]:
        worst: tuple[float, str, dict[str, str]] = (0.0, "", {})
        for values in itertools.product(*(VALUES[name] for name in names)):
            query = dict(zip(names, values, strict=True))
            if query.get("created_after", "") >= query.get("created_before", "z"):
                continue
            for page, cursor in cursors.items():
                full = query | {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
                milliseconds = timed_request(customer.api, "/v1/sms", full)
                if milliseconds > worst[0]:
                    worst = (milliseconds, page, full)
        milliseconds, page, full = worst
        values_told = " ".join(full[name] for name in names if not name.startswith("created"))
        line = f"{page} page {values_told}".strip()
        read = indexes_of(customer.api, "/v1/sms", full)
        print(f"{' + '.join(names) or 'none':<32}{milliseconds:>10.1f}  {line}; {read}", flush=True)


UNSERVED: dict[str, list[str]] = {
    "number": ["4711", "99999999"],
    "country": ["SA", "AE", "FR"],
    "source": ["api", "otp"],
    "mode": ["test"],
}
"""Filters that only the dashboard's log has: frequent, rare and missing values."""
LOG_NAMES = {"sender_id": "sender", "batch_id": "batch"}


def measure_log(customer: Customer, messages: int) -> None:
    """Measure each filter of the dashboard's log without an index, alone and in pairs."""
    print(f"\n{'filters of the log':<32}{'worst, ms':>10}  where", flush=True)
    client = browser(member(customer.organization))
    url = f"/dashboard/{public_id(customer.organization)}/messages/"
    newest = Message.objects.filter(organization=customer.organization).order_by("-id")
    found = newest.values_list("id", flat=True)
    places = {
        "first": {},
        "middle": {"before": ids.public_id(ids.MESSAGE, found[messages // 2])},
        "back": {"after": ids.public_id(ids.MESSAGE, found[messages // 2])},
    }
    served = {LOG_NAMES.get(name, name): VALUES[name] for name in VALUES if name[:3] != "cre"}
    served["number"] = served.pop("to")
    days = [str((NOW - timedelta(days=ago)).date()) for ago in (60, 1)]
    served["since"] = served["until"] = days
    pairs = [
        (one, other)
        for one in UNSERVED
        for other in ("", *served)
        if one != other and not (one == "source" and other == "batch")
    ]
    for one, other in [("", ""), *pairs]:
        worst = (0.0, "")
        for value, beside in itertools.product(UNSERVED.get(one, [""]), served.get(other, [""])):
            narrowed = {name: each for name, each in ((one, value), (other, beside)) if name}
            for place, cursor in places.items():
                query = urllib.parse.urlencode(narrowed | cursor)
                milliseconds = []
                for _ in range(3):
                    started = time.perf_counter()
                    response = client.get(f"{url}?{query}")
                    milliseconds.append((time.perf_counter() - started) * 1000)
                    if response.status_code != 200:
                        raise RuntimeError(response.content)
                worst = max(worst, (statistics.median(milliseconds), f"{place} {value} {beside}"))
        name = " + ".join(filter(None, (one, other))) or "none"
        print(f"{name:<32}{worst[0]:>10.1f}  {worst[1]}", flush=True)


def measure_usage(customer: Customer) -> None:
    """Measure usage before and after the rollups; both must return the same."""
    print(f"\n{'usage by':<32}{'92 days':>10}{'CPU':>8}{'30 days':>10}{'CPU':>8}  milliseconds")
    counted = _usage_by_each(customer, "counted", calls=4)
    started = time.perf_counter()
    rollups.roll_up(NOW)
    print(f"rolled up in {time.perf_counter() - started:.1f} s")
    if _usage_by_each(customer, "summed", calls=25) != counted:
        raise RuntimeError("The sums are not what is counted.")


def _usage_by_each(customer: Customer, how: str, calls: int) -> list[Any]:
    """Print the time of a call, and its CPU time in this process and in PostgreSQL."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        both = os.getpid(), cursor.fetchone()[0]
    responses = []
    for group in ("day", "status", "sender_id", "country"):
        line = f"{f'{group}, {how}':<32}"
        for days in (92, 30):
            query = {"group_by": group, "from": day(days), "to": day(0)}
            milliseconds = timed_request(customer.api, "/v1/usage", query)
            before = milliseconds_of(*both)
            for _ in range(calls):
                response = customer.api.get(f"/v1/usage?{urllib.parse.urlencode(query)}").json()
            line += f"{milliseconds:>10.0f}{(milliseconds_of(*both) - before) / calls:>8.0f}"
            responses.append(response)
        print(line, flush=True)
    return responses


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.lists", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--only", choices=["lists", "log", "usage"])
    options = parser.parse_args()
    customer = prepare(options.messages)
    if options.only in (None, "lists"):
        measure_lists(customer, options.messages, options.limit)
    if options.only in (None, "log"):
        with override_settings(STORAGES=PLAIN_STATIC, ALLOWED_HOSTS=["testserver"]):
            measure_log(customer, options.messages)
    if options.only in (None, "usage"):
        measure_usage(customer)


if __name__ == "__main__":
    main()
