"""Rate limits: headers on every response, allowed traffic, Retry-After, and without Redis."""

import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
import redis
from django.conf import settings as django_settings
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from structlog.testing import capture_logs

from accounts.api import idempotency, rate_limits
from accounts.api.rate_limits import LimitClass
from accounts.api.view import ApiView
from accounts.keys.api_keys import create_key
from accounts.models import Organization
from accounts.roles import Scope
from imissive.core import breaker
from imissive.urls import urlpatterns as all_addresses
from tests.support.api_calls import routes
from tests.support.factories import (
    PHONE,
    Api,
    Customer,
    World,
    in_threads,
)
from tests.support.platforms import until

SEND, BULK, BALANCE = "/v1/sms/send", "/v1/sms/bulk", "/v1/balance"
SMS = {"to": PHONE, "message": "Hello"}
HEADERS = (
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit-Policy",
    "RateLimit",
)


def limit(customer: Customer, **limits_: int | None) -> None:
    """Set the organization's limits per minute, as an operator does."""
    Organization.objects.filter(id=customer.id).update(
        **{f"{limit_class}_per_minute": value for limit_class, value in limits_.items()}
    )


def bulk(count: int) -> dict[str, Any]:
    return {"messages": [SMS] * count}


def remaining(response: Any) -> int:
    return int(response["X-RateLimit-Remaining"])


def assert_limited(response: Any, within: int) -> None:
    """Assert RATE_LIMITED with a Retry-After of at most `within` seconds."""
    assert response.status_code == 429, response.content
    assert response.json()["error"]["code"] == "RATE_LIMITED"
    assert 1 <= int(response["Retry-After"]) <= within
    assert all(header in response for header in HEADERS)


# ---------------------------------------------------------------- headers


def test_the_headers_say_where_the_limit_stands(api: Api, customer: Customer) -> None:
    limit(customer, send=60)
    first, second = api.post(SEND, SMS), api.post(SEND, SMS)
    assert first.status_code == 202
    assert first["X-RateLimit-Limit"] == "60"
    assert (remaining(first), remaining(second)) == (59, 58)
    assert abs(int(first["X-RateLimit-Reset"]) - (time.time() + 1)) <= 2
    assert first["RateLimit-Policy"] == '"send";q=60;w=60'
    assert first["RateLimit"] == '"send";r=59;t=1'
    assert second["RateLimit"] == '"send";r=58;t=2'


def test_without_limits_of_its_own_an_organization_has_the_installations(
    api: Api, settings: Any
) -> None:
    settings.RATE_LIMITS = {"send": 11, "bulk": 22, "calls": 33}
    assert api.post(SEND, SMS)["X-RateLimit-Limit"] == "11"
    assert api.post(BULK, bulk(1))["X-RateLimit-Limit"] == "22"
    assert api.get(BALANCE)["X-RateLimit-Limit"] == "33"


def _in_progress(api: Api, customer: Customer, monkeypatch: Any) -> Any:
    monkeypatch.setattr(idempotency, "_try_to_claim", lambda *_: (False, None))
    monkeypatch.setattr(idempotency, "WAIT_SECONDS", 0)
    return api.post(SEND, SMS, HTTP_IDEMPOTENCY_KEY="k")


def _mismatch(api: Api, customer: Customer, monkeypatch: Any) -> Any:
    api.post(SEND, SMS, HTTP_IDEMPOTENCY_KEY="k")
    return api.post(SEND, SMS | {"message": "Other"}, HTTP_IDEMPOTENCY_KEY="k")


def _limited(api: Api, customer: Customer, monkeypatch: Any) -> Any:
    limit(customer, send=1)
    api.post(SEND, SMS)
    return api.post(SEND, SMS)


def _suspended(api: Api, customer: Customer, monkeypatch: Any) -> Any:
    Organization.objects.filter(id=customer.id).update(status="suspended")
    return api.post(SEND, SMS)


def _without_scope(api: Api, customer: Customer, monkeypatch: Any) -> Any:
    key = create_key(customer.organization, "k", test=False, scopes=[Scope.OTP])[1]
    return Api(key).post(SEND, SMS)


def _broken(api: Api, customer: Customer, monkeypatch: Any) -> Any:
    monkeypatch.setattr("messaging.sending.api.accept", lambda *_: 1 / 0)
    return api.post(SEND, SMS)


