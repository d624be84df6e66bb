"""Idempotency: a POST with an `Idempotency-Key` takes effect once, also when sent concurrently."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from cryptography.fernet import Fernet
from django.apps import apps
from django.conf import settings as django_settings
from django.db import connection, transaction

from accounts import tasks
from accounts.api import idempotency
from accounts.api.idempotency import StoredResponse
from accounts.api.view import ApiView
from accounts.credits import ledger
from accounts.keys.api_keys import create_key, revoke_key
from accounts.models import MICRO, IdempotencyRecord, Organization
from accounts.roles import Scope
from messaging.models import Carrier
from messaging.sending import api as messaging_api
from messaging.sending import cancel, representations
from tests.support.api_calls import (
    GOOD,
    Scene,
    ask,
    calls,
)
from tests.support.factories import (
    PHONE,
    SENDER,
    Api,
    Customer,
    World,
    in_threads,
    noting,
)

SEND, BULK, ESTIMATE = "/v1/sms/send", "/v1/sms/bulk", "/v1/sms/estimate"
SMS = {"to": PHONE, "message": "Hello", "sender_id": SENDER}
OTHER = SMS | {"message": "Something else"}
KEY = "4f9c5d2e-order-7"


def send(api: Api, body: Any = SMS, key: str = KEY, path: str = SEND, **more: Any) -> Any:
    return api.post(path, body, HTTP_IDEMPOTENCY_KEY=key, **more)


def replayed(response: Any) -> bool:
    return bool(response.headers.get("Idempotent-Replayed") == "true")


def assert_refused(response: Any, status: int, code: str, field: str | None = None) -> None:
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["field"]) == (status, code, field)
    assert not replayed(response)


def records(customer: Customer) -> int:
    return IdempotencyRecord.objects.filter(api_key__organization=customer.id).count()


def everything() -> dict[str, int]:
    """Return the number of rows of every table."""
    return {model._meta.label: model._default_manager.count() for model in apps.get_models()}


# ---------------------------------------------------------------- the first response again


POSTS = [pattern for method, pattern in calls() if method == "POST"]


@pytest.mark.parametrize("pattern", POSTS)
def test_every_post_replays_the_first_response(
    world: World, customer: Customer, carrier: Carrier, pattern: str
) -> None:
    good = GOOD["POST", pattern]
    path, body = good.make(Scene(world, customer, carrier))
    secret = customer.api.secret
    first = ask(secret, "POST", path, body, idempotency_key=KEY)
    assert first.status_code == good.status, first.content
    assert not replayed(first)
    stored = everything()
    second = ask(secret, "POST", path, body, idempotency_key=KEY)
    assert replayed(second)
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers.get("Content-Type") == first.headers.get("Content-Type")
    assert second["X-Request-Id"] != first["X-Request-Id"]
    assert "X-RateLimit-Remaining" in second
    assert everything() == stored


def test_the_response_is_the_same_as_without_a_key(api: Api) -> None:
    plain, keyed = api.post(SEND, SMS), send(api)
    assert set(plain.json()) == set(keyed.json())
    assert set(plain.headers) == set(keyed.headers)


def test_it_sends_and_charges_once(api: Api, customer: Customer) -> None:
    responses = [send(api) for _ in range(3)]
    assert [replayed(response) for response in responses] == [False, True, True]
    assert len({response.json()["message_id"] for response in responses}) == 1
    assert len(customer.messages()) == 1
    assert customer.balance() == 99 * MICRO


def test_the_repetition_of_a_bulk_call_counts_as_one_call_not_as_its_messages(
    api: Api, customer: Customer
) -> None:
    Organization.objects.filter(id=customer.id).update(bulk_per_minute=3)
    body = {"messages": [SMS] * 3}
    first = send(api, body, path=BULK)
    again = send(api, body, path=BULK)
    assert (first.status_code, again.status_code, replayed(again)) == (202, 202, True)
    assert again.content == first.content
    assert len(customer.messages()) == 3


@pytest.mark.parametrize(
    "raw",
    [
        b'{"to": "+966501234567", "message": "Hello", "sender_id": "MyCompany"}',
        b'{"sender_id": "MyCompany", "message": "Hello", "to": "+966501234567"}',
        b'{"message":"Hello","to":"+966501234567","sender_id":"MyCompany"}\n',
        b'{"message": "Hell\\u006f", "to": "\\u002b966501234567", "sender_id": "MyCompany"}',
    ],
)
def test_the_same_body_in_another_form_is_the_same(api: Api, raw: bytes) -> None:
    first = send(api)
    again = api.post(SEND, raw=raw, HTTP_IDEMPOTENCY_KEY=KEY)
    assert replayed(again)
    assert again.content == first.content


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (SEND, OTHER),
        (SEND, SMS | {"reference": "7"}),
        (SEND, []),
        (ESTIMATE, SMS),
        (f"{SEND}?x=1", SMS),
    ],
)
def test_another_request_with_the_key_is_refused(
    api: Api, customer: Customer, path: str, body: Any
) -> None:
    first = send(api)
    stored = customer.stored()
    refused = send(api, body, path=path)
    assert_refused(refused, 422, "IDEMPOTENCY_MISMATCH", "Idempotency-Key")
    assert customer.stored() == stored
    assert send(api).content == first.content


def test_it_is_scoped_to_the_api_key(world: World, customer: Customer, outsider: Customer) -> None:
    world.sender(outsider, SENDER)
    second = Api(create_key(customer.organization, "second", test=False)[1])
    responses = [send(api) for api in (customer.api, second, outsider.api)]
    assert [response.status_code for response in responses] == [202] * 3
    assert not any(replayed(response) for response in responses)
    assert (len(customer.messages()), len(outsider.messages())) == (2, 1)


def test_a_key_without_permission_gets_no_stored_response(customer: Customer) -> None:
    key, secret = create_key(customer.organization, "k", test=False, scopes=[Scope.SMS_SEND])
    assert send(Api(secret)).status_code == 202
    key.scopes = [Scope.OTP]
    key.save()
    assert_refused(send(Api(secret)), 403, "FORBIDDEN")
    revoke_key(key)
    assert_refused(send(Api(secret)), 401, "UNAUTHORIZED")


def test_a_get_ignores_the_key(api: Api, customer: Customer) -> None:
    for _ in range(2):
        assert not replayed(api.get("/v1/balance", HTTP_IDEMPOTENCY_KEY=KEY))
    assert_refused(api.get(SEND, HTTP_IDEMPOTENCY_KEY=KEY), 405, "METHOD_NOT_ALLOWED")
    assert_refused(api.post("/v1/balance", {}, HTTP_IDEMPOTENCY_KEY=KEY), 405, "METHOD_NOT_ALLOWED")
    assert records(customer) == 0


@pytest.mark.parametrize("key", ["k", "k" * 255, 'a key: with "signs" ~!@#$%^&*()'])
def test_keys(api: Api, key: str) -> None:
    assert send(api, key=key).status_code == 202
    assert replayed(send(api, key=key))


@pytest.mark.parametrize("key", ["", "k" * 256, "k\u00e9y", "مفتاح", "a\tb", "a\x00b", "a\x7fb"])
def test_invalid_keys(api: Api, customer: Customer, key: str) -> None:
    assert_refused(send(api, key=key), 400, "INVALID_REQUEST", "Idempotency-Key")
    assert customer.messages() == []


def test_a_canceled_batch_locks_messages_before_the_balance(
    committed_world: World, monkeypatch: Any
) -> None:
    """With a key the whole call is one transaction; several steps would invert its lock order."""
    committed_world.serve()
    customer = committed_world.customer()
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    body = {"messages": [SMS] * 5, "scheduled_at": tomorrow}
    batch_id = customer.api.post(BULK, body).json()["batch_id"]
    monkeypatch.setattr(cancel, "STEP", 2)
    statements: list[str] = []
    with connection.execute_wrapper(noting(statements)):
        response = send(customer.api, None, path=f"/v1/batches/{batch_id}/cancel")
    assert response.json()["canceled"] == 5
    locks = [
        found
        for statement in statements
        for found in ("FOR UPDATE", "accounts_ledgerentry")
        if found in statement
    ]
    assert locks == ["FOR UPDATE", "accounts_ledgerentry"]
    assert customer.balance() == 100 * MICRO


# ---------------------------------------------------------------- refused calls


def _out_of_credits(customer: Customer, monkeypatch: Any) -> Callable[[], object]:
    ledger.adjust(customer.organization, -100 * MICRO, reason="gone", actor=None)
    return lambda: ledger.adjust(customer.organization, MICRO, reason="paid", actor=None)


def _limited(customer: Customer, monkeypatch: Any) -> Callable[[], object]:
    mine = Organization.objects.filter(id=customer.id)
    mine.update(send_per_minute=1)
    assert customer.api.post(SEND, SMS).status_code == 202
    return lambda: mine.update(send_per_minute=1_000_000)


def _broken(customer: Customer, monkeypatch: Any) -> Callable[[], object]:
    works = representations.accepted_messages
    monkeypatch.setattr(representations, "accepted_messages", lambda _: 1 / 0)
    return lambda: monkeypatch.setattr(representations, "accepted_messages", works)


def _suspended(customer: Customer, monkeypatch: Any) -> Callable[[], object]:
    mine = Organization.objects.filter(id=customer.id)
    mine.update(status="suspended")
    return lambda: mine.update(status="active")


@pytest.mark.parametrize(
    ("status", "spoil"),
    [(402, _out_of_credits), (403, _suspended), (429, _limited), (500, _broken)],
)
def test_a_refused_call_leaves_the_key_free(
    customer: Customer, monkeypatch: Any, status: int, spoil: Any
) -> None:
    mend = spoil(customer, monkeypatch)
    before = customer.stored()
    assert send(customer.api).status_code == status
    assert customer.stored() == before, "the handler's writes before its failure are rolled back"
    assert records(customer) == 0
    mend()
    response = send(customer.api)
    assert (response.status_code, replayed(response)) == (202, False)
    assert replayed(send(customer.api))


def test_a_refused_body_leaves_the_key_free_for_a_better_one(api: Api, customer: Customer) -> None:
    for bad in ("{", "[" * 600 + "]" * 600, '{"to": "x", "message": "y"}', "", b"\xff"):
        response = api.post(SEND, raw=bad, HTTP_IDEMPOTENCY_KEY=KEY)
        assert response.status_code == 400, response.content
    too_long = api.post(SEND, SMS, HTTP_IDEMPOTENCY_KEY=KEY, CONTENT_LENGTH="9000000")
    assert too_long.status_code == 413
    assert send(api).status_code == 202
    assert len(customer.messages()) == 1


# ---------------------------------------------------------------- concurrency


@pytest.fixture
def committed(committed_world: World) -> Customer:
    committed_world.serve()
    return committed_world.customer(500)


def patiently(api: Api) -> Any:
    """Call and retry while the response asks for it, as a well-behaved client does."""
    while True:
        response = send(api)
        if response.status_code != 409:
            return response
        assert response.json()["error"]["code"] == "IDEMPOTENCY_IN_PROGRESS"
        assert response["Retry-After"] == "1"
        time.sleep(0.2)


def test_a_hundred_at_once_send_and_charge_once(committed: Customer) -> None:
    responses = in_threads([lambda: patiently(committed.api)] * 100)
    assert {response.status_code for response in responses} == {202}
    assert len({response.content for response in responses}) == 1
    assert Counter(replayed(response) for response in responses) == {True: 99, False: 1}
    assert len(committed.messages()) == 1
    assert committed.balance() == 499 * MICRO


def test_to_look_first_and_write_later_would_send_many_times(
    committed: Customer, monkeypatch: Any
) -> None:
    """The race is real without the lock and the record in the same transaction."""
    all_have_looked = threading.Barrier(3)

    def run_once(
        api_key_id: Any, key: str, fingerprint: bytes, work: Callable[[], StoredResponse]
    ) -> Any:
        known = IdempotencyRecord.objects.filter(api_key_id=api_key_id, key=key).first()
        if known is not None:
            return StoredResponse(known.status, bytes(known.body)), True
        all_have_looked.wait(30)
        response = work()
        IdempotencyRecord.objects.bulk_create(
            [
                IdempotencyRecord(
                    api_key_id=api_key_id,
                    key=key,
                    fingerprint=fingerprint,
                    status=response.status,
                    body=response.body,
                )
            ],
            ignore_conflicts=True,
        )
        return response, False

    monkeypatch.setattr(idempotency, "run_once", run_once)
    in_threads([lambda: send(committed.api)] * 3)
    assert len(committed.messages()) == 3
    assert committed.balance() == 497 * MICRO


def test_different_keys_do_not_wait_for_each_other(committed: Customer) -> None:
    works = [lambda key=key: send(committed.api, key=f"key {key}") for key in range(20)]
    responses = in_threads(works)
    assert {response.status_code for response in responses} == {202}
    assert len(committed.messages()) == 20


class Held:
    """A call that stays in progress, in a thread, until `end`."""

    def __init__(self, customer: Customer, monkeypatch: Any) -> None:
        self.entered, self.go = threading.Event(), threading.Event()
        self.answers: list[Any] = []
        accept = messaging_api._accept

        def held(*arguments: Any) -> Any:
            self.entered.set()
            assert self.go.wait(20)
            return accept(*arguments)

        monkeypatch.setattr(messaging_api, "_accept", held)
        self.thread = threading.Thread(target=self._run, args=[customer.api])
        self.thread.start()
        assert self.entered.wait(10)

    def _run(self, api: Api) -> None:
        self.answers.append(send(api))
        connection.close()

    def end(self) -> Any:
        self.go.set()
        self.thread.join(20)
        [response] = self.answers
        return response


def test_while_the_first_runs_the_second_gets_a_retry_after(
    committed: Customer, monkeypatch: Any
) -> None:
    monkeypatch.setattr(idempotency, "WAIT_SECONDS", 0.1)
    held = Held(committed, monkeypatch)
    try:
        start = time.monotonic()
        refused = send(committed.api)
        assert 0.1 <= time.monotonic() - start < 1
        assert_refused(refused, 409, "IDEMPOTENCY_IN_PROGRESS")
        assert refused["Retry-After"] == "1"
        assert_refused(send(committed.api, OTHER), 409, "IDEMPOTENCY_IN_PROGRESS")
    finally:
        first = held.end()
    again = send(committed.api)
    assert (replayed(first), replayed(again)) == (False, True)
    assert again.content == first.content
    assert len(committed.messages()) == 1


def test_a_waiting_call_gets_the_response_as_soon_as_it_exists(
    committed: Customer, monkeypatch: Any
) -> None:
    monkeypatch.setattr(idempotency, "WAIT_SECONDS", 10)
    held = Held(committed, monkeypatch)
    threading.Timer(0.2, held.go.set).start()
    start = time.monotonic()
    response = send(committed.api)
    assert time.monotonic() - start < 5
    assert (response.status_code, replayed(response)) == (202, True)
    assert held.end().content == response.content


def test_waiting_calls_never_occupy_all_threads_of_a_process(
    committed: Customer, monkeypatch: Any
) -> None:
    monkeypatch.setattr(idempotency, "_waiting", threading.BoundedSemaphore(2))
    monkeypatch.setattr(idempotency, "WAIT_SECONDS", 0.6)
    held = Held(committed, monkeypatch)
    try:

        def waits() -> bool:
            start = time.monotonic()
            assert_refused(send(committed.api), 409, "IDEMPOTENCY_IN_PROGRESS")
            return time.monotonic() - start >= 0.6

        assert sum(in_threads([waits] * 6)) == 2
        assert sum(in_threads([waits] * 6)) == 2, "the slots are released"
    finally:
        held.end()


def test_when_the_first_fails_a_waiting_call_does_the_work(
    committed: Customer, monkeypatch: Any
) -> None:
    accept, lock = messaging_api._accept, threading.Lock()
    failures = [RuntimeError("the first"), RuntimeError("the second")]

    def failing(*arguments: Any) -> Any:
        with lock:
            error = failures.pop() if failures else None
        time.sleep(0.05)
        if error is not None:
            raise error
        return accept(*arguments)

    monkeypatch.setattr(messaging_api, "_accept", failing)
    statuses = Counter(
        response.status_code for response in in_threads([lambda: patiently(committed.api)] * 12)
    )
    assert statuses == {500: 2, 202: 10}
    assert len(committed.messages()) == 1


def test_a_lost_response_is_replayed(committed: Customer, monkeypatch: Any) -> None:
    """Everything is committed, then the process fails before it sends the response."""
    finalize = ApiView.finalize_response

    def lost(view: Any, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        if response.status_code == 202:
            raise SystemError("killed")
        return finalize(view, request, response, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ApiView, "finalize_response", lost)
        assert send(committed.api).status_code == 500
    [message] = committed.messages()
    body = send(committed.api)
    assert (body.status_code, replayed(body)) == (202, True)
    assert body.json()["message_id"] == message.public_id
    assert committed.balance() == 499 * MICRO


def test_a_record_is_never_without_its_effect(committed: Customer, monkeypatch: Any) -> None:
    """The connection breaks at the commit: neither the message nor the record is stored."""

    def broken(*_: Any) -> bytes:
        connection.connection.close()
        return b""

    with monkeypatch.context() as patch:
        patch.setattr(idempotency, "_encrypted", broken)
        assert send(committed.api).status_code == 503
    connection.close()
    assert (committed.messages(), records(committed)) == ([], 0)
    assert committed.balance() == 500 * MICRO
    assert (send(committed.api).status_code, len(committed.messages())) == (202, 1)


# ---------------------------------------------------------------- retention and encryption


def age(hours: float) -> None:
    """Make every record that many hours older."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE accounts_idempotencyrecord"
            " SET created_at = created_at - %s * interval '1 hour'",
            [hours],
        )


