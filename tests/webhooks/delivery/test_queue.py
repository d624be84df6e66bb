"""The delivery queue in the database: claims, leases, results, the retry schedule, the purge."""

import pytest
from django.utils import timezone

from tests.support.factories import Customer, World
from tests.support.webhook_dispatch import (
    endpoint_of,
    happen,
    make_due,
    outcome,
    rows,
    work_off,
)
from webhooks.delivery import housekeeping, queue
from webhooks.delivery.queue import Results
from webhooks.delivery.retry import RETRY_SECONDS, retry_seconds
from webhooks.endpoints import endpoints
from webhooks.models import Delivery, Endpoint

URL = "https://example.com/"


@pytest.fixture
def customer(committed_world: World) -> Customer:
    return committed_world.customer(sender=None)


def test_a_claim_is_exclusive_until_its_lease_ends(customer: Customer) -> None:
    endpoint = endpoint_of(customer, URL)
    happen(customer, 3)
    claimed = queue.claim(endpoint.id, 2)
    assert [row.attempts for row in claimed] == [0, 0]
    assert len(queue.claim(endpoint.id, 10)) == 1
    assert queue.claim(endpoint.id, 10) == []
    assert endpoint.id not in queue.due_endpoints()
    Delivery.objects.filter(endpoint=endpoint).update(next_attempt_at=timezone.now())
    assert endpoint.id in queue.due_endpoints()
    again = queue.claim(endpoint.id, 10)
    assert {row.id for row in claimed} < {row.id for row in again}


def test_a_late_result_changes_nothing(customer: Customer) -> None:
    endpoint = endpoint_of(customer, URL)
    happen(customer)
    [late] = queue.claim(endpoint.id, 1)
    Delivery.objects.filter(endpoint=endpoint).update(next_attempt_at=timezone.now())
    [ours] = queue.claim(endpoint.id, 1)
    queue.write(Results(outcomes=[outcome(late, delivered=False)]))
    queue.write(Results(returned=[late]))
    assert (rows(endpoint)[0].status, rows(endpoint)[0].attempts) == ("sending", 0)
    queue.write(Results(outcomes=[outcome(ours, delivered=True)]))
    queue.write(Results(outcomes=[outcome(ours, delivered=False)]))
    assert (rows(endpoint)[0].status, rows(endpoint)[0].attempts) == ("delivered", 1)


def test_handing_back_restores_the_delivery(customer: Customer) -> None:
    endpoint = endpoint_of(customer, URL)
    happen(customer, 5)
    before = Delivery.objects.filter(endpoint=endpoint).order_by("id").values()
    as_it_was = list(before)
    queue.write(Results(returned=queue.claim(endpoint.id, 5)))
    assert list(before.all()) == as_it_was


def test_the_retry_schedule(customer: Customer) -> None:
    """Nine retries, each after its wait plus up to a tenth of it; then the delivery fails."""
    endpoint = endpoint_of(customer, URL)
    happen(customer)
    for wait in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400):
        work_off(endpoint, delivered=False)
        [row] = rows(endpoint)
        assert row.status == "pending"
        assert row.next_attempt_at is not None
        waits = (row.next_attempt_at - timezone.now()).total_seconds()
        assert wait - 1 < waits <= wait * 1.1
        assert queue.claim(endpoint.id, 10) == []
        make_due(endpoint)
    work_off(endpoint, delivered=False)
    [row] = rows(endpoint)
    assert (row.status, row.attempts, row.next_attempt_at) == ("failed", 10, None)
    assert row.finished_at is not None


def test_the_jitter_spreads_retries() -> None:
    waits = {retry_seconds(1) for _ in range(100)}
    assert len(waits) > 90
    assert all(wait is not None and 5 <= wait <= 5.5 for wait in waits)
    assert retry_seconds(len(RETRY_SECONDS) + 1) is None


def test_a_deleted_endpoint_is_purged(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = endpoint_of(customer, URL)
    happen(customer, 12)
    endpoints.delete(endpoint)
    assert endpoint.id not in queue.due_endpoints()
    assert queue.load_target(endpoint.id) is None
    monkeypatch.setattr(housekeeping, "STEP", 5)
    housekeeping.purge_deleted()
    assert len(rows(endpoint)) == 12  # not yet
    Endpoint.objects.filter(id=endpoint.id).update(
        deleted_at=timezone.now() - housekeeping.PURGE_AFTER * 2
    )
    for left in (7, 2, 0):
        housekeeping.purge_deleted()
        assert len(rows(endpoint)) == left
    housekeeping.purge_deleted()
    assert not Endpoint.objects.filter(id=endpoint.id).exists()
