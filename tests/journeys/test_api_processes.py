"""The API with several web processes, also when they are killed: on the running platform."""

import itertools
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson
import psutil
import pytest
from dotenv import dotenv_values

from tests.support.platforms import until
from tests.support.running_platform import Site

pytestmark = [pytest.mark.platform, pytest.mark.timeout(180)]

CLIENTS = 12


@dataclass(frozen=True)
class Response:
    """A response; status 0 is a connection that broke or was refused."""

    status: int
    headers: Any
    body: Any

    @property
    def replayed(self) -> bool:
        return self.headers.get("Idempotent-Replayed") == "true"


def call_api(site: Site, path: str, body: Any = None, **headers: str) -> Response:
    request_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request_headers |= {
        "Authorization": f"Bearer {site.demo['IMISSIVE_API_KEY']}",
        "Content-Type": "application/json",
    }
    data = None if body is None else orjson.dumps(body)
    request = urllib.request.Request(site.url + path, data, request_headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            return Response(response.status, response.headers, orjson.loads(response.read()))
    except urllib.error.HTTPError as error:
        return Response(error.code, error.headers, orjson.loads(error.read()))
    except OSError:
        return Response(0, {}, None)


def web_processes(site: Site) -> list[psutil.Process]:
    web = site.pid("web")
    assert web is not None
    return psutil.Process(web).children()


def together(works: list[Any], seconds: float = 120) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    assert not any(thread.is_alive() for thread in threads)


# ---------------------------------------------------------------- a crash before the response


class Sender:
    """A customer that sends, each call with its own key, repeated until it gets a response."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.stop = threading.Event()
        self.numbers = itertools.count()
        self.message_ids: dict[str, str] = {}
        """The message id in the response, by key."""
        self.broken = 0
        """The number of calls without a response, whose effect is unknown."""
        self.saved = 0
        """The number of those that had taken effect, and were replayed."""

    def run(self) -> None:
        while not self.stop.is_set():
            number = next(self.numbers)
            key = f"order-{number}"
            self.message_ids[key] = self._send(key, f"+96654{number:07d}")

    def _send(self, key: str, to: str) -> str:
        body = {"to": to, "message": "Exactly once", "reference": key}
        broken = 0
        for _ in range(600):
            response = call_api(self.site, "/v1/sms/send", body, idempotency_key=key)
            if response.status == 202:
                # Replayed without an earlier response: killed between commit and response.
                self.saved += bool(broken and response.replayed)
                assert broken or not response.replayed
                return str(response.body["message_id"])
            assert response.status in (0, 409, 503), response
            broken += response.status == 0
            self.broken += response.status == 0
            time.sleep(0.05)
        raise AssertionError(f"{key} is never answered")


def test_a_web_process_killed_between_commit_and_response_does_not_send_twice(site: Site) -> None:
    sender = Sender(site)
    clients = [threading.Thread(target=sender.run) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    deadline = time.monotonic() + 100
    kills = 0
    while kills < 3 or not sender.saved:
        assert time.monotonic() < deadline, f"{kills} kills, {sender.broken} broken calls"
        enough = len(sender.message_ids) + 30
        until(lambda enough=enough: len(sender.message_ids) > enough, 40)  # type: ignore[misc]
        for process in web_processes(site):
            process.kill()
        kills += 1
    sender.stop.set()
    for client in clients:
        client.join(60)
    assert not any(client.is_alive() for client in clients)
    print(
        f"{kills} kills, {len(sender.message_ids)} calls,"
        f" {sender.broken} broken, {sender.saved} saved"
    )

    stored = site.sql("SELECT reference, count(*) FROM messaging_message GROUP BY 1")
    assert Counter(dict(stored)) == Counter(dict.fromkeys(sender.message_ids, 1))
    [(messages, charges, charged, records)] = site.sql(
        "SELECT (SELECT count(*) FROM messaging_message),"
        " (SELECT count(*) FROM accounts_ledgerentry WHERE kind = 'charge'),"
        " (SELECT -sum(amount) / 1000000 FROM accounts_ledgerentry WHERE kind = 'charge'),"
        " (SELECT count(*) FROM accounts_idempotencyrecord)"
    )
    assert messages == charges == charged == records == len(sender.message_ids)
    for key in list(sender.message_ids)[:20]:
        body = {"to": f"+96654{int(key[6:]):07d}", "message": "Exactly once", "reference": key}
        again = call_api(site, "/v1/sms/send", body, idempotency_key=key)
        assert (again.replayed, again.body["message_id"]) == (True, sender.message_ids[key])
    assert site.manage("check_ledger").returncode == 0


# ---------------------------------------------------------------- limits


def _redis_port(site: Site) -> int | None:
    url = dotenv_values(site.data_dir / "runtime.env")["REDIS_URL"] or ""
    return urlsplit(url).port


def test_rate_limits_hold_across_web_processes(site: Site) -> None:
    site.sql("UPDATE accounts_organization SET calls_per_minute = 60")
    statuses: list[int] = []

    def call_often() -> None:
        for _ in range(25):
            statuses.append(call_api(site, "/v1/balance").status)

    started = time.monotonic()
    together([call_often] * 16)
    elapsed = time.monotonic() - started

    counted = Counter(statuses)
    assert set(counted) == {200, 429}
    # One call per second is refilled meanwhile.
    assert 60 <= counted[200] <= 60 + elapsed + 1, counted
    port = _redis_port(site)
    busy = [
        process
        for process in web_processes(site)
        if any(one.raddr and one.raddr.port == port for one in process.net_connections())
    ]
    assert len(busy) == 2, "both processes took part"
    site.sql("UPDATE accounts_organization SET calls_per_minute = NULL")


def test_calls_without_redis_are_as_fast_and_are_logged(site: Site) -> None:
    site.sql("UPDATE accounts_organization SET calls_per_minute = 1")
    valkey = site.pid("valkey")
    assert valkey is not None
    before = len(site.text)
    os.kill(valkey, signal.SIGSTOP)  # it hangs, which is worse than a refused connection
    try:
        call_api(site, "/v1/balance")
        started = time.monotonic()
        responses = [call_api(site, "/v1/balance") for _ in range(40)]
        elapsed = time.monotonic() - started
        assert {response.status for response in responses} == {200}
        # Each of the two processes tries again once a second, and waits a quarter of a second.
        assert elapsed < 4, elapsed
        until(lambda: "rate_limits_unavailable" in site.text[before:], 10)
        otp = call_api(site, "/v1/otp/verify", {"otp_id": "otp_x", "code": "123456"})
        assert (otp.status, otp.body["error"]["code"]) == (503, "UNAVAILABLE")
    finally:
        os.kill(valkey, signal.SIGCONT)
    time.sleep(1.2)
    statuses = [call_api(site, "/v1/balance").status for _ in range(6)]
    assert 429 in statuses, "the limit holds again"
    site.sql("UPDATE accounts_organization SET calls_per_minute = NULL")
