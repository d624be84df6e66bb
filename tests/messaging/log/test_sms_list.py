"""GET /v1/sms: filters, stable pages while messages arrive, and every refusal."""

import threading
import urllib.parse
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from imissive.core import ids
from imissive.core.cursors import encode_cursor
from messaging.models import Batch, Message
from messaging.states import Status
from tests.support.factories import PHONE, SENDER, Api, in_threads

URL = "/v1/sms"
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def at(seconds: float) -> dict[str, Any]:
    """Return the fields of a message that was accepted that many seconds after noon."""
    moment = NOON + timedelta(seconds=seconds)
    # Its id is of the same moment, like that of an accepted message.
    unguessable = uuid.uuid4().int & ((1 << 62) - 1)
    return {"id": uuid.UUID(int=ids.first_id_at(moment).int | unguessable), "created_at": moment}


def get(api: Api, **query: Any):
    return api.get(f"{URL}?{urllib.parse.urlencode(query)}" if query else URL)


def listed(api: Api, **query: Any) -> list[str]:
    """Return the ids of one page."""
    response = get(api, **query)
    assert response.status_code == 200, response.content
    return [row["message_id"] for row in response.json()["data"]]


def read_all(api: Api, **query: Any) -> list[str]:
    """Return the ids of all pages, following next_cursor."""
    found: list[str] = []
    while True:
        body = get(api, **query).json()
        found += [row["message_id"] for row in body["data"]]
        if body["next_cursor"] is None:
            return found
        assert body["data"], "a page that is not the last has rows"
        query["cursor"] = body["next_cursor"]


def named(*messages: Message) -> list[str]:
    return [message.public_id for message in messages]


# ---------------------------------------------------------------- the list


def test_a_row_is_the_message(api, customer, carrier, world):
    message = world.message(customer, carrier, reference="order 7")
    body = get(api).json()
    detail = api.get(f"{URL}/{message.public_id}").json()
    [row] = body["data"]
    assert {name: detail[name] for name in row} == row
    assert set(detail) - set(row) == {"text", "expires_at", "segments", "timeline"}
    assert body == {"data": [row], "next_cursor": None}


def test_nothing_is_an_empty_list(api):
    assert get(api).json() == {"data": [], "next_cursor": None}


def test_newest_first(api, customer, carrier, world):
    older, newest, oldest = (world.message(customer, carrier, **at(s)) for s in (1, 2, 0))
    assert listed(api) == named(newest, older, oldest)


def test_fifty_a_page_unless_asked(api, customer, carrier, world):
    created = [world.message(customer, carrier, **at(second)) for second in range(61)][::-1]
    assert listed(api) == named(*created[:50])
    assert listed(api, limit=60) == named(*created[:60])
    assert listed(api, limit=1) == named(created[0])


def test_the_pages_together_are_all(api, customer, carrier, world):
    created = [world.message(customer, carrier, **at(second)) for second in range(23)][::-1]
    for limit in (1, 7, 22, 23, 200):
        assert read_all(api, limit=limit) == named(*created)


def test_a_page_that_is_just_full_is_the_last(api, customer, carrier, world):
    for second in range(4):
        world.message(customer, carrier, **at(second))
    assert get(api, limit=4).json()["next_cursor"] is None
    cursor = get(api, limit=2).json()["next_cursor"]
    assert get(api, limit=2, cursor=cursor).json()["next_cursor"] is None


@pytest.mark.parametrize(
    "filters", [{}, {"status": "queued"}, {"sender_id": SENDER}, {"to": PHONE}], ids=str
)
def test_each_key_sees_the_messages_of_its_mode(api, test_api, customer, carrier, world, filters):
    live, in_test = (
        [world.message(customer, carrier, test=test) for _ in range(2)] for test in (False, True)
    )
    assert set(listed(api, **filters)) == set(named(*live))
    assert set(listed(test_api, **filters)) == set(named(*in_test))


def test_another_organizations_messages_are_not_there(api, customer, outsider, carrier, world):
    mine = world.message(customer, carrier, reference="r")
    world.message(outsider, carrier, reference="r")
    assert listed(api) == listed(api, reference="r") == listed(api, to=PHONE) == named(mine)
    assert listed(api, status="queued") == listed(api, sender_id="MyCompany") == named(mine)


# ---------------------------------------------------------------- filters