def test_after_24_hours_the_key_is_free(api: Api, customer: Customer) -> None:
    first = send(api)
    age(23.99)
    assert replayed(send(api))
    assert_refused(send(api, OTHER), 422, "IDEMPOTENCY_MISMATCH", "Idempotency-Key")
    age(0.02)
    second = send(api, OTHER)
    assert (second.status_code, replayed(second)) == (202, False)
    assert second.json()["message_id"] != first.json()["message_id"]
    assert replayed(send(api, OTHER))
    assert records(customer) == 1


def test_beat_deletes_expired_records(api: Api, customer: Customer, monkeypatch: Any) -> None:
    monkeypatch.setattr(idempotency, "PURGE_STEP", 2)
    for number in range(5):
        assert send(api, key=f"old {number}").status_code == 202
    age(24.1)
    assert send(api, key="new").status_code == 202
    schedule = django_settings.CELERY_BEAT_SCHEDULE.values()
    assert "accounts.tasks.purge_idempotency" in [entry["task"] for entry in schedule]
    tasks.purge_idempotency()
    kept = IdempotencyRecord.objects.filter(api_key__organization=customer.id)
    assert [record.key for record in kept] == ["new"]


def test_the_purge_reads_an_index(db: None) -> None:
    with connection.cursor() as cursor, transaction.atomic():
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            "EXPLAIN SELECT id FROM accounts_idempotencyrecord"
            " WHERE created_at < now() ORDER BY created_at LIMIT 10"
        )
        assert "idempotency_age" in str(cursor.fetchall())


def test_secrets_in_stored_responses_are_encrypted(api: Api, customer: Customer) -> None:
    created = send(api, {"url": "https://example.com/hook"}, path="/v1/webhooks").json()
    assert created["secret"].startswith("whsec_")
    with connection.cursor() as cursor:
        cursor.execute("SELECT key, body FROM accounts_idempotencyrecord")
        [(key, body)] = cursor.fetchall()
    assert key == KEY
    sealed = bytes(body)
    assert b"whsec" not in sealed
    opened = Fernet(django_settings.FIELD_ENCRYPTION_KEYS[0]).decrypt(sealed)
    assert idempotency._decrypted(sealed) == orjson.dumps(created)
    assert opened != sealed


def test_stored_responses_survive_a_rotation_of_the_encryption_key(api: Api, settings: Any) -> None:
    first = send(api)
    new = Fernet.generate_key().decode()
    settings.FIELD_ENCRYPTION_KEYS = [new, *settings.FIELD_ENCRYPTION_KEYS]
    assert send(api).content == first.content
