"""GET /v1/webhooks/{id}/deliveries: order, filters, pages, and the index that serves each."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.utils import timezone

from imissive.core import ids
from tests.support.factories import Api, Customer, World
from tests.support.webhook_calls import (
    UNKNOWN_WEBHOOKS,
    call,
    call_json,
    check_other_methods,
    check_who_may,
    refused,
)
from tests.support.webhook_dispatch import (
    give_up,
    happen,
    rows,
    statuses,
    work_off,
)
from webhooks.delivery import log, queue
from webhooks.events import outbox
from webhooks.models import Delivery, Endpoint


@pytest.fixture
def endpoint(world: World, customer: Customer) -> Endpoint:
    return world.endpoint(customer)


def path(endpoint: Endpoint, **query: Any) -> str:
    return f"/v1/webhooks/{endpoint.public_id}/deliveries?{urlencode(query)}"


def listed(api: Api, endpoint: Endpoint, **query: Any) -> list[str]:
    """Return the ids of the deliveries on the first page."""
    return [row["id"] for row in call_json(api, "GET", path(endpoint, **query))["data"]]


def ids_of(found: list[Delivery]) -> list[str]:
    """Return the ids of the endpoint's deliveries, newest first."""
    return [row.public_id for row in sorted(found, key=lambda row: row.id, reverse=True)]


def test_newest_first_with_all_fields(
    api: Api, customer: Customer, world: World, endpoint: Endpoint
) -> None:
    other = world.endpoint(customer)
    for type in ("message.sent", "otp.failed", "message.sent", "balance.low"):
        happen(customer, 2, type)
    work_off(endpoint, delivered=False)
    assert listed(api, endpoint) == ids_of(rows(endpoint))
    assert len(listed(api, other)) == 8
    first = call_json(api, "GET", path(endpoint))["data"][0]
    assert first == call_json(api, "GET", f"/v1/webhooks/deliveries/{first['id']}")
    assert len(first["attempts"]) == 1


def test_pages_neither_repeat_nor_miss_with_new_deliveries(
    api: Api, customer: Customer, endpoint: Endpoint
) -> None:
    happen(customer, 7)
    there = ids_of(rows(endpoint))
    read: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = call_json(api, "GET", path(endpoint, limit=3, **cursor))
        read += [row["id"] for row in page["data"]]
        happen(customer)
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert read == there


def public_id(delivery: Delivery) -> str:
    return "pending" if delivery.status == "sending" else delivery.status


@pytest.mark.parametrize("waiting_is_sorted", [True, False])
def test_by_status(
    api: Api,
    customer: Customer,
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    waiting_is_sorted: bool,
) -> None:
    monkeypatch.setattr(log, "MAX_SORTED", 100 if waiting_is_sorted else 0)
    happen(customer, 2)
    work_off(endpoint, delivered=True)
    happen(customer, 3)
    work_off(endpoint, delivered=False)
    give_up(endpoint)
    happen(customer, 4)
    happen(customer, 1, "otp.failed")
    queue.claim(endpoint.id, 2)
    assert statuses(endpoint) == {"delivered", "failed", "pending", "sending"}
    for status, count in {"delivered": 2, "failed": 3, "pending": 5}.items():
        found = [row for row in rows(endpoint) if public_id(row) == status]
        assert len(found) == count
        assert listed(api, endpoint, status=status) == ids_of(found)
        first = call_json(api, "GET", path(endpoint, status=status, limit=1))
        assert [row["id"] for row in first["data"]] == ids_of(found)[:1]
        after = listed(api, endpoint, status=status, cursor=first["next_cursor"])
        assert after == ids_of(found)[1:]
        some = [row for row in found if row.event_type == "otp.failed"]
        assert listed(api, endpoint, status=status, event="otp.failed") == ids_of(some)


def test_by_event_and_message(api: Api, customer: Customer, endpoint: Endpoint) -> None:
    now, message = datetime.now(UTC), ids.new_uuid()
    for type in ("message.queued", "message.sent", "message.delivered"):
        outbox.record([outbox.NewEvent(customer.id, type, now, message, {}, test=False)])
    happen(customer, 3)
    of_message = [row for row in rows(endpoint) if row.event.message_id == message]
    about = ids.public_id("msg", message)
    assert listed(api, endpoint, message_id=about) == ids_of(of_message)
    assert listed(api, endpoint, message_id=about, limit=2) == ids_of(of_message)[:2]
    sent = [row for row in rows(endpoint) if row.event_type == "message.sent"]
    assert listed(api, endpoint, event="message.sent") == ids_of(sent)
    both = [row for row in sent if row in of_message]
    assert listed(api, endpoint, event="message.sent", message_id=about) == ids_of(both)
    assert listed(api, endpoint, message_id=about, status="delivered") == []
    assert listed(api, endpoint, message_id=about, status="pending") == ids_of(of_message)
    assert listed(api, endpoint, message_id=ids.public_id("msg", ids.new_uuid())) == []


