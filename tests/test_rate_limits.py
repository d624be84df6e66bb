"""Rate limits: headers on every answer, how much passes, how long to wait, and without Redis."""

import socket
import threading
import time
from collections.abc import Iterator
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

from accounts import idempotency, limits
from accounts.api_view import ApiView
from accounts.keys import create_key
from accounts.limits import Lane
from accounts.models import Organization
from accounts.roles import Scope
from imissive.urls import urlpatterns as all_addresses
from tests.api_calls import routes
from tests.platforms import until
from tests.world import PHONE, Api, Customer, in_threads

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
    """Set limits a minute, as an operator does."""
    Organization.objects.filter(id=customer.id).update(
        **{f"{lane}_per_minute": value for lane, value in limits_.items()}
    )


def bulk(count: int) -> dict[str, Any]:
    return {"messages": [SMS] * count}


def remaining(answer: Any) -> int:
    return int(answer["X-RateLimit-Remaining"])


def assert_limited(answer: Any, within: int) -> None:
    """RATE_LIMITED, in the contract's shape, with a wait of at most so many seconds."""
    assert answer.status_code == 429, answer.content
    assert answer.json()["error"]["code"] == "RATE_LIMITED"
    assert 1 <= int(answer["Retry-After"]) <= within
    assert all(header in answer for header in HEADERS)


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
    monkeypatch.setattr("messaging.api.parse_body", lambda *_: 1 / 0)
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
def test_every_answer_once_authenticated_has_them(
    api: Api, customer: Customer, monkeypatch: Any, status: int, call: Any
) -> None:
    answer = call(api, customer, monkeypatch)
    assert answer.status_code == status, answer.content
    assert [header for header in HEADERS if header not in answer] == []


def test_nobody_is_told_of_limits(customer: Customer) -> None:
    for answer in (Api("").post(SEND, SMS), Api("imk_live_" + "0" * 64).post(SEND, SMS)):
        assert answer.status_code == 401
        assert not [header for header in HEADERS if header in answer]


def test_every_route_of_the_api_is_limited() -> None:
    assert [pattern for pattern, view in routes() if not issubclass(view, ApiView)] == []


@pytest.mark.parametrize("most", [1, 2, 7, 60, 6_000, 77_777, 600_000, 10_000_000])
def test_remaining_is_exact(most: int) -> None:
    organization = uuid4()
    assert limits.take(organization, Lane.SEND, most).remaining == most - 1
    assert limits.take(organization, Lane.BULK, most, most).remaining == 0
    assert limits.take(organization, Lane.CALLS, most, 0).remaining == most


# ---------------------------------------------------------------- how much passes


def test_as_many_as_the_limit_and_then_no_more(api: Api, customer: Customer) -> None:
    limit(customer, send=5)
    answers = [api.post(SEND, SMS) for _ in range(7)]
    assert [answer.status_code for answer in answers] == [202] * 5 + [429] * 2
    assert [remaining(answer) for answer in answers] == [4, 3, 2, 1, 0, 0, 0]
    assert_limited(answers[5], within=12)
    assert len(customer.messages()) == 5


def test_lanes_and_organizations_are_counted_apart_keys_are_not(
    customer: Customer, outsider: Customer
) -> None:
    limit(customer, send=1, bulk=1, calls=2)
    limit(outsider, send=1)
    api = customer.api
    assert api.post(SEND, SMS).status_code == 202
    assert_limited(api.post(SEND, SMS), within=60)
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
    assert_limited(refused, within=12)  # two more at one in six seconds
    assert int(refused["Retry-After"]) > 6
    assert customer.stored() == before
    assert remaining(api.post(BULK, bulk(2))) == 0, "what was refused was not counted"


def test_a_bulk_call_that_can_never_pass_is_told_so(api: Api, customer: Customer) -> None:
    limit(customer, bulk=10)
    answer = api.post(BULK, bulk(11))
    assert answer.status_code == 413
    error = answer.json()["error"]
    assert (error["code"], error["field"]) == ("PAYLOAD_TOO_LARGE", "messages")
    assert "Retry-After" not in answer
    assert api.post(BULK, bulk(10)).status_code == 202