@pytest.mark.parametrize(
    ("status", "call"),
    [
        (400, lambda api, *_: api.post(SEND, raw="{")),
        (400, lambda api, *_: api.post(SEND, SMS | {"to": "x"})),
        (402, lambda api, *_: api.post(BULK, bulk(101))),
        (403, _suspended),
        (403, _without_scope),
        (404, lambda api, *_: api.get("/v1/sms/msg_1")),
        (405, lambda api, *_: api.get(SEND)),
        (409, _in_progress),
        (413, lambda api, *_: api.post(SEND, SMS, CONTENT_LENGTH="9000000")),
        (415, lambda api, *_: api.post(SEND, raw="x", content_type="text/plain")),
        (422, _mismatch),
        (429, _limited),
        (500, _broken),
    ],
)
def test_every_authenticated_response_has_them(
    api: Api, customer: Customer, monkeypatch: Any, status: int, call: Any
) -> None:
    response = call(api, customer, monkeypatch)
    assert response.status_code == status, response.content
    assert [header for header in HEADERS if header not in response] == []


def test_unauthenticated_responses_have_none(customer: Customer) -> None:
    for response in (Api("").post(SEND, SMS), Api("imk_live_" + "0" * 64).post(SEND, SMS)):
        assert response.status_code == 401
        assert not [header for header in HEADERS if header in response]


def test_every_route_of_the_api_is_limited() -> None:
    assert [pattern for pattern, view in routes() if not issubclass(view, ApiView)] == []


@pytest.mark.parametrize("most", [1, 2, 7, 60, 6_000, 77_777, 600_000, 10_000_000])
def test_remaining_is_exact(most: int) -> None:
    organization = uuid4()
    assert rate_limits.take(organization, LimitClass.SEND, most).remaining == most - 1
    assert rate_limits.take(organization, LimitClass.BULK, most, most).remaining == 0
    assert rate_limits.take(organization, LimitClass.CALLS, most, 0).remaining == most


# ---------------------------------------------------------------- allowed traffic


def test_as_many_as_the_limit_and_then_no_more(api: Api, customer: Customer) -> None:
    limit(customer, send=5)
    responses = [api.post(SEND, SMS) for _ in range(7)]
    assert [response.status_code for response in responses] == [202] * 5 + [429] * 2
    assert [remaining(response) for response in responses] == [4, 3, 2, 1, 0, 0, 0]
    assert_limited(responses[5], within=12)
    assert len(customer.messages()) == 5


def test_limit_classes_modes_and_organizations_are_counted_separately_keys_are_not(
    customer: Customer, outsider: Customer, world: World
) -> None:
    world.carrier(is_sandbox=True)
    limit(customer, send=1, bulk=1, calls=2)
    limit(outsider, send=1)
    api = customer.api
    assert api.post(SEND, SMS).status_code == 202
    assert_limited(api.post(SEND, SMS), within=60)
    assert_limited(
        Api(create_key(customer.organization, "k", test=False)[1]).post(SEND, SMS), within=60
    )
    assert customer.test_api.post(SEND, SMS).status_code == 202
    assert_limited(customer.test_api.post(SEND, SMS), within=60)
    assert outsider.api.post(SEND, SMS).status_code == 202
    assert api.post(BULK, bulk(1)).status_code == 202
    assert api.get(BALANCE).status_code == 200
    assert_limited(api.get(BALANCE), within=30)
    assert_limited(api.post(BULK, bulk(1)), within=60)


def test_a_bulk_call_counts_its_messages(api: Api, customer: Customer) -> None:
    limit(customer, bulk=10)
    assert remaining(api.post(BULK, bulk(4))) == 6
    assert remaining(api.post(BULK, bulk(4))) == 2
    before = customer.stored()
    refused = api.post(BULK, bulk(4))
    assert_limited(refused, within=12)  # two more tokens, at one per six seconds
    assert int(refused["Retry-After"]) > 6
    assert customer.stored() == before
    assert remaining(api.post(BULK, bulk(2))) == 0, "a refused call was not counted"


def test_a_bulk_call_above_the_limit_is_too_large(api: Api, customer: Customer) -> None:
    limit(customer, bulk=10)
    response = api.post(BULK, bulk(11))
    assert response.status_code == 413
    error = response.json()["error"]
    assert (error["code"], error["field"]) == ("PAYLOAD_TOO_LARGE", "messages")
    assert "Retry-After" not in response
    assert api.post(BULK, bulk(10)).status_code == 202


def test_bulk_calls_are_calls_too(api: Api, customer: Customer) -> None:
    limit(customer, calls=2)
    assert api.post(BULK, raw="{").status_code == 400
    assert api.post(BULK, raw="{").status_code == 400
    response = api.post(BULK, bulk(1))
    assert_limited(response, within=30)
    assert "calls" in response.json()["error"]["message"]
    assert customer.messages() == []


