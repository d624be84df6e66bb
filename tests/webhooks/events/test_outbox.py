"""The transactional outbox: payloads, signatures, recipients, and numbers of statements."""

import base64
import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from imissive.core import ids
from tests.support.factories import Customer, World
from webhooks.endpoints import endpoints
from webhooks.endpoints.signing import Signer, new_secret
from webhooks.events import outbox
from webhooks.events.outbox import NewEvent
from webhooks.models import Delivery, Endpoint, Event

AT = datetime(2024, 1, 15, 10, 1, 23, 987_654, tzinfo=UTC)


def event(organization: uuid.UUID, type: str = "message.sent", **data: Any) -> NewEvent:
    return NewEvent(organization, type, AT, ids.new_uuid(), data, test=False)


def deliveries(customer: Customer) -> list[Delivery]:
    mine = Delivery.objects.filter(event__organization=customer.organization)
    return list(mine.select_related("event", "endpoint").order_by("next_attempt_at"))


# ------------------------------------------------------------ bodies


def test_the_body_is_the_documented_one() -> None:
    message_id = ids.new_uuid()
    body = outbox.body_of(
        NewEvent(
            ids.new_uuid(),
            "message.delivered",
            AT,
            message_id,
            {
                "to": "+966501234567",
                "status": "delivered",
                "delivered_at": datetime(2024, 1, 15, 10, 1, 22, 5, tzinfo=UTC),
            },
            test=False,
        )
    )
    assert body == (
        '{"event":"message.delivered","message_id":"' + ids.public_id("msg", message_id) + '",'
        '"timestamp":"2024-01-15T10:01:23Z","data":{"to":"+966501234567","status":"delivered",'
        '"delivered_at":"2024-01-15T10:01:22Z"}}'
    )


def test_no_message_no_message_id() -> None:
    body = outbox.body_of(
        NewEvent(ids.new_uuid(), "sender_id.approved", AT, None, {"a": "مرحبا"}, test=False)
    )
    assert body == (
        '{"event":"sender_id.approved","timestamp":"2024-01-15T10:01:23Z","data":{"a":"مرحبا"}}'
    )


def test_the_timestamp_is_in_utc() -> None:
    riyadh = AT.astimezone(timezone(timedelta(hours=3)))
    body = orjson.loads(outbox.body_of(NewEvent(ids.new_uuid(), "x", riyadh, None, {}, test=False)))
    assert body["timestamp"] == "2024-01-15T10:01:23Z"


# ------------------------------------------------------------ signatures


def test_the_library_verifies_what_is_signed() -> None:
    secret = new_secret()
    headers = Signer([secret]).headers("evt_1", '{"a":"é"}')
    assert Webhook(secret).verify('{"a":"é"}', headers) == {"a": "é"}
    assert headers["webhook-id"] == "evt_1"
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify('{"a":"e"}', headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify('{"a":"é"}', headers | {"webhook-id": "evt_2"})
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify('{"a":"é"}', headers)


def test_the_example_of_the_specification() -> None:
    """From https://github.com/standard-webhooks/standard-webhooks (the libraries' shared test)."""
    signer = Signer(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
    headers = signer.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", '{"test": 2432232314}', now=1614265330)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_both_secrets_during_a_rotation() -> None:
    new, old = new_secret(), new_secret()
    headers = Signer([new, old]).headers("evt_1", "{}")
    assert headers["webhook-signature"].count("v1,") == 2
    for secret in (new, old):
        Webhook(secret).verify("{}", headers)


def test_secrets_are_long_and_differ() -> None:
    secrets = {new_secret() for _ in range(20)}
    assert len(secrets) == 20
    assert {len(base64.b64decode(secret[6:], validate=True)) for secret in secrets} == {32}


# ------------------------------------------------------------ recording


def test_without_subscribers_nothing_is_written(
    customer: Customer, outsider: Customer, world: World
):
    world.endpoint(outsider)
    disabled = world.endpoint(customer)
    Endpoint.objects.filter(id=disabled.id).update(enabled=False)
    world.endpoint(customer, "message.delivered")
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert outbox.record([event(customer.id) for _ in range(500)]) == frozenset()
    assert len(queries) == 1
    assert Event.objects.filter(organization=customer.organization).count() == 0
    assert outbox.record([]) == frozenset()


def test_each_endpoint_gets_its_subscribed_events(
    customer: Customer, outsider: Customer, world: World
):
    everything = world.endpoint(customer)
    sent = world.endpoint(customer, "message.sent", "message.queued")
    theirs = world.endpoint(outsider)
    happened = [
        event(customer.id, "message.sent"),
        event(customer.id, "message.delivered"),
        event(outsider.id, "message.sent"),
    ]
    assert outbox.record(happened) == {everything.id, sent.id, theirs.id}
    assert [(row.endpoint_id, row.event.type) for row in deliveries(customer)] == [
        (everything.id, "message.sent"),
        (sent.id, "message.sent"),
        (everything.id, "message.delivered"),
    ]
    [row] = deliveries(outsider)
    assert row.endpoint_id == theirs.id
    assert (row.status, row.attempts, row.event.message_id) == (
        "pending",
        0,
        happened[2].message_id,
    )
    assert row.event.body == outbox.body_of(happened[2])


def test_two_statements_for_any_number_of_events(customer: Customer, world: World) -> None:
    world.endpoint(customer)
    with CaptureQueriesContext(connection) as queries:
        outbox.record([event(customer.id, number=number) for number in range(500)])
    assert len(queries) == 2
    rows = deliveries(customer)
    assert [orjson.loads(row.event.body)["data"]["number"] for row in rows] == list(range(500))
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        assert rows[-1].next_attempt_at <= cursor.fetchone()[0]


def test_awkward_text_is_stored_unchanged(customer: Customer, world: World) -> None:
    world.endpoint(customer)
    text = 'a"b\\c{d},NULL\n\t\0 ‏مرحبا 👋 %s'
    outbox.record([event(customer.id, text=text)])
    [row] = deliveries(customer)
    assert orjson.loads(row.event.body)["data"] == {"text": text}


def test_a_rollback_removes_the_events(customer: Customer, world: World, wakes: list[Any]) -> None:
    world.endpoint(customer)
    with transaction.atomic():
        outbox.record_and_wake_on_commit([event(customer.id)])
        transaction.set_rollback(True)
    assert deliveries(customer) == []
    assert wakes == []


def test_wake_ups_are_sent_on_commit(
    customer: Customer, world: World, wakes: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    endpoint = world.endpoint(customer)
    with django_capture_on_commit_callbacks(execute=True):
        outbox.record_and_wake_on_commit([event(customer.id), event(customer.id)])
        assert wakes == []
    assert wakes == [("webhooks.tasks.deliver", "webhooks", (endpoint.id.hex,))]


def test_nothing_is_recorded_for_a_deleted_endpoint(customer: Customer, world: World) -> None:
    endpoints.delete(world.endpoint(customer))
    assert outbox.record([event(customer.id)]) == frozenset()
