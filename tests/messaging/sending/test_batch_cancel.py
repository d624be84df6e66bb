"""POST /v1/batches/{batch_id}/cancel: all of a batch that no carrier has, with its credits."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from accounts.credits import ledger
from accounts.models import MICRO
from imissive.core import ids
from messaging.models import Message
from messaging.sending import cancel as cancellation
from messaging.states import Status
from tests.messaging.sending.test_sms_cancel import (
    REFUND,
    assert_refused,
    claim,
    overlapping,
    refunds,
)
from tests.support.factories import (
    PHONE,
    Api,
    Customer,
    advance,
    in_threads,
    noting,
)


def bulk(api: Api, count: int, **fields: Any) -> str:
    """The id of a batch of that many messages for tomorrow, unless fields differ."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    rows = [{"to": f"+9665012345{number:02}", "message": "Hello"} for number in range(count)]
    answer = api.post("/v1/sms/bulk", {"messages": rows, "scheduled_at": tomorrow} | fields)
    assert answer.status_code == 202, answer.content
    batch_id: str = answer.json()["batch_id"]
    return batch_id


def cancel(api: Api, batch_id: str):
    return api.post(f"/v1/batches/{batch_id}/cancel")


def statuses(customer: Customer) -> list[str]:
    return [message.status for message in customer.messages()]


def test_all_of_it_is_canceled_refunded_and_told(api, customer, carrier, world):
    batch_id = bulk(api, 3)
    world.endpoint(customer)
    answer = cancel(api, batch_id)
    assert answer.status_code == 200
    assert answer.json() == {"batch_id": batch_id, "canceled": 3, "credits": "3"}
    assert customer.balance() == 100 * MICRO
    made = customer.messages()
    assert statuses(customer) == ["canceled"] * 3
    refunded = sorted((REFUND, MICRO, message.id) for message in made)
    assert sorted(customer.ledger()[1:]) == refunded
    assert sorted(customer.events()) == sorted(("message.canceled", one.id) for one in made)


def test_what_is_further_along_stays(api, customer, carrier):
    batch_id = bulk(api, 4, scheduled_at=None)
    made = customer.messages()
    for message, status in zip(made, (Status.SENDING, Status.SENT, Status.DELIVERED), strict=False):
        advance(Message.objects.filter(id=message.id), status)
    assert cancel(api, batch_id).json()["canceled"] == 1
    assert statuses(customer) == ["sending", "sent", "delivered", "canceled"]
    assert refunds(customer) == [MICRO]


def test_other_batches_and_messages_stay(api, customer, carrier):
    bulk(api, 1)
    api.post("/v1/sms/send", {"to": PHONE, "message": "Single"})
    cancel(api, bulk(api, 1))
    assert sorted(statuses(customer)) == ["canceled", "queued", "scheduled"]


def test_a_large_batch_is_canceled_in_steps(committed_world, monkeypatch):
    monkeypatch.setattr(cancellation, "STEP", 4)
    committed_world.serve()
    customer = committed_world.customer()
    batch_id = bulk(customer.api, 11)
    statements: list[str] = []
    with connection.execute_wrapper(noting(statements)):
        assert cancel(customer.api, batch_id).json()["canceled"] == 11
    assert sum("SET status = 'canceled'" in statement for statement in statements) == 3
    assert customer.balance() == 100 * MICRO


def test_a_test_batch_returns_nothing(test_api, customer, world):
    world.carrier(is_sandbox=True)
    assert cancel(test_api, bulk(test_api, 2)).json()["credits"] == "0"
    assert customer.ledger() == []


def test_nothing_left_to_cancel(api, customer, carrier):
    batch_id = bulk(api, 2)
    cancel(api, batch_id)
    before = customer.stored()
    assert_refused(cancel(api, batch_id), 409, "NOT_CANCELABLE")
    assert customer.stored() == before


def test_another_organizations_batch_is_as_missing_as_none(api, outsider, customer, carrier):
    batch_id = bulk(api, 1)
    theirs = cancel(outsider.api, batch_id)
    nobodys = cancel(outsider.api, ids.public_id("bat", ids.new_uuid()))
    assert_refused(theirs, 404, "NOT_FOUND")
    assert theirs.json()["error"] == nobodys.json()["error"]
    assert statuses(customer) == ["scheduled"]


@pytest.mark.parametrize("wrong", ["x", "bat_", "msg_01m83snhn8fsjsf5h41ebt60cg", "bat_%00"])
def test_what_is_no_id(api, wrong):
    assert_refused(cancel(api, wrong), 404, "NOT_FOUND")


def test_there_is_nothing_to_say(api, customer, carrier):
    answer = api.post(f"/v1/batches/{bulk(api, 1)}/cancel", {"only": "scheduled"})
    assert_refused(answer, 400, "INVALID_REQUEST")
    assert statuses(customer) == ["scheduled"]


# ---------------------------------------------------------------- races


def test_workers_and_a_cancel_share_the_batch(committed_world):
    carrier, customer = committed_world.serve(), committed_world.customer()
    batch_id = bulk(customer.api, 30, scheduled_at=None)

    def cancel_it() -> list[str]:
        cancel(customer.api, batch_id)
        return []

    def work() -> list[str]:
        return [one.to for _ in range(3) for one in claim(carrier)]

    _, *taken = in_threads([cancel_it, work, work])
    claimed = [to for found in taken for to in found]
    by_status = {message.to: message.status for message in customer.messages()}
    assert {to for to, status in by_status.items() if status == "sending"} == set(claimed)
    assert set(by_status.values()) <= {"sending", "canceled"}
    assert refunds(customer) == [MICRO] * (30 - len(claimed))


def test_two_cancels_at_once_give_the_credits_back_once(committed_world):
    committed_world.serve()
    customer = committed_world.customer()
    batch_id = bulk(customer.api, 20)
    ends = [lambda: cancel(customer.api, batch_id).status_code for _ in range(4)]
    single = ids.public_id("msg", customer.messages()[7].id)
    ends.append(lambda: customer.api.post(f"/v1/sms/{single}/cancel").status_code)
    assert set(in_threads(ends)) <= {200, 409}
    assert customer.balance() == 100 * MICRO
    assert refunds(customer) == [MICRO] * 20
    assert not [found for found in ledger.discrepancies() if found.organization_id == customer.id]


def test_what_a_worker_is_claiming_is_left_to_it(committed_world):
    carrier, customer = committed_world.serve(), committed_world.customer()
    batch_id = bulk(customer.api, 15, scheduled_at=None)
    claimed, answer = overlapping(
        lambda: claim(carrier), lambda: cancel(customer.api, batch_id).json()
    )
    assert (len(claimed), answer["canceled"], answer["credits"]) == (10, 5, "5")