def aged(customer: Customer, endpoint: Endpoint, at: datetime) -> str:
    """Create a delivery at that time and return its id."""
    happen(customer)
    delivery = max(rows(endpoint), key=lambda row: row.id)
    new_id = uuid.UUID(int=ids.first_id_at(at).int | delivery.id.int & (2**60 - 1))
    Delivery.objects.filter(id=delivery.id).update(id=new_id)
    return ids.public_id("dlv", new_id)


def test_by_time(api: Api, customer: Customer, endpoint: Endpoint) -> None:
    noon = datetime(2026, 1, 15, 12, 0, 0, 500_000, tzinfo=UTC)
    old, at_noon, late = (
        aged(customer, endpoint, noon + timedelta(milliseconds=ms)) for ms in (-1, 0, 1)
    )
    assert listed(api, endpoint, created_after=noon.isoformat()) == [late, at_noon]
    assert listed(api, endpoint, created_before=noon.isoformat()) == [old]
    riyadh = "2026-01-15T15:00:00.5+03:00"
    assert listed(api, endpoint, created_after=riyadh) == [late, at_noon]
    period = {"created_after": noon.isoformat(), "created_before": "2026-01-15T12:00:00.501Z"}
    assert listed(api, endpoint, **period) == [at_noon]
    assert listed(api, endpoint, status="pending", **period) == [at_noon]
    assert listed(api, endpoint, created_after="1066-10-14T09:00:00Z", limit=1) == [late]
    read_back = call_json(api, "GET", f"/v1/webhooks/deliveries/{at_noon}")
    assert read_back["created_at"] == "2026-01-15T12:00:00.500Z"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"status": "lost"}, "status"),
        ({"status": ""}, "status"),
        ({"status": "sending"}, "status"),
        ({"event": "message.lost"}, "event"),
        ({"message_id": "msg_1"}, "message_id"),
        ({"message_id": "dlv_01hm6v0q8nfj2r4t6v8x0z2a4c"}, "message_id"),
        ({"created_after": "yesterday"}, "created_after"),
        ({"created_after": "2026-01-15T12:00:00"}, "created_after"),
        ({"created_before": "2026-13-01T00:00:00Z"}, "created_before"),
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "dlv_01hm6v0q8nfj2r4t6v8x0z2a4c"}, "cursor"),
        ({"state": "failed"}, "state"),
    ],
)
def test_invalid_queries(api: Api, endpoint: Endpoint, query: dict[str, str], field: str) -> None:
    refused(call(api, "GET", path(endpoint, **query)), 400, "INVALID_REQUEST", field)


@pytest.mark.parametrize("id", UNKNOWN_WEBHOOKS)
def test_ids_of_other_kinds_are_not_found(api: Api, id: str) -> None:
    refused(call(api, "GET", f"/v1/webhooks/{id}/deliveries"), 404, "NOT_FOUND")


def test_permissions(customer: Customer, outsider: Customer, endpoint: Endpoint) -> None:
    happen(customer)
    check_who_may(customer, outsider, "GET", path(endpoint), None, status=200)
    check_other_methods(customer.api, path(endpoint), "GET")


# ------------------------------------------------------------ indexes


@pytest.fixture
def long_log(customer: Customer, endpoint: Endpoint) -> None:
    """A log long enough for PostgreSQL to prefer an index."""
    for _ in range(4):
        happen(customer, 500)
        work_off(endpoint, delivered=True)
    happen(customer, 10)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE webhooks_delivery; ANALYZE webhooks_event")


def plan_of(endpoint: Endpoint, filters: log.Filter) -> str:
    """Return PostgreSQL's plan for the query."""
    statements: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, *rest: Any) -> Any:
        statements.append((sql, params))
        return execute(sql, params, *rest)

    with connection.execute_wrapper(note):
        log.newest(endpoint.id, filters, 51)
    sql, parameters = statements[0]
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + sql, parameters)
        return "\n".join(row[0] for row in cursor.fetchall())


@pytest.mark.usefixtures("long_log")
@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (log.Filter(), "delivery_log "),
        (log.Filter(event_type="message.sent"), "delivery_log "),
        (log.Filter(after=timezone.now(), until=timezone.now()), "delivery_log "),
        (log.Filter(status="failed"), "delivery_log_ended "),
        (log.Filter(status="delivered", event_type="otp.failed"), "delivery_log_ended "),
        (log.Filter(status="pending"), "delivery_due "),
        (log.Filter(message_id=ids.new_uuid()), "event_of_message "),
    ],
)
def test_each_filter_has_its_index(endpoint: Endpoint, filters: log.Filter, index: str) -> None:
    plan = plan_of(endpoint, filters)
    assert f"using {index}" in plan or f"on {index}" in plan, plan
    assert "Seq Scan" not in plan
    # The range of ids is part of the index condition, and the rows are read in order.
    if index.startswith("delivery_log"):
        assert ", id) >= ROW(" in plan.partition("Index Cond")[2].partition("\n")[0], plan
        assert plan.count("Sort Key") == 1, plan
