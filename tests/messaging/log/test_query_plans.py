"""The indexes of the list's filters, according to PostgreSQL's plans.

`python -m tests.bench.lists` measures the time at a million messages.
"""

import contextlib
import dataclasses
import itertools
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from messaging.carriers import sweeps
from messaging.log import query
from messaging.log.query import Filter
from messaging.models import Message
from messaging.states import Status
from tests.support import transitions
from tests.support.bulk_data import CAMPAIGN, MONITOR, fill
from tests.support.factories import World

MESSAGES = 8_000
NOW = datetime.now(UTC)
INDEX_OF = {
    "status": "message_by_sender_status",
    "sender": "message_by_sender_status",
    "to": "message_by_number",
    "reference": "message_by_reference",
    "batch_id": "message_of_batch",
    "since": "message_of_organization",
    "until": "message_of_organization",
}
VALUES: dict[str, Any] = {
    "status": "failed",
    "sender": "Mid",
    "to": MONITOR,
    "reference": CAMPAIGN,
    "since": NOW - timedelta(days=40),
    "until": NOW - timedelta(days=30),
}


Many = tuple[uuid.UUID, uuid.UUID]
"""An organization with enough messages for realistic plans, and one of its batches."""


@pytest.fixture(scope="module")
def filled(test_database: None, django_db_blocker) -> Iterator[Many]:
    with django_db_blocker.unblock():
        world = World()
        carrier, customer, other = world.carrier(), world.customer(), world.customer()
        fill(other.id, carrier.id, MESSAGES, batch=500)
        [batch_id, *_] = fill(customer.id, carrier.id, MESSAGES, batch=500)
    yield customer.id, batch_id
    with django_db_blocker.unblock():
        world.forget()


@pytest.fixture
def many(filled: Many, db: None) -> Many:
    return filled


