"""A campaign of 100,000 rows: read, checked and accepted, in this process.

    python -m imissive.run.embedded -- python -m tests.bench.campaigns

Creates a file in Windows-1256 with a value for each person, uploads it as the page does, checks it,
and accepts it step by step as a worker does, with nothing delivered meanwhile. Then measures the
pages, the count of the results and the file of failures at that size, without a rate limit.
"""

# ruff: noqa: E402 (the settings have to be known before models are imported)
import argparse
import os
import resource
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imissive.settings")
os.environ.setdefault("RATE_LIMIT_BULK", "100000000")

import django

django.setup()

from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client, override_settings

from accounts.access.page_access import public_id
from accounts.models import Member
from imissive.core import ids
from messaging.campaigns import (
    drafts,
    exports,
    results,
    run,
    uploads,
)
from messaging.campaigns.check import check
from messaging.models import Campaign
from messaging.models.campaign_states import State
from tests.support.factories import SENDER, Customer, World
from tests.support.people import PLAIN_STATIC, browser, member


def measure(what: str, action: Callable[[], Any], rows: int = 0) -> Any:
    started, cpu = time.perf_counter(), time.process_time()
    found = action()
    took, cpu = time.perf_counter() - started, time.process_time() - cpu
    rate = f"{rows / took:12,.0f} rows/s" if rows else ""
    print(f"{what:52}{took:8.3f} s, {cpu:7.3f} s CPU here{rate}", flush=True)
    return found


def create_file(rows: int) -> SimpleUploadedFile:
    lines = ["الجوال;الاسم;الطلب"]
    lines += [f"05{10_000_000 + index};عميل {index};{index}" for index in range(rows)]
    data = "\r\n".join(lines).encode("windows-1256")
    print(f"{rows:,} rows, {len(data):,} bytes")
    return SimpleUploadedFile("people.csv", data, "text/csv")


def create_draft(customer: Customer, upload: SimpleUploadedFile) -> Campaign:
    mine = Member.objects.get(user=member(customer.organization))
    reading = measure("upload evaluated (encoding, delimiter, rows counted)",
                    lambda: uploads.evaluate(upload, "SA"))  # fmt: skip
    campaign = measure(
        "upload stored",
        lambda: drafts.create(mine, ids.new_uuid(), "Bench", upload, reading),
    )
    assert campaign is not None
    fields = {"sender": SENDER, "text": "مرحبا {الاسم}، طلبك {الطلب} جاهز", "country": "SA"}
    drafts.request_check(campaign, **fields)
    return campaign


def accept_all(campaign: Campaign) -> int:
    now = datetime.now(UTC)
    mine = Campaign.objects.filter(pk=campaign.pk)
    mine.update(state=State.RUNNING, due_at=now, started_at=now)
    steps = 0
    while run.step(campaign.id):
        steps += 1
    assert mine.get().state == State.DELIVERING
    return steps


def pages(customer: Customer, campaign: Campaign, client: Client, paths: list[str]) -> None:
    home = f"/dashboard/{public_id(customer.organization)}/campaigns/"
    for path in paths:
        url = home + path.format(campaign.public_id)
        client.get(url)
        response = measure(f"page {path.format('…') or 'of all'}", partial(client.get, url))
        assert response.status_code == 200, (url, response.status_code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    call_command("migrate", verbosity=0)
    world = World()
    world.serve()
    customer = world.customer(credits=10_000_000)
    campaign = create_draft(customer, create_file(rows))
    measure("checked", lambda: check(campaign.id), rows)
    client = browser(member(customer.organization))
    with override_settings(STORAGES=PLAIN_STATIC, ALLOWED_HOSTS=["testserver"]):
        pages(customer, campaign, client, ["{}/check/", "{}/start/", "{}/columns/"])
        measure("accepted", lambda: accept_all(campaign), rows)
        campaign.refresh_from_db()
        measure("results counted", lambda: results.counted(campaign.batch_id))
        results.count(campaign.id)
        pages(customer, campaign, client, ["", "{}/"])
        measure("file of failures", lambda: sum(1 for _ in exports.failures(campaign)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak memory of this process: {peak} MB")


if __name__ == "__main__":
    main()