@pytest.fixture
def varied(customer, carrier, world) -> dict[str, Message]:
    """Create five messages, each of which differs from the others."""
    world.sender(customer, "Other")
    batch = Batch.objects.create(organization=customer.organization)
    return {
        "plain": world.message(customer, carrier, **at(0)),
        "failed": world.message(customer, carrier, status=Status.FAILED, **at(1)),
        "to": world.message(customer, carrier, to="+966509999999", **at(2)),
        "sender": world.message(customer, carrier, sender="Other", reference="b", **at(3)),
        "batch": world.message(customer, carrier, batch=batch, reference="a", **at(4)),
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["batch", "sender", "to", "failed", "plain"]),
        ({"status": "failed"}, ["failed"]),
        ({"status": "queued"}, ["batch", "sender", "to", "plain"]),
        ({"status": "canceled"}, []),
        ({"to": "+966509999999"}, ["to"]),
        ({"to": "+966508888888"}, []),
        ({"sender_id": "Other"}, ["sender"]),
        ({"sender_id": "MyCompany"}, ["batch", "to", "failed", "plain"]),
        ({"sender_id": "other"}, []),
        ({"reference": "a"}, ["batch"]),
        ({"reference": "A"}, []),
        ({"created_after": "2026-05-01T12:00:03Z"}, ["batch", "sender"]),
        ({"created_before": "2026-05-01T12:00:01Z"}, ["plain"]),
        (
            {
                "created_after": "2026-05-01T12:00:01Z",
                "created_before": "2026-05-01T15:00:03+03:00",
            },
            ["to", "failed"],
        ),
        ({"created_after": "2026-05-02T00:00:00Z"}, []),
        ({"created_before": "0001-01-01T00:00:00Z"}, []),
        ({"created_before": "9999-12-31T23:59:59Z"}, ["batch", "sender", "to", "failed", "plain"]),
        ({"status": "queued", "sender_id": "Other"}, ["sender"]),
        ({"status": "failed", "sender_id": "Other"}, []),
        ({"status": "failed", "to": PHONE}, ["failed"]),
        ({"status": "queued", "reference": "b"}, ["sender"]),
        ({"sender_id": "Other", "reference": "b"}, ["sender"]),
        ({"sender_id": "MyCompany", "reference": "b"}, []),
        ({"to": PHONE, "reference": "b"}, ["sender"]),
        ({"to": PHONE, "sender_id": "MyCompany", "status": "queued"}, ["batch", "plain"]),
        ({"status": "queued", "created_after": "2026-05-01T12:00:04Z"}, ["batch"]),
        ({"sender_id": "MyCompany", "created_before": "2026-05-01T12:00:01Z"}, ["plain"]),
        ({"reference": "a", "created_before": "2026-05-01T12:00:04Z"}, []),
        (
            {
                "status": "queued",
                "to": PHONE,
                "sender_id": "MyCompany",
                "reference": "a",
                "created_after": "2026-05-01T12:00:00Z",
                "created_before": "2026-05-01T13:00:00Z",
            },
            ["batch"],
        ),
    ],
    ids=str,
)
def test_filters_narrow_together(api, varied, query, found):
    assert listed(api, **query) == named(*(varied[name] for name in found))
    assert read_all(api, limit=1, **query) == named(*(varied[name] for name in found))


def test_the_messages_of_a_batch(api, varied):
    batch_id = ids.public_id("bat", varied["batch"].batch_id)
    assert listed(api, batch_id=batch_id) == named(varied["batch"])
    assert listed(api, batch_id=batch_id, status="queued") == named(varied["batch"])
    assert listed(api, batch_id=batch_id, status="failed") == []
    assert listed(api, batch_id=ids.public_id("bat", ids.new_uuid())) == []


def test_another_organizations_batch_is_as_empty_as_none(outsider, varied):
    batch_id = ids.public_id("bat", varied["batch"].batch_id)
    assert listed(outsider.api, batch_id=batch_id) == []


@pytest.mark.parametrize(
    "written", ["+966 50 999 9999", "00966509999999", "00966-50-999-9999", "+٩٦٦٥٠٩٩٩٩٩٩٩"]
)
def test_a_number_in_any_accepted_form(api, varied, written):
    assert listed(api, to=written) == named(varied["to"])


def test_a_plus_that_is_not_encoded(api, varied):
    """In a query it is a blank, which is a frequent mistake."""
    response = api.get(f"{URL}?to=+966509999999&created_after=2026-05-01T15:00:02+03:00")
    assert [row["message_id"] for row in response.json()["data"]] == named(varied["to"])


def test_every_status_is_a_filter(api, customer, carrier, world):
    for status in Status:
        message = world.message(customer, carrier, status=status)
        assert listed(api, status=str(status)) == named(message)


def test_a_period_is_by_created_at_where_the_id_is_older(api, customer, carrier, world):
    """Ids of a bulk call are created during its evaluation, created_at afterwards."""
    late = at(0) | {"created_at": NOON + timedelta(seconds=20)}
    message = world.message(customer, carrier, **late)
    assert listed(api, created_after="2026-05-01T12:00:20Z") == named(message)
    assert listed(api, created_before="2026-05-01T12:00:20Z") == []


def test_a_time_from_a_response_finds_that_message(api, customer, carrier, world):
    message = world.message(customer, carrier)
    created_at = get(api).json()["data"][0]["created_at"]
    assert listed(api, created_after=created_at) == named(message)
    assert listed(api, created_before=created_at) == []


# ---------------------------------------------------------------- while messages arrive


@pytest.mark.parametrize(
    "query", [{}, {"status": "queued"}, {"sender_id": "MyCompany"}, {"to": PHONE}], ids=str
)
def test_pages_hold_still_when_messages_arrive(api, customer, carrier, world, query):
    created = [world.message(customer, carrier, **at(second)) for second in range(6)][::-1]
    first = get(api, limit=3, **query).json()
    world.message(customer, carrier)
    second = get(api, limit=3, cursor=first["next_cursor"], **query).json()
    read = [row["message_id"] for page in (first, second) for row in page["data"]]
    assert read == named(*created)