def test_an_estimate_of_many_counts_as_several_calls(api: Api, customer: Customer) -> None:
    limit(customer, calls=10)
    assert remaining(api.post("/v1/sms/estimate", bulk(1))) == 9
    assert remaining(api.post("/v1/sms/estimate", bulk(500))) == 3
    refused = api.post("/v1/sms/estimate", bulk(500))
    assert_limited(refused, within=24)
    # One token was taken for reading the call; six more are needed, at one per six seconds.
    assert int(refused["Retry-After"]) in (23, 24)
    assert api.post("/v1/sms/estimate", bulk(1000)).status_code == 413


def test_an_operators_limit_applies_at_once(api: Api, customer: Customer) -> None:
    limit(customer, calls=100)
    assert remaining(api.get(BALANCE)) == 99
    limit(customer, calls=2)
    response = api.get(BALANCE)
    assert (response.status_code, remaining(response)) == (200, 0)
    assert response["X-RateLimit-Limit"] == "2"
    assert_limited(api.get(BALANCE), within=30)
    # An empty bucket stays empty; it refills at the new rate.
    limit(customer, calls=6000)
    time.sleep(0.05)
    response = api.get(BALANCE)
    assert (response.status_code, response["X-RateLimit-Limit"]) == (200, "6000")


def test_no_more_than_the_limit_passes_at_once(committed_world: Any) -> None:
    customer = committed_world.customer()
    limit(customer, calls=20)
    statuses = in_threads([lambda: customer.api.get(BALANCE).status_code] * 60)
    assert sorted(statuses) == [200] * 20 + [429] * 40


def test_reading_and_writing_apart_would_let_more_pass() -> None:
    """The race is real: the same algorithm in two round trips lets more pass."""
    client = redis.Redis.from_url(django_settings.REDIS_URL)
    key, each, full = f"test:{uuid4()}", 3_000_000, 60_000_000

    def take() -> bool:
        now = time.time() * 1_000_000
        filled = max(float(client.get(key) or now), now)
        if filled + each - now > full:
            return False
        client.set(key, filled + each, px=60_000)
        return True

    assert sum(in_threads([partial(take) for _ in range(60)])) > 20


# ---------------------------------------------------------------- Retry-After


def passes_after(call: Callable[[], Any], seconds: float, emptied: tuple[float, float]) -> None:
    """Repeat a call until it passes; check that it was refused for that long, and no longer.

    `emptied` is the time before and after the bucket was emptied. Each call is judged by its own
    times, so that a busy machine changes nothing.
    """
    while True:
        before = time.monotonic()
        passed = call().status_code != 429
        if time.monotonic() - emptied[0] < seconds:
            assert not passed
        elif before - emptied[1] > seconds + 0.05:
            assert passed
        if passed:
            return
        time.sleep(0.1)


@pytest.mark.parametrize("call", [lambda api: api.post(SEND, SMS), lambda api: api.get(BALANCE)])
def test_retry_after_is_true(api: Api, customer: Customer, call: Any) -> None:
    limit(customer, send=60, calls=60)
    before = time.monotonic()
    for limit_class in (LimitClass.SEND, LimitClass.CALLS):
        rate_limits.take(customer.id, limit_class, 60, 60)
    emptied = before, time.monotonic()
    refused = call(api)
    assert refused["Retry-After"] == "1"
    assert int(refused["X-RateLimit-Reset"]) >= time.time() + 58
    passes_after(lambda: call(api), 1, emptied)


def test_retry_after_of_a_bulk_call_is_true_for_all_of_it(api: Api, customer: Customer) -> None:
    limit(customer, bulk=3000)
    before = time.monotonic()
    rate_limits.take(customer.id, LimitClass.BULK, 3000, 3000)
    emptied = before, time.monotonic()
    assert api.post(BULK, bulk(90))["Retry-After"] == "2"
    # 90 messages at 50 a second.
    passes_after(lambda: api.post(BULK, bulk(90)), 1.8, emptied)


def test_a_clock_put_back_locks_nobody_out_for_longer_than_a_minute(customer: Customer) -> None:
    key = f"imissive:rate:{customer.id.hex}:calls"
    future = int((time.time() + 86_400) * 1_000_000)
    redis.Redis.from_url(django_settings.REDIS_URL).set(key, future)
    limit(customer, calls=600)
    assert_limited(customer.api.get(BALANCE), within=1)
    time.sleep(0.15)
    assert customer.api.get(BALANCE).status_code == 200


# ---------------------------------------------------------------- without Redis


class ClosedView(ApiView):
    required_scope = Scope.BALANCE
    fails_closed = True

    def get(self, request: Request) -> Response:
        return Response({})


urlpatterns = [path("v1/closed", ClosedView.as_view()), *all_addresses]