def test_bulk_calls_are_calls_too(api: Api, customer: Customer) -> None:
    limit(customer, calls=2)
    assert api.post(BULK, raw="{").status_code == 400
    assert api.post(BULK, raw="{").status_code == 400
    answer = api.post(BULK, bulk(1))
    assert_limited(answer, within=30)
    assert "calls" in answer.json()["error"]["message"]
    assert customer.messages() == []


def test_an_estimate_of_many_counts_as_several_calls(api: Api, customer: Customer) -> None:
    limit(customer, calls=10)
    assert remaining(api.post("/v1/sms/estimate", bulk(1))) == 9
    assert remaining(api.post("/v1/sms/estimate", bulk(500))) == 3
    refused = api.post("/v1/sms/estimate", bulk(500))
    assert_limited(refused, within=24)
    # One call was taken for reading it; six have to come, at one in six seconds.
    assert int(refused["Retry-After"]) in (23, 24)
    assert api.post("/v1/sms/estimate", bulk(1000)).status_code == 413


def test_an_operators_limit_applies_at_once(api: Api, customer: Customer) -> None:
    limit(customer, calls=100)
    assert remaining(api.get(BALANCE)) == 99
    limit(customer, calls=2)
    answer = api.get(BALANCE)
    assert (answer.status_code, answer["X-RateLimit-Limit"], remaining(answer)) == (200, "2", 0)
    assert_limited(api.get(BALANCE), within=30)
    # A bucket that was empty is: it fills at the new rate.
    limit(customer, calls=6000)
    time.sleep(0.05)
    answer = api.get(BALANCE)
    assert (answer.status_code, answer["X-RateLimit-Limit"]) == (200, "6000")


def test_no_more_than_the_limit_passes_at_once(committed_world: Any) -> None:
    customer = committed_world.customer()
    limit(customer, calls=20)
    statuses = in_threads([lambda: customer.api.get(BALANCE).status_code] * 60)
    assert sorted(statuses) == [200] * 20 + [429] * 40


def test_reading_and_writing_apart_would_let_more_pass() -> None:
    """The race is there: the same algorithm in two round trips."""
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


# ---------------------------------------------------------------- how long to wait


@pytest.mark.parametrize("call", [lambda api: api.post(SEND, SMS), lambda api: api.get(BALANCE)])
def test_retry_after_is_true(api: Api, customer: Customer, call: Any) -> None:
    limit(customer, send=60, calls=60)
    organization = customer.id
    for lane in (Lane.SEND, Lane.CALLS):
        limits.take(organization, lane, 60, 60)
    refused = call(api)
    assert refused["Retry-After"] == "1"
    assert int(refused["X-RateLimit-Reset"]) >= time.time() + 58
    time.sleep(0.3)
    assert call(api).status_code == 429
    time.sleep(0.75)
    assert call(api).status_code in (200, 202)
    assert call(api).status_code == 429


def test_retry_after_of_a_bulk_call_is_true_for_all_of_it(api: Api, customer: Customer) -> None:
    limit(customer, bulk=3000)
    limits.take(customer.id, Lane.BULK, 3000, 3000)
    assert api.post(BULK, bulk(90))["Retry-After"] == "2"
    time.sleep(1.3)
    assert api.post(BULK, bulk(90)).status_code == 429
    time.sleep(0.7)
    assert api.post(BULK, bulk(90)).status_code == 202


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
    monkeypatch.setattr(limits, "_breaker", limits._Breaker())


@pytest.fixture
def down(_fresh_breaker: None, settings: Any) -> None:
    """Nothing listens where Redis should be."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        settings.REDIS_URL = f"redis://127.0.0.1:{closed.getsockname()[1]}/0"


@pytest.fixture
def silent(_fresh_breaker: None, settings: Any) -> Iterator[None]:
    """Something listens where Redis should be, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings.REDIS_URL = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        yield


