"""Campaigns for tests: created from rows, checked, and run by the workers' steps."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from accounts.ui import stored_files
from messaging.campaigns import check
from messaging.campaigns import run as running
from messaging.models import Campaign
from messaging.models.campaign_states import State
from tests.support.factories import SENDER, Customer

TEXT = "Hello {name}"


def numbers(count: int, start: int = 0) -> list[str]:
    """Return that many different numbers in E.164."""
    return [f"+9665{10_000_000 + start + index}" for index in range(count)]


def made(customer: Customer, rows: Sequence[Sequence[str]], **fields: Any) -> Campaign:
    """Create a draft with those rows in its file, under the heading `phone,name`."""
    content = "\n".join(",".join(row) for row in [("phone", "name"), *rows])
    return uploaded(customer, [content.encode()], **fields)


def uploaded(customer: Customer, content: Iterable[bytes], **fields: Any) -> Campaign:
    """Create a draft with that content of its file."""
    file = stored_files.store(
        customer.organization, name="people.csv", content_type="text/csv", content=content
    )
    fields = {
        "name": "Offers",
        "file": file,
        "encoding": "utf-8",
        "delimiter": ",",
        "columns": ["phone", "name"],
        "number_column": 0,
        "country": "SA",
        "sender": SENDER,
        "text": TEXT,
    } | fields
    return Campaign.objects.create(organization=customer.organization, **fields)


def checked(campaign: Campaign) -> Campaign:
    """Check a campaign and return it."""
    now = datetime.now(UTC)
    Campaign.objects.filter(pk=campaign.pk).update(state=State.CHECKING, due_at=now)
    assert check.check(campaign.id)
    return fresh(campaign)


def started(campaign: Campaign, **fields: Any) -> Campaign:
    """Check and start a campaign, and return it."""
    checked(campaign)
    now = datetime.now(UTC)
    fields = {"state": State.RUNNING, "due_at": now, "started_at": now} | fields
    Campaign.objects.filter(pk=campaign.pk).update(**fields)
    return fresh(campaign)


def running_one(customer: Customer, count: int, **fields: Any) -> Campaign:
    """Create a running campaign to that many numbers."""
    return started(made(customer, [(number, "Sara") for number in numbers(count)], **fields))


def run(campaign: Campaign, most: int = 200) -> Campaign:
    """Run a campaign's steps until there is nothing to do, `most` steps at most."""
    for _ in range(most):
        if not running.step(campaign.id):
            break
    return fresh(campaign)


def fresh(campaign: Campaign) -> Campaign:
    """Return the campaign as it is in the database."""
    return Campaign.objects.select_related("file", "organization").get(pk=campaign.pk)