@contextlib.contextmanager
def explained() -> Iterator[list[dict[str, Any]]]:
    """Collect every node of the plans of the statements that run inside."""
    nodes: list[dict[str, Any]] = []

    def explain(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().startswith(("SELECT", "WITH", "(")):
            execute(f"EXPLAIN (FORMAT JSON) {sql}", parameters, many, context)
            [(plan,)] = context["cursor"].fetchall()
            nodes.extend(_nodes(plan[0]["Plan"]))
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(explain):
        yield nodes


def plans_of(organization_id: uuid.UUID, narrowed: Filter, **page: Any) -> list[dict[str, Any]]:
    """Return every node of the plans by which a page is read."""
    with explained() as nodes:
        query.search(organization_id, narrowed, 51, **page)
    return nodes


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def indexes(nodes: list[dict[str, Any]], *, ordered: bool = True) -> set[str]:
    """Return the names of the indexes that a plan reads; fail for a sequential scan or a sort."""
    kinds = {node["Node Type"] for node in nodes}
    assert "Seq Scan" not in kinds
    assert not ordered or not kinds & {"Sort", "Bitmap Heap Scan"}
    return {node["Index Name"] for node in nodes if "Index Name" in node}


def chosen(many: Many, *names: str) -> tuple[uuid.UUID, Filter]:
    values = VALUES | {"batch_id": many[1]}
    return many[0], Filter(**{name: values[name] for name in names})


def pages(organization_id: uuid.UUID) -> list[dict[str, uuid.UUID]]:
    """Return the first page, one in the middle, and the last."""
    newest = Message.objects.filter(organization=organization_id).order_by("-id")
    found = newest.values_list("id", flat=True)
    return [{}, {"older_than": found[MESSAGES // 2]}, {"older_than": found[MESSAGES - 20]}]


def test_without_a_filter(many):
    for page in pages(many[0]):
        assert indexes(plans_of(many[0], Filter(), **page)) == {"message_of_organization"}


@pytest.mark.parametrize("name", INDEX_OF)
def test_each_filter_has_its_index(many, name):
    organization_id, narrowed = chosen(many, name)
    for page in pages(organization_id):
        assert indexes(plans_of(organization_id, narrowed, **page)) == {INDEX_OF[name]}


@pytest.mark.parametrize("pair", list(itertools.combinations(INDEX_OF, 2)), ids="+".join)
def test_each_pair_of_filters_has_an_index(many, pair):
    organization_id, narrowed = chosen(many, *pair)
    for page in pages(organization_id):
        # A batch is small, so it may be read completely.
        used = indexes(plans_of(organization_id, narrowed, **page), ordered="batch_id" not in pair)
        assert used <= {INDEX_OF[name] for name in pair}


@pytest.mark.parametrize(
    ("pair", "index"),
    [
        (("to", "status"), "message_by_number"),
        (("to", "sender"), "message_by_number"),
        (("reference", "status"), "message_by_reference"),
        (("reference", "sender"), "message_by_reference"),
        (("reference", "to"), "message_by_reference"),
        (("sender", "status"), "message_by_sender_status"),
    ],
)
def test_filters_that_never_meet_are_compared_in_the_index(many, pair, index):
    """A hundred thousand rows that match one filter are not fetched to check the other."""
    organization_id, narrowed = chosen(many, *pair)
    read = [node for node in plans_of(organization_id, narrowed) if node.get("Index Name") == index]
    assert read
    for node in read:
        assert "Filter" not in node, node
        assert narrowed.status is None or "status" in node["Index Cond"]
        assert narrowed.sender is None or "sender" in node["Index Cond"]


@pytest.mark.parametrize("status", list(map(str, Status)))
@pytest.mark.parametrize("more", [{}, {"sender": "Mid"}, {"to": MONITOR}], ids=str)
def test_no_status_is_read_from_a_partial_index(many, status, more):
    """They are small, or were at the last ANALYZE, and have all organizations' messages."""
    read = indexes(plans_of(many[0], Filter(status=status, **more)))
    assert read == {INDEX_OF["to"] if "to" in more else INDEX_OF["status"]}


UNSERVED: list[dict[str, Any]] = [
    {"digits": "4711"},
    {"source": "api", "batched": False, "country": "EG", "test": True},
]


@pytest.mark.parametrize("more", UNSERVED, ids=str)
@pytest.mark.parametrize("name", ["", *INDEX_OF])
def test_filters_without_an_index_read_a_limited_number(many, monkeypatch, name, more):
    """The index gives them in order, from the page's start up to a limit."""
    monkeypatch.setattr(query, "SEARCHED", 100)
    organization_id, narrowed = chosen(many, *filter(None, [name]))
    narrowed = dataclasses.replace(narrowed, **more)
    expected = {INDEX_OF[name]} if name else {"message_of_organization"}
    for page in pages(organization_id):
        nodes = plans_of(organization_id, narrowed, **page)
        # A batch is small, so it may be read completely.
        used = indexes(nodes, ordered=name != "batch_id")
        # A limited number by an index may also be read from the index of all messages, and test
        # messages from theirs.
        assert used <= expected | {"message_of_organization", "message_in_test"}
        assert used & expected
    for node in plans_of(organization_id, narrowed):
        if "Filter" in node and name not in ("batch_id", "since", "until"):
            assert "id >=" in node["Index Cond"], node


@pytest.mark.parametrize(
    "names", [(), ("status",), ("sender",), ("status", "sender"), ("since",), ("status", "until")]
)
def test_a_test_keys_list_does_not_read_through_live_messages(many, names):
    organization_id, narrowed = chosen(many, *names)
    for page in pages(organization_id):
        with explained() as nodes:
            query.read(organization_id, dataclasses.replace(narrowed, test=True), 51, **page)
        assert indexes(nodes) == {"message_in_test"}


@pytest.mark.parametrize("name", INDEX_OF)
def test_a_live_keys_list_has_the_same_indexes(many, name):
    organization_id, narrowed = chosen(many, name)
    for page in pages(organization_id):
        with explained() as nodes:
            query.read(organization_id, dataclasses.replace(narrowed, test=False), 51, **page)
        assert indexes(nodes) == {INDEX_OF[name]}


def test_a_list_refuses_filters_without_an_index(many):
    with pytest.raises(ValueError, match="no index"):
        query.read(many[0], Filter(country="SA"), 10)


def test_the_senders_are_found_by_steps(many):
    assert query.senders_used(many[0]) == ["Big", "Mid", "Rare"]
    nodes = plans_of(many[0], Filter(status="queued"))
    assert "Aggregate" not in {node["Node Type"] for node in nodes}
    assert query.senders_used(uuid.uuid4()) == []


def test_what_expires_in_the_queue_is_found_by_its_index(many):
    """The plan must hold for a queue of any length: the expiry sweep runs every few
    seconds."""
    with connection.cursor() as cursor:
        with transitions.disabled(cursor.execute):
            cursor.execute("UPDATE messaging_message SET status = 'queued', due_at = now()")
        # An empty table is scanned sequentially.
        cursor.execute(
            "INSERT INTO messaging_messagepart"
            " (message_id, number, carrier_id, carrier_message_id, status, error_code,"
            "  submitted_at)"
            " SELECT id, 1, carrier_id, id::text, 'sent', '', now() FROM messaging_message"
        )
        cursor.execute("ANALYZE messaging_message, messaging_messagepart")
    with explained() as nodes:
        assert sweeps.expire_queued() == 0
    found = [node for node in nodes if node.get("Index Name") == "message_expiry"]
    assert found
    assert "Seq Scan" not in {node["Node Type"] for node in nodes}