@pytest.mark.parametrize("query", [{}, {"status": "queued"}, {"to": PHONE}], ids=str)
def test_nothing_is_missed_or_doubled_while_others_send(committed_world, query):
    world = committed_world
    carrier, customer = world.serve(), world.customer(credits=100_000)
    before = [world.message(customer, carrier).public_id for _ in range(40)]
    body = {"messages": [{"to": PHONE, "message": "More"}] * 3}
    done = threading.Event()

    def send() -> int:
        count = 0
        while not done.is_set():
            assert customer.api.post("/v1/sms/bulk", body).status_code == 202
            count += 3
        return count

    def read() -> int:
        try:
            for _ in range(3):
                found = read_all(customer.api, limit=5, **query)
                assert len(found) == len(set(found)), "doubled"
                assert set(before) <= set(found), "missed"
                assert found == sorted(found, reverse=True)
        finally:
            done.set()
        return 0

    sent = in_threads([send, send, read])
    assert sum(sent) > 3, "nothing arrived meanwhile"


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("status=lost", "INVALID_REQUEST", "status"),
        ("status=", "INVALID_REQUEST", "status"),
        ("status=FAILED", "INVALID_REQUEST", "status"),
        ("to=", "INVALID_PHONE", "to"),
        ("to=0401234567", "INVALID_PHONE", "to"),
        ("to=hello", "INVALID_PHONE", "to"),
        (f"to={'9' * 5000}", "INVALID_PHONE", "to"),
        ("to=%2B96650%00", "INVALID_REQUEST", "to"),
        ("sender_id=", "INVALID_REQUEST", "sender_id"),
        (f"sender_id={'s' * 51}", "INVALID_REQUEST", "sender_id"),
        ("reference=", "INVALID_REQUEST", "reference"),
        (f"reference={'r' * 101}", "INVALID_REQUEST", "reference"),
        ("reference=%00", "INVALID_REQUEST", "reference"),
        ("batch_id=", "INVALID_REQUEST", "batch_id"),
        ("batch_id=7", "INVALID_REQUEST", "batch_id"),
        ("batch_id=msg_01m83snhn8fsjsf5h41ebt60cg", "INVALID_REQUEST", "batch_id"),
        ("created_after=", "INVALID_REQUEST", "created_after"),
        ("created_after=yesterday", "INVALID_REQUEST", "created_after"),
        ("created_after=2026", "INVALID_REQUEST", "created_after"),
        ("created_after=1700000000", "INVALID_REQUEST", "created_after"),
        ("created_after=-5", "INVALID_REQUEST", "created_after"),
        ("created_after=2026-05-01", "INVALID_REQUEST", "created_after"),
        ("created_after=2026-05-01T12:00:00", "INVALID_REQUEST", "created_after"),
        ("created_after=2026-13-01T12:00:00Z", "INVALID_REQUEST", "created_after"),
        ("created_before=0001-01-01T00:00:00%2B10:00", "INVALID_REQUEST", "created_before"),
        (
            "created_after=2026-05-01T12:00:00Z&created_before=2026-05-01T12:00:00Z",
            "INVALID_REQUEST",
            "created_after",
        ),
        ("limit=0", "INVALID_REQUEST", "limit"),
        ("limit=201", "INVALID_REQUEST", "limit"),
        ("limit=-1", "INVALID_REQUEST", "limit"),
        ("limit=ten", "INVALID_REQUEST", "limit"),
        ("limit=", "INVALID_REQUEST", "limit"),
        ("cursor=", "INVALID_REQUEST", "cursor"),
        ("cursor=2", "INVALID_REQUEST", "cursor"),
        ("cursor=msg_01m83snhn8fsjsf5h41ebt60cg", "INVALID_REQUEST", "cursor"),
        ("page=2", "INVALID_REQUEST", "page"),
        ("Status=failed", "INVALID_REQUEST", "Status"),
        ("status=failed&status=sent", "INVALID_REQUEST", "status"),
    ],
    ids=lambda value: value[:50] if isinstance(value, str) else None,
)
def test_invalid_parameters_are_refused(api, query, code, field):
    response = api.get(f"{URL}?{query}")
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["field"]) == (400, code, field)


def test_all_problems_are_reported_at_once(api):
    error = api.get(f"{URL}?limit=0&status=lost&page=2").json()["error"]
    named_fields = {error["field"], *(problem["field"] for problem in error["details"])}
    assert named_fields == {"limit", "status", "page"}


def test_a_cursor_beyond_the_last_is_an_empty_page(api, customer, carrier, world):
    message = world.message(customer, carrier)
    assert listed(api, cursor=encode_cursor(message.id)) == []


def test_another_organizations_cursor_shows_nothing_of_it(outsider, customer, carrier, world):
    theirs = world.message(customer, carrier, **at(1))
    mine = world.message(outsider, carrier, **at(0))
    assert listed(outsider.api, cursor=encode_cursor(theirs.id)) == named(mine)