@pytest.mark.usefixtures("down")
def test_without_redis_sending_goes_on_and_the_log_says_so(api: Api, customer: Customer) -> None:
    limit(customer, send=2, bulk=2, calls=2)
    with capture_logs() as logs:
        for _ in range(4):
            answer = api.post(SEND, SMS)
            assert answer.status_code == 202
            assert all(header in answer for header in HEADERS)
            assert api.post(BULK, bulk(2)).status_code == 202
            assert api.get(BALANCE).status_code == 200
    # Once, not with every request.
    [alert] = [log for log in logs if log["event"] == "rate_limits_unavailable"]
    assert alert["log_level"] == "error"


@pytest.mark.urls(__name__)
@pytest.mark.usefixtures("_fresh_breaker")
def test_a_view_may_ask_to_fail_closed(api: Api, settings: Any) -> None:
    works = settings.REDIS_URL
    assert api.get("/v1/closed").status_code == 200
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = api.get("/v1/closed")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "UNAVAILABLE")
    assert int(answer["Retry-After"]) >= 1
    assert all(header in answer for header in HEADERS)
    settings.REDIS_URL = works
    assert api.get("/v1/closed").status_code == 503, "Redis is left alone for a second"
    assert api.get(BALANCE).status_code == 200
    until(lambda: api.get("/v1/closed").status_code == 200, 10)


@pytest.mark.usefixtures("silent")
def test_requests_do_not_become_slow_where_redis_hangs(api: Api) -> None:
    api.post(SEND, SMS)
    begun = time.monotonic()
    for _ in range(20):
        assert api.post(SEND, SMS).status_code == 202
    assert time.monotonic() - begun < limits.REST_SECONDS


@pytest.mark.usefixtures("silent")
def test_nobody_waits_for_a_redis_that_is_known_to_hang(monkeypatch: Any) -> None:
    """Not even now and then: whether it is back is not asked by a request."""
    monkeypatch.setattr(limits, "REST_SECONDS", 0.05)
    limits.take(uuid4(), Lane.SEND, 10)

    def waits() -> bool:
        begun = time.monotonic()
        assert not limits.take(uuid4(), Lane.SEND, 10).known
        return time.monotonic() - begun > limits.SOCKET_SECONDS / 2

    for _ in range(20):
        assert sum(in_threads([waits] * 8)) == 0
        time.sleep(0.05)


@pytest.mark.usefixtures("_fresh_breaker")
def test_limits_hold_again_once_redis_is_back(
    api: Api, customer: Customer, settings: Any, monkeypatch: Any
) -> None:
    limit(customer, calls=1)
    monkeypatch.setattr(limits, "REST_SECONDS", 0.2)
    works, settings.REDIS_URL = settings.REDIS_URL, "redis://127.0.0.1:1/0"
    with capture_logs() as logs:
        assert [api.get(BALANCE).status_code for _ in range(3)] == [200] * 3
        settings.REDIS_URL = works
        until(limits._breaker.lets_pass, 10)
        assert [api.get(BALANCE).status_code for _ in range(3)] == [200, 429, 429]
    assert [log["event"] for log in logs] == ["rate_limits_unavailable", "rate_limits_available"]


@pytest.mark.usefixtures("_fresh_breaker")
def test_a_restart_of_redis_is_not_noticed(api: Api, customer: Customer) -> None:
    """Every pooled connection is cut: asked again on a new one, at once."""
    limit(customer, calls=60)
    assert remaining(api.get(BALANCE)) == 59
    client = redis.Redis.from_url(django_settings.REDIS_URL)
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    with capture_logs() as logs:
        assert remaining(api.get(BALANCE)) == 58
    assert logs == []


def test_nothing_of_a_bucket_stays_once_it_is_full() -> None:
    organization = uuid4()
    limits.take(organization, Lane.SEND, 6000, 3)
    client = redis.Redis.from_url(django_settings.REDIS_URL)
    key = f"imissive:rate:{organization.hex}:send"
    assert 0 < client.pttl(key) <= 31
    threading.Event().wait(0.05)
    assert not client.exists(key)
