"""GET /v1/batches/{batch_id}: a bulk call's messages, counted as they stand."""

from typing import Any

import pytest

from accounts.credits import ledger
from accounts.models import MICRO, LedgerEntry
from imissive.core import ids
from messaging.models import Message
from messaging.states import Status
from tests.support.factories import PHONE, Api, Customer, advance

EMPTY = dict.fromkeys(map(str, Status), 0)


def bulk(api: Api, *numbers: str, **fields: Any) -> dict[str, Any]:
    messages = [{"to": number, "message": "Hello"} for number in numbers]
    answer: dict[str, Any] = api.post("/v1/sms/bulk", {"messages": messages} | fields).json()
    return answer


def read(api: Api, batch_id: str) -> dict[str, Any]:
    answer = api.get(f"/v1/batches/{batch_id}")
    assert answer.status_code == 200, answer.content
    body: dict[str, Any] = answer.json()
    return body


def end(customer: Customer, position: int, status: Status, *, refund: int = 0) -> None:
    message = customer.messages()[position]
    advance(Message.objects.filter(id=message.id), status, due_at=None)
    if refund:
        kind = LedgerEntry.Kind.REFUND
        ledger.post([ledger.Posting(customer.id, kind, refund, message.id, "not accepted")])


def test_a_batch_just_accepted(api, customer, carrier):
    sent = bulk(api, PHONE, "+966501234568", "nobody")
    body = read(api, sent["batch_id"])
    assert body == {
        "batch_id": sent["batch_id"],
        "created_at": sent["messages"][0]["created_at"],
        "total": 2,
        "parts": 2,
        "credits": "2",
        "refunded": "0",
        "counts": EMPTY | {"queued": 2},
    }


def test_it_counts_each_status_and_what_came_back(api, customer, carrier):
    sent = bulk(api, *[f"+9665012345{number}" for number in range(10, 16)])
    end(customer, 0, Status.DELIVERED)
    end(customer, 1, Status.FAILED, refund=MICRO)
    end(customer, 2, Status.EXPIRED)
    end(customer, 3, Status.CANCELED, refund=MICRO)
    end(customer, 4, Status.SENT)
    body = read(api, sent["batch_id"])
    ended = {"delivered": 1, "failed": 1, "expired": 1, "canceled": 1, "sent": 1, "queued": 1}
    assert body["counts"] == EMPTY | ended
    assert (body["total"], body["credits"], body["refunded"]) == (6, "6", "2")


def test_parts_are_counted_too(api, carrier):
    messages = [{"to": PHONE, "message": "م" * length} for length in (70, 71, 135)]
    sent = api.post("/v1/sms/bulk", {"messages": messages}).json()
    body = read(api, sent["batch_id"])
    assert (body["total"], body["parts"], body["credits"]) == (3, 6, "6")


def test_it_agrees_with_the_cancel(api, customer, carrier):
    sent = bulk(api, PHONE, "+966501234568")
    end(customer, 0, Status.SENT)
    api.post(f"/v1/batches/{sent['batch_id']}/cancel")
    body = read(api, sent["batch_id"])
    assert body["counts"] == EMPTY | {"sent": 1, "canceled": 1}
    assert (body["credits"], body["refunded"]) == ("2", "1")


def test_other_batches_do_not_count(api, customer, carrier):
    bulk(api, PHONE)
    sent = bulk(api, PHONE)
    api.post("/v1/sms/send", {"to": PHONE, "message": "Single"})
    assert read(api, sent["batch_id"])["total"] == 1


def test_a_test_batch_costs_nothing(test_api, world):
    world.carrier(is_sandbox=True)
    sent = bulk(test_api, PHONE)
    body = read(test_api, sent["batch_id"])
    assert (body["total"], body["credits"]) == (1, "0")


def test_another_organizations_batch_is_as_missing_as_none(api, outsider, carrier):
    sent = bulk(api, PHONE)
    theirs = outsider.api.get(f"/v1/batches/{sent['batch_id']}")
    nobodys = outsider.api.get(f"/v1/batches/{ids.public_id('bat', ids.new_uuid())}")
    assert (theirs.status_code, nobodys.status_code) == (404, 404)
    assert theirs.json()["error"] == nobodys.json()["error"]
    assert theirs.json()["error"]["code"] == "NOT_FOUND"


@pytest.mark.parametrize("wrong", ["x", "bat_", "msg_01m83snhn8fsjsf5h41ebt60cg", "bat_%00", "1"])
def test_what_is_no_id_is_not_found(api, wrong):
    assert api.get(f"/v1/batches/{wrong}").status_code == 404