@pytest.fixture
def _fresh_breaker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "_breaker", rate_limits.new_breaker())


@pytest.fixture
def down(_fresh_breaker: None, settings: Any) -> None:
    """Point the settings at a port where no Redis listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        settings.REDIS_URL = f"redis://127.0.0.1:{closed.getsockname()[1]}/0"


@pytest.fixture
def silent(_fresh_breaker: None, settings: Any) -> Iterator[None]:
    """Point the settings at a Redis that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings.REDIS_URL = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        yield


@pytest.mark.usefixtures("down")
def test_without_redis_sending_goes_on_and_the_log_says_so(api: Api, customer: Customer) -> None:
    limit(customer, send=2, bulk=2, calls=2)
    with capture_logs() as logs:
        for _ in range(4):
            response = api.post(SEND, SMS)
            assert response.status_code == 202
            assert all(header in response for header in HEADERS)
            assert api.post(BULK, bulk(2)).status_code == 202
            assert api.get(BALANCE).status_code == 200
    # Logged once, not with every request.
    [alert] = [log for log in logs if log["event"] == "rate_limits_unavailable"]
    assert alert["log_level"] == "error"


@pytest.mark.urls(__name__)
@pytest.mark.usefixtures("_fresh_breaker")
def test_a_view_may_fail_closed(api: Api, settings: Any) -> None:
    works = settings.REDIS_URL
    assert api.get("/v1/closed").status_code == 200
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    response = api.get("/v1/closed")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "UNAVAILABLE")
    assert int(response["Retry-After"]) >= 1
    assert all(header in response for header in HEADERS)
    settings.REDIS_URL = works
    assert api.get("/v1/closed").status_code == 503, "Redis is not tried again for a second"
    assert api.get(BALANCE).status_code == 200
    until(lambda: api.get("/v1/closed").status_code == 200, 10)


@pytest.mark.usefixtures("silent")
def test_requests_do_not_become_slow_where_redis_hangs(api: Api) -> None:
    api.post(SEND, SMS)
    start = time.monotonic()
    for _ in range(20):
        assert api.post(SEND, SMS).status_code == 202
    assert time.monotonic() - start < breaker.REST_SECONDS


@pytest.mark.usefixtures("silent")
def test_no_request_waits_for_a_redis_that_is_known_to_hang(monkeypatch: Any) -> None:
    """Not even now and then: a thread pings it, and no request."""
    monkeypatch.setattr(breaker, "REST_SECONDS", 0.05)
    rate_limits.take(uuid4(), LimitClass.SEND, 10)

    def waits() -> bool:
        start = time.monotonic()
        assert not rate_limits.take(uuid4(), LimitClass.SEND, 10).known
        return time.monotonic() - start > rate_limits.SOCKET_SECONDS / 2

    for _ in range(20):
        assert sum(in_threads([waits] * 8)) == 0
        time.sleep(0.05)


@pytest.mark.usefixtures("_fresh_breaker")
def test_limits_hold_again_once_redis_is_back(
    api: Api, customer: Customer, settings: Any, monkeypatch: Any
) -> None:
    limit(customer, calls=1)
    monkeypatch.setattr(breaker, "REST_SECONDS", 0.2)
    works, settings.REDIS_URL = settings.REDIS_URL, "redis://127.0.0.1:1/0"
    with capture_logs() as logs:
        assert [api.get(BALANCE).status_code for _ in range(3)] == [200] * 3
        settings.REDIS_URL = works
        until(rate_limits._breaker.lets_pass, 10)
        assert [api.get(BALANCE).status_code for _ in range(3)] == [200, 429, 429]
    assert [log["event"] for log in logs] == ["rate_limits_unavailable", "rate_limits_available"]


@pytest.mark.usefixtures("_fresh_breaker")
def test_a_restart_of_redis_is_not_noticed(api: Api, customer: Customer) -> None:
    """Every pooled connection is closed; the command is sent again on a new one immediately."""
    limit(customer, calls=60)
    assert remaining(api.get(BALANCE)) == 59
    client = redis.Redis.from_url(django_settings.REDIS_URL)
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    with capture_logs() as logs:
        assert remaining(api.get(BALANCE)) == 58
    assert logs == []


def test_nothing_of_a_bucket_stays_once_it_is_full() -> None:
    organization = uuid4()
    rate_limits.take(organization, LimitClass.SEND, 60, 2)
    client = redis.Redis.from_url(django_settings.REDIS_URL)
    key = f"imissive:rate:{organization.hex}:send"
    assert 0 < client.pttl(key) <= 2001
    until(lambda: not client.exists(key), 10)
