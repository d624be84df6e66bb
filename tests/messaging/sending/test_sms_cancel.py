"""POST /v1/sms/{message_id}/cancel: what no carrier has comes back with its credits, once."""

import json
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from django.db import connection, transaction

from accounts.credits import ledger
from accounts.keys.api_keys import create_key
from accounts.models import MICRO
from imissive.core import ids
from imissive.core.errors import ApiError
from messaging.carriers import queue, sweeps
from messaging.carriers.queue import Claimed
from messaging.models import Message
from messaging.sending import cancel as cancellation
from messaging.states import Status
from tests.support import transitions
from tests.support.factories import (
    PHONE,
    Api,
    Customer,
    World,
    in_threads,
)

First = TypeVar("First")
Second = TypeVar("Second")
REFUND = "refund"


def later(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


def send(api: Api, **fields: Any) -> str:
    """The id of a message that was accepted for tomorrow, unless fields differ."""
    body = {"to": PHONE, "message": "Hello", "scheduled_at": later(days=1)} | fields
    answer = api.post("/v1/sms/send", body)
    assert answer.status_code == 202, answer.content
    message_id: str = answer.json()["message_id"]
    return message_id


def cancel(api: Api, message_id: str):
    return api.post(f"/v1/sms/{message_id}/cancel")


def assert_refused(answer, status: int, code: str) -> str:
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    message: str = error["message"]
    return message


def refunds(customer: Customer) -> list[int]:
    return [amount for kind, amount, _ in customer.ledger() if kind == REFUND]


# ---------------------------------------------------------------- what can be canceled


@pytest.mark.parametrize("scheduled_at", [later(days=1), None], ids=["scheduled", "queued"])
def test_it_is_canceled_refunded_and_told(api, customer, carrier, world, scheduled_at):
    message_id = send(api, message="م" * 71, scheduled_at=scheduled_at, reference="order 7")
    world.endpoint(customer)
    answer = cancel(api, message_id)
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert customer.balance() == 100 * MICRO
    reference = ids.parse_id("msg", message_id)
    assert customer.ledger()[-1] == (REFUND, 2 * MICRO, reference)
    [message] = customer.messages()
    assert (message.status, message.due_at, message.window_closes_at) == ("canceled", None, None)
    [event] = customer.event_rows()
    body = json.loads(event.body)
    assert body == {
        "event": "message.canceled",
        "message_id": message_id,
        "timestamp": body["timestamp"],
        "data": {
            "to": PHONE,
            "status": "canceled",
            "canceled_at": body["timestamp"],
            "reference": "order 7",
        },
    }


def test_the_answer_is_the_message(api, carrier):
    message_id = send(api)
    answer = cancel(api, message_id).json()
    detail = api.get(f"/v1/sms/{message_id}").json()
    assert {name: detail[name] for name in answer} == answer
    assert [row["event"] for row in detail["timeline"]] == ["accepted", "scheduled", "canceled"]
    assert detail["timeline"][-1]["detail"] is None


def test_it_never_goes_out(api, customer, carrier):
    cancel(api, send(api, scheduled_at=None))
    cancel(api, send(api))
    Message.objects.update(due_at=datetime.now(UTC))  # whatever may look at it
    sweeps.release_scheduled()
    assert claim(carrier) == []
    assert {message.status for message in customer.messages()} == {"canceled"}


def test_what_was_tried_and_not_taken_may_be_canceled(api, customer, carrier, world):
    """Throttled, and queued again."""
    message = world.message(customer, carrier, submits=2, price=MICRO)
    assert cancel(api, message.public_id).status_code == 200
    assert refunds(customer) == [MICRO]


def test_a_test_message_costs_and_returns_nothing(test_api, customer, world):
    world.carrier(is_sandbox=True)
    assert cancel(test_api, send(test_api)).status_code == 200
    assert customer.ledger() == []


def test_another_key_of_the_organization_and_mode_may(api, customer, carrier):
    other = Api(create_key(customer.organization, "k", test=False)[1])
    assert cancel(other, send(api)).status_code == 200


@pytest.mark.parametrize("raw", ["", "{}", "null"])
def test_an_empty_body_is_none(api, carrier, raw):
    answer = api.post(f"/v1/sms/{send(api)}/cancel", raw=raw)
    assert answer.status_code == 200


# ---------------------------------------------------------------- what cannot


@pytest.mark.parametrize(
    "status", [status for status in Status if status not in ("scheduled", "queued")]
)
def test_too_late(api, customer, carrier, world, status):
    message = world.message(customer, carrier, status=status, price=MICRO)
    told = assert_refused(cancel(api, message.public_id), 409, "NOT_CANCELABLE")
    assert status in told
    message.refresh_from_db()
    assert message.status == status
    assert refunds(customer) == []


def test_a_second_time(api, customer, carrier):
    message_id = send(api)
    cancel(api, message_id)
    before = customer.stored()
    assert_refused(cancel(api, message_id), 409, "NOT_CANCELABLE")
    assert customer.stored() == before


def test_what_a_carrier_has_a_part_of(api, customer, carrier, world):
    message = world.message(customer, carrier, parts=2, submits=1, price=2 * MICRO)
    world.part(message, "c-1")
    told = assert_refused(cancel(api, message.public_id), 409, "NOT_CANCELABLE")
    assert "on its way" in told
    assert refunds(customer) == []


def test_what_a_carrier_may_have(api, customer, carrier, world):
    """It was submitted, and never answered."""
    message = world.message(customer, carrier, unanswered=1)
    assert_refused(cancel(api, message.public_id), 409, "NOT_CANCELABLE")


def test_another_organizations_message_is_as_missing_as_none(api, outsider, customer, carrier):
    message_id = send(api)
    theirs = cancel(outsider.api, message_id)
    nobodys = cancel(outsider.api, ids.public_id("msg", ids.new_uuid()))
    assert_refused(theirs, 404, "NOT_FOUND")
    assert theirs.json()["error"] == nobodys.json()["error"]
    assert customer.messages()[0].status == Status.SCHEDULED


@pytest.mark.parametrize("wrong", ["x", "msg_", "bat_01m83snhn8fsjsf5h41ebt60cg", "msg_%00"])
def test_what_is_no_id(api, wrong):
    assert_refused(cancel(api, wrong), 404, "NOT_FOUND")


@pytest.mark.parametrize("raw", ['{"force": true}', "[]", "{", "1"])
def test_there_is_nothing_to_say(api, customer, carrier, raw):
    answer = api.post(f"/v1/sms/{send(api)}/cancel", raw=raw)
    assert_refused(answer, 400, "INVALID_REQUEST")
    assert customer.messages()[0].status == Status.SCHEDULED


# ---------------------------------------------------------------- races


def claim(carrier) -> list[Claimed]:
    return queue.claim(carrier.id, urgent=False, limit=10, lease=uuid.uuid4()) + (
        queue.claim(carrier.id, urgent=True, limit=10, lease=uuid.uuid4())
    )


def overlapping(first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
    """Both, the second one while what the first one did is not committed."""
    done, tried = threading.Event(), threading.Event()
    answers: dict[str, Any] = {}

    def begin() -> None:
        with transaction.atomic():
            answers["first"] = first()
            done.set()
            tried.wait(0.5)  # it may be waiting for us

    def follow() -> None:
        done.wait(10)
        answers["second"] = second()
        tried.set()

    in_threads([begin, follow])
    return answers["first"], answers["second"]


def canceled(customer: Customer, message: Message) -> bool:
    try:
        cancellation.cancel(customer.id, message.id, test=None)
    except ApiError as error:
        if error.problem.code != "NOT_CANCELABLE":
            raise
        return False
    return True


@pytest.fixture
def racing(committed_world: World) -> tuple[Customer, Any, Message]:
    """A customer, the carrier, and a queued message that cost a credit."""
    carrier, customer = committed_world.serve(), committed_world.customer()
    return customer, carrier, committed_world.message(customer, carrier, price=MICRO)


def test_a_cancel_that_comes_after_the_claim_loses(racing):
    customer, carrier, message = racing
    claimed, won = overlapping(lambda: claim(carrier), lambda: canceled(customer, message))
    assert ([one.id for one in claimed], won) == ([message.id], False)
    message.refresh_from_db()
    assert (message.status, refunds(customer)) == ("sending", [])


def test_a_claim_that_comes_after_the_cancel_finds_nothing(racing):
    customer, carrier, message = racing
    won, claimed = overlapping(lambda: canceled(customer, message), lambda: claim(carrier))
    assert (won, claimed) == (True, [])
    message.refresh_from_db()
    assert (message.status, refunds(customer)) == ("canceled", [MICRO])
    assert claim(carrier) == []


def test_without_the_lock_both_would_win(racing, monkeypatch):
    """The race is real: the message would be submitted, and its credits given back.

    It would be canceled while it is sent, which the table does not have.
    """
    customer, carrier, message = racing
    lockless = cancellation._CANCEL.replace("FOR UPDATE", "")
    assert lockless != cancellation._CANCEL
    monkeypatch.setattr(cancellation, "_CANCEL", lockless)
    with connection.cursor() as cursor, transitions.disabled(cursor.execute):
        claimed, won = overlapping(lambda: claim(carrier), lambda: canceled(customer, message))
    assert ([one.id for one in claimed], won) == ([message.id], True)


def scheduled(message: Message) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    Message.objects.filter(id=message.id).update(
        status=Status.SCHEDULED, due_at=past, scheduled_at=past
    )


def test_a_release_that_comes_after_the_cancel_finds_nothing(racing):
    customer, carrier, message = racing
    scheduled(message)
    won, released = overlapping(
        lambda: canceled(customer, message), lambda: sweeps.release_scheduled()
    )
    assert (won, released) == (True, 0)
    assert sweeps.release_scheduled() == 0
    assert claim(carrier) == []
    assert refunds(customer) == [MICRO]


def test_a_cancel_that_comes_after_the_release_takes_it_out_of_the_queue(racing):
    customer, carrier, message = racing
    scheduled(message)
    released, won = overlapping(
        lambda: sweeps.release_scheduled(), lambda: canceled(customer, message)
    )
    assert (released, won) == (1, True)
    assert claim(carrier) == []
    assert refunds(customer) == [MICRO]


def test_a_cancel_and_an_expiry_refund_once(racing):
    customer, _, message = racing
    past = datetime.now(UTC) - timedelta(seconds=1)
    Message.objects.filter(id=message.id).update(expires_at=past)
    expired, won = overlapping(lambda: sweeps.expire_queued(), lambda: canceled(customer, message))
    assert (expired, won) == (1, False)
    assert refunds(customer) == [MICRO]


def test_of_many_cancels_at_once_one_wins(committed_world):
    committed_world.serve()
    customer = committed_world.customer()
    committed_world.endpoint(customer, "message.canceled")
    message_id = send(customer.api)
    answers = in_threads([lambda: cancel(customer.api, message_id).status_code] * 8)
    assert sorted(answers) == [200] + [409] * 7
    assert customer.balance() == 100 * MICRO
    assert refunds(customer) == [MICRO]
    assert len(customer.events()) == 1


def test_cancels_and_workers_share_a_queue(committed_world):
    """Each message is either canceled and refunded, or claimed; none is both or neither."""
    carrier, customer = committed_world.serve(), committed_world.customer()
    made = [committed_world.message(customer, carrier, price=MICRO) for _ in range(60)]
    won: list[uuid.UUID] = []
    taken: list[uuid.UUID] = []

    def cancel_some(messages: list[Message]) -> None:
        won.extend(message.id for message in messages if canceled(customer, message))

    def work() -> None:
        while claimed := queue.claim(carrier.id, urgent=False, limit=3, lease=uuid.uuid4()):
            taken.extend(message.id for message in claimed)

    in_threads([lambda: cancel_some(made[::2]), lambda: cancel_some(made[::-1]), work, work])
    assert len(won) == len(set(won))
    assert not set(won) & set(taken)
    assert set(won) | set(taken) == {message.id for message in made}
    assert refunds(customer) == [MICRO] * len(won)
    assert not [found for found in ledger.discrepancies() if found.organization_id == customer.id]
